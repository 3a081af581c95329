"""The graph while it is being written: what flows through it, and what must hold of a row before it may enter."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Mapping, Sequence

from serinus_runtime.artifact.signature import Column
from serinus_runtime.base.libraries import library
from serinus_runtime.compiling import onnx_file

ROWS = "rows"
"""Name of the one input: a matrix, a column a feature. Texts come as their place in the column's vocabulary."""
UNSEEN = -1
"""Of a text that is not in the vocabulary."""
ML = "ai.onnx.ml"
EXACT = 1 << 53
"""Whole numbers beyond it are not exact as float64."""
FLOAT32_MAX = 3.4028234663852886e38


class Unsupported(Exception):
    """The compiler cannot write this as ONNX so that it decides the same; the text says what."""


@dataclass(frozen=True)
class Feature:
    """One column of a `Block`. `value = source * scale + shift`, where it still is a caller's column."""

    source: int | None = None
    """Index of the caller's column; None: made of several, or not by a straight line."""
    text: bool = False
    scale: float = 1.0
    shift: float = 0.0
    single: bool = False
    """Of float32, as it was sent."""
    wide: bool = True
    """Of a type that makes numpy compute in float64: neither float32 nor boolean."""


@dataclass(frozen=True)
class Block:
    """A float64 tensor [rows, len(features)] within the graph."""

    name: str
    features: tuple[Feature, ...]
    sparse: bool = False
    """The library has it as a sparse matrix, without its zeros."""

    @property
    def width(self) -> int:
        return len(self.features)

    def numbers(self, what: str) -> Block:
        """Itself. Unsupported: there are texts in it."""
        if any(feature.text for feature in self.features):
            raise Unsupported(f"{what} of texts")
        return self

    def doubles(self, what: str) -> Block:
        """Itself. Unsupported: there are texts in it, or the library would compute in float32."""
        # Beside float32, only a column of float64 or of whole numbers makes numpy compute in float64.
        if any(feature.single for feature in self.features) and not any(feature.wide for feature in self.features):
            raise Unsupported(f"{what} of nothing but float32")
        return self.numbers(what)

    def dense(self, what: str) -> Block:
        """Itself. Unsupported: it is sparse."""
        if self.sparse:
            raise Unsupported(f"{what} of a sparse matrix")
        return self


@dataclass
class Demands:
    """What the original refuses and a graph would answer, by index of the caller's column."""

    known: dict[int, list[float]] = field(default_factory=dict)
    """Numbers that the column may hold: others are refused."""
    bounds: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Beyond them the original refuses."""
    splits: dict[int, list[float]] = field(default_factory=dict)
    """Where a tree decides: the proof looks at both sides."""
    ensembles: list[tuple[tuple[Feature, ...], Sequence[Any]]] = field(default_factory=list)
    """Trees, and the features that they look at: the proof has rows that come to splits deep within them."""
    named: dict[int, list[float]] = field(default_factory=dict)
    """Numbers that the model names: categories, and what stands for a missing value."""


class Graph:
    """Nodes and constants by name; each is written once."""

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
        return Block(ROWS, tuple(_feature(i, column) for i, column in enumerate(self.columns)))

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node of one output; its name."""
        name = f"v{len(self._nodes)}"
        encoded = [onnx_file.attribute(key, value) for key, value in attributes.items() if value is not None]
        self._nodes.append(onnx_file.node(op, inputs, [name], domain, encoded))
        return name

    def constant(self, values: Any, kind: str = "float64") -> str:
        """An initializer's name; the same values share one."""
        array = library("numpy").asarray(values, dtype=kind)
        key = (array.tobytes(), array.dtype.name, array.shape)
        if key not in self._constants:
            name = self._constants[key] = f"c{len(self._constants)}"
            self._tensors.append(onnx_file.tensor(array, name))
        return self._constants[key]

    def cast(self, name: str, kind: str) -> str:
        return self.add("Cast", name, to=onnx_file.TYPES[kind])

    def pick(self, block: Block, indices: Sequence[int]) -> Block:
        """Some of its columns, in that order."""
        if list(indices) == list(range(block.width)):
            return block
        name = self.add("Gather", block.name, self.constant(indices, "int64"), axis=1)
        return replace(block, name=name, features=tuple(block.features[i] for i in indices))

    def join(self, blocks: Sequence[Block]) -> Block:
        blocks = [block for block in blocks if block.width]
        if not blocks:
            raise Unsupported("a transformer that leaves no column")
        if len(blocks) == 1:
            return blocks[0]
        features = tuple(feature for block in blocks for feature in block.features)
        return Block(self.add("Concat", *(block.name for block in blocks), axis=1), features)

    def affine(self, block: Block, op: str, values: Any) -> Block:
        """`op` (Add, Sub, Mul, Div) of each column with its own number."""
        row = library("numpy").asarray(values, dtype="float64").reshape(1, -1)
        name = self.add(op, block.name, self.constant(row))
        return Block(name, tuple(_moved(feature, op, float(v)) for feature, v in zip(block.features, row[0])))

    def single(self, block: Block) -> Block:
        """Rounded to float32, as a library does that refuses what does not fit into it."""
        self.fits_float32(block)
        return replace(block, name=self.cast(self.cast(block.name, "float32"), "float64"))

    def fits_float32(self, block: Block) -> None:
        """Notes where the callers' numbers would be too large for it."""
        for feature in block.features:
            if feature.source is not None and feature.scale:
                ends = [(end - feature.shift) / feature.scale for end in (-FLOAT32_MAX, FLOAT32_MAX)]
                low, high = self.demands.bounds.get(feature.source, (float("-inf"), float("inf")))
                self.demands.bounds[feature.source] = (max(low, min(ends)), min(high, max(ends)))

    def code(self, column: int, text: str) -> int:
        """The number that stands for `text` in this column."""
        vocabulary = self.vocabularies[column]
        return vocabulary.setdefault(text, len(vocabulary))

    def split_at(self, feature: Feature, threshold: float) -> None:
        """Notes that a tree decides here."""
        if feature.source is not None and feature.scale and not feature.text:
            value = (threshold - feature.shift) / feature.scale
            self.demands.splits.setdefault(feature.source, []).append(value)

    def names(self, feature: Feature, value: float) -> None:
        """Notes that the model treats this number unlike its neighbours."""
        if feature.source is not None and feature.scale and not feature.text:
            self.demands.named.setdefault(feature.source, []).append((value - feature.shift) / feature.scale)

    def model(self, outputs: Mapping[str, tuple[str, Sequence[int]]]) -> bytes:
        """The file. `outputs`: name -> type and shape without the rows."""
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
