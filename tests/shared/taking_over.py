"""What must hold of two control planes with one store and one Lease, on any API server."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen

from control_plane import control_plane, world_of
from lab import ADA, MODEL
from waiting import wait_until

from serinus.core.rollout import Phase
from serinus.engine import Desk, last_told


class TwoControlPlanes:
    """`first` decides when this has been made, and `second` waits."""

    def __init__(
        self, stack: ExitStack, store: str, kubeconfig: Path, namespace: str, directory: Path, *first: str
    ) -> None:
        self.world = world_of(directory / "people", store)
        self.logs = {name: directory / f"{name}.log" for name in ("first", "second")}

        def start(name: str, *more: str) -> Popen[bytes]:
            arguments = (name, store, kubeconfig, namespace, directory / name, *more)
            return stack.enter_context(control_plane(*arguments, log=self.logs[name]))

        self.first = start("first", *first)
        self.decides("first", 1)
        self.second = start("second")

    def decides(self, name: str, term: int) -> None:
        wait_until(lambda: self.world.store.last_term() == (term, name), what=f"the term of {name}")

    def deploy(self, version: str) -> None:
        """As a person asks any of them."""
        Desk(self.world).deploy(ref=f"{MODEL}@{version}", spec=None, actor=ADA)

    def promoted(self) -> None:
        wait_until(lambda: self.world.store.rollouts()[0].status.phase is Phase.PROMOTED, what="the promotion")


def a_sleeper_is_refused(there: TwoControlPlanes) -> None:
    """`first` was told to stop in the middle of a tick."""
    there.deploy("5")
    wait_until(lambda: os.waitid(os.P_PID, there.first.pid, os.WSTOPPED | os.WNOWAIT | os.WNOHANG), what="its stop")
    (rollout,) = there.world.store.rollouts()
    assert rollout.status.phase is Phase.BUILD
    there.decides("second", 2)
    there.promoted()
    before, audit = there.world.store.rollouts(), there.world.store.audit_trail()
    assert [one.subject for one in audit if one.what == "begin-term"] == ["first", "second"]
    there.first.send_signal(signal.SIGCONT)
    assert there.first.wait(60) == 1, there.logs["first"].read_text()
    assert "this control plane stops deciding" in there.logs["first"].read_text()
    assert there.second.poll() is None
    assert (there.world.store.rollouts(), there.world.store.audit_trail()) == (before, audit)
    assert there.world.store.last_term() == (2, "second")


def a_killed_one_is_followed(there: TwoControlPlanes) -> None:
    there.deploy("5")
    there.first.kill()
    there.decides("second", 2)
    there.promoted()


def one_that_ends_gives_its_lease_back(there: TwoControlPlanes) -> None:
    there.deploy("5")
    there.promoted()
    wait_until(lambda: last_told(there.world.store, there.world.clock.now()).registry_answers, what="what it says")
    there.first.send_signal(signal.SIGTERM)
    assert there.first.wait(60) == 0, there.logs["first"].read_text()
    there.decides("second", 2)
    assert "gives the Lease back" in there.logs["first"].read_text()


WITHOUT_A_CLUSTER = (a_sleeper_is_refused, one_that_ends_gives_its_lease_back)
ON_A_CLUSTER = (*WITHOUT_A_CLUSTER, a_killed_one_is_followed)


def run(story: object, store: str, kubeconfig: Path, namespace: str, directory: Path) -> None:
    stops = ("--stop-in-a-tick",) if story is a_sleeper_is_refused else ()
    with ExitStack() as stack:
        there = TwoControlPlanes(stack, store, kubeconfig, namespace, directory, *stops)
        assert callable(story)
        story(there)
        there.world.store.close()  # type: ignore[attr-defined]
