"""Calls at a fixed rate within an event loop. Its own timers are whole milliseconds; the kernel's are not (see
timerfd_create(2))."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import time
from collections.abc import Callable

_libc = ctypes.CDLL(None, use_errno=True)


class _Spec(ctypes.Structure):
    """`struct itimerspec`: interval and first expiry, in seconds and nanoseconds."""

    _fields_ = (
        ("every_s", ctypes.c_long), ("every_ns", ctypes.c_long), ("first_s", ctypes.c_long), ("first_ns", ctypes.c_long)
    )  # fmt: skip


class Ticks:
    """`with Ticks(seconds, call): ...` in a running loop: `call` that often, but once where several were missed."""

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self._seconds, self._call = seconds, call
        self._descriptor = -1

    def __enter__(self) -> Ticks:
        self._descriptor = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        whole, rest = divmod(max(round(self._seconds * 1e9), 1), 10**9)
        _libc.timerfd_settime(self._descriptor, 0, ctypes.byref(_Spec(whole, rest, whole, rest)), None)
        asyncio.get_running_loop().add_reader(self._descriptor, self._tick)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _tick(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._descriptor, 8)
        self._call()
