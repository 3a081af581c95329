"""The HTTP API: routes, authorization and the status page. Only this package knows HTTP statuses.

    create_app(home=..., world=..., desk=..., report=..., disk=..., allowed_hosts=[...]) -> ASGI application

All dependencies are arguments (`ports`). Requests for changes go to the desk. Answers come from the report and the
store.
"""

from serinus.api.app import create_app

__all__ = ["create_app"]
