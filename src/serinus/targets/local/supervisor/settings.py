"""`settings.json`: what was chosen at `up`, and the ports."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from serinus.core.buckets import BucketAddress
from serinus.core.errors import InvalidInput, Refused
from serinus.core.home import FORMAT, Home
from serinus.core.redaction import shown, without_credentials
from serinus.lib import files
from serinus.lib.hosts import without_port
from serinus.targets.local.supervisor.tls import Files

Keys = Literal["required", "made", "none"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of an installation."""

    ports: Mapping[str, int] = field(default_factory=dict)
    listen: str = "127.0.0.1"
    """The address on which Envoy and the API listen. Other addresses than loopback require API keys of callers and
    TLS."""
    tls_cert: str | None = None
    tls_key: str | None = None
    """Certificate and key of both planes. None: plain HTTP."""
    client_ca: str | None = None
    """The certificate authorities of callers. None: callers need no certificate."""
    insecure: bool = False
    """Whether plain HTTP on other addresses than loopback was requested explicitly."""
    keys: Keys = "made"
    """Whether callers need API keys on loopback: `required`, `made` (once one was issued) or `none`."""
    mlflow_uri: str | None = None
    """None: the bundled server."""
    mlflow_credentials: str | None = None
    """A file with the credentials for `mlflow_uri`. It is read whenever the control process starts."""
    predictions: str | None = None
    """The address of the prediction log's table in a bucket. None: it is in the home."""
    predictions_database: str | None = None
    """The URL of a PostgreSQL database, without a password, for counts and outcomes. None: they are in the home."""
    envoy_binary: str | None = None
    confined: bool = True
    interpreters: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    """Package indexes that a model's requirements may name, with their credentials."""
    allow_builds: bool = False
    """Whether packages with only a source archive are built, which runs their code, confined."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names of the API in addition to its address. A port after the first one is that of links."""
    memory: int | None = None
    """The memory of all models in bytes, beyond which the least recently used are scaled to zero.

    None here and in the following settings: the host's default.
    """
    idle: float | None = None
    """Seconds without a request after which a model may be scaled to zero."""
    busiest: int | None = None
    """The number of models that are never scaled to zero for lack of requests."""
    recheck: float | None = None
    """The share of one processor that the recheck may use. None: the default."""
    disk_budget: int | None = None
    """Bytes that environments, artifacts, graphs and logs may take before those that nothing needs are removed. None:
    nothing is removed automatically."""
    cluster: str | None = None
    """The file with the settings of the cluster on which releases run. None: they run on this machine."""
    gateways: str = ""
    """The URL at which callers reach the gateways of the cluster, as it was found when they were installed."""
    format: int = FORMAT

    @property
    def registry(self) -> str:
        """Returns MLflow's URL, for an HTTP server without credentials."""
        if self.mlflow_uri is None:
            return f"http://127.0.0.1:{self.ports['mlflow']}"
        return shown(self.mlflow_uri) if self.mlflow_uri.startswith(("http://", "https://")) else self.mlflow_uri

    @property
    def limits(self) -> Mapping[str, float]:
        """Returns the limits of the host that were set, by the names of its options."""
        chosen = {"memory": self.memory, "idle": self.idle, "busiest": self.busiest}
        return {name: value for name, value in chosen.items() if value is not None}

    @property
    def serves(self) -> bool:
        """Whether releases and Envoy run on this machine."""
        return self.cluster is None

    @property
    def loopback(self) -> bool:
        """Whether the address is on loopback."""
        return ipaddress.ip_address(self.listen).is_loopback

    @property
    def api_keys(self) -> Keys:
        """Whether callers of models need an API key."""
        return self.keys if self.loopback else "required"

    @property
    def tls_files(self) -> Files | None:
        """The files of the certificate. None: plain HTTP."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        return Files(Path(self.tls_cert), Path(self.tls_key), Path(self.client_ca) if self.client_ca else None)

    @property
    def in_the_clear(self) -> bool:
        """Whether others may read what is sent."""
        return not self.loopback and self.tls_files is None

    def url(self, port: str) -> str:
        """Returns the URL of `api` or `envoy` for processes of this machine."""
        if port == "envoy" and not self.serves:
            return self.gateways
        return self._url(self.listen, port)

    def public_url(self, port: str) -> str:
        """Returns the URL for others, with the host name of the certificate, or with the name and the port of which it
        is known that they lead to the API."""
        if port == "envoy" and not self.serves:
            return self.gateways
        first = self.allowed_hosts[0] if self.allowed_hosts else self.listen
        name = without_port(first)
        if port == "api" and name != first:
            return f"{self._scheme}://{first.removesuffix(':443' if self.tls_files else ':80')}"
        return self._url(name if self.tls_files else self.listen, port)

    def _url(self, name: str, port: str) -> str:
        host = f"[{name}]" if ":" in name and not name.startswith("[") else name
        return f"{self._scheme}://{host}:{self.ports[port]}"

    @property
    def _scheme(self) -> str:
        return "https" if self.tls_files else "http"


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `serinus up`. None and empty values keep the value of the last `up`."""

    ports: Mapping[str, int] = field(default_factory=dict)
    listen: str | None = None
    keys: Keys | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    client_ca: str | None = None
    insecure: bool = False
    """Plain HTTP from now on, also on other addresses than loopback."""
    mlflow_uri: str | None = None
    mlflow_credentials: str | None = None
    predictions: str | None = None
    predictions_database: str | None = None
    envoy_binary: str | None = None
    unconfined: bool | None = None
    interpreters: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    allow_builds: bool | None = None
    allowed_hosts: tuple[str, ...] = ()
    memory: int | None = None
    idle: float | None = None
    busiest: int | None = None
    recheck: float | None = None
    disk_budget: int | None = None
    cluster: str | None = None

    def applied_to(self, settings: Settings) -> Settings:
        """Returns the settings with these options, except ports. Relative paths are made absolute. Raises
        InvalidInput."""
        if self.envoy_binary and not os.access(self.envoy_binary, os.X_OK):
            raise InvalidInput(
                f"--envoy {self.envoy_binary} is not a program", hint="Give the path of an Envoy binary."
            )
        for path in self.interpreters:
            if not (Path(path).is_file() and os.access(path, os.X_OK)):
                raise InvalidInput(f"--interpreter {path} is not a program", hint="Give the path of a Python.")
        for url in self.indexes:
            if not re.fullmatch(r"(https?|file)://[^\s$]+", url):
                raise InvalidInput(
                    f"--index {without_credentials(url)} is not an address of a package index",
                    hint="Give it as uv takes it, such as https://packages.example.org/simple.",
                )
        if self.cluster and not os.access(self.cluster, os.R_OK):
            raise InvalidInput(
                f"--cluster {self.cluster} cannot be read", hint="Give the file with the settings of the cluster."
            )
        wanted = replace(
            self._edge(settings),
            listen=_address(self.listen) if self.listen else settings.listen,
            keys=self.keys or settings.keys,
            mlflow_uri=self.mlflow_uri or settings.mlflow_uri,
            mlflow_credentials=self.mlflow_credentials or settings.mlflow_credentials,
            predictions=str(BucketAddress.parse(self.predictions)) if self.predictions else settings.predictions,
            predictions_database=(
                _database(self.predictions_database) if self.predictions_database else settings.predictions_database
            ),
            envoy_binary=str(Path(self.envoy_binary).absolute()) if self.envoy_binary else settings.envoy_binary,
            confined=settings.confined if self.unconfined is None else not self.unconfined,
            interpreters=tuple(str(Path(p).absolute()) for p in self.interpreters) or settings.interpreters,
            indexes=self.indexes or settings.indexes,
            allow_builds=settings.allow_builds if self.allow_builds is None else self.allow_builds,
            allowed_hosts=self.allowed_hosts or settings.allowed_hosts,
            memory=settings.memory if self.memory is None else self.memory,
            idle=settings.idle if self.idle is None else self.idle,
            busiest=settings.busiest if self.busiest is None else self.busiest,
            recheck=settings.recheck if self.recheck is None else self.recheck,
            disk_budget=settings.disk_budget if self.disk_budget is None else self.disk_budget,
            cluster=_absolute(self.cluster) if self.cluster else settings.cluster,
        )
        if wanted.keys not in get_args(Keys):
            raise InvalidInput(f"--keys {wanted.keys} is not one of {', '.join(get_args(Keys))}")
        if self.keys == "none" and not wanted.loopback:
            raise InvalidInput(
                f"--keys none is allowed on loopback only, and models listen at {wanted.listen}",
                hint="Leave it out: callers need a key beyond loopback. `serinus key create NAME` makes one.",
            )
        return wanted

    def _edge(self, settings: Settings) -> Settings:
        """Returns the settings with TLS or without it, whichever was chosen last."""
        if (self.tls_cert is None) != (self.tls_key is None):
            given, lacking = ("--tls-cert", "--tls-key") if self.tls_cert else ("--tls-key", "--tls-cert")
            raise InvalidInput(f"{given} needs {lacking} beside it", hint="Both are PEM files.")
        if self.insecure and (self.tls_cert or self.client_ca):
            raise InvalidInput("--insecure means plain HTTP, which has no certificate", hint="Choose one of them.")
        if self.insecure:
            return replace(settings, tls_cert=None, tls_key=None, client_ca=None, insecure=True)
        if self.tls_cert and self.tls_key:
            settings = replace(settings, tls_cert=_absolute(self.tls_cert), tls_key=_absolute(self.tls_key))
            settings = replace(settings, insecure=False)
        if self.client_ca:
            if settings.tls_cert is None:
                raise InvalidInput("--client-ca needs TLS", hint="Give --tls-cert FILE and --tls-key FILE as well.")
            settings = replace(settings, client_ca=_absolute(self.client_ca))
        return settings

    def ignored_by(self, settings: Settings) -> Sequence[str]:
        """Returns in words which options differ from `settings`."""
        wanted = self.applied_to(settings)
        changed = [words for name, words in _WORDS.items() if getattr(wanted, name) != getattr(settings, name)]
        return [*changed, *(f"port of {name}" for name, port in self.ports.items() if settings.ports.get(name) != port)]


_WORDS = {
    "listen": "address to listen on",
    "keys": "keys of callers",
    "tls_cert": "TLS certificate",
    "tls_key": "key of the TLS certificate",
    "client_ca": "authority of callers' certificates",
    "insecure": "plain HTTP beyond loopback",
    "mlflow_uri": "MLflow server",
    "mlflow_credentials": "credentials for MLflow",
    "predictions": "place of the prediction log",
    "predictions_database": "database of the prediction log",
    "envoy_binary": "Envoy binary",
    "confined": "confinement of models",
    "interpreters": "Python interpreters",
    "indexes": "package indexes",
    "allow_builds": "building from source",
    "allowed_hosts": "allowed hosts",
    "memory": "memory of models",
    "idle": "idle time until models are scaled to zero",
    "busiest": "number of models that are not scaled to zero",
    "recheck": "processor time for rechecking answers",
    "disk_budget": "budget of disk space",
    "cluster": "settings of the cluster",
}


def _database(url: str) -> str:
    """The URL of a PostgreSQL database. It is kept in a file and shown in lists of processes, so it has no password."""
    parts = urlsplit(url)
    if parts.scheme != "postgresql" or parts.password or "password" in parts.query or re.search(r"\s", url):
        raise InvalidInput(
            "--predictions-database is not the address of a PostgreSQL database without a password",
            hint="Give it as postgresql://USER@HOST/DATABASE. The password is read from PGPASSWORD, or from the file "
            "that PGPASSFILE names.",
        )
    return url


def _absolute(path: str) -> str:
    """Returns an absolute path. Links are not resolved, because a renewal may change them."""
    return str(Path(path).absolute())


def _address(listen: str) -> str:
    """The address as a number, which Envoy requires."""
    try:
        return str(ipaddress.ip_address("127.0.0.1" if listen == "localhost" else listen))
    except ValueError as error:
        raise InvalidInput(
            f"--listen {listen} is not an IP address",
            hint="Give an address of this machine, or 0.0.0.0 for all of them.",
        ) from error


def load(home: Home) -> Settings | None:
    """None for a new home. Raises Refused for a home of another version."""
    try:
        found = json.loads(home.settings.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{home.settings} cannot be read: {error}", hint=_RESTORE) from error
    written_by = found.get("format") if isinstance(found, dict) else None
    if written_by != FORMAT:
        raise Refused(
            f"{home.path} is a home of another version: its format is {written_by}, this version reads {FORMAT}",
            hint="Use the version that created it, or start with another --home.",
        )
    known = {name: value for name, value in found.items() if name in Settings.__dataclass_fields__}
    try:
        return TypeAdapter(Settings).validate_python(known)
    except ValidationError as error:
        wrong = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors()}))
        raise InvalidInput(f"{home.settings} has wrong values in: {wrong}", hint=_RESTORE) from error


_RESTORE = "Restore it, or start with another --home."


def save(home: Home, settings: Settings) -> None:
    """Writes the file completely or not at all. Raises OSError."""
    # Only its owner may read it, because an index may be named with its credentials.
    files.write(home.settings, json.dumps(asdict(settings), indent=2))
