"""Manifests as YAML, as they lie in a repository."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml


class _Plain(yaml.SafeDumper):
    """Every value where it is used: no anchors, which a person would have to look up."""

    def ignore_aliases(self, _: Any) -> bool:
        return True


def rendered(manifests: Iterable[Mapping[str, Any]]) -> str:
    """One document a manifest, in their order; in each what it is comes first, and below that the keys are sorted."""
    return yaml.dump_all(
        [_ordered(dict(manifest)) for manifest in manifests],
        Dumper=_Plain,
        explicit_start=True,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=10_000,
    )


_FIRST = ("apiVersion", "kind", "metadata")


def _ordered(manifest: dict[str, Any]) -> dict[str, Any]:
    rest = sorted(name for name in manifest if name not in _FIRST)
    return {name: _sorted(manifest[name]) for name in (*_FIRST, *rest)}


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list | tuple) else value
