"""The names that a model may have. A valid name can be used unchanged in a Git path, a URL and a metrics label."""

from __future__ import annotations

import re

from serinus.core.errors import InvalidInput

_MODEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
RULE = "a name of 1 to 128 letters a-z and A-Z, digits, '.', '_' and '-', that does not begin with '.' or '-'"
_SHOWN = 60


def is_model_name(name: str) -> bool:
    """Whether `name` is a valid name of a model."""
    return _MODEL.fullmatch(name) is not None


def checked(model: str) -> str:
    """Returns the name. Raises InvalidInput where it is not valid."""
    if not is_model_name(model):
        shown = model if len(model) <= _SHOWN else f"{model[:_SHOWN]}..."
        raise InvalidInput(
            f"The model '{shown}' cannot be served under its name: Serinus needs {RULE}.",
            hint="Register it in MLflow with a name of that form.",
        )
    return model


def spec_file(model: str) -> str:
    """Returns the path of the model's ModelDeployment in the fleet repository. Raises InvalidInput where the name is
    not valid."""
    return f"models/{checked(model)}/model.yaml"
