"""TLS of callers: Envoy has the certificates as secrets in files that it watches, so that a new one takes no restart.

They are in the files themselves, not named by them: certificate and key are replaced together, and connections that
are open go on by the one before.
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
    """PEM. `callers`: who vouches for their certificates; None: they need none."""

    chain: str
    key: str
    callers: str | None = None

    def __repr__(self) -> str:
        return "Certificates(...)"  # the key is in no log


def publish(home: Home, certificates: Certificates | None) -> None:
    """What Envoy serves by from now on; 0600. None: no key is left there. Raises OSError."""
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
    """`listener`, of the bootstrap, speaks TLS only."""
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
    """By the subject of their certificates. Whoever shows an API key is known by its name instead: that filter is
    later."""
    [manager] = chain["filters"]
    [early] = manager["typed_config"]["early_header_mutation_extensions"]
    named = {"append": overwrite(CALLER_HEADER, "%DOWNSTREAM_PEER_SUBJECT%")}
    early["typed_config"]["mutations"] = [*early["typed_config"]["mutations"], named]


def _named(name: str, config: Json) -> Json:
    return {"name": name, "sds_config": config}


def _secret(name: str, **content: Json) -> str:
    return xds.response([typed("extensions.transport_sockets.tls.v3.Secret", name=name, **content)])
