"""The MLmodel file, which is MLflow's description of a model. It is read without MLflow, and nothing is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from serinus.backends.mlflow.files import inside, read_text
from serinus.core.errors import Unbuildable
from serinus.core.release import Column
from serinus.lib.times import in_utc

NAME = "MLmodel"

_FILE_FIELDS = ("data", "model_path", "python_model", "code")
"""Fields of the python_function flavor with paths, which MLflow joins to the artifact's directory without a check."""

_LOG_AGAIN = "Log the model again and register that version."


_DEEPEST = 50
"""The deepest nesting of YAML or JSON. MLflow writes about ten levels."""
_MOST_VALUES = 500_000
"""The largest number of values of a YAML file, with aliases expanded."""
_MOST_COLUMNS, _LONGEST_NAME = 20_000, 1_000


class _TooDeep(Exception):
    pass


class _Loader(yaml.BaseLoader):
    """Loads all scalars as strings, and stops before the parser's own recursion limit. An alias counts as its
    values."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._sizes: dict[int, tuple[int, int]] = {}
        """The numbers of levels and values below a node."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _TooDeep
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and id(node) not in self._sizes:
            self._measure(node)
        return node

    def _measure(self, node: yaml.Node) -> None:
        value: Any = node.value
        below = [] if isinstance(node, yaml.ScalarNode) else value
        if isinstance(node, yaml.MappingNode):
            below = [part for pair in value for part in pair]
        # An alias that is not known yet refers to a node that contains it.
        sizes = [self._sizes.get(id(part), (_DEEPEST, 0)) for part in below]
        levels, values = 1 + max((level for level, _ in sizes), default=0), 1 + sum(size for _, size in sizes)
        if levels > _DEEPEST or values > _MOST_VALUES:
            raise _TooDeep
        self._sizes[id(node)] = levels, values


def parse_yaml(path: Path) -> Any:
    """Returns the values of a YAML file. All scalars are strings, because `python: 3.10` must not become 3.1.

    Raises Unbuildable where it is not YAML or exceeds what MLflow writes.
    """
    try:
        return yaml.load(read_text(path), Loader=_Loader)  # noqa: S506 - makes strings only
    except _TooDeep as error:
        raise Unbuildable(
            f"{path.name} in the artifact is nested too deeply: more than {_DEEPEST} levels.", hint=_LOG_AGAIN
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = path.name if line is None else f"{path.name}:{line + 1}"
        raise Unbuildable(f"{where} in the artifact is not YAML.", hint=_LOG_AGAIN) from error


@dataclass(frozen=True, slots=True)
class MLmodel:
    """The contents of an MLmodel file."""

    root: Path
    content: Mapping[str, Any]

    @classmethod
    def read(cls, root: Path) -> MLmodel:
        """Reads the file in the directory `root`."""
        path = root / NAME
        if not path.is_file():
            there = ", ".join(sorted(child.name for child in root.iterdir())[:10]) or "nothing"
            raise Unbuildable(
                f"The artifact has no MLmodel file; it holds {there}.",
                hint="Log the model with `mlflow.<flavour>.log_model`; an artifact store that lost files looks like "
                "this, too.",
            )
        content = parse_yaml(path)
        if not isinstance(content, dict) or not isinstance(content.get("flavors"), dict):
            raise Unbuildable("MLmodel in the artifact does not list flavors.", hint=_LOG_AGAIN)
        return cls(root, content)

    @property
    def python_function(self) -> Mapping[str, Any]:
        """The flavor that can be served. Raises Unbuildable, which names the flavors that exist."""
        flavors = self.content["flavors"]
        found = flavors.get("python_function")
        if not isinstance(found, dict) or not text(found, "loader_module"):
            raise Unbuildable(
                f"The model has no python_function flavour; it has {', '.join(sorted(flavors)) or 'none'}.",
                hint="Log it with `mlflow.<flavour>.log_model` (which adds python_function), or wrap it in an "
                "`mlflow.pyfunc.PythonModel` and log that.",
            )
        return found

    def missing_files(self) -> tuple[str, ...]:
        """Returns files that the flavor names and the artifact does not contain, as `field: path`."""
        named = dict.fromkeys((*self._named(), *self._named_by_library()))
        return tuple(f"{field}: {name}" for field, name in named if not inside(self.root, name, NAME).exists())

    def pickled_files(self) -> frozenset[Path]:
        """Returns the files that are read when the model is loaded."""
        fields = ("data", "model_path", "python_model", "pickled_model", "model_data")
        named = dict.fromkeys((*self._named(), *self._named_by_library()))
        return frozenset(inside(self.root, name, NAME) for field, name in named if field in fields)

    def _named(self) -> Iterator[tuple[str, str]]:
        flavor = self.python_function
        for field in _FILE_FIELDS:
            if value := text(flavor, field):
                yield field, value
        # MLflow stores the path on the machine where the model was logged, and itself only uses the last component.
        if value := text(flavor, "model_code_path"):
            yield "model_code_path", PurePosixPath(value).name
        artifacts = flavor.get("artifacts")
        for name, entry in artifacts.items() if isinstance(artifacts, dict) else ():
            if isinstance(entry, dict) and (value := text(entry, "path")):
                yield f"artifacts.{name}", value

    def _named_by_library(self) -> Iterator[tuple[str, str]]:
        """Yields names of files from the flavor of the library that loads the model."""
        library = str(self.python_function["loader_module"]).removeprefix("mlflow.")
        flavor = self.content["flavors"].get(library)
        for field in ("pickled_model", "data", "model_data", "code"):
            if isinstance(flavor, dict) and (value := text(flavor, field)):
                yield field, value

    def columns(self, side: str) -> tuple[Column, ...] | None:
        """Returns `inputs` or `outputs` of the signature. None: it has none. Columns without a name are named by their
        position."""
        signature = self.content.get("signature")
        raw = text(signature, side) if isinstance(signature, dict) else None
        if raw is None:
            return None
        try:
            listed = json.loads(raw)
            if len(listed) > _MOST_COLUMNS:
                raise Unbuildable(f"The signature in MLmodel has more than {_MOST_COLUMNS:,} {side}.", hint=_LOG_AGAIN)
            return tuple(_column(entry, index) for index, entry in enumerate(listed))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Unbuildable(f"The signature in MLmodel cannot be read: its {side}.", hint=_LOG_AGAIN) from error

    @property
    def logged_at(self) -> datetime | None:
        """Returns the time at which the model was logged. None: it is missing or cannot be read."""
        try:
            return in_utc(datetime.fromisoformat(text(self.content, "utc_time_created") or ""))
        except ValueError:
            return None

    @property
    def mlflow_version(self) -> str | None:
        """Returns the version of MLflow that logged the model. None: unknown."""
        return text(self.content, "mlflow_version")

    @property
    def has_example(self) -> bool:
        """Whether the model was logged with an input example."""
        info = self.content.get("saved_input_example_info")
        return isinstance(info, dict) and text(info, "artifact_path") is not None


def text(mapping: Mapping[str, Any], key: str) -> str | None:
    """Returns a scalar. None where it is missing, or one of YAML's ways to write nothing."""
    value = mapping.get(key)
    return value if isinstance(value, str) and value.lower() not in ("", "null", "~") else None


def _column(entry: Mapping[str, Any], index: int) -> Column:
    name = entry.get("name")
    required = bool(entry.get("required", not entry.get("optional", False)))
    kind = f"tensor({entry['tensor-spec']['dtype']})" if entry["type"] == "tensor" else str(entry["type"])
    if max(len(kind), len(str(name))) > _LONGEST_NAME:
        raise ValueError("the name or type of a column is too long")
    return Column(str(index) if name is None else str(name), kind, required)
