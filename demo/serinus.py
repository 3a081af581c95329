"""The demo's hands: the `serinus` command, as anybody would type it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL = "card-fraud"
COMMAND = str(Path(sys.executable).parent / "serinus")


@dataclass(frozen=True)
class Serinus:
    home: Path

    def line(self, *words: str) -> list[str]:
        return [COMMAND, "--home", str(self.home), *words]

    def json(self, *words: str) -> Any:
        """What `--json` prints. Raises CalledProcessError with the command's own words on stderr."""
        done = subprocess.run(self.line(*words, "--json"), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return json.loads(done.stdout)

    def report(self, *words: str) -> Any:
        """What `replay --json` prints, also where requests have failed: its exit code is then 1."""
        done = subprocess.run(self.line(*words, "--json"), capture_output=True, text=True, check=False)
        if not done.stdout.startswith("{"):
            raise SystemExit(f"{' '.join(words)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def newest_rollout(self, model: str) -> str:
        """By the events: one that has failed before there was a release is among no releases."""
        done = subprocess.run(
            self.line("events", model, "-n", "1000", "--json"), capture_output=True, text=True, check=False
        )
        rollouts = [json.loads(line)["rollout"] for line in done.stdout.splitlines()]
        named = [rollout for rollout in rollouts if rollout]
        if not named:
            raise SystemExit(f"no rollout of {model} was begun: {done.stderr.strip()}")
        return str(named[-1])

    def shown(self, *words: str) -> tuple[int, float]:
        """Runs with its lines on the screen, indented; (exit code, seconds)."""
        print(f"\n  $ serinus {' '.join(words)}", flush=True)
        began = time.monotonic()
        with subprocess.Popen(
            self.line(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            for text in process.stdout:
                print(f"    {text}", end="", flush=True)
        return process.returncode, time.monotonic() - began

    @contextmanager
    def beside(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Runs beside what follows; asked to stop (as by Ctrl-C) at the end. Its words are read by the caller."""
        process = subprocess.Popen(self.line(*words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
