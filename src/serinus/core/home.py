"""Where everything of one installation lives on disk. Paths only: nothing is read or written here."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from serinus.core.errors import InvalidInput

MLFLOW_USERNAME = "serinus"
"""As the bundled MLflow server wants it, with the home's `mlflow_password`."""

FORMAT = 1
"""Of the home's layout; another number is another version's home."""

ENVIRONMENT_FACTS = "environment.json"
"""In the directory of an environment: what it was made as, its base interpreter included. Written last, by Serinus."""

_DIGEST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

# sockaddr_un holds 108 bytes with the closing zero; the longest name in `sockets` is `r/<12 hex>.sock.new`.
_LONGEST_SOCKET_DIRECTORY = 107 - len("/r/0123456789ab.sock.new")


@dataclass(frozen=True, slots=True)
class Home:
    path: Path

    @property
    def settings(self) -> Path:
        return self.path / "settings.json"

    @property
    def secret(self) -> Path:
        """Random hex, 0600: authenticates host control, and derives the collector's tokens and the router's keys."""
        return self.path / "secret"

    @property
    def token(self) -> Path:
        """The CLI's own token, 0600."""
        return self.path / "token"

    @property
    def tls(self) -> Path:
        """The certificate that is served, with its key."""
        return self.path / "tls"

    @property
    def tls_server(self) -> Path:
        """Key and certificates, PEM, 0600."""
        return self.tls / "server.pem"

    @property
    def tls_callers(self) -> Path:
        """Who vouches for callers of models, PEM. Absent: callers need no certificate."""
        return self.tls / "callers.pem"

    @property
    def store(self) -> Path:
        return self.path / "store.db"

    @property
    def store_before(self) -> Path:
        """The store as it was when another version of Serinus last took this home over."""
        return self.path / "store-before.db"

    @property
    def sockets(self) -> Path:
        """Short enough for a Unix address, however deep the home lies; different for every home and user.

        Where a checkout is used by one user after another, each has directories that the others cannot open.
        """
        inside = self.path / "s"
        if len(str(inside).encode()) <= _LONGEST_SOCKET_DIRECTORY:
            return inside
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:12]
        return Path("/tmp") / f"serinus-{os.geteuid()}-{digest}"  # noqa: S108  whatever TMPDIR says: every process must find it

    @property
    def host_socket(self) -> Path:
        return self.sockets / "host.sock"

    @property
    def api_socket(self) -> Path:
        """The API, for the command line of the same user."""
        return self.sockets / "api.sock"

    @property
    def holder_socket(self) -> Path:
        """The socket on which the host hands over the sockets that must outlive it."""
        return self.sockets / "hold.sock"

    @property
    def log_socket(self) -> Path:
        return self.sockets / "log.sock"

    def release_socket(self, release_id: str) -> Path:
        return self.sockets / "r" / f"{hashlib.sha256(release_id.encode()).hexdigest()[:12]}.sock"

    @property
    def run(self) -> Path:
        """One JSON file a process."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    def artifact(self, digest: str) -> Path:
        """The directory of a model's files. Raises InvalidInput: it is no digest."""
        return self.artifacts / _part(digest)

    @property
    def environments(self) -> Path:
        return self.path / "environments"

    def interpreter(self, environment: str) -> Path:
        """The interpreter of the environment with this digest. Raises InvalidInput: it is no digest."""
        return self.environments / _part(environment) / "bin" / "python"

    @property
    def compiled(self) -> Path:
        return self.path / "compiled"

    def graph(self, digest: str) -> Path:
        """The directory of a compiled model, with `model.onnx` and `plan.json`. InvalidInput: it is no digest."""
        return self.compiled / _part(digest)

    @property
    def golden(self) -> Path:
        """Rows that a shorter way has answered wrong, a file a model."""
        return self.path / "golden"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions"

    @property
    def envoy(self) -> Path:
        return self.path / "envoy"

    @property
    def host(self) -> Path:
        return self.path / "host"

    @property
    def disturbances(self) -> Path:
        """When the platform itself disturbed what models answer, a file a process that knows it."""
        return self.path / "disturbances"

    @property
    def scratch(self) -> Path:
        return self.path / "scratch"

    @property
    def fleet(self) -> Path:
        return self.path / "fleet"

    @property
    def mlflow(self) -> Path:
        return self.path / "mlflow"

    @property
    def mlflow_password(self) -> Path:
        """The file with the password of the bundled MLflow server, mode 0600."""
        return self.path / "mlflow-password"

    @property
    def mlflow_env(self) -> Path:
        """0600, to be sourced by a shell: where MLflow is, and the credentials of the bundled server."""
        return self.path / "mlflow.env"

    @property
    def mlflow_proposals(self) -> Path:
        """Who has set which alias at the bundled MLflow."""
        return self.mlflow / "proposals.json"

    @property
    def directories(self) -> tuple[Path, ...]:
        """What must be there, 0700, before anything starts."""
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


def _part(digest: str) -> str:
    """As a part of a path, which leads nowhere else."""
    if not _DIGEST.fullmatch(digest):
        raise InvalidInput("A digest has letters, digits, '-' and '_' alone.")
    return digest
