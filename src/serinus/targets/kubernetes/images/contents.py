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

_VERSION = re.compile(r"python3\.\d+")
_LIBRARY = re.compile(r"lib/libpython3[.\d]*\.so[.\d]*")
# Below lib/python3.x: the packages are the environment's; the rest serves no model, or needs what no base image has.
_LEFT_OUT = re.compile(
    r"(site-packages|dist-packages|test|idlelib|turtledemo|tkinter|ensurepip|config-[^/]*|LICENSE\.txt|turtle\.py"
    r"|sitecustomize\.py|usercustomize\.py)(/.*)?"
    r"|(distutils|lib2to3|unittest|ctypes|sqlite3|json|email|asyncio|importlib)/(test|tests)(/.*)?"
    r"|lib-dynload/_?(test|tkinter|ctypes_test|xxtest|xxlimited)[^/]*"
    r"|.*\.(a|o|pyc|whl)|(.*/)?__pycache__"
)
_BYTECODE = re.compile(r"(.*/)?__pycache__|.*\.pyc")


def python(prefix: Path, version: str) -> Iterator[Entry]:
    """The interpreter and the standard library of Python `version` (`3.11`) in the installation at `prefix`, which is
    relocatable: it finds its library from where it lies. There may be other versions at `prefix`. Raises Unbuildable: a
    link in it leads elsewhere; OSError."""

    def wanted(relative: str) -> bool:
        if relative in ("bin", "lib", f"bin/python{version}", f"lib/python{version}"):
            return True
        inside = relative.removeprefix(f"lib/python{version}/")
        return _LIBRARY.fullmatch(relative) is not None if inside == relative else _LEFT_OUT.fullmatch(inside) is None

    yield from trees.walk(prefix, PYTHON, links=trees.inside(prefix), wanted=wanted)
    for name in ("python", "python3"):
        yield Entry(f"{PYTHON}/bin/{name}", target=f"python{version}")


def python_version(prefix: Path) -> str:
    """`3.11`, of the only Python at `prefix`. Raises Unbuildable: there is none, or more than one."""
    found = [
        one.name.removeprefix("python")
        for one in prefix.glob("lib/python3.*")
        if _VERSION.fullmatch(one.name) and (prefix / "bin" / one.name).is_file()
    ]
    if len(found) != 1:
        raise Unbuildable(
            f"There is not exactly one installation of Python at {prefix}.",
            hint="Name the prefix of one installation, with bin/python3.x and lib/python3.x.",
        )
    return found[0]


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
