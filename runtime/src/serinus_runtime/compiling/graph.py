"""The graph while it is being written, and the conditions that a row must fulfil."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Mapping, Sequence

from serinus_runtime.artifact.signature import Column
from serinus_runtime.base.libraries import library
from serinus_runtime.compiling import onnx_file

ROWS = "rows"
"""The name of the only input: a matrix with one column for each feature. Texts are numbers of the column's
vocabulary."""
UNSEEN = -1
"""The number of a text that is not in the vocabulary."""
ML = "ai.onnx.ml"
EXACT = 1 << 53
"""Larger whole numbers are not exact in float64."""
FLOAT32_MAX = 3.4028234663852886e38


class Unsupported(Exception):
    """The model cannot be written as an ONNX graph that decides in the same way. The text says why."""


@dataclass(frozen=True)
class Feature:
    """One column of a `Block`. While it is derived from one of the caller's columns, `value = source * scale +
    shift`."""

    source: int | None = None
    """The index of the caller's column. None: it is made of several columns, or not linearly."""
    text: bool = False
    scale: float = 1.0
    shift: float = 0.0
    single: bool = False
    """It has the type float32, unchanged."""
    wide: bool = True
    """It has a type with which NumPy computes in float64: neither float32 nor boolean."""


@dataclass(frozen=True)
class Block:
    """A float64 tensor [rows, len(features)] within the graph."""

    name: str
    features: tuple[Feature, ...]
    sparse: bool = False
    """The library has it as a sparse matrix without zeros."""

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self.features)

    def numbers(self, what: str) -> Block:
        """Returns the block. Raises Unsupported where it has texts."""
        if any(feature.text for feature in self.features):
            raise Unsupported(f"{what} of texts")
        return self

    def doubles(self, what: str) -> Block:
        """Returns the block. Raises Unsupported where it has texts, or the library would compute in float32."""
        # Beside float32, only columns of float64 or of whole numbers make NumPy compute in float64.
        if any(feature.single for feature in self.features) and not any(feature.wide for feature in self.features):
            raise Unsupported(f"{what} of nothing but float32")
        return self.numbers(what)

    def dense(self, what: str) -> Block:
        """Returns the block. Raises Unsupported where it is sparse."""
        if self.sparse:
            raise Unsupported(f"{what} of a sparse matrix")
        return self


@dataclass
class Demands:
    """Values that the original refuses and a graph would answer, by the index of the caller's column."""

    known: dict[int, list[float]] = field(default_factory=dict)
    """The numbers that the column may hold. Others are refused."""
    bounds: dict[int, tuple[float, float]] = field(default_factory=dict)
    """The original refuses numbers outside of them."""
    splits: dict[int, list[float]] = field(default_factory=dict)
    """The thresholds of trees. The proof tests both sides."""
    ensembles: list[tuple[tuple[Feature, ...], Sequence[Any]]] = field(default_factory=list)
    """Trees, and the features that they use. The proof has rows that reach splits deep within them."""
    named: dict[int, list[float]] = field(default_factory=dict)
    """Numbers with a special meaning for the model: categories, and markers of missing values."""


class Graph:
    """Nodes and constants by name. Each is written once."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.demands = Demands()
        self.vocabularies: dict[int, dict[str, int]] = {}
        self._nodes: list[bytes] = []
        self._constants: dict[tuple[bytes, str, tuple[int, ...]], str] = {}
        self._tensors: list[bytes] = []
        for i, column in enumerate(self.columns):
            if column.type == "string":
                self.vocabularies[i] = {}

    def input(self) -> Block:
        """Returns the input as a block."""
        return Block(ROWS, tuple(_feature(i, column) for i, column in enumerate(self.columns)))

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Adds a node with one output and returns the output's name."""
        name = f"v{len(self._nodes)}"
        encoded = [onnx_file.attribute(key, value) for key, value in attributes.items() if value is not None]
        self._nodes.append(onnx_file.node(op, inputs, [name], domain, encoded))
        return name

    def constant(self, values: Any, kind: str = "float64") -> str:
        """Returns the name of an initializer. Equal values share one."""
        array = library("numpy").asarray(values, dtype=kind)
        key = (array.tobytes(), array.dtype.name, array.shape)
        if key not in self._constants:
            name = self._constants[key] = f"c{len(self._constants)}"
            self._tensors.append(onnx_file.tensor(array, name))
        return self._constants[key]

    def cast(self, name: str, kind: str) -> str:
        """Adds a conversion to another type."""
        return self.add("Cast", name, to=onnx_file.TYPES[kind])

    def pick(self, block: Block, indices: Sequence[int]) -> Block:
        """Selects some columns in this order."""
        if list(indices) == list(range(block.width)):
            return block
        name = self.add("Gather", block.name, self.constant(indices, "int64"), axis=1)
        return replace(block, name=name, features=tuple(block.features[i] for i in indices))

    def join(self, blocks: Sequence[Block]) -> Block:
        """Joins blocks."""
        blocks = [block for block in blocks if block.width]
        if not blocks:
            raise Unsupported("a transformer that leaves no column")
        if len(blocks) == 1:
            return blocks[0]
        features = tuple(feature for block in blocks for feature in block.features)
        return Block(self.add("Concat", *(block.name for block in blocks), axis=1), features)

    def affine(self, block: Block, op: str, values: Any) -> Block:
        """Applies `op` (Add, Sub, Mul, Div) to each column with its own number."""
        row = library("numpy").asarray(values, dtype="float64").reshape(1, -1)
        name = self.add(op, block.name, self.constant(row))
        return Block(name, tuple(_moved(feature, op, float(v)) for feature, v in zip(block.features, row[0])))

    def single(self, block: Block) -> Block:
        """Rounds to float32, like a library that refuses numbers that do not fit."""
        self.fits_float32(block)
        return replace(block, name=self.cast(self.cast(block.name, "float32"), "float64"))

    def fits_float32(self, block: Block) -> None:
        """Records where the callers' numbers would be too large for float32."""
        for feature in block.features:
            if feature.source is not None and feature.scale:
                ends = [(end - feature.shift) / feature.scale for end in (-FLOAT32_MAX, FLOAT32_MAX)]
                low, high = self.demands.bounds.get(feature.source, (float("-inf"), float("inf")))
                self.demands.bounds[feature.source] = (max(low, min(ends)), min(high, max(ends)))

    def code(self, column: int, text: str) -> int:
        """Returns the number that stands for `text` in this column."""
        vocabulary = self.vocabularies[column]
        return vocabulary.setdefault(text, len(vocabulary))

    def split_at(self, feature: Feature, threshold: float) -> None:
        """Records a threshold of a tree."""
        if feature.source is not None and feature.scale and not feature.text:
            value = (threshold - feature.shift) / feature.scale
            self.demands.splits.setdefault(feature.source, []).append(value)

    def names(self, feature: Feature, value: float) -> None:
        """Records a number that the model treats differently from its neighbours."""
        if feature.source is not None and feature.scale and not feature.text:
            self.demands.named.setdefault(feature.source, []).append((value - feature.shift) / feature.scale)

    def model(self, outputs: Mapping[str, tuple[str, Sequence[int]]]) -> bytes:
        """Returns the file. `outputs` has the type and the shape without rows of each output."""
        given: onnx_file.Value = (ROWS, "float64", [len(self.columns)])
        wanted = [(name, kind, shape) for name, (kind, shape) in outputs.items()]
        return onnx_file.model(self._nodes, self._tensors, [given], wanted)


def _feature(index: int, column: Column) -> Feature:
    return Feature(
        index, column.type == "string", single=column.type == "float", wide=column.type not in ("float", "boolean")
    )


def _moved(feature: Feature, op: str, value: float) -> Feature:
    scale, shift = feature.scale, feature.shift
    feature = replace(feature, single=False, wide=True)
    if op in ("Add", "Sub"):
        return replace(feature, shift=shift + (value if op == "Add" else -value))
    factor = value if op == "Mul" else 1 / value if value else 0.0
    return replace(feature, scale=scale * factor, shift=shift * factor)
