"""What was found, kept in a file from run to run: a long one can be ended at any time and goes on where it was."""

from __future__ import annotations

import ast
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import serinus.judge
import simulation
from simulation.catalogue import KINDS
from simulation.kinds import Kind
from simulation.run import Found

_JUDGE = (
    "against", "assess", "bounded", "breaker", "clearing", "evidence", "levels", "memory", "metrics", "mixture",
    "silences", "weighing",
)  # fmt: skip
_SIMULATION = ("counts", "entities", "kinds", "panel", "parts", "requests", "run", "streams")
"""Modules of which a result depends. The words of a verdict and what is told beforehand are not among them."""


@dataclass
class Results:
    """Of one judge: what other sources have found is another judge's, and is not added to."""

    path: Path | None = None
    found: dict[str, Found] = field(default_factory=dict)
    seeds: dict[str, list[int]] = field(default_factory=dict)
    """That are used up, by kind."""

    of_this_judge: bool = True

    @staticmethod
    def read(path: Path) -> Results:
        """Empty where there is no such file."""
        results = Results(path)
        if not path.exists():
            return results
        stored = json.loads(path.read_text())
        results.of_this_judge = stored["judge"] == digest()
        for name, one in stored["kinds"].items():
            if name in KINDS and one["kind"] == digest_of(KINDS[name]):
                results.found[name], results.seeds[name] = Found.from_json(one["found"]), one["seeds"]
        return results

    def streams(self, name: str) -> int:
        return self.found[name].streams if name in self.found else 0

    def add(self, name: str, seed: int, found: Found) -> None:
        """Writes the file anew, which is never there by half. Raises ValueError where it is of another judge."""
        if not self.of_this_judge:
            raise ValueError(f"{self.path} has the results of another version of the judge: name a new file.")
        self.found.setdefault(name, Found()).add(found)
        self.seeds.setdefault(name, []).append(seed)
        if self.path is not None:
            new = self.path.with_name(f"{self.path.name}.new")
            new.write_text(json.dumps(self.as_json()))
            new.replace(self.path)

    def as_json(self) -> dict[str, Any]:
        kinds = {
            name: {"kind": digest_of(KINDS[name]), "seeds": self.seeds[name], "found": found.as_json()}
            for name, found in self.found.items()
        }
        return {"judge": digest(), "kinds": kinds}


def digest() -> str:
    """Of what decides: comments, layout, docstrings, and the words of reasons are not in it."""
    whole = hashlib.sha256()
    for package, names in ((serinus.judge, _JUDGE), (simulation, _SIMULATION)):
        for name in names:
            tree = ast.parse((Path(str(package.__file__)).parent / f"{name}.py").read_text())
            whole.update(ast.dump(_Plain().visit(tree)).encode())
    return whole.hexdigest()[:16]


def digest_of(kind: Kind) -> str:
    return hashlib.sha256(repr(kind).encode()).hexdigest()[:16]


class _Plain(ast.NodeTransformer):
    """Without what is for people: strings with a space in them, and those that are put together."""

    def visit_JoinedStr(self, _: ast.JoinedStr) -> ast.Constant:
        return ast.Constant("")

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant("") if isinstance(node.value, str) and " " in node.value else node
