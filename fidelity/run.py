"""Runs until so many comparisons are made, and counts what was compared and what was found."""

from __future__ import annotations

import json
import logging
import os
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from fidelity import draw
from fidelity.build import CannotBuild
from fidelity.case import Recipe
from fidelity.forms import protocol_of
from fidelity.session import Compared, Finding, Session, session

_ASKS = 60
"""Requests to each model."""
_EVERY = 100
"""Of so many models one is asked in a worker process as well, which takes seconds to start."""


@dataclass
class Tally:
    """What a run has done. `cells`: comparisons by flavour, kind of signature and protocol; `ways`: models by how they
    were predicted; `first`: of each difference that is not wanted the first finding, `times` how often."""

    seed: int
    models: int = 0
    comparisons: int = 0
    seconds: float = 0.0
    cells: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    by_way: Counter[str] = field(default_factory=Counter)
    uncompiled: Counter[str] = field(default_factory=Counter)
    unbuilt: Counter[str] = field(default_factory=Counter)
    wanted: Counter[str] = field(default_factory=Counter)
    first: dict[tuple[str, ...], Finding] = field(default_factory=dict)
    times: Counter[tuple[str, ...]] = field(default_factory=Counter)

    @property
    def differences(self) -> int:
        return sum(self.times.values())

    def add(self, recipe: Recipe, compared: Compared) -> None:
        self.comparisons += 1
        self.cells[(recipe.flavor, signature_of(recipe), protocol_of(compared.form))] += 1
        self.verdicts[compared.verdict] += 1
        self.by_way[compared.way] += 1
        if compared.finding is not None:
            self.found(compared.finding)

    def found(self, finding: Finding) -> None:
        if finding.wanted is not None:
            self.wanted[finding.wanted.name] += 1
            return
        key = key_of(finding)
        self.first.setdefault(key, finding)
        self.times[key] += 1

    def dump(self) -> dict[str, Any]:
        """For `results/`, without what differs from machine to machine."""
        rows = [[*cell, number] for cell, number in sorted(self.cells.items())]
        plain = {name: dict(sorted(getattr(self, name).items())) for name in _COUNTERS}
        return {
            "seed": self.seed, "models": self.models, "comparisons": self.comparisons, "seconds": round(self.seconds),
            "differences": self.differences, "cells": rows, **plain,
        }  # fmt: skip


_COUNTERS = ("verdicts", "ways", "by_way", "uncompiled", "unbuilt", "wanted")


def signature_of(recipe: Recipe) -> str:
    """The kind of signature, for the table."""
    if recipe.hinted:
        return "type hint"
    if not recipe.signed:
        return "none"
    types = {spec["type"] for spec in recipe.inputs}
    if "tensor" in types:
        return "tensors"
    if types & {"array", "object", "map"}:
        return "arrays, objects, maps"
    named = "" if recipe.names[0] is not None else ", without names"
    return ("numbers" if types <= {"double", "float", "integer", "long"} else "columns of any scalar") + named


def key_of(finding: Finding) -> tuple[str, ...]:
    """What makes two findings probably one."""
    said = re.sub(r"'[^']*'|\"[^\"]*\"|[0-9.e+-]+", "#", finding.difference.detail)[:80]
    spoil = str(finding.case.ask.spoil[0]) if finding.case.ask.spoil else ""
    if finding.difference.kind in (
        "another answer",
        "answered what is refused",
        "not refused",
        "answered what is raised",
    ):
        said = ""
    recipe = finding.case.recipe
    what = (
        recipe.estimator or recipe.answer
        if finding.difference.kind != "answered what is refused"
        else finding.want[:60]
    )
    return (
        finding.way,
        finding.difference.kind,
        protocol_of(finding.case.ask.form),
        signature_of(recipe),
        said,
        spoil,
        what,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of libraries about models that are odd on purpose, and without what these models raise."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def run(
    seed: int, comparisons: int, seconds: float | None = None, progress: Callable[[Tally], None] | None = None
) -> Tally:
    """Until there are `comparisons`, or `seconds` are over."""
    tally = Tally(seed)
    began = time.monotonic()
    with quiet():
        for number in count():
            tally.seconds = time.monotonic() - began
            if tally.comparisons >= comparisons or (seconds is not None and tally.seconds >= seconds):
                return tally
            _try(draw.recipe(seed, number), tally, process=number % _EVERY == 0)
            if progress is not None:
                progress(tally)
    return tally


def _try(recipe: Recipe, tally: Tally, *, process: bool) -> None:
    try:
        with session(recipe, process=process) as opened:
            tally.models += 1
            _count_ways(opened, tally)
            for ask in draw.asks(recipe, opened.built.rows, opened.built.splits, _ASKS):
                for compared in opened.ask(ask):
                    tally.add(recipe, compared)
    except CannotBuild as error:
        tally.unbuilt[f"{recipe.estimator or recipe.answer}: {error}"] += 1


def _count_ways(opened: Session, tally: Tally) -> None:
    names = {"onnx": "compiled", "matrix": "shortened", "direct": "shortened", "mlflow": "long"}
    ways = [names[served.within] for served in opened.ways]
    tally.ways["compiled" if "compiled" in ways else ways[0] if ways else "not served"] += 1
    if opened.uncompiled:
        tally.uncompiled[opened.uncompiled] += 1
    refused = opened.load_finding()
    if refused is not None:
        tally.found(refused)


def told(finding: Finding) -> str:
    """For a person, and with what repeats it."""
    found = finding.difference
    return "\n".join(
        [
            f"{found.kind} ({finding.way}): {found.detail}",
            f"  MLflow:  {finding.want}",
            f"  Serinus: {finding.got}",
            f"  case:    {json.dumps(finding.case.dump())}",
        ]
    )
