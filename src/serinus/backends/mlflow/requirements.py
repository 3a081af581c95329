"""What an artifact says that it needs: python_env.yaml, conda.yaml and requirements.txt, as MLflow writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serinus.backends.mlflow.files import inside
from serinus.backends.mlflow.mlmodel import MLmodel, parse_yaml, text
from serinus.core.errors import Unbuildable
from serinus.core.values import Requirements

_CONDA_SPEC = re.compile(r"(?:[\w./-]+::)?(?P<name>[A-Za-z0-9_][\w.-]*)\s*(?P<version>.*)")
_LOCAL = re.compile(r"(?:(?P<name>[\w.-]+(?:\[[^\]]*\])?)\s*@\s*)?(?:file://)?(?P<path>[^\s;@:]+)(?P<rest>\s*;.*)?")

_PYPI_NAMES = {"pytorch": "torch", "py-xgboost": "xgboost", "py-xgboost-cpu": "xgboost", "msgpack-python": "msgpack"}
"""What conda calls otherwise."""

_NOT_PYTHON = re.compile(
    r"_.*|(?:lib|gcc|ld_|vs20|vc14|ucrt).*|pip|openjdk|openssl|ca-certificates|cudatoolkit|mkl|r-.*"
)
"""What conda installs beside Python packages."""


@dataclass(slots=True)
class Found:
    """Of one environment file."""

    packages: list[str] = field(default_factory=list)
    python: str | None = None
    warnings: list[str] = field(default_factory=list)


Reader = Callable[[Path, Path], Found]
"""Of an environment file: (root of the artifact, path of the file) -> what it says."""


def read_requirements(model: MLmodel) -> tuple[Requirements, tuple[str, ...]]:
    """The requirements and warnings. Raises Unbuildable: none declared, or a file that they name is missing."""
    flavor = model.python_function
    declared = _declared(flavor)
    for name, reader in _candidates(declared):
        path = inside(model.root, name, "MLmodel")
        found = reader(model.root, path) if path.is_file() else Found()
        if found.packages:
            python = found.python or text(flavor, "python_version")
            requirements = Requirements(tuple(dict.fromkeys(found.packages)), python, model.logged_at, name)
            return requirements, tuple(found.warnings)
    lost = [name for name in declared.values() if not (model.root / name).is_file()]
    why = f"MLmodel names {' and '.join(lost)}, which the artifact lacks" if lost else "it declares none"
    raise Unbuildable(
        f"The environment of the model is not known: {why}.",
        hint="Log it again with `pip_requirements=[...]`, or put a requirements.txt with pinned versions in it.",
    )


def _declared(flavor: Mapping[str, Any]) -> dict[str, str]:
    """Kind -> file. MLflow 2 and later write {virtualenv: file, conda: file}, earlier ones the conda file's name."""
    env = flavor.get("env")
    if isinstance(env, dict):
        return {kind: name for kind in ("virtualenv", "conda") if (name := text(env, kind))}
    name = text(flavor, "env")
    return {"conda": name} if name else {}


def _candidates(declared: Mapping[str, str]) -> Iterator[tuple[str, Reader]]:
    """Where to look, the most telling first; under its usual name where MLmodel names none."""
    yield declared.get("virtualenv", "python_env.yaml"), _python_env
    yield declared.get("conda", "conda.yaml"), _conda
    yield "requirements.txt", _requirements_txt


# --- the three kinds of files -----------------------------------------------------------------------------


def _requirements_txt(root: Path, path: Path) -> Found:
    return Found(list(_lines(root, path, set())))


def _python_env(root: Path, path: Path) -> Found:
    content = _mapping(path)
    found = Found(python=_python_version(text(content, "python")))
    for line in _strings(content.get("dependencies")):
        found.packages += _expanded(root, path, line, set())
    return found


def _conda(root: Path, path: Path) -> Found:
    content = _mapping(path)
    found = Found()
    dependencies = content.get("dependencies")
    for entry in dependencies if isinstance(dependencies, list) else []:
        if isinstance(entry, dict):
            for line in _strings(entry.get("pip")):
                found.packages += _expanded(root, path, line, set())
        else:
            _add_conda_package(found, str(entry).strip())
    return found


def _add_conda_package(found: Found, entry: str) -> None:
    match = _CONDA_SPEC.fullmatch(entry)
    if match is None:
        found.warnings.append(f"conda.yaml: left out {entry!r}, which could not be read")
        return
    name, version = match["name"], match["version"].strip()
    if name == "python":
        found.python = _python_version(version)
        if found.python is None and version:
            found.warnings.append(f"conda.yaml: python{version} is a range; the version it was logged with is taken")
    elif _NOT_PYTHON.fullmatch(name):
        if name != "pip":
            found.warnings.append(f"conda.yaml: left out {name}, which is not a Python package")
    else:
        line = _PYPI_NAMES.get(name, name) + _pip_version(version)
        found.packages.append(line)
        found.warnings.append(f"conda.yaml: {entry!r} is taken from PyPI, as {line}")


def _pip_version(version: str) -> str:
    """conda's `=1.26` means any 1.26, its third part is a build: `=1.26.4=py311h64a7726_0`."""
    exact = re.fullmatch(r"==?\s*([\w.*+!]+)\s*=\s*\S+", version)
    if exact:
        return f"=={exact[1]}"
    fuzzy = re.fullmatch(r"=\s*([\w.+!]+?)(?:\.\*)?", version)
    return f"=={fuzzy[1]}.*" if fuzzy else version.replace(" ", "")


# --- requirement lines ------------------------------------------------------------------------------------


def _lines(root: Path, path: Path, seen: set[Path]) -> Iterator[str]:
    if path in seen:
        return
    try:
        joined = re.sub(r"\\\r?\n", " ", path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Unbuildable(f"{path.name} in the artifact is not UTF-8 text.", hint="Log the model again.") from error
    for line in joined.splitlines():
        stripped = re.sub(r"(^|\s)#.*$", "", line).strip()
        if stripped:
            yield from _expanded(root, path, stripped, seen | {path})


def _expanded(root: Path, path: Path, line: str, seen: set[Path]) -> Iterator[str]:
    """`line` as pip can read it from anywhere: files that it names are read, or given by their full path."""
    option = re.match(r"(-r|--requirement|-c|--constraint)[\s=]*(\S+)$", line)
    if option is None:
        yield _placed(root, line)
        return
    here = path.parent.relative_to(root)
    named = inside(root, str(here / option[2]), path.name)
    if not named.is_file():
        raise Unbuildable(
            f"{path.name} in the artifact names {option[2]}, which is missing.", hint="Log the model again."
        )
    if option[1] in ("-r", "--requirement"):
        yield from _lines(root, named, seen)
    else:
        yield f"-c {named}"


def _placed(root: Path, line: str) -> str:
    """A wheel inside the artifact by its full path; a file of the machine where the model was logged is refused."""
    match = _LOCAL.fullmatch(line)
    if match is None or not (match["path"].endswith(".whl") or "file://" in line):
        return line
    relative = match["path"].removeprefix("./")
    wheel = root / relative
    if relative.startswith("/") or ".." in Path(relative).parts or not wheel.is_file():
        raise Unbuildable(
            f"The requirement {line!r} is a file of the machine where the model was logged, and not in the artifact.",
            hint="Require a released version (`name==1.2.3`), or log the wheel with the model.",
        )
    prefix = f"{match['name']} @ file://" if match["name"] else ""
    return f"{prefix}{wheel}{match['rest'] or ''}"


# --- small things -----------------------------------------------------------------------------------------


def _mapping(path: Path) -> Mapping[str, Any]:
    content = parse_yaml(path)
    return content if isinstance(content, dict) else {}


def _strings(value: Any) -> list[str]:
    return [item.strip() for item in value if isinstance(item, str) and item.strip()] if isinstance(value, list) else []


def _python_version(value: str | None) -> str | None:
    """`3.9.18` of `3.9.18`, `=3.9.18`, `==3.9.*`; None of a range."""
    match = re.fullmatch(r"=*\s*(\d+\.\d+(?:\.\d+)?)(?:\.\*)?(?:=\S+)?", value or "")
    return match[1] if match else None
