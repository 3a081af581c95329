"""What input an estimator expects by its own word, where a model was logged without a signature."""

from __future__ import annotations

from typing import Any, NamedTuple

TEXTS, RECORDS, VALUES = "texts", "records", "values"
_MOST_STEPS = 16


class ExpectedInput(NamedTuple):
    """`items`: TEXTS, RECORDS (dicts) or VALUES (of any kind) where it takes what it is given one by one, so that a
    DataFrame is to it the names of its columns; None: it takes tables. `names`: of the columns in its training."""

    items: str | None = None
    names: tuple[str, ...] | None = None


def expected_input(raw: Any) -> ExpectedInput:
    """Of the estimator behind a model. Never raises: what does not say so takes any table."""
    try:
        return ExpectedInput(_items(_first_step(raw)), _names(raw))
    except Exception:  # noqa: BLE001 - the estimator's own code, which may raise anything
        return ExpectedInput()


def _items(estimator: Any) -> str | None:
    kinds = _wanted(estimator)
    own = any(callable(getattr(estimator, name, None)) for name in ("analyzer", "preprocessor", "tokenizer"))
    if "string" in kinds and hasattr(estimator, "analyzer") and not own:
        return TEXTS
    if kinds == {"dict"}:
        return RECORDS
    return VALUES if kinds else None


def _first_step(raw: Any) -> Any:
    for _ in range(_MOST_STEPS):
        inner = _inner(raw)
        if inner is None:
            break
        raw = inner
    return raw


def _inner(raw: Any) -> Any:
    """What a pipeline, or an estimator around others, hands its input to; None: it takes it itself."""
    steps = getattr(raw, "steps", None) or getattr(raw, "transformer_list", None)
    if isinstance(steps, list):
        return next((step for _, step in steps if not isinstance(step, str) and step is not None), None)
    for name in ("best_estimator_", "estimator_", "regressor_"):
        if getattr(raw, name, None) is not None:
            return getattr(raw, name)
    for name in ("calibrated_classifiers_", "estimators_"):
        several = getattr(raw, name, None)
        if isinstance(several, list) and several:
            return getattr(several[0], "estimator", None) or several[0]
    return None


def _wanted(estimator: Any) -> set[str]:
    """The kinds of input that scikit-learn's tags name, where tables are none of them."""
    if hasattr(estimator, "__sklearn_tags__"):
        tags = estimator.__sklearn_tags__().input_tags
        found = {name for name in ("string", "dict", "two_d_array") if getattr(tags, name, False)}
    else:
        getter = getattr(estimator, "_get_tags", None)
        found = set(getter().get("X_types", ())) if callable(getter) else set()
    return set() if found & {"2darray", "two_d_array"} else found & {"string", "dict"}


def _names(raw: Any) -> tuple[str, ...] | None:
    found = getattr(raw, "feature_names_in_", None)
    if found is None:
        found = getattr(raw, "feature_names", None)
    return None if found is None or callable(found) or not len(found) else tuple(map(str, found))
