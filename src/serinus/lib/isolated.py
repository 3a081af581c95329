"""Starts Python on code of ours, with nothing of the interpreter's environment before that code says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_ENTRY = "import sys; sys.path.insert(0, {directory!r}); {inside}from {module} import main; main()"
# As `site` finds them in a virtual environment.
_INSIDE = "sys.executable, sys.prefix, sys.exec_prefix = {python!r}, {root!r}, {root!r}; "


def command(
    interpreter: Path,
    directory: Path,
    module: str,
    *arguments: str,
    python: Path | None = None,
    flags: Sequence[str] = (),
) -> list[str]:
    """Calls `main` of `module`, which is looked for in `directory` first, with `arguments` in `sys.argv`.

    Isolated (`-I`) and without `site` (`-S`): no variable, no working directory, and no `.pth` file of installed
    packages, which is code, has a say. `python`: of a virtual environment that `interpreter` is the base of; the
    process takes itself for that one, and has its packages once it asks `site` for them.
    """
    inside = ""
    if python is not None:
        inside = _INSIDE.format(python=str(python), root=str(python.absolute().parent.parent))
    entry = _ENTRY.format(directory=str(directory), module=module, inside=inside)
    return [str(interpreter), "-I", "-S", *flags, "-c", entry, *arguments]
