"""HTTP: routes, who may do what, and the status page. The only place that knows of HTTP statuses.

    create_app(home=..., world=..., desk=..., report=..., disk=..., allowed_hosts=[...]) -> FastAPI

Everything it works with is handed in (`ports`): wishes go to the desk, answers come from the report and the store.
"""

from serinus.api.app import create_app

__all__ = ["create_app"]
