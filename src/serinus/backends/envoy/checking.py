"""Checks that Envoy can be given a routing."""

from __future__ import annotations

import re

from serinus.backends.envoy.endpoints import address_of
from serinus.core.errors import InvalidInput
from serinus.core.routing import WHOLE, Routing

_SPLIT = re.compile(r"[A-Za-z0-9._:-]+")


def check(routing: Routing) -> None:
    """Raises InvalidInput where the routing contradicts itself."""
    where = f"routing of {routing.model!r}"
    releases = [arm.release for arm in routing.arms]
    if sum(arm.weight for arm in routing.arms) != WHOLE or any(arm.weight < 0 for arm in routing.arms):
        raise InvalidInput(f"{where}: the weights do not sum up to {WHOLE}.")
    if len(set(releases)) != len(releases):
        raise InvalidInput(f"{where}: a release is named twice.")
    if not _SPLIT.fullmatch(routing.split):
        raise InvalidInput(f"{where}: the split {routing.split!r} is not of the form {_SPLIT.pattern}.")
    if routing.timeout_ms <= 0:
        raise InvalidInput(f"{where}: a time limit of {routing.timeout_ms} ms leaves no time to answer.")
    for arm in routing.arms:
        try:
            address_of(arm.endpoint)
        except ValueError as error:
            raise InvalidInput(f"{where}: the endpoint of {arm.release} cannot be used: {error}.") from error
