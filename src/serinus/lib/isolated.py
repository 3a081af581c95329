"""Starts Python with Serinus' own code first, before anything of the interpreter's environment runs."""

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
    """Returns the command that calls `main` of `module`, from `directory`, with `arguments` in `sys.argv`.

    Python runs isolated (`-I`) and without `site` (`-S`), so that environment variables, the working directory and
    `.pth` files of packages, which are code, have no effect. `python` is the interpreter of a virtual environment with
    `interpreter` as its base. The process then belongs to that environment, and has its packages after it has called
    `site`.
    """
    inside = ""
    if python is not None:
        inside = _INSIDE.format(python=str(python), root=str(python.absolute().parent.parent))
    entry = _ENTRY.format(directory=str(directory), module=module, inside=inside)
    return [str(interpreter), "-I", "-S", *flags, "-c", entry, *arguments]
