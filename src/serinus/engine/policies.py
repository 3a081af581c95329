"""What holds for every deployment of a model, whatever its spec says.

Kept apart from the spec, which whoever deploys may write, and from the model's state, which the engine writes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from serinus.core.ports import Store


@dataclass(frozen=True, slots=True)
class ModelPolicy:
    approval_required: bool = False
    """Somebody other than who asked approves a version before it gets traffic."""


def has_policy(store: Store, model: str) -> bool:
    """Whether one was ever set."""
    return store.setting(_key(model)) is not None


def policy_of(store: Store, model: str) -> ModelPolicy:
    text = store.setting(_key(model))
    return ModelPolicy(**json.loads(text)) if text else ModelPolicy()


def keep_policy(store: Store, model: str, policy: ModelPolicy) -> None:
    store.set_setting(_key(model), json.dumps(asdict(policy)))


def _key(model: str) -> str:
    return f"policy.{model}"
