from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance_world import World, world


@pytest.fixture(scope="session")
def served() -> Iterator[World]:
    """Short-named, because it holds Unix sockets."""
    directory = Path(tempfile.mkdtemp(prefix="sc-"))
    try:
        with world(directory) as running:
            yield running
    finally:
        shutil.rmtree(directory, ignore_errors=True)
