"""The processes of a home in the order of starting. They are stopped in the reverse order."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from serinus.backends import envoy
from serinus.backends.mlflow import server as mlflow_server
from serinus.core.home import Home
from serinus.targets.local.host import holder_command
from serinus.targets.local.supervisor import tls
from serinus.targets.local.supervisor.process_manager import ProcessSpec
from serinus.targets.local.supervisor.settings import Settings
from serinus.targets.local.supervisor.version import installed

_BEHIND_PAYMENTS = 5
"""The niceness of deployments, builds and the registry's pages, which can wait where a request cannot."""
_BEHIND_ALL = 10
"""The niceness of the collector. Records wait in memory and are not lost. A tenth of a worker's share is more than the
intake needs, and a burst of records then does not delay requests."""


def processes_of(home: Home, settings: Settings) -> Sequence[ProcessSpec]:
    """Returns the processes to run."""
    found = _with_models(home, settings) if settings.serves else [_collector_of_a_cluster(home)]
    control = _module("serinus.wiring", home, first="control")
    found.append(ProcessSpec("control", control, {}, 15.0, credentials=True, decides=True, nice=_BEHIND_PAYMENTS))
    if settings.mlflow_uri is None:
        command = mlflow_server.command(home, settings.ports["mlflow"], urlsplit(settings.url("api")).netloc)
        found.insert(0, ProcessSpec("mlflow", command, mlflow_server.environment(), 10.0, nice=_BEHIND_PAYMENTS))
    return [replace(spec, version=installed()) for spec in found]


def _collector_of_a_cluster(home: Home) -> ProcessSpec:
    """It serves the pods of the cluster alone, whose requests do not compete with it for processors."""
    return ProcessSpec("collector", _module("serinus.wiring", home, first="collector"), {}, 30.0)


def _with_models(home: Home, settings: Settings) -> list[ProcessSpec]:
    """Returns the processes of a machine on which releases run."""
    binary = Path(settings.envoy_binary) if settings.envoy_binary else None
    places = {"--table": settings.predictions, "--database": settings.predictions_database}
    chosen = [word for option, place in places.items() if place for word in (option, place)]
    collector = _module("serinus.predictions", home, "--envoy-admin", envoy.admin_socket(home), *chosen)
    limits = [f"--{name}={value}" for name, value in settings.limits.items()]
    return [
        ProcessSpec("collector", collector, {}, 30.0, nice=_BEHIND_ALL),
        ProcessSpec("holder", holder_command(home), after="host", serves=True),
        ProcessSpec(
            "host",
            _module("serinus.targets.local.host", home, *limits),
            {},
            30.0,
            # Its workers outlive a host that is killed, until the next host has replaced them.
            replaced_by=signal.SIGKILL,
            serves=True,
        ),
        ProcessSpec(
            "envoy",
            envoy.command(home, binary),
            {},
            10.0,
            envoy.drain_command(home),
            prepare=partial(_prepare_envoy, home, settings),
            answers=partial(envoy.answers, home),
            beside=partial(envoy.successor, home, binary),
            dismissal=envoy.dismissal(home),
            serves=True,
        ),
    ]


def _prepare_envoy(home: Home, settings: Settings) -> None:
    """Writes the files that Envoy reads at its start."""
    material = tls.kept(home, with_callers=settings.client_ca is not None) if settings.tls_files else None
    envoy.mend(home)
    envoy.prepare(
        home,
        port=settings.ports["envoy"],
        address=settings.listen,
        api_keys=settings.api_keys,
        certificates=envoy_certificates(material) if material else None,
    )


def envoy_certificates(material: tls.Material) -> envoy.Certificates:
    """Returns the certificates in the form that the Envoy backend uses."""
    return envoy.Certificates(material.chain, material.key, material.client_ca)


def _module(name: str, home: Home, *more: str, first: str = "") -> list[str]:
    words = [first] if first else []
    return [sys.executable, "-P", "-m", name, *words, "--home", str(home.path), *more]
