"""A worker that keeps the host's side of the contract without any model: the artifact's `behaviour.json` says what it
does. One thread a connection; told by SIGTERM it answers everything that waits before it goes, by SIGUSR1 only those
who are connected.
"""

import contextlib
import ctypes
import itertools
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(self.behaviour.get("metadata", {"name": self.config["model"], "inputs": []}))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        ASKED.append(1)
        try:
            self.respond(body)
        finally:
            ANSWERED.append(1)

    def respond(self, body):
        if "exit" in body:
            os._exit(body["exit"])
        if "eat_bytes" in body:
            HELD.append(bytearray(os.urandom(1) * body["eat_bytes"]))
        if "spin_seconds" in body:
            end = time.thread_time() + body["spin_seconds"]
            while time.thread_time() < end:
                pass
        if "writes" in body:
            threading.Thread(target=write, args=(body["writes"],), daemon=True).start()
        if "seconds" in body:
            print("answering", flush=True)
            time.sleep(body["seconds"])
        if "answers" in self.behaviour:
            self.answer(**self.behaviour["answers"])
        else:
            self.answer(
                {
                    "pid": os.getpid(),
                    "config": self.config,
                    "environ": dict(os.environ),
                    "cwd": str(Path.cwd()),
                    "got": body,
                }
            )

    def answer(self, body, status=200, headers=()):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass


def write(what):
    """Without end, in the scratch directory."""
    here = os.open(".", os.O_RDONLY)
    for number in itertools.count():
        if what == "files":
            Path(str(number)).touch()
        elif what == "bytes":
            Path(str(number)).write_bytes(bytes(1 << 16))
        elif what == "lines":
            print("x" * 1000, flush=True)
        elif number < 100:
            os.mkdir("d" * 100, dir_fd=here)
            here = os.open("d" * 100, os.O_RDONLY, dir_fd=here)


HELD = []
ASKED = []
ANSWERED = []


def report(config, **words):
    os.write(config["report_fd"], json.dumps(words).encode() + b"\n")


def load(config, behaviour):
    report(config, state="loading")
    how = behaviour.get("load", "ok")
    print("loading", how, flush=True)
    if how == "hang":
        time.sleep(3600)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        sys.exit(3)
    if how == "babble":
        os.write(config["report_fd"], b"\xff not a report\n")
        time.sleep(3600)
    if how == "flood":
        while True:
            report(config, state="stats", requests=1)
    if how == "fail":
        report(config, state="failed", reason="ModuleNotFoundError: No module named 'xgboost'")
        sys.exit(1)
    if how == "damaged" and not config.get("long"):
        report(config, state="failed", reason="the files are not those that were proven", damaged=True)
        sys.exit(1)
    time.sleep(behaviour.get("load_seconds", 0))
    if how == "answers first":
        report(config, state="stats", requests=1, waiting=0)
    confined = behaviour.get("confined", config["confine"])
    if confined and config["confine"] and not behaviour.get("only_says_so"):
        give_up_rights()
    more = {name: behaviour[name] for name in ("notes", "proven") if name in behaviour}
    if config.get("long") or config.get("compiled"):
        more["way"] = "mlflow" if config.get("long") else "onnx"
    report(config, state="ready", load_seconds=0.25, warm_up_ms=1.0, confined=confined, **more)


def give_up_rights():
    """What the kernel tells of a process that is confined, with a filter that permits everything."""
    libc = ctypes.CDLL(None, use_errno=True)
    permits = (ctypes.c_uint16 * 4)(0x06, 0, 0x0000, 0x7FFF)
    instructions = (ctypes.c_uint64 * 1).from_buffer_copy(bytes(permits))
    program = (ctypes.c_uint64 * 2)(1, ctypes.addressof(instructions))
    header, rights = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    done = (
        libc.prctl(38, ctypes.c_ulong(1), 0, 0, 0),
        libc.capset(header, rights),
        libc.prctl(22, ctypes.c_ulong(2), ctypes.byref(program), 0, 0),
    )
    if any(done):
        raise OSError(ctypes.get_errno(), "the stand-in cannot give up its rights")


def main():
    config = json.loads(Path(sys.argv[1]).read_text())
    behaviour = json.loads((Path(config["artifact"]) / "behaviour.json").read_text())
    stopping = threading.Event()
    Handler.config, Handler.behaviour = config, behaviour
    load(config, behaviour)
    if not behaviour.get("ignores_sigterm"):
        signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    leaving = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: leaving.set())
    signal.signal(signal.SIGUSR2, lambda *_: print("sheds", flush=True))
    listener = socket.socket(fileno=config["listen_fd"])
    listener.setblocking(False)
    threads = []
    said = (0, 0)
    while not leaving.is_set():
        now = (len(ANSWERED), len(ASKED) - len(ANSWERED))
        if now != said:
            said = now
            with contextlib.suppress(BrokenPipeError):  # the host is gone
                report(config, state="stats", requests=now[0], waiting=now[1])
        if not select.select([listener], [], [], 0 if stopping.is_set() else 0.02)[0]:
            if stopping.is_set():
                break
            continue
        try:
            connection, _ = listener.accept()
        except BlockingIOError:  # another worker of this release was quicker
            continue
        connection.setblocking(True)
        thread = threading.Thread(target=serve, args=(connection,))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
    sys.exit(0)


def serve(connection):
    with connection:
        Handler(connection, ("unix", 0), None)
