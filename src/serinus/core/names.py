"""What a model may be called: what a file in Git, an address and a label can all hold as it is."""

from __future__ import annotations

import re

from serinus.core.errors import InvalidInput

_MODEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
RULE = "a name of 1 to 128 letters a-z and A-Z, digits, '.', '_' and '-', that does not begin with '.' or '-'"
_SHOWN = 60


def is_model_name(name: str) -> bool:
    return _MODEL.fullmatch(name) is not None


def checked(model: str) -> str:
    """The name itself. Raises InvalidInput, about the name."""
    if not is_model_name(model):
        shown = model if len(model) <= _SHOWN else f"{model[:_SHOWN]}..."
        raise InvalidInput(
            f"The model '{shown}' cannot be served under its name: Serinus needs {RULE}.",
            hint="Register it in MLflow with a name of that form.",
        )
    return model
