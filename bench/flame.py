"""`python -m bench.flame`: a flame graph of a worker under load, docs/hot-path.svg. Time spent waiting is left out."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import escape

from bench import SCRATCH, wrk
from bench.data import request_rows
from bench.product import Installation, Serinus
from bench.report import FLAME
from bench.servers import UV

_PY_SPY = "py-spy==0.4.1"
_SECONDS = 12
_LOOP = "uv_run "
"""What is outside of the event loop is the same for all samples: left out."""
_INLINED = ("Py_DECREF", "Py_XDECREF")
"""What callers are taken for where the compiler put the one into the other."""
_WAITING = ("epoll_pwait", "epoll_wait")
_WIDTH, _ROW, _TOP, _LEAST = 1200, 18, 40, 0.004
"""Pixels, and the share below which a frame is not drawn."""
_STYLE = (
    ".page{fill:#fff}text{font:11px ui-monospace,monospace;fill:#1f2328}"
    ".python{fill:#7cb8f0}.onnx{fill:#7bc98a}.native{fill:#f0b37c}.root{fill:#d1d9e0}"
)


@dataclass
class Frame:
    name: str
    samples: int = 0
    children: dict[str, Frame] = field(default_factory=dict)


def main() -> int:
    """1: py-spy may not look into other processes here (root or `ptrace` is needed)."""
    with Installation("flame", keys=True) as installation:
        server = Serinus(installation, "Serinus", "bench-xgboost", "xgboost", workers=1)
        server.start()
        pid = next(one.pid for one in installation.workers().values() if one.pid)
        lua = SCRATCH / "flame.lua"
        lua.write_text(wrk.script(server.protocol, request_rows(strings=False)))
        load = threading.Thread(target=wrk.run, args=(server.port, lua, 8, _SECONDS + 4))
        load.start()
        time.sleep(2)
        done, stacks = record(pid)
        load.join()
    if done.returncode != 0:
        print(done.stderr.strip()[-400:], file=sys.stderr)
        return 1
    FLAME.write_text(drawn(tree(stacks.splitlines())))
    print(f"{FLAME}")
    return 0


def record(pid: int) -> tuple[subprocess.CompletedProcess[str], str]:
    """What py-spy did, and its collapsed stacks: `outer;inner COUNT`, a line each."""
    raw = SCRATCH / "flame.txt"
    raw.unlink(missing_ok=True)
    words = [UV, "tool", "run", "--from", _PY_SPY, "py-spy", "record", "--pid", str(pid), "--native", "--rate", "500"]
    words += ["--duration", str(_SECONDS), "--format", "raw", "--output", str(raw)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done, raw.read_text() if raw.exists() else ""


def tree(lines: Iterable[str]) -> Frame:
    """All stacks together, without those that wait for a request."""
    root = Frame("worker")
    for line in lines:
        stack, _, count = line.rpartition(" ")
        raw = stack.split(";")
        loop = next((index for index, one in enumerate(raw) if one.startswith(_LOOP)), -1)
        frames = list(_frames(raw[loop + 1 :]))
        if frames and frames[-1] not in _WAITING:
            _add(root, frames, int(count))
    return root


def _frames(raw: Iterable[str]) -> Iterator[str]:
    """Names without lines and addresses; a run of frames with the same name is one."""
    last = ""
    for frame in raw:
        function, _, where = frame.partition(" (")
        file = where.rstrip(")").rpartition("/")[2]
        if "onnxruntime_pybind" in where:
            name = "ONNX Runtime"
        elif ".py" in where:
            name = f"{function} {re.sub(':[0-9]+', '', file)}"
        else:
            name = function
        if name not in (last, *_INLINED):
            yield name
        last = name


def _add(root: Frame, frames: Iterable[str], count: int) -> None:
    at = root
    at.samples += count
    for name in frames:
        at = at.children.setdefault(name, Frame(name))
        at.samples += count


def drawn(root: Frame) -> str:
    """As SVG, the outermost frame on top; a frame's title says its share."""
    boxes = list(_boxes(root, root.samples, 0.0, 0))
    height = _TOP + (1 + max((depth for *_, depth in boxes), default=0)) * _ROW + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"><style>{_STYLE}</style>',
        f'<rect class="page" width="{_WIDTH}" height="{height}"/>',
        f'<text x="8" y="24">Time on the processor of a worker under load, {root.samples} samples. Blue: Python; '
        "green: ONNX Runtime; orange: the interpreter, uvloop and the kernel</text>",
    ]
    for frame, share, left, depth in boxes:
        parts.append(_box(frame, share, left * _WIDTH, _TOP + depth * _ROW))
    return "\n".join([*parts, "</svg>", ""])


def _boxes(frame: Frame, whole: int, left: float, depth: int) -> Iterator[tuple[Frame, float, float, int]]:
    share = frame.samples / whole if whole else 0.0
    if share < _LEAST:
        return
    yield frame, share, left, depth
    for child in sorted(frame.children.values(), key=lambda one: one.name):
        yield from _boxes(child, whole, left, depth + 1)
        left += child.samples / whole


def _box(frame: Frame, share: float, x: float, y: float) -> str:
    width = share * _WIDTH
    kind = "root" if frame.name == "worker" else "onnx" if frame.name == "ONNX Runtime" else "native"
    kind = "python" if frame.name.endswith(".py") else kind
    letters = int(width / 6.8) - 1
    text = f'<text x="{x + 3:.1f}" y="{y + 13}">{escape(frame.name[:letters])}</text>' if letters > 2 else ""
    return (
        f"<g><title>{escape(frame.name)}: {share:.1%}</title>"
        f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{max(width - 0.5, 0.5):.1f}" height="{_ROW - 1}"/>{text}</g>'
    )


if __name__ == "__main__":
    sys.exit(main())
