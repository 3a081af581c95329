"""The software bill of materials of an image, as CycloneDX 1.6 has it: https://cyclonedx.org/docs/1.6/json/."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from serinus.core.ports import LockedPackage
from serinus.core.release import Release
from serinus.targets.kubernetes.images.references import Reference

MEDIA_TYPE = "application/vnd.cyclonedx+json"
_NAMESPACE = uuid.UUID("8c9e6b8e-5d0c-5f6a-9a53-0a1d1f6f2f10")


def bill(release: Release, packages: Sequence[LockedPackage], python: str, base: Reference, identity: str) -> bytes:
    """Of the image `identity` of `release`: its base, its interpreter `python` (`3.11.7`) and its packages. The same
    image has the same bill, so it names no time."""
    about = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": release.model,
        "version": release.version,
        "hashes": [{"alg": "SHA-256", "content": release.artifact_digest}],
    }
    components = [
        _component("container", base.repository, base.digest, f"pkg:oci/{_name(base)}@{quote(base.digest, safe='')}"),
        _component("platform", "python", python, f"pkg:generic/python@{python}"),
        *(
            _component("library", one.name, one.version, f"pkg:pypi/{one.name}" + _at(one.version))
            for one in sorted(packages, key=lambda one: one.name)
        ),
    ]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, identity)}",
        "version": 1,
        "metadata": {"component": about},
        "components": components,
        "dependencies": [{"ref": "model", "dependsOn": [one["bom-ref"] for one in components]}],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _component(kind: str, name: str, version: str, purl: str) -> dict[str, Any]:
    known = {"version": version} if version else {}
    return {"type": kind, "bom-ref": purl, "name": name, **known, "purl": purl}


def _at(version: str) -> str:
    return f"@{quote(version, safe='')}" if version else ""


def _name(base: Reference) -> str:
    return base.repository.rpartition("/")[2]
