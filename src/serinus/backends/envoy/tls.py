"""TLS for callers. Envoy watches files with the certificates, so that a new certificate needs no restart.

Certificate and key are in one file, so that they are replaced together. Open connections continue with the old one.
"""

from __future__ import annotations

from dataclasses import dataclass

from serinus.backends.envoy import names, xds
from serinus.backends.envoy.names import CALLER_HEADER, Json, overwrite, typed, watched
from serinus.core.home import Home
from serinus.lib.files import update

_SERVER, _CALLERS = "server", "callers"
_HANDSHAKE = "5s"


@dataclass(frozen=True, slots=True)
class Certificates:
    """Certificates in PEM. `callers` are the certificate authorities of callers. None: callers need no certificate."""

    chain: str
    key: str
    callers: str | None = None

    def __repr__(self) -> str:
        return "Certificates(...)"  # The key must not appear in logs.


def publish(home: Home, certificates: Certificates | None) -> None:
    """Writes the certificates that Envoy uses from now on, mode 0600. None: the key is removed. Raises OSError."""
    files = names.server_secret_file(home), names.callers_secret_file(home)
    if certificates is None:
        for file in files:
            file.unlink(missing_ok=True)
        return
    chain, key = ({"inline_string": text} for text in (certificates.chain, certificates.key))
    update(files[0], _secret(_SERVER, tls_certificate={"certificate_chain": chain, "private_key": key}))
    if certificates.callers is not None:
        trusted = {"trusted_ca": {"inline_string": certificates.callers}}
        update(files[1], _secret(_CALLERS, validation_context=trusted))


def encrypt(listener: Json, home: Home, certificates: Certificates) -> None:
    """Restricts `listener`, of the bootstrap, to TLS."""
    common: Json = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificate_sds_secret_configs": [_named(_SERVER, watched(home, names.server_secret_file(home)))],
    }
    required = certificates.callers is not None
    [chain] = listener["filter_chains"]
    if required:
        config = watched(home, names.callers_secret_file(home))
        common["validation_context_sds_secret_config"] = _named(_CALLERS, config)
        _name_callers(chain)
    chain["transport_socket"] = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed(
            "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            common_tls_context=common,
            require_client_certificate=required,
        ),
    }
    chain["transport_socket_connect_timeout"] = _HANDSHAKE


def _name_callers(chain: Json) -> None:
    """Identifies callers by the subject of their certificates. An API key takes precedence, because its filter comes
    later."""
    [manager] = chain["filters"]
    [early] = manager["typed_config"]["early_header_mutation_extensions"]
    named = {"append": overwrite(CALLER_HEADER, "%DOWNSTREAM_PEER_SUBJECT%")}
    early["typed_config"]["mutations"] = [*early["typed_config"]["mutations"], named]


def _named(name: str, config: Json) -> Json:
    return {"name": name, "sds_config": config}


def _secret(name: str, **content: Json) -> str:
    return xds.response([typed("extensions.transport_sockets.tls.v3.Secret", name=name, **content)])
