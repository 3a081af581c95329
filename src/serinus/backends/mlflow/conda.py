"""conda.yaml: its Python version, its pip part, and those of its packages that are Python packages, by their PyPI
names."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from serinus.backends.mlflow.conda_names import RENAMED, SAME
from serinus.backends.mlflow.lines import host_of, name_of, normalised

_SPEC = re.compile(
    r"(?:\S*::)?+(?P<name>[A-Za-z0-9_][\w.-]*+)\s*+(?:\[(?P<bracket>[^\]]*+)\])?+\s*+(?P<version>[^\[]*+)(?:\[.*)?"
)
_BUILT_FOR_PYTHON = re.compile(r"py(?=\d|_\d|h[0-9a-f]|$)")
"""Matches build strings such as `py311h64a7726_0`, `pyhd8ed1ab_0` and `cuda118_py39h7d1e8b2_1`. The rest of a build
string is hexadecimal, so other packages do not match by chance."""
_LONGEST = 300
"""The largest number of characters of an entry."""
_BRACKETED = re.compile(r"""(\w+)\s*=\s*(?:'([^']*)'|"([^"]*)"|([^'",\]\s]+))""")
"""Matches `version='>=1.5,<2', build=py39*`."""
_FILE = re.compile(
    r"\w+://\S*/(?P<name>[^/\s]+)-(?P<version>[^-/\s]+)-(?P<build>[^-/\s]+)\.(?:conda|tar\.bz2)(?:#\w+)?"
)
"""A package given by its URL, whose path may contain a token."""
_VERSION = re.compile(
    r"(?:\d+!)?\d+(?:\.\d+)*(?:[._-]?(?:a|b|rc|alpha|beta|pre|preview|post|dev)(?:[._-]?\d+)?)*(?:\+[\w.]+)?"
)
_SPECIFIER = re.compile(rf"(?:[=!<>~]=|<|>)\s*{_VERSION.pattern}(?:\.\*)?")
_LONGER = frozenset({"opencv-python-headless"})
"""Packages whose version has one part more on PyPI than in conda."""


@dataclass(slots=True)
class CondaPackages:
    """The packages that conda itself would install, for pip."""

    lines: dict[str, str] = field(default_factory=dict)
    """Requirement lines by normalized name."""
    python: str | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Entry:
    text: str
    name: str
    version: str
    """In conda's syntax, without the build."""
    build: str


def python_packages(entries: Collection[str], pip: Collection[str], file: str) -> CondaPackages:
    """Returns those of conda's `entries` that are Python packages.

    They are recognized by the build string. Without one, they are known by name or required by lines of the `pip` part,
    which are installed later and take precedence.
    """
    required = {name for line in pip if (name := name_of(line))}
    found = CondaPackages()
    left: list[str] = []
    unknown: list[str] = []
    for entry in entries:
        read = _read(entry) if len(entry) <= _LONGEST else None
        if read is None:
            shown = f"an entry for {host_of(entry)}" if "://" in entry else repr(entry[:_LONGEST])
            found.notes.append(f"{file}: left out {shown}, which could not be read")
        elif read.name == "python":
            _take_python(found, read, file)
        elif read.name != "pip":
            _sort(found, read, required, left, unknown, file)
    if left:
        found.notes.append(f"{file}: left out {', '.join(left)}: it is a conda package, but not a Python package")
    if unknown:
        found.notes.append(
            f"{file}: left out {', '.join(unknown)}: nothing says that PyPI has the same under that name; what the "
            "model needs of it belongs in pip's part"
        )
    return found


def _sort(
    found: CondaPackages, entry: _Entry, required: Collection[str], left: list[str], unknown: list[str], file: str
) -> None:
    name = _pypi_name(entry, required)
    if name == "":
        left.append(entry.name)
    elif name is None:
        unknown.append(entry.name)
    elif normalised(name) not in required:
        version = _pip_version(entry.version, name)
        if version is None:
            found.notes.append(f"{file}: {entry.text!r} is taken without its version, which PyPI cannot have")
        line = name + (version or "")
        found.lines.setdefault(normalised(name), line)
        found.notes.append(f"{file}: {entry.text!r} is taken from PyPI, as {line}")


def _pypi_name(entry: _Entry, required: Collection[str]) -> str | None:
    """Returns the PyPI name. Empty: it is not a Python package. None: unknown."""
    name = entry.name.lower()
    # By conda's naming conventions: its own internals, and packages of other languages.
    if name.startswith(("_", "r-", "perl-", "lua-")):
        return ""
    if _BUILT_FOR_PYTHON.search(entry.build):
        return RENAMED.get(name, name)
    if entry.build and "*" not in entry.build:  # A pattern such as `*cuda*` says nothing.
        return ""
    if name in RENAMED:
        return RENAMED[name]
    return name if name in SAME or normalised(name) in required else None


def _read(entry: str) -> _Entry | None:
    if file := _FILE.fullmatch(entry):
        text = "{name}={version}={build}".format(**file.groupdict())
        return _Entry(text, file["name"], f"=={file['version']}", file["build"])
    match = _SPEC.fullmatch(entry)
    if match is None or "://" in entry.rpartition("::")[2]:
        return None
    version, build = match["version"].strip(), ""
    inner = {key: a or b or c for key, a, b, c in _BRACKETED.findall(match["bracket"] or "")}
    if exact := re.fullmatch(r"(==?)?\s*([^\s=<>!~|,]+)(?:\s*=\s*|\s+)([\w.*]+)", version):
        version, build = "*" if exact[2] == "*" else f"=={exact[2]}", exact[3]
    version = version or inner.get("version", "")
    if re.fullmatch(r"\d[^\s=<>!~|,]*", version):  # `numpy 1.26.4`
        version = f"=={version}"
    # Without the channel, whose URL may contain a token.
    return _Entry(entry.rpartition("::")[2], match["name"], version, build or inner.get("build", ""))


def _take_python(found: CondaPackages, entry: _Entry, file: str) -> None:
    found.python = python_version(entry.version)
    if found.python is None and entry.version:
        found.notes.append(f"{file}: python{entry.version} is a range; the version it was logged with is taken")


def python_version(value: str | None) -> str | None:
    """Returns the version in `3.9.18`, `=3.9.18` or `==3.9.*`. None: it is a range."""
    match = re.fullmatch(r"=*\s*(\d+\.\d+(?:\.\d+)?)(?:\.\*)?(?:=\S+)?", value or "")
    return match[1] if match else None


def _pip_version(version: str, name: str) -> str | None:
    """Returns a version specifier for pip. conda's `=1.26` means any 1.26. None: PyPI has no such version."""
    if not version or version == "*":
        return ""
    fuzzy = re.fullmatch(r"=\s*([\w.+!-]+?)(?:\.\*|\*)?", version)
    if fuzzy:
        return f"=={fuzzy[1]}.*" if _VERSION.fullmatch(fuzzy[1]) else None
    plain = re.sub(r"\s+", "", version)
    if re.fullmatch(r"\d[\w.]*\*", plain):
        plain = f"=={plain}"
    plain = re.sub(r"(?<=\d)\*$", ".*", plain)
    if not all(_SPECIFIER.fullmatch(part) for part in plain.split(",")):
        return None
    return f"{plain}.*" if name in _LONGER and re.fullmatch(r"==[\d.]+", plain) else plain
