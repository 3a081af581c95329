"""The collector of a cluster's prediction records: what identifies it to pods, and what pods show to it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from serinus.core.errors import Refused
from serinus.core.home import Home
from serinus.lib import authority, files
from serinus.predictions.collector import Settings as CollectorSettings
from serinus.predictions.intake.listener import RemoteDoor
from serinus.predictions.process import collect
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.gateway.names import NAME
from serinus.targets.kubernetes.settings import ClusterSettings
from serinus.targets.kubernetes.settings_values import address_parts
from serinus.targets.kubernetes.tokens import ClusterWriters

_SETTLE_SECONDS = 2.0
"""The agents of gateways send what Envoy has written every 0.2 s, over a network."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Files in PEM."""

    chain: Path
    key: Path
    authority: Path


def identity(home: Home, settings: ClusterSettings) -> Identity:
    """Returns the certificate of the collectors: the operator's, or the one in the home."""
    own = settings.collectors.certificate
    if own is not None:
        return Identity(own.chain, own.key, own.authority)
    place = home.collectors / settings.collectors.name
    return Identity(place / "server.pem", place / "server-key.pem", place / "authority.pem")


def make_identity(home: Home, settings: ClusterSettings) -> None:
    """Makes the certificate in the home, where the operator gives none and there is none yet. Raises OSError."""
    found = identity(home, settings)
    if settings.collectors.certificate is not None or found.chain.exists():
        return
    made = authority.issue(settings.collectors.name, datetime.now(UTC))
    for directory in (home.collectors, found.chain.parent):
        directory.mkdir(mode=0o700, exist_ok=True)
    # The certificate comes last: where it is, the others are.
    for path, content in ((found.authority, made.authority), (found.key, made.key), (found.chain, made.certificate)):
        files.write(path, content)


def authority_of(home: Home, settings: ClusterSettings) -> str:
    """Returns the certificate by which pods know collectors, in PEM. Raises Refused where it cannot be read."""
    file = identity(home, settings).authority
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(file, error) from error


def run_collector(home: Home, settings: ClusterSettings, table: str | None = None, database: str | None = None) -> int:
    """Runs the collector until SIGTERM or SIGINT. `table` and `database`: see its settings. Returns the exit code.
    Raises Refused and InvalidInput."""
    files = identity(home, settings)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(files.chain, files.key)
    except (OSError, ssl.SSLError) as error:
        raise _unusable(files.chain, error) from error
    host, port = address_parts(settings.collectors.listen)
    cluster = Cluster.connected(settings.kubeconfig, context=settings.context)
    writers = ClusterWriters(cluster, settings.namespace, (settings.gateway_namespace, NAME))
    door = RemoteDoor(host, port, context, writers)
    try:
        collect(home, CollectorSettings(table=table, database=database, settle_seconds=_SETTLE_SECONDS), door)
    finally:
        cluster.close()
    return 0


def _unusable(file: Path, error: Exception) -> Refused:
    why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return Refused(
        f"The certificate of the collectors, {file}, cannot be used: {why}.",
        hint="`serinus up` makes it where `collectors.certificate` names none.",
    )
