import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def directory(tmp_path):
    """In memory where there is such a file system: a rollout has thousands of commits, each with an fsync."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(dir=memory, prefix="serinus-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def lab(directory):
    from lab import Lab

    return Lab(directory)
