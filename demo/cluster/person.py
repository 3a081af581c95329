"""A person with a clone of the fleet repository."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from demo.serinus import MODEL

NAME, ADDRESS = "Anna", "anna@bank.example"


@dataclass(frozen=True)
class Person:
    clone: Path
    remote: str

    def git(self, *words: str) -> str:
        """What it prints. Raises SystemExit with what it reports."""
        done = subprocess.run(self._line(words), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"git {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def shown(self, *words: str) -> None:
        """With its lines on the screen, indented."""
        print(f"\n  $ git {' '.join(words)}", flush=True)
        for line in self.git(*words).splitlines():
            print(f"    {line}", flush=True)

    def begin(self, spec: str) -> None:
        """Puts the ModelDeployment of the model into the empty repository."""
        words = ["git", "clone", "--quiet", self.remote, str(self.clone)]
        subprocess.run(words, check=True, capture_output=True)
        file = self.clone / "models" / MODEL / "model.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(spec)
        self.git("add", "--all")
        self.shown("commit", "--quiet", "--message", f"Serve {MODEL}")
        self.shown("push", "--quiet", "origin", "HEAD:main")

    def revert(self, subject: str) -> str:
        """Reverts the newest commit with this subject, and pushes the revert. Returns the id of the commit that was
        reverted. Raises SystemExit if no commit has this subject."""
        self.shown("pull", "--quiet", "--rebase", "origin", "main")
        commits = [line.partition(" ") for line in self.git("log", "--format=%H %s").splitlines()]
        found = next((commit for commit, _, what in commits if what == subject), None)
        if found is None:
            raise SystemExit(f"no commit in the fleet repository says '{subject}'")
        self.shown("revert", "--no-edit", found[:10])
        self.shown("push", "--quiet", "origin", "HEAD:main")
        return found

    def _line(self, words: tuple[str, ...]) -> list[str]:
        who = ["-c", f"user.name={NAME}", "-c", f"user.email={ADDRESS}"]
        return ["git", "-C", str(self.clone), *who, *words]
