"""Reads the variable SERINUS_RELEASE, one JSON object. `Release` has its fields and their defaults.

    {"release": "card-fraud-7-3f9a2c", "model": "card-fraud", "version": "7",
     "settings": {"timeout_ms": 250, ...},      as of `base.config.Settings`
     "workers": 2, "compiled": true, "digest": "5c1f...", "router": "...", ...}

An unknown field is ignored and named in the log, because the manifest may be newer than the image. A known field must
have the right type and be within its bounds.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence, Tuple

from serinus_runtime.base.config import PROTOCOLS, Settings

VARIABLE = "SERINUS_RELEASE"
IF_AVAILABLE, REQUIRED = "if-available", "required"

_MOST_WORKERS = 64
_LONGEST_NAME = 253
_NAME = re.compile(r"[^\x00-\x20\x7f]+\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class InvalidRelease(ValueError):
    """SERINUS_RELEASE is wrong. The message names the field and never contains a value."""


@dataclass(frozen=True)
class Paths:
    """The paths of files in the image and in the container."""

    environment: Path = Path("/opt/environment")
    artifact: Path = Path("/opt/model")
    graph: Path = Path("/opt/graph")
    """Of a compiled release."""
    scratch: Path = Path("/scratch")
    termination_log: Path = Path("/dev/termination-log")
    """The reason of a failure is written to this file if it exists."""


@dataclass(frozen=True)
class Collectors:
    """The collectors of prediction records, and what identifies this pod to them."""

    addresses: Sequence[tuple[str, int]]
    """The host and port of each collector. They are tried in turn."""
    name: str
    """The name for which their certificates must be valid."""
    authority: Path
    """A file with the certificates of the authorities that may have signed theirs."""
    token: Path
    """A file with the projected token of the pod's service account. It is read for each connection."""


@dataclass(frozen=True)
class Release:
    release: str
    """The id of the release."""
    model: str
    version: str
    settings: Settings = field(default_factory=Settings)
    workers: int | None = None
    """The number of workers. None: the container's limit of processors, rounded up."""
    compiled: bool = False
    digest: str | None = None
    """The sha256 of the compiled model's files in hex. None: they are not checked."""
    long: bool = False
    """The model's own predict answers, and no shorter way."""
    memory_limit_bytes: int | None = None
    """The memory limit of one worker. A worker beyond it is replaced."""
    router: str = ""
    """The key that every request must show. Empty: no key is needed."""
    collectors: Collectors | None = None
    """None: predictions are not recorded."""
    confinement: str = IF_AVAILABLE
    """Without Landlock in the kernel, `required`: the release does not start. `if-available`: it does, and says so."""
    load_seconds: float = 120.0
    """The time in seconds within which a worker must become ready."""
    hang_seconds: float = 30.0
    """The time in seconds for which a worker may report nothing and use no processor before it is replaced. A worker
    that computes is busy, not hung."""
    accept_seconds: float = 0.0
    """The time in seconds for which new connections are accepted after SIGTERM."""
    drain_seconds: float = 15.0
    """The time in seconds for which connected callers are answered after that."""
    http_port: int = 8080
    """0: any free port."""
    health_port: int = 8081
    paths: Paths = field(default_factory=Paths)
    unknown: Sequence[str] = ()
    """The names of the fields that were ignored."""


def read(variables: Mapping[str, str]) -> Release:
    """Reads the release from `variables`. Raises InvalidRelease."""
    text = variables.get(VARIABLE)
    if not text:
        raise InvalidRelease(f"the variable {VARIABLE} is not set; it holds the release as a JSON object")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidRelease(f"{VARIABLE} is not JSON{where}") from None
    if not isinstance(said, dict):
        raise InvalidRelease(f"{VARIABLE} is not a JSON object")
    found, unknown = _checked(said, _FIELDS, "")
    for name in ("release", "model", "version"):
        if name not in found:
            raise InvalidRelease(f"{VARIABLE} has no field {name}")
    release = Release(**found, unknown=unknown)
    if release.settings.unlogged == "refuse" and release.collectors is None:
        raise InvalidRelease(
            f"{VARIABLE}: settings.unlogged is refuse, but there are no collectors that take prediction records"
        )
    return dataclasses.replace(
        release, settings=dataclasses.replace(release.settings, memory_limit_bytes=release.memory_limit_bytes)
    )


Check = Tuple[str, Callable[[Any], bool]]
"""A description of the valid values, and a function that tells whether a value is valid."""


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value and abs(value) < 1e15


def _whole(least: int, most: int, words: str) -> Check:
    return words, lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _seconds(least: float) -> Check:
    return f"a number of seconds from {least:g} to 86400", lambda value: _number(value) and least <= value <= 86_400


def _or_null(check: Check) -> Check:
    words, holds = check
    return f"{words}, or null", lambda value: value is None or holds(value)


_LARGEST = 1 << 50
_BOOLEAN: Check = ("true or false", lambda value: isinstance(value, bool))
_TEXT: Check = ("a string", lambda value: isinstance(value, str))
_NUMBER: Check = ("a finite number", _number)
_BYTES = _whole(1, _LARGEST, "a positive number of bytes")
_COUNT = _whole(1, 1_000_000, "a whole number from 1 on")
_PORT = _whole(0, 65_535, "a port")
_IDENTIFIER: Check = (
    f"a string of 1 to {_LONGEST_NAME} characters without blanks",
    lambda value: isinstance(value, str) and len(value) <= _LONGEST_NAME and bool(_NAME.match(value)),
)
_PATH: Check = (
    "an absolute path",
    lambda value: isinstance(value, str) and value.startswith("/") and "\0" not in value,
)


def _one_of(*values: str) -> Check:
    return "one of " + ", ".join(values), lambda value: isinstance(value, str) and value in values


_SETTINGS: Mapping[str, Check] = {
    "timeout_ms": _whole(1, 86_400_000, "a whole number of milliseconds from 1 on"),
    "fallback_score": _or_null(_NUMBER),
    "max_body_bytes": _BYTES,
    "one_at_a_time": _BOOLEAN,
    "score_output": _or_null(_TEXT),
    "memory_limit_bytes": _or_null(_BYTES),
    "batch_delay_ms": ("a number of milliseconds from 0 on", lambda value: _number(value) and value >= 0),
    "batch_rows": _COUNT,
    "max_waiting": _whole(0, 1_000_000, "a whole number from 0 on"),
    "unlogged": _one_of("answer", "refuse"),
    "scored": _BOOLEAN,
    "protocols": (
        "a list of " + ", ".join(PROTOCOLS),
        lambda value: isinstance(value, list) and bool(value) and all(one in PROTOCOLS for one in value),
    ),
    "rows": _one_of("each", "together"),
}
_CACHE: Mapping[str, Check] = {
    "max_bytes": _BYTES,
    "ttl_seconds": ("a positive number of seconds", lambda value: _number(value) and value > 0),
}
_PATHS: Mapping[str, Check] = {item.name: _PATH for item in dataclasses.fields(Paths)}
_FIELDS: Mapping[str, Check] = {
    "release": _IDENTIFIER,
    "model": _IDENTIFIER,
    "version": _IDENTIFIER,
    "workers": _or_null(_whole(1, _MOST_WORKERS, f"a whole number from 1 to {_MOST_WORKERS}")),
    "compiled": _BOOLEAN,
    "digest": _or_null(("64 hexadecimal digits", lambda value: isinstance(value, str) and bool(_DIGEST.match(value)))),
    "long": _BOOLEAN,
    "memory_limit_bytes": _or_null(_BYTES),
    "router": _TEXT,
    "confinement": _one_of(IF_AVAILABLE, REQUIRED),
    "load_seconds": _seconds(1),
    "hang_seconds": _seconds(5),
    "accept_seconds": _seconds(0),
    "drain_seconds": _seconds(0),
    "http_port": _PORT,
    "health_port": _PORT,
}


def _settings(said: Any) -> tuple[Settings, list[str]]:
    said = dict(_object(said, "settings"))
    cache = said.pop("cache", None)
    found, unknown = _checked(said, _SETTINGS, "settings.")
    if cache is not None:
        found["cache"], more = _checked(_object(cache, "settings.cache"), _CACHE, "settings.cache.")
        unknown += more
        if len(found["cache"]) != len(_CACHE):
            raise InvalidRelease(f"{VARIABLE}: settings.cache needs {' and '.join(_CACHE)}")
    return Settings.of(found), unknown


_ADDRESS = re.compile(r"(?P<host>[^\s:]+|\[[0-9a-fA-F:.]+\]):(?P<port>[0-9]{1,5})\Z")
_COLLECTORS: Mapping[str, Check] = {
    "addresses": (
        "a list of host:port",
        lambda value: isinstance(value, list) and bool(value) and all(_is_address(one) for one in value),
    ),
    "name": _IDENTIFIER,
    "authority": _PATH,
    "token": _PATH,
}


def _is_address(value: Any) -> bool:
    found = _ADDRESS.match(value) if isinstance(value, str) else None
    return found is not None and 0 < int(found["port"]) <= 65_535


def _collectors(said: Any) -> tuple[Collectors | None, list[str]]:
    if said is None or said == []:
        return None, []
    found, unknown = _checked(_object(said, "collectors"), _COLLECTORS, "collectors.")
    missing = [name for name in _COLLECTORS if name not in found]
    if missing:
        raise InvalidRelease(f"{VARIABLE}: collectors has no field {missing[0]}")
    parts = [one.rpartition(":") for one in found["addresses"]]
    addresses = [(host.strip("[]"), int(port)) for host, _, port in parts]
    return Collectors(addresses, found["name"], Path(found["authority"]), Path(found["token"])), unknown


def _paths(said: Any) -> tuple[Paths, list[str]]:
    found, unknown = _checked(_object(said, "paths"), _PATHS, "paths.")
    return Paths(**{name: Path(value) for name, value in found.items()}), unknown


_NESTED: Mapping[str, Callable[[Any], tuple[Any, list[str]]]] = {
    "settings": _settings,
    "paths": _paths,
    "collectors": _collectors,
}


def _checked(said: Mapping[str, Any], checks: Mapping[str, Check], prefix: str) -> tuple[dict[str, Any], list[str]]:
    """Returns the known fields of `said`, and the names of the others. Raises InvalidRelease."""
    found: dict[str, Any] = {}
    unknown: list[str] = []
    for name, value in said.items():
        if not prefix and name in _NESTED:
            found[name], more = _NESTED[name](value)
            unknown += more
        elif name not in checks:
            unknown.append(f"{prefix}{name}")
        else:
            words, holds = checks[name]
            if not holds(value):
                raise InvalidRelease(f"{VARIABLE}: {prefix}{name} must be {words}")
            found[name] = value
    return found, unknown


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRelease(f"{VARIABLE}: {name} must be an object")
    return value
