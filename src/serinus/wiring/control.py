"""The control process: the engine's loop in a thread, and the API."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import uvicorn

from serinus.api import create_app, home_token
from serinus.api.local import listening
from serinus.api.server import Server
from serinus.backends.sql import SqlStore
from serinus.core.errors import SerinusError
from serinus.core.home import Home
from serinus.core.ports import Store
from serinus.core.redaction import shown
from serinus.core.text import configure_logging
from serinus.engine import ENGINE, Desk, News, Rechecker, Report, World
from serinus.engine.reconcile.rechecking import SHARE
from serinus.lib import garbage
from serinus.lib.servers import checking_peers, limited
from serinus.targets.local.host import confinement
from serinus.targets.local.supervisor import edge_warnings, processes, registry, tls
from serinus.targets.local.supervisor.settings import Settings
from serinus.wiring.deciding import Alone, Deciders
from serinus.wiring.kept_files import move_to_store
from serinus.wiring.local import build_disk, build_rescorer, build_store, build_world, place_here
from serinus.wiring.place import Place

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from serinus.wiring.office import Office
    from serinus.wiring.renewal import Renewal

log = logging.getLogger(__name__)


def run_control(home: Home, settings: Settings) -> int:
    """Runs until SIGTERM or SIGINT. Returns the exit code."""
    configure_logging("%(asctime)s %(levelname)s %(name)s %(message)s")
    registry.put_into_environment(home, settings)  # MLflow's client reads its credentials there.
    context = tls.ServerContext(home) if settings.tls_files else None
    renewal = _renewal(home, settings, context)
    store = _store(home, settings)
    move_to_store(home, store)
    place = _place(home, settings, store)
    world = build_world(home, settings, store, place)
    token = f"{home_token.NAME}.{place.name}" if place.name else home_token.NAME
    home_token.ensure(home, world.store, ENGINE, world.clock.now(), token)
    news = News()
    desk = Desk(world, news)

    def begin(deciding: World) -> Deciders:
        rescorer = place.rescorer or build_rescorer(home)
        rechecker = Rechecker(deciding, rescorer, SHARE if settings.recheck is None else settings.recheck)
        return Deciders(deciding, news, settings.public_url("api"), {"recheck": rechecker.run})

    def over() -> None:
        server.should_exit = True

    office = _office(world, place, begin, over)
    report = _report(home, settings, world, place, office, renewal)
    disk = build_disk(home, settings, world)
    app = create_app(
        home=home,
        world=world,
        desk=desk,
        report=report,
        disk=disk,
        allowed_hosts=_allowed_hosts(settings),
        callers=place.router if place.asks_keys else None,
        token_name=token,
    )
    garbage.collect_rarely()  # A full collection takes as long as ten ticks of the engine, and the API waits for it.
    stop = threading.Event()
    if renewal is not None:
        threading.Thread(target=renewal.run, args=(stop,), name="renewal", daemon=True).start()
    threading.Thread(target=_prepare_to_compile, args=(world,), name="compiled-environment", daemon=True).start()
    for name, run in place.loops.items():
        threading.Thread(target=run, args=(stop,), name=name, daemon=True).start()
    threading.Thread(target=disk.run, args=(stop,), name="disk", daemon=True).start()
    config = _server(app, settings)
    deciding = threading.Thread(target=office.run, args=(stop,), name="deciding", daemon=True)
    try:
        with listening(home.api_socket) as local:
            server = Server(
                checking_peers(limited(config)), config.bind_socket(), local, context.context if context else None
            )
            if place.leadership is not None:
                signal.signal(signal.SIGTERM, lambda *_: stop.set())  # Otherwise uvicorn ends the process by itself.
            deciding.start()
            if not stop.is_set():
                server.run()
    finally:
        lost = not stop.is_set() and place.leadership is not None and place.leadership.ended.is_set()
        stop.set()
        if deciding.ident is not None:
            deciding.join()
        place.close()
    if place.leadership is not None:
        os._exit(1 if lost else 0)  # Long work of the former term may be under way in threads, for which Python waits.
    return 0


def _report(
    home: Home, settings: Settings, world: World, place: Place, office: Alone | Office, renewal: Renewal | None
) -> Report:
    """Returns what the API and the page show."""
    return Report(
        world,
        trouble=lambda: office.told().trouble,
        processes=lambda: processes(home),
        addresses={
            "api": settings.public_url("api"),
            "envoy": settings.public_url("envoy"),
            "mlflow": shown(settings.registry),
        },
        warnings=lambda: [
            *_warnings(home, settings, shared=place.leadership is not None),
            *place.warnings(),
            *(renewal.warnings() if renewal else ()),
            *office.told().warnings,
        ],
        registry_answers=lambda: office.told().registry_answers,
        confinement=confinement.level(home),
        installation=place.fields,
    )


def _server(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Returns the settings of the API's server."""
    config = uvicorn.Config(
        app,
        host=settings.listen,
        port=settings.ports["api"],
        access_log=False,
        server_header=False,
        ws="none",
        log_config=None,
    )
    config.proxy_headers = False  # There is no proxy in front, and anybody may send these headers.
    config.timeout_graceful_shutdown = 2  # An open page keeps its event stream forever.
    return config


def _store(home: Home, settings: Settings) -> SqlStore:
    """Opens the store: that of the home, or the one that several control planes share."""
    if settings.serves:
        return build_store(home)
    from serinus.wiring.cluster import cluster_settings  # One machine does not need these libraries.
    from serinus.wiring.sharing import open_store

    control = cluster_settings(settings).control
    return build_store(home) if control is None else open_store(home, control)


def _office(world: World, place: Place, begin: Callable[[World], Deciders], over: Callable[[], None]) -> Alone | Office:
    """Returns what decides in this process: always, or in the term of this control plane."""
    if place.leadership is None:
        return Alone(begin(world))
    from serinus.wiring.office import Office

    return Office(world, place.leadership, begin, place.announce, over)


def _place(home: Home, settings: Settings, store: Store) -> Place:
    """Returns where releases run, as the settings say."""
    if settings.serves:
        return place_here(home, settings)
    from serinus.wiring.cluster import place_on_a_cluster  # One machine does not need these libraries.

    return place_on_a_cluster(home, settings, store)


def _renewal(home: Home, settings: Settings, context: tls.ServerContext | None) -> Renewal | None:
    if settings.tls_files is None or context is None:
        return None
    from serinus.wiring.renewal import Renewal  # Most homes do not need this library.

    return Renewal(home, settings.tls_files, context)


def _prepare_to_compile(world: World) -> None:
    """Builds the compiled environment before the first deployment needs it. If that fails, the deployment tries again
    and reports the reason."""
    try:
        world.compiler.prepare()
    except SerinusError as error:
        log.warning("the compiled environment is not there yet: %s", error)


def _allowed_hosts(settings: Settings) -> Sequence[str]:
    names = {settings.listen, *settings.allowed_hosts}
    if settings.loopback:
        names |= {"127.0.0.1", "localhost", "[::1]"}
    return sorted(names)


def _warnings(home: Home, settings: Settings, *, shared: bool) -> Sequence[str]:
    found = list(edge_warnings(settings))
    if shared and settings.predictions_database is None:
        found.append(
            "several control planes share a store, and this one judges by the counts of its own collector alone: "
            "keep the counts in PostgreSQL (`serinus up --predictions-database`)"
        )
    if not settings.confined:
        found.append(
            "models are not confined on this machine: their code can read and write everything that Serinus can"
        )
    if not any(p["name"] == "supervisor" and p["state"] in ("running", "replacing") for p in processes(home)):
        found.append(
            "the supervisor is not running: processes that end are not restarted; `serinus up` starts it again"
        )
    return found
