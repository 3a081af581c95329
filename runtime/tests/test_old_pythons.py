"""The runtime lives in interpreters that the control plane does not: old and new ones, with nothing installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src"

SERVE = """
import asyncio, json, socket, sys
sys.path.insert(0, sys.argv[1])
from serinus_runtime.isolation import confine, seccomp
from serinus_runtime.trials import scan
from serinus_runtime.process import worker
from serinus_runtime.serving import application
from serinus_runtime.trials import reference, rescore
from serinus_runtime.http.server import Response, Server

async def main(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    server = Server(listener, lambda request: Response(200, b"%d" % len(request.body)), 1000)
    await server.start()
    reader, writer = await asyncio.open_unix_connection(path)
    head = b"POST / HTTP/1.1\\r\\nHost: x\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"
    writer.write((head + b"3\\r\\nabc\\r\\n0\\r\\n\\r\\n") * 2)
    answers = [await reader.readuntil(b"\\r\\n\\r\\n3") for _ in range(2)]
    await server.drain(patience=0.0)
    return [answer.split(b"\\r\\n")[0].decode() for answer in answers]

print(json.dumps(asyncio.run(main(sys.argv[2]))))
"""


def run(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, "-I", *arguments], capture_output=True, text=True, timeout=60)


def test_every_module_compiles_without_a_warning(bare_python: str, tmp_path: Path) -> None:
    code = "import compileall, sys; sys.exit(not compileall.compile_dir(sys.argv[1], ddir='x', force=True, quiet=1))"
    copy = tmp_path / "serinus_runtime"
    shutil.copytree(SOURCE / "serinus_runtime", copy, ignore=shutil.ignore_patterns("__pycache__"))
    done = run(bare_python, "-W", "error", "-c", code, str(copy))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_server_answers_under_it(bare_python: str, short_path: Path) -> None:
    done = run(bare_python, "-W", "error::DeprecationWarning", "-c", SERVE, str(SOURCE), str(short_path / "s.sock"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["HTTP/1.1 200 OK"] * 2


def test_an_artifact_is_scanned_under_it(bare_python: str, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"\x80\x02cposix\nsystem\n.")
    start = f"import sys; sys.path.append({str(SOURCE)!r}); from serinus_runtime.trials.scan import main; main()"
    done = run(bare_python, "-c", start, str(tmp_path))
    assert json.loads(done.stdout)["pickles"] == [{"file": "m.pkl", "imports": ["posix.system"]}], done.stderr
