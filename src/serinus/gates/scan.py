"""The gate `scan`: the imports of the artifact's pickles.

A list of names cannot prove that a pickle is harmless, because code can hide behind allowed names. It catches simple
attacks before anything is loaded. Confinement is the second line of defence: a model is only loaded in a confined
process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serinus.core.examination import GateResult
from serinus.gates.evidence import ScanEvidence
from serinus.gates.results import SHOWN, failed, passed

_SYSTEM = """
    os posix nt subprocess _posixsubprocess commands popen2 pty tty sys signal _signal resource fcntl platform shutil
    tempfile multiprocessing _multiprocessing asyncio atexit
"""
_CODE = """
    importlib _frozen_importlib _frozen_importlib_external imp zipimport pkgutil runpy code codeop marshal gc inspect
    ctypes _ctypes cffi _cffi_backend pdb bdb profile cProfile timeit trace doctest pydoc pickle _pickle dbm shelve
    distutils setuptools pkg_resources pip ensurepip venv idlelib lib2to3
"""
_NETWORK = """
    socket _socket ssl socketserver http httplib httpx urllib urllib2 urllib3 requests aiohttp ftplib smtplib poplib
    imaplib telnetlib xmlrpc webbrowser
"""
_FUNCTIONS = """
    io.open io.open_code io.FileIO _io.open _io.open_code _io.FileIO numpy.load numpy.save numpy.fromfile
    pandas.read_pickle pandas.eval joblib.load cloudpickle.loads cloudpickle.load dill.loads dill.load torch.load
"""
_BUILTINS = "eval exec execfile compile __import__ open input breakpoint globals locals vars"
_NOTED_BUILTINS = "getattr setattr delattr"


def _of_builtins(names: str) -> frozenset[str]:
    """Returns the names under the present module name and that of Python 2, which pickles of protocol 2 use."""
    return frozenset(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in names.split())


FORBIDDEN_MODULES = frozenset((_SYSTEM + _CODE + _NETWORK).split())
FORBIDDEN_NAMES = _of_builtins(_BUILTINS) | frozenset(_FUNCTIONS.split())
FORBIDDEN_PREFIXES = (
    "numpy.testing.",
    "numpy.f2py.",
    "numpy.distutils.",
    "numpy.ctypeslib.",
    "pandas.io.",
    "joblib.externals.loky.",
    "torch.hub.",
    "torch.utils.cpp_extension.",
)
NOTED_NAMES = _of_builtins(_NOTED_BUILTINS) | {
    "operator.attrgetter",
    "operator.methodcaller",
    "types.CodeType",
    "types.FunctionType",
}
"""Imports that occur in honest pickles but are useful to attackers. They are mentioned and not refused."""
NOTED_MODULES = frozenset({"cloudpickle", "dill", "__main__", "_thread"})
UNKNOWN = "?"
"""The part of a name that the pickle hides."""


def is_forbidden(name: str) -> bool:
    """Whether no model needs this import."""
    return (
        name.split(".", 1)[0] in FORBIDDEN_MODULES
        or name in FORBIDDEN_NAMES
        or name.startswith(FORBIDDEN_PREFIXES)
        or UNKNOWN in name
    )


def is_noted(name: str) -> bool:
    """Whether the import is mentioned in the result."""
    return name in NOTED_NAMES or name.split(".", 1)[0] in NOTED_MODULES


def scan(evidence: ScanEvidence | Mapping[str, Any]) -> GateResult:
    """Fails on an import that no model needs, or on a pickle that cannot be read to its end.

    The evidence has `forbidden` and `noted`, each a list of {file, import}.
    """
    seen = evidence if isinstance(evidence, ScanEvidence) else ScanEvidence.from_json(evidence)
    found = [(pickle.file, name) for pickle in seen.pickles for name in sorted(set(pickle.imports))]
    forbidden = [{"file": file, "import": name} for file, name in found if is_forbidden(name)]
    noted = [{"file": file, "import": name} for file, name in found if not is_forbidden(name) and is_noted(name)]
    unread = [{"file": pickle.file, "error": pickle.error} for pickle in seen.pickles if pickle.error]
    details = {
        "files": [pickle.file for pickle in seen.pickles],
        "imports": len(found),
        "forbidden": forbidden[:SHOWN],
        "noted": noted[:SHOWN],
        "unread": unread[:SHOWN],
        "other": list(seen.other[:SHOWN]),
    }
    if forbidden:
        first = forbidden[0]
        more = f" and {len(forbidden) - 1} more" if len(forbidden) > 1 else ""
        return failed("scan", f"{first['file']} imports {first['import']}{more}, which no model needs.", **details)
    if unread:
        return failed("scan", f"{unread[0]['file']} cannot be read as a pickle to its end.", **details)
    return passed("scan", _harmless(seen, len(found), len(noted)), **details)


def _harmless(seen: ScanEvidence, imports: int, noted: int) -> str:
    if not seen.pickles:
        return "The artifact holds no pickles."
    pickles = "1 pickle imports" if len(seen.pickles) == 1 else f"{len(seen.pickles)} pickles import"
    text = f"{pickles} {imports} {'name' if imports == 1 else 'names'}, none of them forbidden"
    return f"{text}; {noted} can contain code of their own." if noted else f"{text}."
