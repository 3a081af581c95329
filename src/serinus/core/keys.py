"""Keys that are derived from the home's secret, each for one purpose. `secret` is the content of `Home.secret`."""

from __future__ import annotations

import hashlib
import hmac


def log_token(secret: str, release: str) -> str:
    """Returns the token with which the host proves to the collector that a connection carries the records of
    `release`."""
    return _derived(secret, f"log:{release}")


ROUTER_HEADER = "x-serinus-router"
"""The request header with the router key. A release refuses requests without its key."""


def router_key(secret: str, release: str) -> str:
    """Returns the key that marks a request as sent by the router or the control plane.

    A release trusts the other `x-serinus-` headers of such a request.
    """
    return _derived(secret, f"router:{release}")


def session_key(secret: str) -> bytes:
    """Returns the key with which the API signs the sessions of the status page."""
    return bytes.fromhex(_derived(secret, "session"))


def installation(secret: str) -> str:
    """Returns what the homes of one installation have in common, and which says nothing of the secret."""
    return _derived(secret, "installation")


def _derived(secret: str, purpose: str) -> str:
    return hmac.new(secret.strip().encode(), purpose.encode(), hashlib.sha256).hexdigest()
