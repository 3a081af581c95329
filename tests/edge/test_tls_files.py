"""The operator's files of certificates: what is wrong with them is said in a sentence, and never served."""

from __future__ import annotations

import socket
import ssl
import stat
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from identities import Authority
from serinus_runtime.isolation import confine

from serinus.core.errors import InvalidInput, Refused, SerinusError
from serinus.core.home import Home
from serinus.targets.local.supervisor import certificates, tls
from serinus.targets.local.supervisor.settings import Options, Settings
from serinus.targets.local.supervisor.tls import Files

LATER = timedelta(days=30)

Spoil = Callable[[Files, Authority], object]


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> Files:
    cert, key = authority.issue().written(tmp_path)
    return Files(Path(cert), Path(key))


def test_what_is_right_is_read_with_its_chain_and_kept_for_its_owner_alone(
    home: Home, files: Files, authority: Authority, tmp_path: Path
) -> None:
    files = replace(files, client_ca=Path(authority.written(tmp_path / "ca.pem")))
    material = certificates.read(files, datetime.now(UTC))
    assert material.chain.encode() == files.cert.read_bytes()
    assert "PRIVATE KEY" not in repr(material) + str(material)
    tls.keep(home, material)
    assert tls.kept(home, with_callers=True) == material
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.tls.iterdir()} == {0o600}
    tls.forget(home)
    assert list(home.tls.iterdir()) == []
    with pytest.raises(InvalidInput, match=r"server\.pem cannot be read"):
        tls.kept(home)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda files, _: files.cert.unlink(), r"--tls-cert \S+server\.pem cannot be read: No such file"),
        (lambda files, _: files.key.unlink(), r"--tls-key \S+server-key\.pem cannot be read: No such file"),
        (lambda files, _: files.cert.write_text("no PEM"), r"--tls-cert \S+ contains no certificate in PEM"),
        (lambda files, _: files.cert.write_bytes(b"\xff"), r"--tls-cert \S+ is not a PEM file"),
        (lambda files, _: files.cert.write_bytes(b"x" * (2 << 20)), r"--tls-cert \S+ is not a PEM file"),
        (lambda files, _: files.key.write_text("no PEM"), r"--tls-key \S+ contains no private key in PEM"),
        (lambda files, ca: files.key.write_bytes(ca.issue().key_pem()), r"server-key\.pem is not the key of the first"),
        (lambda files, ca: files.key.write_bytes(ca.issue().key_pem(b"secret")), r"--tls-key \S+ is encrypted"),
        (
            lambda files, ca: files.cert.write_bytes(ca.issue(begins=-timedelta(days=9), lasts=-timedelta(days=1)).pem),
            r"--tls-cert \S+ holds a certificate that expired on \d{4}",
        ),
        (
            lambda files, ca: files.cert.write_bytes(ca.issue(begins=timedelta(days=1)).pem),
            r"--tls-cert \S+ holds a certificate that is not valid before \d{4}",
        ),
        (
            lambda files, ca: ca.issue(key=rsa.generate_private_key(65537, 1024)).written(files.cert.parent),
            r"--tls-key \S+ is of a type that Envoy does not support",
        ),
        (
            lambda files, ca: ca.issue(key=ed25519.Ed25519PrivateKey.generate()).written(files.cert.parent),
            r"--tls-key \S+ is of a type that Envoy does not support",
        ),
        (lambda files, _: files.key.chmod(0o644), r"--tls-key \S+ may be used by other users: its mode is 0644"),
        (lambda files, _: files.key.chmod(0o660), r"may be used by other users: its mode is 0660"),
    ],
)
def test_what_is_wrong_is_refused_in_a_sentence_without_the_content(
    files: Files, authority: Authority, spoil: Spoil, words: str
) -> None:
    spoil(files, authority)
    with pytest.raises((InvalidInput, Refused), match=words) as caught:
        certificates.read(files, datetime.now(UTC))
    assert "BEGIN" not in f"{caught.value} {caught.value.hint}"
    assert caught.value.hint


def test_a_directory_or_a_pipe_in_the_place_of_a_file_is_refused_at_once(files: Files) -> None:
    import os

    files.cert.unlink()
    files.cert.mkdir()
    with pytest.raises(InvalidInput, match="is not a file"):
        certificates.read(files, datetime.now(UTC))
    files.cert.rmdir()
    os.mkfifo(files.cert)
    with pytest.raises(InvalidInput, match="is not a file"):
        certificates.read(files, datetime.now(UTC))


def test_an_authority_of_callers_is_checked_as_well(files: Files, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("none")
    with pytest.raises(InvalidInput, match=r"--client-ca .* contains no certificate"):
        certificates.read(replace(files, client_ca=ca), datetime.now(UTC))


def test_a_key_may_be_readable_by_a_group(files: Files) -> None:
    files.key.chmod(0o640)
    assert certificates.read(files, datetime.now(UTC)).chain


@pytest.mark.parametrize("place", ["prefix", "system"])
def test_a_key_where_models_may_read_is_refused(
    files: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    (tmp_path / "open").mkdir()
    key = files.key.rename(tmp_path / "open" / "key.pem")
    (tmp_path / "link").symlink_to(key)
    if place == "prefix":
        monkeypatch.setattr(sys, "prefix", str(tmp_path / "open"))
    else:
        monkeypatch.setattr(certificates, "_READ_BY_MODELS", (str(tmp_path / "open"),))
    for named in (key, tmp_path / "link"):
        with pytest.raises(Refused, match=r"key\.pem lies in .*open, which models may read|link lies in"):
            certificates.read(replace(files, key=named), datetime.now(UTC))


def test_every_directory_of_the_system_that_models_may_read_is_known() -> None:
    files_of_the_system = {"/etc", "/proc", "/sys", "/dev"}
    directories = {one for one in confine._SYSTEM if f"/{one.split('/')[1]}" not in files_of_the_system}
    assert directories <= set(certificates._READ_BY_MODELS)


def test_without_its_authority_no_caller_is_let_in(home: Home, files: Files) -> None:
    tls.keep(home, certificates.read(files, datetime.now(UTC)))
    with pytest.raises(InvalidInput, match=r"callers\.pem is gone"):
        tls.kept(home, with_callers=True)


def test_a_certificate_that_ends_soon_or_has_ended_is_told(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue(lasts=LATER).written(tmp_path)
    served = certificates.read(Files(Path(cert), Path(key)), datetime.now(UTC))
    assert certificates.trouble(served, datetime.now(UTC)) == ""
    assert "expires on" in certificates.trouble(served, datetime.now(UTC) + LATER - timedelta(days=13))
    assert "expired on" in certificates.trouble(served, datetime.now(UTC) + LATER + timedelta(days=1))


# --- what `up` is told --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(tls_cert="c.pem"), "--tls-cert needs --tls-key"),
        (Options(tls_key="k.pem"), "--tls-key needs --tls-cert"),
        (Options(tls_cert="c.pem", tls_key="k.pem", insecure=True), "--insecure means plain HTTP"),
        (Options(client_ca="ca.pem"), "--client-ca needs TLS"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options: Options, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        options.applied_to(Settings())


def test_tls_and_its_absence_are_remembered_until_the_other_is_chosen() -> None:
    first = Options(tls_cert="c.pem", tls_key="k.pem", client_ca="ca.pem", listen="0.0.0.0").applied_to(Settings())
    assert first.tls_files == Files(Path.cwd() / "c.pem", Path.cwd() / "k.pem", Path.cwd() / "ca.pem")
    assert Options().applied_to(first) == first
    assert not first.in_the_clear
    plain = Options(insecure=True).applied_to(first)
    assert (plain.tls_files, plain.client_ca, plain.insecure, plain.in_the_clear) == (None, None, True, True)
    assert Options().applied_to(plain) == plain
    again = Options(tls_cert="c.pem", tls_key="k.pem").applied_to(plain)
    assert (again.insecure, again.in_the_clear, again.client_ca) == (False, False, None)


def test_addresses_say_https_and_the_name_that_is_certified() -> None:
    settings = Settings(ports={"api": 1}, listen="0.0.0.0", tls_cert="c", tls_key="k", allowed_hosts=("s.example",))
    assert (settings.url("api"), settings.public_url("api")) == ("https://0.0.0.0:1", "https://s.example:1")
    for port in ("443", "8000"):
        behind = replace(settings, allowed_hosts=(f"s.example:{port}", "t.example"))
        link = {"443": "https://s.example", "8000": "https://s.example:8000"}[port]
        assert (behind.url("api"), behind.public_url("api")) == ("https://0.0.0.0:1", link)
        assert replace(behind, ports={"envoy": 2}).public_url("envoy") == "https://s.example:2"
    proxied = replace(settings, tls_cert=None, allowed_hosts=("s.example:80",))
    assert proxied.public_url("api") == "http://s.example"
    plain = replace(settings, tls_cert=None)
    assert (plain.url("api"), plain.public_url("api")) == ("http://0.0.0.0:1", "http://0.0.0.0:1")


# --- this home's own clients ---------------------------------------------------------------------------------


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    """Whether `client` takes the server."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname="0.0.0.0"):
            return True
    except ssl.SSLError:
        return False
    finally:
        ours.close()
        thread.join(10)


def test_only_the_holder_of_the_kept_key_is_answered_whatever_its_names(
    home: Home, files: Files, authority: Authority, tmp_path: Path
) -> None:
    tls.keep(home, certificates.read(files, datetime.now(UTC)))
    own = tls.own_context(home)
    assert handshake(tls.ServerContext(home).context, own)
    (tmp_path / "other").mkdir()
    cert, key = authority.issue().written(tmp_path / "other")  # of the same authority, for the same names
    tls.keep(home, certificates.read(Files(Path(cert), Path(key)), datetime.now(UTC)))
    assert not handshake(tls.ServerContext(home).context, own)
    assert handshake(tls.ServerContext(home).context, tls.own_context(home))


def test_what_openssl_does_not_take_leaves_what_was_kept(home: Home, files: Files, authority: Authority) -> None:
    good = certificates.read(files, datetime.now(UTC))
    tls.keep(home, good)
    with pytest.raises(SerinusError):
        tls.keep(home, replace(good, key=authority.issue().key_pem().decode()))
    assert tls.kept(home) == good
