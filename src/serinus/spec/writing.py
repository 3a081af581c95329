"""Writing a ModelDeployment as YAML text: the shortest form, and the first spec of a model with comments."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import Any

import yaml

from serinus.core.errors import InvalidInput
from serinus.core.release import Column
from serinus.core.text import one_line
from serinus.spec.document import NUMBERS
from serinus.spec.loading import load
from serinus.spec.schema import ModelDeployment


class _Writer(yaml.SafeDumper):
    """A dumper that quotes every string that YAML 1.1 or 1.2 would read as another type. It writes no aliases."""

    def ignore_aliases(self, _: Any) -> bool:
        return True


for _name, (_pattern, _first) in NUMBERS.items():
    _Writer.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _pattern, list(_first))


def as_yaml(value: Any, *, flow: bool = False) -> str:
    """Returns a value as YAML text, without a line end. `flow`: on one line."""
    text = yaml.dump(
        value,
        Dumper=_Writer,
        sort_keys=False,
        allow_unicode=True,
        width=math.inf,
        default_flow_style=flow,
    )
    return str(text).removesuffix("...\n").removesuffix("\n") if flow else str(text)


def dump(spec: ModelDeployment) -> str:
    """Returns the model and the fields that differ from their defaults. `load` reads the text as an equal
    deployment."""
    fields = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return as_yaml({"model": spec.model, **fields})


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that the registry knows of a version, for the model's first spec."""

    version: str = ""
    """Empty: no version was read, and the other fields mean nothing."""
    flavor: str = ""
    columns: tuple[Column, ...] | None = None
    """None: the version was logged without a signature."""
    evaluation: str | None = None
    """The name of a labelled evaluation set that was logged with the run. None: there is none."""
    golden: str | None = None


def initial(model: str, facts: Facts = Facts()) -> str:
    """Returns the first spec of `model`: YAML with short comments, with defaults and the values that follow from
    `facts`.

    A deployment never refuses it. Columns that the schema cannot express, or too many of them, are left out, and a
    comment says so.
    """
    text = _initial(model, facts, _caller(facts))
    try:
        load(text, model=model)
    except InvalidInput:
        return _initial(model, facts, _without_columns("its signature cannot be written here: what callers send"))
    return text


def _initial(model: str, facts: Facts, caller: str) -> str:
    of = f" version {facts.version}" if facts.version else ""
    flavor = f" ({one_line(facts.flavor)})" if facts.flavor else ""
    return _INITIAL.format(
        origin=f"{model}{of}{flavor}",
        model=as_yaml(model, flow=True),
        caller=caller,
        evaluation=_file("evaluation", facts, facts.evaluation or "evaluation.parquet", "labelled rows"),
        golden=_file("golden", facts, facts.golden or "golden.json", "rows with the scores of training time"),
    )


def _caller(facts: Facts) -> str:
    if not facts.columns:
        known = "logged without a signature: what callers send" if facts.version else "what callers send"
        return _without_columns(known)
    types = textwrap.indent(as_yaml({column.name: column.type for column in facts.columns}), "    ")
    return (
        f"caller:\n  columns:              # what callers send; a version that needs more is stopped\n{types}".rstrip()
    )


def _without_columns(why: str) -> str:
    return f"# caller:             # {why}\n#   columns: {{amount: double}}"


def _file(field: str, facts: Facts, name: str, meaning: str) -> str:
    """Returns a line about a file. It says that the file is missing only where a version was read."""
    text = f"  {field}: {as_yaml(name, flow=True)}"
    missing = facts.version and getattr(facts, field) is None
    return f"{text:<32} # {meaning}" + ("; not logged with this version" if missing else "")


_INITIAL = """\
# How {origin} is served, rolled out and watched.
# What is left out has its default; every field: docs/model-deployment.md
model: {model}

{caller}

serving:
  timeout: 250ms         # a payment waits: after it the fallback answers
  fallback: error        # or {{score: 0.0}}, marked as a fallback in the answer and in the log

alerts:
  budget: 0.5%           # the share of rows that analysts can look at
  threshold: null        # null: each release's own, such that `budget` of the evaluation rows alert

gates:
{evaluation}
  label: label                   # its column that is 1 for fraud
{golden}
  recall_margin: 5%              # points of recall, at the alert budget, that a version may lose to the champion
  latency_p99: 100ms
  memory: 2GiB

rollout:
  steps: [5%, 25%, 50%]  # then everything; or {{traffic: 5%, requests: 5000, for: 10m, at_most: 24h}}
  approval: none         # required: another person approves before the first step

watch:                   # ok: tolerated ratio to the champion; bad: unacceptable; budget: share of requests
  errors: {{ok: 1.5, bad: 3.0, budget: 0.1%}}
  slow: {{ok: 1.5, bad: 2.0, over: null}}    # null: slower than the champion's p99
  alerts: {{ok: 1.5, bad: 2.0}}              # off: for a version that is meant to change the alert rate
  after: 24h               # a release that degrades this soon after promotion ...
  on_degradation: rollback # is rolled back; or tell

retention:
  predictions: 90d
"""
