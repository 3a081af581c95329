"""The configuration that the host gives to a worker, in one JSON file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Mapping, Sequence

PROTOCOLS = ("open-inference", "invocations")
"""The protocols of predictions."""


@dataclass(frozen=True)
class CacheSettings:
    """The settings of the response cache."""

    max_bytes: int
    ttl_seconds: float


@dataclass(frozen=True)
class Settings:
    """How a release answers. The fields are those of the control plane's ServingSettings."""

    timeout_ms: int = 250
    fallback_score: float | None = None
    max_body_bytes: int = 1_048_576
    one_at_a_time: bool = False
    score_output: str | None = None
    memory_limit_bytes: int | None = None
    cache: CacheSettings | None = None
    batch_delay_ms: float = 0.0
    batch_rows: int = 64
    max_waiting: int = 256
    unlogged: str = "answer"
    scored: bool = True
    protocols: Sequence[str] = PROTOCOLS
    rows: str = "each"

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """Returns the settings of a JSON object."""
        known = {item.name for item in fields(cls)}
        given = {name: value for name, value in values.items() if name in known}
        if given.get("cache") is not None:
            given["cache"] = CacheSettings(**given["cache"])
        return cls(**given)


@dataclass(frozen=True)
class Config:
    """The configuration of a worker."""

    release: str
    model: str
    version: str
    artifact: Path
    listen_fd: int
    report_fd: int
    """The socket to the host (see `wire`)."""
    scratch: Path
    """The only directory to which the worker may write."""
    settings: Settings = field(default_factory=Settings)
    log: bool = False
    """Whether predictions are logged. The host then hands over connections to the collector."""
    router: str = ""
    """The key that every request must have in `x-serinus-router`. Empty: none is required."""
    readable: tuple[Path, ...] = ()
    confine: bool = True
    proven: str = ""
    """The faster way that an earlier worker of this release on this host has proven. It is used without another
    proof."""
    compiled: Path | None = None
    """The directory of the compiled model, which is served in place of the artifact. The process then runs in the
    compiled environment."""
    digest: str | None = None
    """The digest of its files. None: it is not checked."""
    long: bool = False
    """The release is distrusted: only MLflow's own predict answers."""
    landlock_required: bool = True
    """It does not start where it must be confined and the kernel has no Landlock."""
    heartbeat: bool = False
    """It reports its load every second, even without changes, and ends once nobody reads the reports."""

    @classmethod
    def read(cls, path: str | Path) -> Config:
        """Reads the file. Raises OSError, ValueError or KeyError. The host writes the file, so errors need no
        explanation."""
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
        return cls(
            release=raw["release"],
            model=raw["model"],
            version=str(raw["version"]),
            artifact=Path(raw["artifact"]),
            listen_fd=raw["listen_fd"],
            report_fd=raw["report_fd"],
            scratch=Path(raw["scratch"]),
            settings=Settings.of(raw.get("settings") or {}),
            log=bool(raw.get("log")),
            router=raw.get("router", ""),
            readable=tuple(Path(entry) for entry in raw.get("readable") or ()),
            confine=raw.get("confine", True),
            proven=raw.get("proven", ""),
            compiled=Path(raw["compiled"]) if raw.get("compiled") else None,
            digest=raw.get("digest"),
            long=raw.get("long", False),
            landlock_required=raw.get("landlock_required", True),
            heartbeat=raw.get("heartbeat", False),
        )
