"""The reference of the ModelDeployment and its JSON schema, both generated from the schema."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from serinus.spec.fields import FIELDS, Described, described
from serinus.spec.schema import ModelDeployment
from serinus.spec.writing import Facts, as_yaml, initial


def schema() -> dict[str, Any]:
    """Returns the JSON schema (draft 2020-12) for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ModelDeployment.model_json_schema(by_alias=True, mode="validation"),
    }


def reference() -> str:
    """Returns the text of `docs/model-deployment.md`."""
    fields = list(described())
    heads = [field for field in fields if "." not in field.path]
    parts = [_PRELUDE.format(example=initial("card-fraud", Facts()).strip())]
    parts.append(_table(field for field in heads if field.section is None))
    for head in heads:
        if head.section:
            below = (field for field in fields if field.path.startswith(f"{head.path}."))
            parts.append(f"## `{head.path}`\n\n{head.info.description}\n\n{_table(below)}")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table(fields: Iterable[Described]) -> str:
    rows = [
        f"| `{field.path}` | {field.kind.name} | {_default(field)} | {field.info.description} |" for field in fields
    ]
    return "\n".join(["| field | type | default | meaning |", "|---|---|---|---|", *rows])


def _default(field: Described) -> str:
    if field.info.is_required():
        return "needed"
    if field.kind.name == "section":
        return ""
    value = _defaults(field.path)
    if field.path == "rollout.steps":
        return f"`[{', '.join(step['traffic'] for step in value)}]`"
    # `off` needs no quotes here. The writer adds them for readers of YAML 1.1.
    return f"`{value if value == 'off' else as_yaml(value, flow=True)}`"


def _defaults(path: str) -> Any:
    """Returns the default value at `path`, as it would be written in YAML."""
    around, _, name = path.rpartition(".")
    section = FIELDS[around.removesuffix("[]")].section if around else ModelDeployment
    assert section is not None
    return section.model_construct().model_dump(mode="json", by_alias=True)[name]


_PRELUDE = """\
# The ModelDeployment

<!-- Generated from the schema: `python -m serinus.spec > docs/model-deployment.md`. A test fails when it is stale. -->

The YAML file that says how one model is served, rolled out and watched. Only `model` is needed, and not even that where
the context names it: an empty file is a valid one. `serinus init MODEL` writes a first one:

```yaml
{example}
```

Durations are written `250ms`, `30s`, `10m`, `24h`, `90d`; shares `5%` or `0.05`; sizes `512KiB`, `1MiB`, `2GiB`.
YAML is read as version 1.2 says (`off` and `no` are words, not booleans); anchors and aliases are refused. A mistake
is answered with the file, the line, the field, what was expected and the nearest right word, all mistakes at once:

```text
card-fraud.yaml:7: serving.timout: is not a field; did you mean 'timeout'?
card-fraud.yaml:8: serving.max_body: expected a size such as 512KiB, 1MiB or 2GiB, got '1M'; did you mean 1MiB?
```

`python -m serinus.spec schema` prints a JSON schema that editors complete and check by.

## How long a rollout takes

A step is passed when every watched metric is cleared, and not before its minimums. What decides how long that is:

- **Rare events** (errors, fallbacks, missing scores) are cleared against their absolute `budget`. 0.1% takes about
  5,100 requests without one, answered by the candidate within the step; half the budget takes twice as many.
- **Frequent ones** (slow answers, alerts) are compared with the champion's, in a few thousand requests of the candidate
  where one in 100 or 200 is such an event. The rarer they are, the more it takes.
- **`for`** lets minutes pass, however high the traffic.

With the defaults a healthy release needs about 5,000, 5,800 and 18,000 requests of its own, which are 100,000, 23,000
and 36,000 of the model's: half an hour at 200 requests a second (three times `for`), 2.2 hours at 20. Below 1.2 a
second the first step cannot gather its 5,000 within 24 hours: give fewer and larger steps (`[20%, 50%]`), a wider
`budget`, or a longer `at_most`.

`serinus deploy` says beforehand how long the canary will take at the rate at which the model is asked now, and offers
larger steps where that is more than an hour. It warns, with the line of the file and the figures:

- where a step ends without a verdict before its metrics or its minimum of requests can be reached;
- where no request has reached the model in the last hour;
- where the last canary has counted so few entities that the share of the first step may have none;
- where `watch.errors.budget` is less than what the champion itself fails, or more than `bad` times that;
- where values contradict each other: a `watch` ratio `ok` below 1, a `gates.latency_p99` above `serving.timeout`, a
  `watch.slow.over` that is not below it.

Steps whose shares do not grow, an `at_most` below `for`, and a ratio `bad` that is not above `ok` are refused.

## The top"""
