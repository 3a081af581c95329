"""Attacks its home while it is loaded and at each prediction. Its score is the number of attempts that succeeded; minus
one where Serinus did not start the process (MLflow's own check while it is logged), which is left alone."""

import http.client
import json
import os
import pathlib
import signal
import socket
import sys

import numpy as np


class Attacks:
    def __init__(self, target):
        self.home = pathlib.Path(target["home"])
        self.sockets = pathlib.Path(target["sockets"])
        self.peers = target["peers"]
        self.port = target["port"]
        self.scratches = [pathlib.Path(path) for path in target["scratches"]]

    def succeeded(self):
        """Names of what worked. An attempt fails by an exception or by answering False."""
        tries = [name for name in dir(self) if name.startswith("try_")]
        return [name for name in tries if self._works(getattr(self, name))]

    def _works(self, attempt):
        try:
            return attempt() is not False
        except (OSError, ValueError, http.client.HTTPException):
            return False

    def try_read_the_token(self):
        (self.home / "token").read_text()

    def try_read_the_secret(self):
        (self.home / "secret").read_text()

    def try_list_the_home(self):
        list(self.home.iterdir())

    def try_write_the_store(self):
        with (self.home / "store.db").open("r+b") as store:
            store.write(b"x")

    def try_truncate_the_store(self):
        os.truncate(self.home / "store.db", 0)

    def try_link_the_token(self):
        link = pathlib.Path("stolen")
        link.unlink(missing_ok=True)
        link.symlink_to(self.home / "token")
        link.read_text()

    def try_look_into_the_scratch_of_others(self):
        for scratch in self.scratches:
            list(scratch.iterdir())

    def try_write_into_the_scratch_of_others(self):
        for scratch in self.scratches:
            (scratch / "planted").write_text("x")

    def try_read_the_predictions_of_others(self):
        list((self.home / "predictions").iterdir())

    def try_change_the_fleet(self):
        (self.home / "fleet" / "planted").write_text("x")

    def try_change_its_own_files(self):
        pathlib.Path(__file__).write_text("x")

    def try_signal_its_peers(self):
        return any(self._signals(pid) for pid in self.peers.values())

    def _signals(self, pid):
        try:
            os.kill(pid, signal.SIGTERM)
        except OSError:
            return False
        return True

    def try_read_the_environment_of_a_peer(self):
        return any(pathlib.Path(f"/proc/{pid}/environ").read_bytes() for pid in self.peers.values())

    def try_reach_the_api(self):
        socket.create_connection(("127.0.0.1", self.port), timeout=2).close()

    def try_command_the_host(self):
        """The socket may be reached; without the secret nobody is listened to."""
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(5)
            stream.connect(str(self.sockets / "host.sock"))
            stream.sendall(b"GET /releases HTTP/1.1\r\nhost: h\r\nauthorization: Bearer guess\r\n\r\n")
            return b" 200 " in stream.recv(4096).split(b"\r\n")[0]

    def try_write_predictions_of_others(self):
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(5)
            stream.connect(str(self.sockets / "log.sock"))
            hello = {"release": next(iter(self.peers)), "token": "0" * 64, "boot": "b"}
            stream.sendall(json.dumps(hello).encode() + b'\n{"seq": 1, "records": []}\n')
            return b"ack" in stream.recv(4096)


class Model:
    def __init__(self, attacks):
        self.attacks = attacks
        self.at_load = attacks.succeeded() if sys.flags.isolated else []
        print("at load:", *self.at_load)

    def predict(self, rows, params=None):
        if not sys.flags.isolated:
            return np.full(len(rows), -1.0)
        now = self.attacks.succeeded()
        print("at a prediction:", *now)
        return np.full(len(rows), float(len(self.at_load) + len(now)))


def _load_pyfunc(path):
    return Model(Attacks(json.loads(pathlib.Path(path).read_text())))
