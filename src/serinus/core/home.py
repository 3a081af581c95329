"""The paths of an installation. This module only computes paths. It neither reads nor writes."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from serinus.core.errors import InvalidInput

MLFLOW_USERNAME = "serinus"
"""The user name for the bundled MLflow server. Its password is in `Home.mlflow_password`."""

FORMAT = 1
"""The version of the home's layout. A home with another number belongs to another version of Serinus."""

ENVIRONMENT_FACTS = "environment.json"
"""The file in the directory of an environment that says how it was made and on which base interpreter. It is written
last."""

_DIGEST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

# sockaddr_un holds 108 bytes with the closing zero. The longest name in `sockets` is `r/<12 hex>.sock.new`.
_LONGEST_SOCKET_DIRECTORY = 107 - len("/r/0123456789ab.sock.new")


@dataclass(frozen=True, slots=True)
class Home:
    """The directory of one installation, and the paths in it."""

    path: Path

    @property
    def settings(self) -> Path:
        """The settings that `serinus up` was started with."""
        return self.path / "settings.json"

    @property
    def secret(self) -> Path:
        """A random hexadecimal secret, mode 0600. The keys in `core.keys` are derived from it."""
        return self.path / "secret"

    @property
    def token(self) -> Path:
        """The token of the command line, mode 0600."""
        return self.path / "token"

    @property
    def tls(self) -> Path:
        """The directory of the certificate that is served and its key."""
        return self.path / "tls"

    @property
    def tls_server(self) -> Path:
        """The key and the certificates in PEM, mode 0600."""
        return self.tls / "server.pem"

    @property
    def tls_callers(self) -> Path:
        """The certificate authorities of callers, in PEM. Where the file is missing, callers need no certificate."""
        return self.tls / "callers.pem"

    @property
    def collectors(self) -> Path:
        """The certificates that Serinus has made for collectors that other machines reach, where releases run on a
        cluster."""
        return self.path / "collectors"

    @property
    def store(self) -> Path:
        """The SQLite database of the store."""
        return self.path / "store.db"

    @property
    def store_before(self) -> Path:
        """A copy of the store from before the last upgrade of this home."""
        return self.path / "store-before.db"

    @property
    def sockets(self) -> Path:
        """The directory of the sockets. It is short enough for a Unix address however deep the home lies.

        It is different for every home and user. Where several users use one checkout, none can open the directory of
        another.
        """
        inside = self.path / "s"
        if len(str(inside).encode()) <= _LONGEST_SOCKET_DIRECTORY:
            return inside
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:12]
        return Path("/tmp") / f"serinus-{os.geteuid()}-{digest}"  # noqa: S108  whatever TMPDIR says: every process must find it

    @property
    def host_socket(self) -> Path:
        """The control socket of the host."""
        return self.sockets / "host.sock"

    @property
    def api_socket(self) -> Path:
        """The socket of the API, for the command line of the same user."""
        return self.sockets / "api.sock"

    @property
    def holder_socket(self) -> Path:
        """The socket on which the host hands over the sockets that must outlive it."""
        return self.sockets / "hold.sock"

    @property
    def log_socket(self) -> Path:
        """The socket on which the collector takes the workers' records."""
        return self.sockets / "log.sock"

    def release_socket(self, release_id: str) -> Path:
        """Returns the socket on which a release answers."""
        return self.sockets / "r" / f"{hashlib.sha256(release_id.encode()).hexdigest()[:12]}.sock"

    @property
    def run(self) -> Path:
        """One JSON file for each process, with its process id and state."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """The log files of processes and releases."""
        return self.path / "logs"

    @property
    def artifacts(self) -> Path:
        """The files of models, one directory for each digest."""
        return self.path / "artifacts"

    def artifact(self, digest: str) -> Path:
        """Returns the directory of a model's files. Raises InvalidInput where `digest` is not a digest."""
        return self.artifacts / checked_digest(digest)

    @property
    def environments(self) -> Path:
        """The environments, one directory for each digest."""
        return self.path / "environments"

    def interpreter(self, environment: str) -> Path:
        """Returns the interpreter of the environment with this digest. Raises InvalidInput where it is not a digest."""
        return self.environments / checked_digest(environment) / "bin" / "python"

    @property
    def compiled(self) -> Path:
        """The compiled models, one directory for each digest."""
        return self.path / "compiled"

    def graph(self, digest: str) -> Path:
        """Returns the directory of a compiled model, with `model.onnx` and `plan.json`. Raises InvalidInput where
        `digest` is not a digest."""
        return self.compiled / checked_digest(digest)

    @property
    def images(self) -> Path:
        """Layers of images of releases, where they run on a cluster."""
        return self.path / "images"

    @property
    def golden(self) -> Path:
        """Rows that a faster way answered wrong, one file for each model, as earlier versions of Serinus kept them."""
        return self.path / "golden"

    @property
    def predictions(self) -> Path:
        """The prediction log and its counts."""
        return self.path / "predictions"

    @property
    def envoy(self) -> Path:
        """The configuration of Envoy."""
        return self.path / "envoy"

    @property
    def host(self) -> Path:
        """The records of the host."""
        return self.path / "host"

    @property
    def disturbances(self) -> Path:
        """The times at which the platform disturbed requests, one file for each process that reports them."""
        return self.path / "disturbances"

    @property
    def scratch(self) -> Path:
        """The directories to which workers may write."""
        return self.path / "scratch"

    @property
    def fleet(self) -> Path:
        """The fleet repository."""
        return self.path / "fleet"

    @property
    def mlflow(self) -> Path:
        """The database and the artifacts of the bundled MLflow server."""
        return self.path / "mlflow"

    @property
    def mlflow_password(self) -> Path:
        """The file with the password of the bundled MLflow server, mode 0600."""
        return self.path / "mlflow-password"

    @property
    def mlflow_env(self) -> Path:
        """A shell script, mode 0600, that sets the address and the credentials of MLflow."""
        return self.path / "mlflow.env"

    @property
    def mlflow_proposals(self) -> Path:
        """The record of who has set which alias at the bundled MLflow server."""
        return self.mlflow / "proposals.json"

    @property
    def directories(self) -> tuple[Path, ...]:
        """Returns the directories that must exist, with mode 0700, before any process starts."""
        return (
            self.path,
            self.sockets,
            self.sockets / "r",
            self.run,
            self.logs,
            self.artifacts,
            self.environments,
            self.compiled,
            self.predictions,
            self.envoy,
            self.host,
            self.disturbances,
            self.scratch,
            self.mlflow,
            self.tls,
        )


def checked_digest(digest: str) -> str:
    """Returns the digest, which as a component of a path cannot lead elsewhere. Raises InvalidInput where it is not a
    digest."""
    if not _DIGEST.fullmatch(digest):
        raise InvalidInput("A digest has letters, digits, '-' and '_' alone.")
    return digest
