"""Draws recipes and what is asked of them. The same seed draws the same."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Iterator, Sequence
from typing import Any

from fidelity import estimators
from fidelity.case import JSON, Ask, Recipe
from fidelity.forms import CSV, forms_of
from fidelity.pyfuncs import ANSWERS
from fidelity.spoil import SPOILS
from fidelity.values import edge, typical, wrong

_SCALARS = ("double", "double", "double", "float", "integer", "long", "string", "boolean", "datetime", "binary")
_NAMES = ("a", "b", "c", "amount", "long name", "é", "a.b", "A", "d", "e")
_DTYPES = ("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
           "bool", "str", "object")  # fmt: skip
_NESTED: tuple[dict[str, JSON], ...] = (
    {"type": "array", "items": {"type": "double"}},
    {"type": "array", "items": {"type": "long"}},
    {"type": "array", "items": {"type": "string"}},
    {"type": "array", "items": {"type": "array", "items": {"type": "double"}}},
    {
        "type": "object",
        "properties": {"x": {"type": "double", "required": True}, "y": {"type": "string", "required": False}},
    },
    {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "long", "required": True}}}},
    {"type": "map", "values": {"type": "double"}},
    {"type": "map", "values": {"type": "array", "items": {"type": "long"}}},
)
_PARAMS: tuple[dict[str, JSON], ...] = (
    {"name": "temperature", "default": 0.5, "shape": None, "type": "double"},
    {"name": "top", "default": 3, "shape": None, "type": "long"},
    {"name": "mode", "default": "fast", "shape": None, "type": "string"},
    {"name": "strict", "default": False, "shape": None, "type": "boolean"},
    {"name": "stops", "default": ["a"], "shape": [-1], "type": "string"},
)


def recipe(seed: int, number: int) -> Recipe:
    """The `number`th of the run with this seed."""
    dice = random.Random(f"{seed}/{number}")
    return _trained(dice) if dice.random() < 0.55 else _custom(dice)


def _common(dice: random.Random) -> dict[str, Any]:
    return {
        "seed": dice.randrange(1 << 30),
        "example": dice.random() < 0.85,
        "cached": dice.random() < 0.2,
        "orjson": dice.random() < 0.8,
    }


def _installed(estimator: str) -> bool:
    return importlib.util.find_spec(estimators.flavor_of(estimator)) is not None


def _trained(dice: random.Random) -> Recipe:
    flavors = {name: estimators.flavor_of(name) for name in estimators.KINDS if _installed(name)}
    library = dice.choice(sorted({*flavors.values(), "sklearn"}))
    name = dice.choice([name for name, flavor in flavors.items() if flavor == library])
    kind = estimators.KINDS[name]
    settings = {**dict(kind.fixed)}
    for key, choices in dict(kind.choices).items():
        # Most settings stay as most authors leave them: what breaks is then found one at a time.
        if len(choices) == 1 or dice.random() < 0.35:
            settings[key] = dice.choice(choices)
    texts = dice.random() < 0.35
    types = [dice.choice(("double", "double", "float", "long", "integer")) for _ in range(dice.randint(2, 4))]
    if dice.random() < 0.5:
        types = [types[0]] * len(types)
    types += ["string"] if texts else ["boolean"] if dice.random() < 0.1 else []
    named = dice.random() < 0.9
    holes = dice.random() < 0.4
    inputs = tuple(
        _column(kind_, str(_NAMES[i]) if named else str(i), not (holes and kind_ == "string"))
        for i, kind_ in enumerate(types)
    )
    booster = name.endswith("Booster")
    # Whatever has scikit-learn's interface is also logged by its flavour, for the probabilities.
    flavor = estimators.flavor_of(name) if booster or dice.random() < 0.5 else "sklearn"
    steps = () if booster else _steps(dice, texts, holes, kind.missing)
    common = _common(dice)
    return Recipe(
        flavor=flavor, estimator=name, settings=settings, steps=steps, method=_method(dice, kind, flavor, steps),
        inputs=inputs, signed=dice.random() < 0.92, holes=holes and not (booster and texts), **common,
    )  # fmt: skip


def _method(dice: random.Random, kind: estimators.Kind, flavor: str, steps: Sequence[str]) -> str:
    return dice.choice(kind.methods) if steps or flavor == "sklearn" else "predict"


def _steps(dice: random.Random, texts: bool, holes: bool, missing: bool) -> tuple[str, ...]:
    steps: list[str] = []
    if holes and (not missing or dice.random() < 0.5):
        steps.append(dice.choice(estimators.IMPUTING))
    steps += dice.sample(estimators.NUMBER_STEPS[len(estimators.IMPUTING) :], dice.choice((0, 0, 0, 1, 2)))
    return (*steps, dice.choice(estimators.TEXT_STEPS)) if texts else tuple(steps)


def _column(kind: str, name: str | None, required: bool = True) -> dict[str, JSON]:
    return {"type": kind, "required": required, **({} if name is None else {"name": name})}


def _custom(dice: random.Random) -> Recipe:
    draws = (_scalar_columns, _scalar_columns, _scalar_columns, _nested_columns, _tensors, _tensors, _unnamed)
    inputs = dice.choice(draws)(dice)
    answer = dice.choice(("text", "text", "array float64", *ANSWERS))
    if dice.random() < 0.03:
        texts = (_column("string", None),)
        return Recipe("pyfunc", inputs=texts, hinted=True, answer=answer, rows=6, **_common(dice))
    params = tuple(dice.sample(_PARAMS, dice.randint(1, 3))) if dice.random() < 0.2 else ()
    signed = bool(params) or dice.random() < 0.88
    return Recipe("pyfunc", inputs=inputs, signed=signed, answer=answer, params=params, rows=6, **_common(dice))


def _scalar_columns(dice: random.Random) -> tuple[dict[str, JSON], ...]:
    types = [dice.choice(_SCALARS) for _ in range(dice.randint(1, 4))]
    names = dice.sample(_NAMES, len(types)) if dice.random() < 0.8 else [str(i) for i in range(len(types))]
    return tuple(_column(kind, name, dice.random() < 0.75) for kind, name in zip(types, names, strict=True))


def _nested_columns(dice: random.Random) -> tuple[dict[str, JSON], ...]:
    nested = {**dice.choice(_NESTED), "name": "n", "required": dice.random() < 0.8}
    return (nested, *_scalar_columns(dice)[:1]) if dice.random() < 0.5 else (nested,)


def _unnamed(dice: random.Random) -> tuple[dict[str, JSON], ...]:
    return tuple(_column(dice.choice(_SCALARS), None) for _ in range(dice.randint(1, 3)))


def _tensors(dice: random.Random) -> tuple[dict[str, JSON], ...]:
    def one(name: str | None) -> dict[str, JSON]:
        shape = dice.choice(([-1, 3], [-1, 2], [-1], [-1, 2, 2], [-1, 1]))
        spec = {"type": "tensor", "tensor-spec": {"dtype": dice.choice(_DTYPES), "shape": list(shape)}}
        return spec if name is None else {**spec, "name": name}

    return (
        (one(None),)
        if dice.random() < 0.6
        else tuple(one(name) for name in dice.sample(("x", "y", "ids"), dice.randint(1, 2)))
    )


# --- what is asked


def asks(made: Recipe, rows: Sequence[Sequence[JSON]], splits: Sequence[float], count: int) -> Iterator[Ask]:
    """`rows`: typical ones. The kinds in turn: typical, at the edges, mixed, of wrong values, spoiled bodies."""
    dice = random.Random(f"asks {made.seed}")
    forms = forms_of(made)
    for number in range(count):
        form = forms[number % len(forms)]
        how = dice.random()
        sent = [list(dice.choice(rows)) if rows else [] for _ in range(dice.choice((1, 1, 1, 2, 5)))]
        if 0.35 <= how < 0.9:
            _change(made, sent, splits, dice, wrong_values=how >= 0.75)
        columns = list(made.names)
        if 0.9 <= how < 0.95 and columns and columns[0] is not None:
            sent, columns = _rearranged(sent, columns, dice)
        spoil: tuple[JSON, ...] = ()
        if how >= 0.95:
            name = dice.choice([name for name, known in SPOILS.items() if known.fits(form)])
            spoil = (name, dice.randrange(1000))
        yield Ask(form, tuple(columns), tuple(map(tuple, sent)), _params(made, form, dice), spoil)


def _change(
    made: Recipe, rows: list[list[JSON]], splits: Sequence[float], dice: random.Random, *, wrong_values: bool
) -> None:
    """Some values of each row, or one wrong value in all."""
    if not made.inputs:
        return
    for row in rows:
        for i, spec in enumerate(made.inputs):
            if dice.random() < 0.4:
                row[i] = edge(spec, dice, splits) if dice.random() < 0.8 else typical(spec, dice)
    if wrong_values:
        at = dice.randrange(len(made.inputs))
        dice.choice(rows)[at] = wrong(dice)


def _rearranged(
    rows: list[list[JSON]], columns: list[str | None], dice: random.Random
) -> tuple[list[list[JSON]], list[str | None]]:
    """Columns in another order, one left out, or one more."""
    order = list(range(len(columns)))
    dice.shuffle(order)
    if dice.random() < 0.4:
        order = order[1:] or order
    rows, columns = [[row[i] for i in order] for row in rows], [columns[i] for i in order]
    if dice.random() < 0.3:
        rows, columns = [[*row, 1.5] for row in rows], [*columns, "more"]
    return rows, columns


def _params(made: Recipe, form: str, dice: random.Random) -> dict[str, JSON] | None:
    if form == CSV or dice.random() < (0.4 if made.params else 0.97):
        return None
    values = {
        "temperature": (0.1, 2, "hot"),
        "top": (1, 7, 1.5),
        "mode": ("slow", 3),
        "strict": (True,),
        "stops": (["x", "y"], []),
    }
    names = [param["name"] for param in made.params] or ["temperature"]
    return {name: dice.choice(values[name]) for name in names if dice.random() < 0.7} | (
        {"unknown": 1} if dice.random() < 0.1 else {}
    )
