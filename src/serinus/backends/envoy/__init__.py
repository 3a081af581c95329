"""Envoy as the router. It is configured by files, which its admin interface confirms and reads back.

    prepare(home, port=18080)                     bootstrap and the xDS files, before Envoy starts
    command(home)                                 the command that the supervisor runs
    router = EnvoyRouter(home, admin_socket(home))
    router.apply(routing)

The files in `Home.envoy` are `bootstrap.json`, `xds/clusters.json` and `xds/routes.json` (the routing after a restart),
and `local.jsonl` (requests that Envoy itself had to answer in a model's place).
"""

from serinus.backends.envoy.admin import Admin
from serinus.backends.envoy.crowding import Crowding
from serinus.backends.envoy.draining import drain, drain_command
from serinus.backends.envoy.router import EnvoyRouter
from serinus.backends.envoy.starting import admin_socket, bootstrap, command, configure, places, prepare
from serinus.backends.envoy.succession import answers, dismissal, mend, successor
from serinus.backends.envoy.tls import Certificates, publish

__all__ = [
    "Admin",
    "Certificates",
    "Crowding",
    "EnvoyRouter",
    "admin_socket",
    "answers",
    "bootstrap",
    "command",
    "configure",
    "dismissal",
    "drain",
    "drain_command",
    "mend",
    "places",
    "prepare",
    "publish",
    "successor",
]
