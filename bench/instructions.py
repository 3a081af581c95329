"""`python -m bench.instructions`: instructions that a worker needs for a request, here and in other checkouts.

    python -m bench.instructions --against ../before

Counted by valgrind, so that the figure does not depend on how busy the machine is; it varies by 0.5 %. The kernel's
part, Envoy and the collector are not in it: `bench.cpu` has those.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import HERE, ROOT, SCRATCH
from bench.data import request_rows
from bench.product import Installation
from bench.requests import split
from serinus.core.home import Home
from serinus.targets.local.host.state_files import StateFiles

KINDS = ("xgboost", "pipeline")
_FEW, _MANY = 500, 2500
"""Requests of two runs; what they differ in is what the requests took, without the start."""
_COUNTED = re.compile(r"I\s+refs:\s+([\d,]+)")


@dataclass(frozen=True)
class Model:
    """What a worker needs of one: all lies under `directory`, beside the environment."""

    python: Path
    compiled: Path
    artifact: Path
    bodies: Path


def prepared(directory: Path) -> Mapping[str, Model]:
    """The bench's models as Serinus compiles them."""
    found = {}
    with Installation("instructions") as installation:
        for kind in KINDS:
            installation.publish(f"bench-{kind}", kind)
        home = Home(installation.home)
        for release in StateFiles(home).releases().values():
            kind = release.model.removeprefix("bench-")
            if release.compiled is None:
                raise SystemExit(f"{release.model} was not compiled")
            bodies = directory / f"{kind}.json"
            rows = request_rows(strings=kind == "pipeline")
            bodies.write_text(json.dumps([body.decode() for body in split("/").bodies(rows)]))
            kept = directory / kind
            shutil.copytree(home.graph(release.compiled.digest), kept / "compiled")
            shutil.copytree(home.artifact(release.artifact_digest), kept / "artifact")
            environment, interpreter = directory / "environment", home.interpreter(release.compiled.environment_digest)
            if not environment.exists():
                shutil.copytree(interpreter.parent.parent, environment, symlinks=True)
            python = environment / "bin" / interpreter.name
            found[kind] = Model(python, kept / "compiled", kept / "artifact", bodies)
    return found


def counted(runtime: Path, model: Model, requests: int) -> int:
    """Instructions of a run of so many requests, its start included."""
    words = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", str(model.python)]
    words += [str(HERE / "hotpath.py"), str(runtime), str(model.compiled), str(model.artifact), str(model.bodies)]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*words, str(requests)], capture_output=True, text=True, check=False, env=environment, cwd=SCRATCH
    )
    said = _COUNTED.search(done.stderr)
    if done.returncode or said is None:
        raise SystemExit((done.stderr or done.stdout)[-800:])
    return int(said[1].replace(",", ""))


def table(checkouts: Mapping[str, Path], models: Mapping[str, Model]) -> Sequence[str]:
    """In Markdown. The first checkout is what the others are compared with."""
    lines = [f"| instructions a request | {' | '.join(checkouts)} |", "|---" * (len(checkouts) + 1) + "|"]
    for kind, model in models.items():
        each = []
        for path in checkouts.values():
            runtime = path / "runtime" / "src"
            each.append((counted(runtime, model, _MANY) - counted(runtime, model, _FEW)) / (_MANY - _FEW))
        cells = [f"{value:,.0f} ({value / each[0] - 1:+.1%})" for value in each]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, action="append", default=[], metavar="CHECKOUT")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not there: `apt-get install valgrind` on Debian and Ubuntu")
    checkouts = {path.name: path.resolve() for path in options.against} | {"this checkout": ROOT}
    directory = SCRATCH / "instructions"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    print("\n".join(table(checkouts, prepared(directory))))


if __name__ == "__main__":
    main()
