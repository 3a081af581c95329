"""How often Python looks for garbage that refers to itself."""

from __future__ import annotations

import gc


def collect_rarely() -> None:
    """Makes collections rare in a process that creates many objects and few cycles, such as rows that it parses.

    By default there is one for every 700 objects, and each of the last generation looks at all objects of the process.
    Objects that exist already are never looked at again, so this is to be called when a process has been set up.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
