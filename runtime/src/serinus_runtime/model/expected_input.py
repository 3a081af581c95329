"""The input that an estimator itself declares, for models that were logged without a signature."""

from __future__ import annotations

from typing import Any, NamedTuple

TEXTS, RECORDS, VALUES = "texts", "records", "values"
_MOST_STEPS = 16


class ExpectedInput(NamedTuple):
    """`items` is TEXTS, RECORDS (dicts) or VALUES (of any kind) where the estimator takes items one by one, so that it
    would take a DataFrame for its column names. None: it takes tables. `names` are the columns of its training."""

    items: str | None = None
    names: tuple[str, ...] | None = None


def expected_input(raw: Any) -> ExpectedInput:
    """Returns the expected input. Never raises: an estimator that declares nothing takes any table."""
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
    """Returns the estimator to which a pipeline or meta-estimator passes its input. None: it takes the input itself."""
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
    """Returns the kinds of input in scikit-learn's tags, where tables are not among them."""
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
