"""A zygote for the trials of one model: it imports the model's libraries once and forks one trial at a time.

    python -I -S -c "... from serinus_runtime.process.trial_zygote import main; main()" config.json

config: {"control_fd", "artifact", "readable": [..], "scratch", "confine"}. It works like `zygote`, but answers a
message `{"module", "config"}` by three: `{"pid": n}` at once (or only `{"error": text}`), `{"dead": true}` when
`serinus_runtime.<module>` with the file `config` has ended, and `{"ended": status}` after the other side has killed
everything that it has started and said so. A signal is a negative status.

The message carries three descriptors: the trial's standard output and error, and a pipe. The trial does nothing until
the other side has put its limits on it and written to the pipe.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any, Mapping, Sequence

from serinus_runtime.artifact.loading import libraries_of
from serinus_runtime.process.forking import end_with, part_from_zygote
from serinus_runtime.process.zygote import serve, tell

_LONGEST = 16
_NOT_BEGUN = 1


def main() -> None:
    """Runs the zygote."""
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    serve(config, lambda: libraries_of(Path(config["artifact"])), _answer)


def _answer(control: socket.socket, message: bytes, descriptors: Sequence[int]) -> Mapping[str, Any]:
    told = json.loads(message)
    try:
        child = os.fork()
    except OSError as error:
        return {"error": f"cannot fork: {error.strerror}"}
    if child == 0:
        control.close()
        end_with(lambda: _trial(told["module"], told["config"], *descriptors))
    tell(control, pid=child)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    # Its number is not used again meanwhile. It is not killed from here, because on older kernels a zygote may not
    # signal.
    tell(control, dead=True)
    control.recv(_LONGEST)
    _, status = os.waitpid(child, 0)
    return {"ended": -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)}


def _trial(module: str, config: str, output: int, errors: int, begin: int) -> int:
    """Runs the trial `module`, and returns the exit status."""
    os.setpgid(0, 0)  # Not a session, which would be a scheduling group of its own with the usual priority.
    if not os.read(begin, _LONGEST):  # The other side is gone.
        return _NOT_BEGUN
    os.dup2(output, 1)
    os.dup2(errors, 2)
    for descriptor in (output, errors, begin):
        os.close(descriptor)
    part_from_zygote()
    sys.argv = [sys.argv[0], config]
    importlib.import_module(f"serinus_runtime.{module}").main()
    return 0
