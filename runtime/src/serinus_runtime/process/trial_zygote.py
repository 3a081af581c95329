"""The libraries of one model, imported once for all that is tried with it in one deployment: forks a trial at a time.

python -I -S -c "... from serinus_runtime.process.trial_zygote import main; main()" config.json

config: {"control_fd", "artifact", "readable": [..], "scratch", "confine"}. As `zygote`, but answers a message
`{"module", "config"}`, with the descriptors of the trial's standard output and error, by three: `{"pid": n}` at once
(or `{"error": text}` alone), `{"dead": true}` when `serinus_runtime.<module>`, asked with the file `config`, has ended,
and, when the other side has killed all that it has started and said so, `{"ended": status}`; a signal is a negative
status.
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


def main() -> None:
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
    # Its number stays its own meanwhile. It is not killed from here: on older kernels a zygote may signal nobody.
    tell(control, dead=True)
    control.recv(_LONGEST)
    _, status = os.waitpid(child, 0)
    return {"ended": -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)}


def _trial(module: str, config: str, output: int, errors: int) -> int:
    """Looks at the model as `module` does, and gives the exit status."""
    os.setpgid(0, 0)  # not a session, which would be a group of the scheduler that gives way to nobody
    os.dup2(output, 1)
    os.dup2(errors, 2)
    for descriptor in (output, errors):
        os.close(descriptor)
    part_from_zygote()
    sys.argv = [sys.argv[0], config]
    importlib.import_module(f"serinus_runtime.{module}").main()
    return 0
