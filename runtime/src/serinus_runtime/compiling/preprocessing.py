"""scikit-learn's transformers, from their fitted attributes to nodes in float64, in each transformer's own order of
computation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Callable, Sequence

from serinus_runtime.base.libraries import library
from serinus_runtime.compiling.graph import EXACT, Block, Feature, Graph, Unsupported
from serinus_runtime.compiling.known import check

_NOT_A_CODE = -(2.0**40)
"""Stands for NaN while categories are being counted. No category has this number."""


def transform(graph: Graph, step: Any, block: Block) -> Block:
    """Writes the result of `step` on the columns of `block`."""
    if step == "passthrough":
        return block
    name = type(step).__name__
    writer = _WRITERS.get(name) if type(step).__module__.startswith("sklearn.") else None
    if writer is None:
        raise Unsupported(f"the step {name}")
    check(step)
    return writer(graph, step, block if name in _TAKE_SPARSE else block.dense(name))


def _pipeline(graph: Graph, step: Any, block: Block) -> Block:
    for _, part in step.steps:
        if part is not None:
            block = transform(graph, part, block)
    return block


def _column_transformer(graph: Graph, step: Any, block: Block) -> Block:
    if step.transformer_weights:
        raise Unsupported("ColumnTransformer with weights")
    parts = []
    for name, part, _ in step.transformers_:
        indices = [int(i) for i in step._transformer_to_input_indices[name]]
        if indices and not (isinstance(part, str) and part == "drop"):
            parts.append(transform(graph, part, graph.pick(block, indices)))
    return replace(graph.join(parts), sparse=bool(step.sparse_output_))


def _feature_union(graph: Graph, step: Any, block: Block) -> Block:
    if step.transformer_weights:
        raise Unsupported("FeatureUnion with weights")
    parts = [transform(graph, part, block) for _, part in step.transformer_list if part != "drop"]
    return replace(graph.join(parts), sparse=any(part.sparse for part in parts))


def _function(graph: Graph, step: Any, block: Block) -> Block:  # noqa: ARG001
    if step.func is not None:
        raise Unsupported("a FunctionTransformer")
    return block


def _selector(graph: Graph, step: Any, block: Block) -> Block:
    return graph.pick(block.numbers("a selection"), [int(i) for i in step.get_support(indices=True)])


# --- scales -------------------------------------------------------------------------------------------------


def _standard(graph: Graph, step: Any, block: Block) -> Block:
    block = block.doubles("StandardScaler")
    if step.with_mean:
        block = graph.affine(block, "Sub", step.mean_)
    return graph.affine(block, "Div", step.scale_) if step.with_std else block


def _min_max(graph: Graph, step: Any, block: Block) -> Block:
    block = graph.affine(block.doubles("MinMaxScaler"), "Mul", step.scale_)
    block = graph.affine(block, "Add", step.min_)
    if not getattr(step, "clip", False):
        return block
    low, high = (graph.constant(float(end)) for end in step.feature_range)
    return Block(graph.add("Clip", block.name, low, high), tuple(Feature() for _ in block.features))


def _max_abs(graph: Graph, step: Any, block: Block) -> Block:
    return graph.affine(block.doubles("MaxAbsScaler"), "Div", step.scale_)


def _robust(graph: Graph, step: Any, block: Block) -> Block:
    block = block.doubles("RobustScaler")
    if step.with_centering:
        block = graph.affine(block, "Sub", step.center_)
    return graph.affine(block, "Div", step.scale_) if step.with_scaling else block


def _pca(graph: Graph, step: Any, block: Block) -> Block:
    block = block.doubles("PCA")
    numpy = library("numpy")
    weights = numpy.asarray(step.components_, dtype="float64").T
    if step.whiten:
        weights = weights / numpy.sqrt(step.explained_variance_)
    centred = graph.affine(block, "Sub", step.mean_)
    return Block(graph.add("MatMul", centred.name, graph.constant(weights)), (Feature(),) * weights.shape[1])


# --- missing values -----------------------------------------------------------------------------------------


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value


def _imputer(graph: Graph, step: Any, block: Block) -> Block:
    if not all(feature.text for feature in block.features):
        replace(block, features=tuple(one for one in block.features if not one.text)).doubles("SimpleImputer")
    empty = getattr(step, "_is_empty_feature", None)
    if empty is not None and library("numpy").any(empty):
        raise Unsupported("SimpleImputer for a column that was empty")
    fills: list[float | None] = []
    for feature, value in zip(block.features, step.statistics_):
        fills.append(_text_fill(graph, step, feature, value) if feature.text else _number_fill(step, value))
    mask = _is_missing(graph, step, block)
    row = graph.constant([[0.0 if fill is None else fill for fill in fills]])
    if any(fill is None for fill in fills):
        mask = graph.add("And", mask, graph.constant([[fill is not None for fill in fills]], "bool"))
    filled = Block(graph.add("Where", mask, row, block.name), block.features)
    return graph.join([filled, _indicators(graph, step, block)]) if step.add_indicator else filled


def _is_missing(graph: Graph, step: Any, block: Block) -> str:
    """Writes a boolean tensor [rows, columns]: NaN, or the number that stands for a missing value."""
    sign = step.missing_values
    if sign is None or _is_nan(sign):
        return graph.add("IsNaN", block.name)
    if isinstance(sign, (str, bool)) or not isinstance(sign, (int, float)) or not math.isfinite(sign):
        raise Unsupported("SimpleImputer with a missing_values that is not a number")
    for feature in block.features:
        if feature.text or feature.source is None or (feature.scale, feature.shift) != (1.0, 0.0):
            raise Unsupported(f"SimpleImputer.missing_values={sign} behind another step")
        graph.names(feature, float(sign))
    return graph.add("Equal", block.name, graph.constant([[float(sign)]]))


def _number_fill(step: Any, value: Any) -> float:
    if step.missing_values is None:
        raise Unsupported("SimpleImputer for values other than missing numbers")
    if value is None or value != value:
        raise Unsupported("SimpleImputer for a column that was empty")
    return float(value)


def _text_fill(graph: Graph, step: Any, feature: Feature, value: Any) -> float | None:
    """Returns the number of the text that fills missing values. None: null is an ordinary text for this imputer."""
    if step.missing_values is not None:
        return None
    if not isinstance(value, str) or feature.source is None:
        raise Unsupported("SimpleImputer that replaces a text by something else")
    return float(graph.code(feature.source, value))


def _indicators(graph: Graph, step: Any, block: Block) -> Block:
    chosen = graph.pick(block.numbers("indicators"), [int(i) for i in step.indicator_.features_])
    return Block(graph.cast(_is_missing(graph, step, chosen), "float64"), (Feature(),) * chosen.width)


# --- categories ---------------------------------------------------------------------------------------------


def _numbered(graph: Graph, feature: Feature, categories: Sequence[Any], *, strict: bool) -> list[float | None]:
    """Returns the numbers of the categories in the block. None: the category of missing values. `strict`: others are
    refused."""
    numbers: list[float | None] = []
    for value in categories:
        if value is None or _is_nan(value):
            numbers.append(None if (value is None) == feature.text else _NOT_A_CODE)
        elif feature.text:
            if not isinstance(value, str) or feature.source is None:
                raise Unsupported("categories that are not texts in a column of texts")
            numbers.append(float(graph.code(feature.source, value)))
        elif isinstance(value, str) or abs(value) >= EXACT:
            raise Unsupported("categories that are not exact numbers in a column of numbers")
        else:
            numbers.append(float(value))
            graph.names(feature, float(value))
    if strict and not feature.text:
        if feature.source is None or (feature.scale, feature.shift) != (1.0, 0.0):
            raise Unsupported("an encoder that refuses unknown numbers made by another step")
        known = [number for number in numbers if number is not None]
        before = graph.demands.known.get(feature.source, known)
        graph.demands.known[feature.source] = [number for number in before if number in known]
    return numbers


def _matches(graph: Graph, block: Block, owners: Sequence[int], numbers: Sequence[float | None]) -> str:
    """Writes a boolean tensor [rows, len(owners)]: whether column `owners[j]` holds `numbers[j]`."""
    wide = graph.pick(block, owners).name
    row = [[_NOT_A_CODE if number is None else number for number in numbers]]
    found = graph.add("Equal", wide, graph.constant(row))
    if None in numbers:
        missing = graph.constant([[number is None for number in numbers]], "bool")
        found = graph.add("Or", found, graph.add("And", graph.add("IsNaN", wide), missing))
    return found


def _one_hot(graph: Graph, step: Any, block: Block) -> Block:
    groups = step._default_to_infrequent_mappings if getattr(step, "_infrequent_enabled", False) else ()
    if any(group is not None for group in groups):
        return _grouped_one_hot(graph, step, block, groups)
    dropped = step.drop_idx_ if step.drop_idx_ is not None else [None] * block.width
    owners: list[int] = []
    wanted: list[float | None] = []
    for i, (feature, categories) in enumerate(zip(block.features, step.categories_)):
        numbers = _numbered(graph, feature, categories.tolist(), strict=step.handle_unknown == "error")
        kept = [number for j, number in enumerate(numbers) if j != dropped[i]]
        owners += [i] * len(kept)
        wanted += kept
    found = graph.cast(_matches(graph, block, owners, wanted), "float64")
    return Block(found, (Feature(),) * len(owners), _is_sparse(step))


def _is_sparse(step: Any) -> bool:
    """Whether the step returns a sparse matrix. Before scikit-learn 1.2 the parameter was named `sparse`."""
    return bool(getattr(step, "sparse_output", getattr(step, "sparse", True)))


def _grouped_one_hot(graph: Graph, step: Any, block: Block, groups: Sequence[Any]) -> Block:
    """Writes an encoder with infrequent categories. `groups` has, for each column, the output of each category, the
    last of which is that of all infrequent ones, or None."""
    if step.drop_idx_ is not None or step.handle_unknown not in ("error", "ignore", "infrequent_if_exist"):
        raise Unsupported("OneHotEncoder with infrequent categories and others to drop or to warn of")
    numpy = library("numpy")
    owners: list[int] = []
    wanted: list[float | None] = []
    parts: list[Any] = []
    shifts: list[Any] = []
    for i, (feature, categories, group) in enumerate(zip(block.features, step.categories_, groups)):
        numbers = _numbered(graph, feature, categories.tolist(), strict=step.handle_unknown == "error")
        owners += [i] * len(numbers)
        wanted += numbers
        part = numpy.eye(len(numbers)) if group is None else numpy.eye(max(group) + 1)[group]
        shift = numpy.zeros(part.shape[1])
        if group is not None and step.handle_unknown == "infrequent_if_exist":
            # Everything that is not frequent is infrequent, including categories that were never seen.
            part[:, -1] -= 1.0
            shift[-1] = 1.0
        parts.append(part)
        shifts.append(shift)
    weights = numpy.zeros((len(owners), sum(part.shape[1] for part in parts)))
    row = column = 0
    for part in parts:
        weights[row : row + part.shape[0], column : column + part.shape[1]] = part
        row, column = row + part.shape[0], column + part.shape[1]
    found = graph.cast(_matches(graph, block, owners, wanted), "float64")
    summed = graph.add("MatMul", found, graph.constant(weights))
    name = graph.add("Add", summed, graph.constant([numpy.concatenate(shifts)]))
    return Block(name, (Feature(),) * column, _is_sparse(step))


def _ordinal(graph: Graph, step: Any, block: Block) -> Block:
    if getattr(step, "min_frequency", None) is not None or getattr(step, "max_categories", None) is not None:
        raise Unsupported("OrdinalEncoder with infrequent categories")
    numpy = library("numpy")
    strict = step.handle_unknown == "error"
    unknown = 0.0 if strict else _coded(step.unknown_value)
    missing = _coded(getattr(step, "encoded_missing_value", float("nan")))
    owners: list[int] = []
    wanted: list[float | None] = []
    codes: list[float] = []
    for i, (feature, categories) in enumerate(zip(block.features, step.categories_)):
        numbers = _numbered(graph, feature, categories.tolist(), strict=strict)
        owners += [i] * len(numbers)
        wanted += numbers
        # Only NaN counts as missing. None is an ordinary category.
        codes += [missing if _is_nan(value) else float(j) for j, value in enumerate(categories.tolist())]
    weights = numpy.zeros((len(owners), block.width))
    weights[numpy.arange(len(owners)), owners] = numpy.array(codes) - unknown
    found = graph.cast(_matches(graph, block, owners, wanted), "float64")
    coded = graph.add("Add", graph.add("MatMul", found, graph.constant(weights)), graph.constant([[unknown]]))
    if _NOT_A_CODE in (unknown, missing):
        gone = graph.add("Equal", coded, graph.constant([[_NOT_A_CODE]]))
        coded = graph.add("Where", gone, graph.constant([[float("nan")]]), coded)
    return Block(coded, (Feature(),) * block.width)


def categories_first(graph: Graph, step: Any, block: Block) -> Block:
    """Writes the preprocessing of HistGradientBoosting: its categories as numbers, followed by all other columns."""
    numbered, rest = (
        graph.pick(block, [int(i) for i in step._transformer_to_input_indices[name]])
        for name in ("encoder", "numerical")
    )
    return graph.join([_ordinal(graph, step.named_transformers_["encoder"], numbered), rest])


def _coded(value: Any) -> float:
    return _NOT_A_CODE if value is None or value != value else float(value)


Writer = Callable[[Graph, Any, Block], Block]

_TAKE_SPARSE = ("Pipeline", "VarianceThreshold", "SelectKBest", "SelectPercentile", "SelectFromModel")
"""Steps that treat sparse and dense matrices alike."""

_WRITERS: dict[str, Writer] = {
    "Pipeline": _pipeline,
    "ColumnTransformer": _column_transformer,
    "FeatureUnion": _feature_union,
    "FunctionTransformer": _function,
    "VarianceThreshold": _selector,
    "SelectKBest": _selector,
    "SelectPercentile": _selector,
    "SelectFromModel": _selector,
    "StandardScaler": _standard,
    "MinMaxScaler": _min_max,
    "MaxAbsScaler": _max_abs,
    "RobustScaler": _robust,
    "PCA": _pca,
    "SimpleImputer": _imputer,
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
}
