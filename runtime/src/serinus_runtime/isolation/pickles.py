"""The imports of a pickle, determined from its opcodes. Nothing is imported, constructed or called.

An abstract machine follows the stack as far as names require it. Strings, numbers, tuples, dicts and references to
globals are tracked, everything else is unknown. A name that cannot be determined is reported as `unresolved`, never
ignored. joblib writes array bytes between the opcodes. Their length is computed from the wrapper's state.
"""

from __future__ import annotations

import pickletools
from math import prod
from typing import Any, BinaryIO, NamedTuple

UNRESOLVED = "unresolved"
_MOST_OPCODES = 5_000_000
_MOST_STREAMS = 100_000


class Refused(Exception):
    """The file is not a pickle, or exceeds the limits of the scan."""


class _Global(NamedTuple):
    name: str


class _Object(NamedTuple):
    """The result of calling a global."""

    of: _Global
    arguments: Any


_UNKNOWN = object()
_MARK = object()
_STRINGS = frozenset(
    ["UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"]
)
_NUMBERS = frozenset(["INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"])
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_ARRAY_WRAPPERS = ("joblib.numpy_pickle.NumpyArrayWrapper", "sklearn.externals.joblib.numpy_pickle.NumpyArrayWrapper")


class Machine:
    """The scan of one file. `imports` is what was found so far, also when `run` raises."""

    def __init__(self, stream: BinaryIO) -> None:
        self.imports: set[str] = set()
        self._stream = stream
        self._budget = _MOST_OPCODES
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> None:
        """Reads pickles until the end of the stream. Raises Refused where it is not a pickle, or too large."""
        for count in range(_MOST_STREAMS):
            first = self._stream.read(1)
            if not first:
                return
            self._stream.seek(-1, 1)
            try:
                self._one()
            except (ValueError, IndexError, EOFError, OverflowError, UnicodeError) as error:
                if count and not self._stack:
                    return  # Bytes after the last pickle are ignored, because an unpickler never reads them.
                raise Refused(f"its opcodes cannot be read to the end ({type(error).__name__})") from error
        raise Refused(f"more than {_MOST_STREAMS} pickles in one file")

    def _one(self) -> None:
        """Reads one pickle to its STOP, including pickles within it."""
        outer, self._stack, self._memo = (self._stack, self._memo), [], {}
        for opcode, argument, _ in pickletools.genops(self._stream):
            self._budget -= 1
            if self._budget < 0:
                raise Refused(f"more than {_MOST_OPCODES} opcodes")
            self._step(opcode, argument)
        self._stack, self._memo = outer

    def _step(self, opcode: Any, argument: Any) -> None:
        name = opcode.name
        stack = self._stack
        if name in _STRINGS or name in _NUMBERS:
            stack.append(argument)
        elif name in ("GLOBAL", "INST"):
            self._import(str(argument).replace(" ", ".", 1), opcode)
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            known = isinstance(attribute, str) and isinstance(module, str)
            self._import(f"{module}.{attribute}" if known else UNRESOLVED, None)
        elif name in ("EXT1", "EXT2", "EXT4"):
            self._import(UNRESOLVED, None)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memo.get(argument, _UNKNOWN))
        elif not self._build(name):
            self._generic(opcode)

    def _import(self, name: str, opcode: Any) -> None:
        self.imports.add(name)
        if opcode is not None and opcode.name == "INST":
            self._pop_to_mark()
            self._stack.append(_UNKNOWN)
        else:
            self._stack.append(_Global(name))

    def _build(self, name: str) -> bool:
        """Handles opcodes that build the values from which a joblib array's size is computed."""
        stack = self._stack
        if name in _TUPLES:
            size = _TUPLES[name]
            parts = tuple(stack[len(stack) - size :]) if len(stack) >= size else ()
            del stack[len(stack) - size :]
            stack.append(parts)
        elif name == "TUPLE":
            stack.append(tuple(self._pop_to_mark()))
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name in ("SETITEM", "SETITEMS"):
            self._set_items(self._pop_to_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()])
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, function = stack.pop(), stack.pop()
            stack.append(_Object(function, arguments) if isinstance(function, _Global) else _UNKNOWN)
        elif name == "BUILD":
            state = stack.pop()
            if stack and isinstance(stack[-1], _Object) and stack[-1].of.name in _ARRAY_WRAPPERS:
                self._pass_array(state)
        elif name in ("MARK", "DUP"):
            stack.append(_MARK if name == "MARK" else stack[-1])
        else:
            return False
        return True

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            target.update((key, value) for key, value in zip(items[::2], items[1::2]) if isinstance(key, str))

    def _pop_to_mark(self) -> list[Any]:
        stack = self._stack
        at = len(stack) - 1
        while stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise IndexError
        items = stack[at + 1 :]
        del stack[at:]
        return items

    def _generic(self, opcode: Any) -> None:
        """Handles any other opcode by its effect on the stack, according to pickletools."""
        before = list(opcode.stack_before)
        if pickletools.markobject in before:
            self._pop_to_mark()
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            self._stack.pop()
        self._stack.extend(_UNKNOWN for _ in opcode.stack_after)

    def _pass_array(self, state: Any) -> None:
        """Skips the bytes of a joblib array, which follow its wrapper. Arrays of objects are pickles of their own."""
        shape = state.get("shape") if isinstance(state, dict) else None
        dtype = state.get("dtype") if isinstance(state, dict) else None
        code = dtype.arguments[0] if isinstance(dtype, _Object) and isinstance(dtype.arguments, tuple) else None
        if (
            not isinstance(shape, tuple)
            or not all(isinstance(size, int) for size in shape)
            or not isinstance(code, str)
        ):
            raise Refused("a joblib array of unknown size")
        if "O" in code:
            self._one()
            return
        alignment = state.get("numpy_array_alignment_bytes")
        if isinstance(alignment, int):
            padding = self._stream.read(1)
            self._stream.seek(padding[0] if padding else 0, 1)
        digits = code.lstrip("<>|=biufcSUVMm?")
        size = int(digits) if digits.isdigit() else 1
        self._stream.seek(prod(shape) * size * (4 if "U" in code else 1), 1)
