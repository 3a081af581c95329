"""Whether what runs in an image needs packages that are not in its lock."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

_PROGRAM = """
import importlib.metadata, re, sys
there, modules = {there!r}, {modules!r}
class Missing:
    def find_spec(self, name, path=None, target=None):
        of = packages.get(name.partition(".")[0], there)
        if not any(re.sub("[-_.]+", "-", one).lower() in there for one in of):
            raise ModuleNotFoundError(name, name=name)
packages = importlib.metadata.packages_distributions()
sys.meta_path.insert(0, Missing())
for module in modules:
    __import__(module)
"""


def names(lock: Path) -> set[str]:
    """The packages of a lock."""
    locked = {re.split(r"==|\[", line)[0] for line in lock.read_text().splitlines() if "==" in line[:60]}
    return {re.sub(r"[-_.]+", "-", name).lower() for name in locked if not name.startswith("#")}


def why_not(lock: Path, modules: Collection[str]) -> str:
    """Why the modules cannot be imported with Serinus and the packages of the lock alone. Empty: they can."""
    there = sorted(names(lock) | {"serinus", "serinus-runtime"})
    program = _PROGRAM.format(there=there, modules=list(modules))
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    return told.stderr if told.returncode else ""
