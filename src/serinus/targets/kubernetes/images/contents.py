"""What each layer of a release's image holds, and where in the image that is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import serinus_runtime

from serinus.core.errors import Unbuildable
from serinus.targets.kubernetes.images import trees
from serinus.targets.kubernetes.images.trees import Entry

PYTHON = "opt/python"
ENVIRONMENT = "opt/environment"
RUNTIME = "opt/serinus/runtime"
MODEL = "opt/model"
GRAPH = "opt/graph"
SCRATCH = "scratch"
USER = 65532

ENTRYPOINT = (
    f"/{PYTHON}/bin/python3", "-I", "-S", "-u", "-X", "faulthandler", "-c",
    f"import sys; sys.path.append('/{RUNTIME}'); from serinus_runtime.pod.main import main; main()",
)  # fmt: skip

_PREFIX = re.compile(r"lib/python(3\.\d+)")
_BINARY = re.compile(r"bin/python(3(\.\d+)?)?")
_LIBRARY = re.compile(r"lib/(libpython3[.\d]*\.so[.\d]*|python3\.\d+(/.*)?)|lib|bin")
# Below lib/python3.x: the packages are the environment's; the rest serves no model, or needs what no base image has.
_LEFT_OUT = re.compile(
    r"(site-packages|dist-packages|test|idlelib|turtledemo|tkinter|ensurepip|config-[^/]*|LICENSE\.txt|turtle\.py)(/.*)?"
    r"|(distutils|lib2to3|unittest|ctypes|sqlite3|json|email|asyncio|importlib)/(test|tests)(/.*)?"
    r"|lib-dynload/_?(test|tkinter|ctypes_test|xxtest|xxlimited)[^/]*"
    r"|.*\.(a|o|pyc|whl)|(.*/)?__pycache__"
)
_BYTECODE = re.compile(r"(.*/)?__pycache__|.*\.pyc")


def python(prefix: Path) -> Iterator[Entry]:
    """The interpreter and the standard library of the installation at `prefix`, which is relocatable: it finds its
    library from where it lies. Raises Unbuildable: there is none, or more than one."""
    versions = {found[1] for one in prefix.glob("lib/python3.*") if (found := _PREFIX.fullmatch(f"lib/{one.name}"))}
    binary = prefix / "bin" / f"python{next(iter(versions), '')}"
    if len(versions) != 1 or not binary.is_file() or binary.is_symlink():
        raise Unbuildable(
            f"There is not exactly one installation of Python at {prefix}.",
            hint="Name the prefix of one installation, with bin/python3.x and lib/python3.x.",
        )
    version = versions.pop()

    def wanted(relative: str) -> bool:
        if _LIBRARY.fullmatch(relative) is None:
            return relative == f"bin/python{version}"
        inside = relative.removeprefix(f"lib/python{version}/")
        return inside == relative or _LEFT_OUT.fullmatch(inside) is None

    yield from trees.walk(prefix, PYTHON, links=trees.inside(prefix), wanted=wanted)
    for name in ("python", "python3"):
        yield Entry(f"{PYTHON}/bin/{name}", target=f"python{version}")


def python_version(prefix: Path) -> str:
    """`3.11`. Raises Unbuildable as `python` does."""
    return next(one.target.removeprefix("python") for one in python(prefix) if one.name == f"{PYTHON}/bin/python3")


def has_shared_library(prefix: Path) -> bool:
    """Whether the interpreter is in a library beside it, which the loader must be told of."""
    return any(prefix.glob("lib/libpython3*.so*"))


def environment(packages: Path, accelerators: Path | None, version: str) -> Iterator[Entry]:
    """An environment for Python `version`, as `serinus_runtime` expects it: with the packages that were installed in
    the directory `packages`, and with what makes workers quicker where there is any."""
    yield from trees.walk(packages, f"{ENVIRONMENT}/lib/python{version}/site-packages")
    if accelerators is not None:
        yield from trees.walk(accelerators, f"{ENVIRONMENT}/accelerators", wanted=_not_bytecode)
    yield Entry(f"{ENVIRONMENT}/lib64", target="lib")
    for name in ("python", "python3"):
        yield Entry(f"{ENVIRONMENT}/bin/{name}", target=f"/{PYTHON}/bin/python3")
    facts = f"home = /{PYTHON}/bin\ninclude-system-site-packages = false\nversion = {version}\n"
    yield Entry(f"{ENVIRONMENT}/pyvenv.cfg", content=facts.encode())


def runtime() -> Iterator[Entry]:
    """`serinus_runtime` as this process would import it, and the directory into which a pod's scratch is mounted."""
    package = Path(str(serinus_runtime.__file__)).parent
    yield from trees.walk(package, f"{RUNTIME}/{package.name}", wanted=_not_bytecode)
    yield trees.directory(SCRATCH, mode=0o700, owner=USER)


def model(artifact: Path) -> Iterator[Entry]:
    """The files of a version, as they were logged."""
    return trees.walk(artifact, MODEL, data=True)


def graph(compiled: Path) -> Iterator[Entry]:
    """The graph of a compiled release, and the plan of how it is asked."""
    return trees.walk(compiled, GRAPH, data=True)


def _not_bytecode(relative: str) -> bool:
    return _BYTECODE.fullmatch(relative) is None
