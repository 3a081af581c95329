"""Parameters of a prediction: which ones a request may have, and whether they are what the model declares.

In MLflow's scoring protocol they are `params`. In the Open Inference Protocol they are `parameters` of the request,
beside those that the protocol and its servers define.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from serinus_runtime.artifact.kinds import showable
from serinus_runtime.artifact.signature import Param
from serinus_runtime.base.errors import RequestError

_PROTOCOLS_OWN = frozenset({
    "binary_data_output", "sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "headers",
    "content_type",
})  # fmt: skip
"""Parameters of the protocol's extensions (binary tensor data, sequence, schedule policy) and of known clients."""
_TRITONS = "triton_"
_OF_A_TENSOR = frozenset({"binary_data_size", "content_type"})
_SCALARS: Mapping[str, tuple[type, ...]] = {
    "boolean": (bool,), "integer": (int,), "long": (int,), "float": (int, float), "double": (int, float),
    "string": (str,),
}  # fmt: skip


def check_tensor_parameters(parameters: Any) -> Mapping[str, Any]:
    """Returns the parameters of one input. Raises RequestError where they are not an object, or describe a format that
    is not supported."""
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise RequestError("the `parameters` of an input must be an object")
    unknown = next((name for name in parameters if name not in _OF_A_TENSOR), None)
    if unknown is not None:
        raise RequestError(
            f"an input has a parameter {showable(unknown)}, which cannot be read there; parameters of the "
            "prediction go into `parameters` of the request"
        )
    return parameters


def params_of(parameters: Mapping[str, Any], declared: Sequence[Param]) -> dict[str, Any] | None:
    """Returns the model's parameters. Raises RequestError where one is neither the model's nor the protocol's, or has a
    wrong type."""
    names = {param.name for param in declared}
    found = {name: value for name, value in parameters.items() if name in names}
    for name in parameters:
        if name not in names and name not in _PROTOCOLS_OWN and not name.startswith(_TRITONS):
            has = f"it has {', '.join(sorted(names))}" if names else "it has none"
            raise RequestError(f"the model declares no parameter {showable(name)}; {has}")
    check_params(found, declared)
    return found or None


def check_params(params: Mapping[str, Any], declared: Sequence[Param]) -> None:
    """Raises RequestError, which names a parameter of a wrong type. MLflow itself checks types that it converts, such
    as times."""
    for param in declared:
        if param.name in params and not _fits(params[param.name], param):
            what = param.type if param.shape is None else f"an array of {param.type}"
            raise RequestError(f"parameter '{param.name}' takes {what}: something else was sent")


def _fits(value: Any, param: Param) -> bool:
    allowed = _SCALARS.get(param.type)
    if value is None or allowed is None:
        return True
    if param.shape is None:
        return type(value) in allowed
    return isinstance(value, list) and all(part is None or type(part) in allowed for part in value)
