"""Files that only their owner may read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write(path: Path, content: str) -> None:
    """0600, and moved into place: whole or not at all. Raises OSError."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)  # whatever it was, its mode included
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def make_secret(path: Path) -> None:
    """256 random bits in hex, where there is no file yet; half a secret would be one that can be guessed."""
    if not path.exists():
        write(path, secrets.token_hex(32))
