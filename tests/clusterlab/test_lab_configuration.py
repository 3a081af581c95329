"""What the programs of the lab are started with."""

from __future__ import annotations

import base64
import ipaddress
import json
import tomllib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from clusterlab import configuration, programs
from clusterlab.configuration import USERS
from clusterlab.place import API, NODE, Place

PLACE = Place(Path("/somewhere"))


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    files = configuration.files(PLACE)
    return {name: content.encode() if isinstance(content, str) else content for name, content in files.items()}


def test_certificates_are_of_the_authority_that_checks_them(made: dict[str, bytes]) -> None:
    authority, front_proxy = (x509.load_pem_x509_certificate(made[name]) for name in ("ca.crt", "front-proxy-ca.crt"))
    for name in ("apiserver", "kubelet", "kubelet-client"):
        x509.load_pem_x509_certificate(made[f"{name}.crt"]).verify_directly_issued_by(authority)
    proxy = x509.load_pem_x509_certificate(made["front-proxy.crt"])
    proxy.verify_directly_issued_by(front_proxy)
    with pytest.raises(ValueError):
        proxy.verify_directly_issued_by(authority)


def test_a_strict_client_trusts_the_api_server(made: dict[str, bytes]) -> None:
    """Python 3.13 and newer refuses what lacks an extension of RFC 5280."""
    authority = x509.load_pem_x509_certificate(made["ca.crt"])
    policy = PolicyBuilder().store(Store([authority]))
    server = x509.load_pem_x509_certificate(made["apiserver.crt"])
    policy.build_server_verifier(x509.IPAddress(ipaddress.ip_address(NODE))).verify(server, [])
    with pytest.raises(VerificationError):
        policy.build_server_verifier(x509.IPAddress(ipaddress.ip_address("192.0.2.1"))).verify(server, [])


def test_the_api_server_is_known_by_its_address(made: dict[str, bytes]) -> None:
    certificate = x509.load_pem_x509_certificate(made["apiserver.crt"])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(address) for address in names.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", NODE, "10.96.0.1"}


@pytest.mark.parametrize("user", USERS)
def test_a_kubeconfig_holds_its_credentials_and_is_its_user(user: str, made: dict[str, bytes]) -> None:
    told = json.loads(made[f"{user}.kubeconfig"])
    assert told["clusters"][0]["cluster"]["server"] == API
    certificate = x509.load_pem_x509_certificate(base64.b64decode(told["users"][0]["user"]["client-certificate-data"]))
    names = {attribute.oid: attribute.value for attribute in certificate.subject}
    name, group = USERS[user]
    assert names.get(NameOID.COMMON_NAME) == name
    assert names.get(NameOID.ORGANIZATION_NAME) == group


def test_what_the_programs_are_told_to_read_is_there(made: dict[str, bytes]) -> None:
    """Every path below `etc` that a program or a file names."""
    named = [argument for program in programs.all_of(PLACE) for argument in program.command]
    named += [content.decode() for content in made.values()]
    found = {
        text.partition(f"{PLACE.etc}/")[2].partition('"')[0].partition("\n")[0]
        for argument in named
        for text in argument.split(",")
        if f"{PLACE.etc}/" in text
    }
    assert len(found) > 15
    directories = {str(Path(name).parent) for name in made} | {"registries"}
    assert found <= made.keys() | directories


def test_containerd_and_the_kubelet_speak_of_the_same(made: dict[str, bytes]) -> None:
    containerd = tomllib.loads(made["containerd.toml"].decode())
    kubelet = json.loads(made["kubelet.yaml"])
    assert kubelet["containerRuntimeEndpoint"] == f"unix://{containerd['state']}/containerd.sock"
    assert kubelet["cgroupDriver"] == "cgroupfs"


def test_a_program_waits_only_for_programs_that_start_before_it() -> None:
    seen: set[str] = set()
    for program in programs.all_of(PLACE):
        assert set(program.after) <= seen, program.name
        seen.add(program.name)
