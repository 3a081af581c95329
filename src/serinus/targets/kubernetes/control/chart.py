"""The Helm chart, made of the same functions as what `serinus install` applies:

    python -m serinus.targets.kubernetes.control.chart deploy/chart/serinus

A test fails when the files in the repository are not these.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from textwrap import wrap
from typing import Any, cast, get_args

from pydantic import BaseModel

from serinus.spec.fields import key
from serinus.spec.writing import as_yaml
from serinus.targets.kubernetes.control.manifests import PARTS, Part
from serinus.targets.kubernetes.control.symbols import Symbols, expression
from serinus.targets.kubernetes.control.values import Values
from serinus.targets.kubernetes.manifests.rendering import rendered

_MADE = "Made by `python -m serinus.targets.kubernetes.control.chart`. Change that instead of this file."
_WIDTH = 116
_EXAMPLES = {
    "image": "registry.example/serinus/control@sha256:...",
    "config.cluster.namespace": "fraud",
    "config.cluster.images.repository": "registry.example/serinus",
    "config.cluster.images.base": "registry.example/serinus/base@sha256:...",
    "config.cluster.fleet.remote": "https://git.example/fraud/fleet.git",
    "config.cluster.fleet.argo_cd.cluster": "east",
    "config.mlflow": "http://mlflow:5000",
    "config.predictions": "s3://fraud/serinus/predictions",
    "config.database": "postgresql://serinus@db.example/serinus",
}
"""Of values that have to be given, by their paths."""


def files() -> Mapping[str, str]:
    """Path below the chart's directory -> content."""
    templates = itertools.groupby(PARTS, lambda part: part.file)
    return {
        "Chart.yaml": _chart(),
        "values.yaml": values_file(),
        "values.schema.json": json.dumps(schema(), indent=2) + "\n",
        "templates/NOTES.txt": _NOTES,
        **{f"templates/{name}.yaml": _template(list(parts)) for name, parts in templates},
    }


def schema() -> dict[str, Any]:
    """The JSON schema of the values. Helm reads draft 7, of which these keywords all are."""
    found = Values.model_json_schema(by_alias=True, mode="validation")
    untitled = {name: one for name, one in _untitled(found).items() if name != "description"}
    return {"$schema": "http://json-schema.org/draft-07/schema#", **untitled}


def values_file() -> str:
    """Every value with what it means. Those that have to be given, and those without a default, are commented out."""
    return "\n".join([f"# {_MADE}", *_section(Values, "", "")]) + "\n"


def _section(section: type[BaseModel], path: str, indent: str) -> Iterator[str]:
    """`indent` begins each line: blanks, and a `#` where the section is commented out."""
    commented = "#" in indent
    defaults = section.model_construct().model_dump(mode="json", by_alias=True)
    for name, info in section.model_fields.items():
        written = key(name, info)
        if written == "global":
            continue
        full, inner = f"{path}{written}", _inner(info.annotation)
        about = info.description or (inner.__doc__ if inner else "") or ""
        needed = "Needed. " if info.is_required() and inner is None else ""
        yield ""
        yield from (f"{indent}# {line}" for line in wrap(needed + about.splitlines()[0], _WIDTH - len(indent)))
        if inner is not None:
            off = "" if info.is_required() or defaults[written] is not None else "# "
            yield f"{indent}{off}{written}:"
            yield from _section(inner, f"{full}.", f"{indent}{off}  ")
        elif info.is_required():
            yield f"{indent}{'' if commented else '# '}{written}: {_EXAMPLES[full]}"
        elif defaults[written] is None:
            yield f"{indent}# {written}:"
        else:
            yield f"{indent}{written}: {as_yaml(defaults[written], flow=True)}"


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds."""
    options = (annotation, *get_args(annotation))
    return next((one for one in options if isinstance(one, type) and issubclass(one, BaseModel)), None)


def _template(parts: list[Part]) -> str:
    return f"# {_MADE}\n" + "".join(_document(part) for part in parts)


def _document(part: Part) -> str:
    symbols = Symbols()
    manifest = part.make(cast("Values", symbols.values), symbols.namespace)
    text = symbols.template(rendered([manifest]))
    if not part.when:
        return text
    condition: Any = symbols.values
    for name in part.when:
        condition = getattr(condition, name)
    word = f"not {expression(condition)}" if part.absent else expression(condition)
    return f"{{{{- if {word} }}}}\n{text}{{{{- end }}}}\n"


def _chart() -> str:
    return f"""\
# {_MADE}
apiVersion: v2
name: serinus
description: The control plane of Serinus, which deploys models from MLflow by gates and canaries.
type: application
version: {version("serinus")}
appVersion: {version("serinus")}
kubeVersion: ">=1.34.0-0"
"""


_NOTES = """\
The control plane starts in the namespace {{ .Release.Namespace }}. It installs gateways by itself.

  kubectl -n {{ .Release.Namespace }} rollout status statefulset/serinus-control

A first token, for somebody who then makes others:

  kubectl -n {{ .Release.Namespace }} exec serinus-control-0 -- \\
    /opt/python/bin/python3 -m serinus.cli token create NAME --access admin --owner NAME@EXAMPLE
"""


def _untitled(found: Any) -> Any:
    """Without the titles that pydantic makes of names, which say nothing."""
    if isinstance(found, dict):
        return {name: _untitled(one) for name, one in found.items() if name != "title" or not isinstance(one, str)}
    return [_untitled(one) for one in found] if isinstance(found, list) else found


def main(directory: Path) -> None:
    """Writes the chart."""
    for name, content in files().items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
