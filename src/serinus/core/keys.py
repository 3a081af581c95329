"""Keys that are derived from the home's secret, each for one purpose and one release."""

from __future__ import annotations

import hashlib
import hmac


def log_token(secret: str, release: str) -> str:
    """By which the host tells the collector that a connection carries the records of `release`. `secret`: the content
    of `Home.secret`."""
    return _derived(secret, f"log:{release}")


def _derived(secret: str, purpose: str) -> str:
    return hmac.new(secret.strip().encode(), purpose.encode(), hashlib.sha256).hexdigest()
