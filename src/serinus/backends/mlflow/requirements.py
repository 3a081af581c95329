"""The requirements that an artifact declares in python_env.yaml, conda.yaml and requirements.txt.

All files are read, because one may declare less than another. Where they disagree with each other, or with the versions
in MLmodel, each of them yields a combination.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serinus.backends.mlflow.conda import python_packages, python_version
from serinus.backends.mlflow.files import inside
from serinus.backends.mlflow.lines import Lines, name_of, normalised
from serinus.backends.mlflow.mlmodel import NAME, MLmodel, parse_yaml, text
from serinus.backends.mlflow.versions import logged_with
from serinus.core.errors import Unbuildable
from serinus.core.release import Combination, Requirements


@dataclass(slots=True)
class _Found:
    """The contents of one environment file."""

    name: str
    packages: list[str] = field(default_factory=list)
    python: str | None = None
    conda: Mapping[str, str] = field(default_factory=dict)
    """Requirement lines for the packages of conda, by name."""


def read_requirements(model: MLmodel, indexes: Collection[str] = ()) -> tuple[Requirements, tuple[str, ...]]:
    """Returns the requirements, and notes about what was left out or is doubtful.

    Credentials are removed, and so are package indexes that are not in `indexes`. Raises Unbuildable where nothing is
    declared, or a file that is named is missing.
    """
    flavor = model.python_function
    declared = _declared(flavor)
    lines = Lines(model.root, indexes)
    there = list(_read(model.root, declared, lines))
    found = [one for one in there if one.packages or one.conda]
    if not found:
        raise _unknown(model.root, declared)
    combinations = list(_combinations(found, logged_with(model.content["flavors"])))
    first, *others = combinations
    said = {one.name: one.python for one in there if one.python}
    python = _python(said, text(flavor, "python_version"), lines.notes)
    requirements = Requirements(first.packages, python, model.logged_at, first.source, tuple(others))
    return requirements, tuple(dict.fromkeys((*lines.notes, *_disagreements(combinations))))


def _unknown(root: Path, declared: Mapping[str, str]) -> Unbuildable:
    lost = [name for name in declared.values() if not (root / name).is_file()]
    why = f"MLmodel names {' and '.join(lost)}, which the artifact lacks" if lost else "it declares none"
    return Unbuildable(
        f"The model's environment is unknown: {why}.",
        hint="Log it again with `pip_requirements=[...]`, or put a requirements.txt with pinned versions in it.",
    )


def _declared(flavor: Mapping[str, Any]) -> dict[str, str]:
    """Returns the environment files by kind. MLflow 2 and later write {virtualenv: file, conda: file}, earlier versions
    the name of the conda file."""
    env = flavor.get("env")
    if isinstance(env, dict):
        return {kind: name for kind in ("virtualenv", "conda") if (name := text(env, kind))}
    name = text(flavor, "env")
    return {"conda": name} if name else {}


# --- the three kinds of files -----------------------------------------------------------------------------


def _read(root: Path, declared: Mapping[str, str], lines: Lines) -> Iterator[_Found]:
    """Yields the files, the most informative first. Where MLmodel names none, the usual names are tried."""
    kinds = (
        (declared.get("virtualenv", "python_env.yaml"), _python_env),
        (declared.get("conda", "conda.yaml"), _conda),
        ("requirements.txt", _requirements_txt),
    )
    for name, reader in kinds:
        path = inside(root, name, "MLmodel")
        if path.is_file():
            yield reader(name, path, lines)


def _requirements_txt(name: str, path: Path, lines: Lines) -> _Found:
    return _Found(name, list(lines.of_file(path)))


def _python_env(name: str, path: Path, lines: Lines) -> _Found:
    content = _mapping(path)
    packages = [each for line in _strings(content.get("dependencies")) for each in lines.of(line, path)]
    return _Found(name, packages, python_version(text(content, "python")))


def _conda(name: str, path: Path, lines: Lines) -> _Found:
    dependencies = _mapping(path).get("dependencies")
    entries = dependencies if isinstance(dependencies, list) else []
    mappings = [entry for entry in entries if isinstance(entry, dict)]
    pip = [each for one in mappings for line in _strings(one.get("pip")) for each in lines.of(line, path)]
    own = python_packages([str(entry).strip() for entry in entries if not isinstance(entry, dict)], pip, name)
    lines.notes += own.notes
    return _Found(name, pip, own.python, own.lines)


# --- which of them is believed ----------------------------------------------------------------------------


def _combinations(found: Sequence[_Found], logged: Mapping[str, str]) -> Iterator[Combination]:
    """Yields the combinations without duplicates: with MLmodel's versions, then as each file has them."""
    by_file = [_together(found, leading) for leading in found]
    seen = set()
    for one in (_with_versions(by_file[0], logged), *by_file):
        if (key := frozenset(one.packages)) not in seen:
            seen.add(key)
            yield one


def _python(said: Mapping[str, str], logged: str | None, notes: list[str]) -> str | None:
    """Returns the Python version. Where files (`said`) name different minor versions, the one with which the model was
    `logged`."""
    taken = next(iter(said.values()), logged)
    if len({_minor(version) for version in said.values()}) > 1:
        taken = next((version for version in said.values() if logged and _minor(version) == _minor(logged)), taken)
        told = ", ".join(f"{version} in {name}" for name, version in said.items())
        notes.append(f"the model's files disagree about python ({told}): {taken} is taken")
    return taken


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])


def _together(found: Sequence[_Found], leading: _Found) -> Combination:
    """Returns the packages of `leading`, and those of other files that it does not name."""
    packages: list[str] = []
    sources: list[str] = []
    for one in (leading, *(other for other in found if other is not leading)):
        named = {name for line in packages if (name := name_of(line))}
        lines = [*(line for name, line in one.conda.items() if name not in named), *one.packages]
        added = [line for line in lines if line not in packages and name_of(line) not in named]
        packages += dict.fromkeys(added)
        if added or one is leading:
            sources.append(one.name)
    return Combination(" and ".join(sources), tuple(packages))


def _with_versions(files: Combination, logged: Mapping[str, str]) -> Combination:
    """Returns `files` with the versions that MLmodel names."""
    packages = tuple(_at(line, logged.get(name_of(line) or "")) for line in files.packages)
    return (
        files if packages == files.packages else Combination(f"{files.source}, with the versions in {NAME}", packages)
    )


def _at(line: str, version: str | None) -> str:
    """Returns the line with this version. Extras and markers are kept. URLs, and lines with hashes, are not changed."""
    match = re.fullmatch(r"([\w.-]+\s*(?:\[[^\]]*\])?)\s*([^;@\[\]]*?)\s*(;.*)?", line)
    same = (f"=={version}", f"=={version}.*")
    if version is None or match is None or "--hash" in line or match[2] in same:
        return line
    return f"{match[1].strip()}=={version}{f' {match[3]}' if match[3] else ''}"


def _disagreements(combinations: Sequence[Combination]) -> Iterator[str]:
    if len(combinations) < 2:
        return
    said: dict[str, list[str]] = {}
    for one in combinations:
        for line in one.packages:
            # A line without a version agrees with every other one.
            if (name := name_of(line)) and name != normalised(line) and line not in said.setdefault(name, []):
                said[name].append(line)
    for name, lines in said.items():
        if len(lines) > 1:
            yield f"the model's files disagree about {name} ({', '.join(lines)}): tried in this order"


# --- small things -----------------------------------------------------------------------------------------


def _mapping(path: Path) -> Mapping[str, Any]:
    content = parse_yaml(path)
    return content if isinstance(content, dict) else {}


def _strings(value: Any) -> list[str]:
    return [item.strip() for item in value if isinstance(item, str) and item.strip()] if isinstance(value, list) else []
