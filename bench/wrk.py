"""`wrk` as the load generator of closed loops: a script for it, and what it says."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.requests import Protocol, Row

HOW_TO_GET = "wrk is not there: `apt-get install wrk` on Debian and Ubuntu, `brew install wrk` on macOS"
_MARK = "bench-summary "
_SCRIPT = """
local bodies = {%(bodies)s}
local headers = {%(headers)s}
local prepared, at = {}, 0
function init(args)
  for index, body in ipairs(bodies) do
    prepared[index] = wrk.format("POST", %(path)s, headers[index], body)
  end
end
function request()
  at = at %% #prepared + 1
  return prepared[at]
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('%(mark)s{"requests":%%d,"us":%%d,"p50":%%.1f,"p99":%%.1f,"p999":%%.1f,' ..
    '"connect":%%d,"read":%%d,"write":%%d,"timeout":%%d,"status":%%d}\\n', summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    e.connect, e.read, e.write, e.timeout, e.status))
end
"""


class LoadFailed(Exception):
    """The generator did not run, or could not reach the server."""


@dataclass(frozen=True)
class Summary:
    """Of one run. Latencies are as `wrk` sees them: a closed loop, which does not count the requests that a stalled
    server was spared."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    failed: int
    """Not answered, or with another status than 2xx or 3xx."""

    @property
    def rps(self) -> float:
        return (self.requests - self.failed) / self.seconds if self.seconds else 0.0


def there() -> bool:
    return shutil.which("wrk") is not None


def script(protocol: Protocol, rows: Sequence[Row]) -> str:
    """Lua that asks for `rows` in turn."""
    bodies = protocol.bodies(rows)
    headers = [{"Content-Type": "application/json", **protocol.headers_of(index)} for index in range(len(bodies))]
    return _SCRIPT % {
        "bodies": ",\n".join(_lua(body.decode()) for body in bodies),
        "path": _lua(protocol.path),
        "headers": ",\n".join(_table(named) for named in headers),
        "mark": _MARK,
    }


def _table(values: dict[str, str]) -> str:
    return "{" + ", ".join(f"[{_lua(name)}]={_lua(value)}" for name, value in values.items()) + "}"


def _lua(text: str) -> str:
    """A Lua string; JSON's escapes are Lua's for what bodies hold, but for the slash and for `\\u`."""
    return json.dumps(text, ensure_ascii=False).replace("\\/", "/")


def parse(output: str) -> Summary:
    """LoadFailed: there is no summary, or nothing was answered."""
    for line in output.splitlines():
        if line.startswith(_MARK):
            found = json.loads(line.removeprefix(_MARK))
            failed = sum(found[kind] for kind in ("connect", "read", "write", "timeout", "status"))
            if found["requests"] == 0:
                raise LoadFailed(f"nothing was answered: {failed} errors")
            p50, p99, p999 = (found[name] / 1e3 for name in ("p50", "p99", "p999"))
            return Summary(found["requests"], found["us"] / 1e6, p50, p99, p999, failed)
    raise LoadFailed(f"wrk gave no summary: {output.strip()[-300:]}")


def run(port: int, lua: Path, connections: int, seconds: float, host: str = "127.0.0.1") -> Summary:
    """One thread, `connections` kept connections. Raises LoadFailed."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(lua)]
    command.append(f"http://{host}:{port}/")
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    if done.returncode != 0:
        raise LoadFailed(f"wrk: {(done.stderr or done.stdout).strip()[-300:]}")
    return parse(done.stdout)
