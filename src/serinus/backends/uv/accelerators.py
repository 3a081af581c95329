"""Compiled libraries that make workers faster. They are beside a model's own packages and never replace them.

There is one directory for each Python version, and every environment of that version has a link to it. The runtime puts
it at the end of its path, so a model's own version takes precedence. Environments work without them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from serinus.backends.uv.bytecode import Bytecode
from serinus.backends.uv.command import Uv
from serinus.backends.uv.interpreters import Interpreter
from serinus.core.errors import SerinusError
from serinus.lib import directories

LINK = "accelerators"
LOCK = Path(__file__).with_name("accelerators.lock")
_AGAIN = 600.0
"""Seconds after a failure until the next attempt, so that a machine without a network does not wait for each model."""


class Accelerators:
    """Libraries below `directory`, which also holds the environments."""

    def __init__(self, uv: Uv, directory: Path, bytecode: Bytecode) -> None:
        self._uv = uv
        self._directory = directory / "accelerators"
        self._bytecode = bytecode

    def link(
        self, environment: Path, interpreter: Interpreter, say: Callable[[str], None], keep_open: Sequence[int] = ()
    ) -> None:
        """Links the libraries into `environment`, and reports through `say` where they are missing. Errors of uv and
        the disk are not raised."""
        link, place = environment / LINK, self.place(interpreter)
        if link.is_symlink() and link.resolve() == place.resolve() and place.is_dir():
            return
        try:
            if not place.is_dir() and not self._build(place, interpreter, say, keep_open):
                return
            link.unlink(missing_ok=True)
            link.symlink_to(Path("..") / LINK / place.name)
        except OSError as error:
            say(f"goes without accelerators: {error.strerror}")

    def place(self, interpreter: Interpreter) -> Path:
        """Returns the directory for an interpreter."""
        digest = hashlib.sha256(LOCK.read_bytes() + interpreter.platform.encode()).hexdigest()
        return self._directory / f"cp{interpreter.version[0]}{interpreter.version[1]}-{digest[:12]}"

    def _build(
        self, place: Path, interpreter: Interpreter, say: Callable[[str], None], keep_open: Sequence[int]
    ) -> bool:
        """Builds the directory beside `place` and moves it there when complete. Returns whether `place` exists then."""
        self._directory.mkdir(parents=True, exist_ok=True)
        failed = place.with_suffix(".failed")
        if failed.exists() and time.time() - failed.stat().st_mtime < _AGAIN:
            say("goes without accelerators: they could not be installed a short time ago")
            return False
        try:
            with directories.appearing(place) as new:
                self._install(new, interpreter, keep_open)
                new.chmod(0o755)
        except (SerinusError, OSError) as error:
            failed.touch()
            why = error.message if isinstance(error, SerinusError) else type(error).__name__
            say(f"goes without accelerators: {why}")
        return place.is_dir()

    def _install(self, target: Path, interpreter: Interpreter, keep_open: Sequence[int]) -> None:
        self._uv.run(
            "pip", "install", "--target", target, "--python", interpreter.path, "--requirements", LOCK,
            "--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-python-downloads", keep_open=keep_open,
        )  # fmt: skip
        self._bytecode.provide(target, interpreter, keep_open)
