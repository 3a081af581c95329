"""The configuration of a process, in memory."""

from __future__ import annotations

import json
import os
from typing import Any, Mapping


def in_memory(config: Mapping[str, Any]) -> int:
    """Returns a descriptor from which the configuration can be read. A file is not used, because the configuration may
    contain a token, and a full disk must not prevent the start of a worker."""
    descriptor = os.memfd_create("serinus-config")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(json.dumps(config).encode())
    return descriptor
