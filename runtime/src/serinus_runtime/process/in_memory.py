"""What a process is told when it is started."""

from __future__ import annotations

import json
import os
from typing import Any, Mapping


def in_memory(config: Mapping[str, Any]) -> int:
    """A descriptor to read it from. Not a file: it may hold a token, and a full disk must not keep a worker from
    starting."""
    descriptor = os.memfd_create("serinus-config")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(json.dumps(config).encode())
    return descriptor
