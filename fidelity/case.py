"""What is tried, as values that JSON can hold: how a model is made, and what is asked of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

JSON = Any


@dataclass(frozen=True)
class Recipe:
    """How one model is made. The same recipe makes the same model.

    `inputs` is the signature in MLflow's own JSON (a list of column or tensor specifications). It says what the model
    is trained on also where `signed` is false and the model is logged without it. An estimator is trained on `seed`;
    `settings` are its arguments and `steps` names what stands before it; with
    `holes` some of its numbers and texts are missing. A Python model answers in the form `answer`.
    """

    flavor: str
    estimator: str = ""
    settings: Mapping[str, JSON] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    method: str = "predict"
    inputs: tuple[Mapping[str, JSON], ...] = ()
    signed: bool = True
    hinted: bool = False
    example: bool = True
    answer: str = ""
    params: tuple[Mapping[str, JSON], ...] = ()
    seed: int = 0
    rows: int = 60
    holes: bool = False
    cached: bool = False
    orjson: bool = True

    @property
    def trained(self) -> bool:
        """An estimator, not a Python model."""
        return bool(self.estimator)

    @property
    def flat(self) -> bool:
        """A signature of scalars or tensors."""
        nested = {"array", "object", "map"} & {spec["type"] for spec in self.inputs}
        return self.signed and not nested and not self.hinted

    @property
    def tensors(self) -> bool:
        return bool(self.inputs) and self.inputs[0]["type"] == "tensor"

    @property
    def names(self) -> list[str | None]:
        return [spec.get("name") for spec in self.inputs]


@dataclass(frozen=True)
class Ask:
    """One request. `rows` hold a value for each of `columns`: numbers, texts, null, nested lists and objects.

    `spoil` names what is done to the encoded body to make it wrong, with its arguments.
    """

    form: str
    columns: tuple[str | None, ...]
    rows: tuple[tuple[JSON, ...], ...]
    params: Mapping[str, JSON] | None = None
    spoil: tuple[JSON, ...] = ()


@dataclass(frozen=True)
class Case:
    recipe: Recipe
    ask: Ask

    def dump(self) -> dict[str, JSON]:
        """Without what is at its default."""
        return {"recipe": _short(self.recipe), "ask": _short(self.ask)}

    @staticmethod
    def load(content: Mapping[str, JSON]) -> Case:
        return Case(_read(Recipe, content["recipe"]), _read(Ask, content["ask"]))


def _short(value: Recipe | Ask) -> dict[str, JSON]:
    empty = Recipe("") if isinstance(value, Recipe) else Ask("", (), ())
    defaults = asdict(empty)
    found: dict[str, JSON] = json.loads(json.dumps(asdict(value)))
    return {name: part for name, part in found.items() if part != json.loads(json.dumps(defaults[name]))}


def _read(kind: type, content: Mapping[str, JSON]) -> Any:
    given = {name: _tuples(content[name]) if name != "rows" else content[name] for name in content}
    if kind is Ask:
        given["rows"] = tuple(tuple(row) for row in content.get("rows", ()))
        given.setdefault("columns", ())
    known = {item.name for item in fields(kind)}
    unknown = set(given) - known
    if unknown:
        raise ValueError(f"a case does not have {', '.join(sorted(unknown))}")
    return kind(**given)


def _tuples(value: JSON) -> JSON:
    return tuple(value) if isinstance(value, list) else value
