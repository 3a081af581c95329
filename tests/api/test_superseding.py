"""Deployments that take the place of others, asked for at the same time: none of them is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from small_fleet import Installation

from serinus.core.people import Access, Actor

ADA = Actor("ada", Access.ADMIN)


def test_deployments_of_many_models_that_supersede_at_once_all_wait_for_their_turn(installation: Installation) -> None:
    models = [f"model-{index}" for index in range(8)]
    installation.registry.versions = {model: ["1", "2"] for model in models}
    for model in models:
        installation.desk.deploy(ref=f"{model}@1", spec=None, actor=ADA)

    def supersede(model: str) -> str | None:
        return installation.desk.deploy(ref=f"{model}@2", spec=None, actor=ADA, supersede=True).rollout

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(supersede, models))
    assert sorted(one.id for one in installation.store.pending()) == sorted(map(str, told))
    for rollout in installation.store.in_flight():
        assert [order.kind for order in installation.store.orders(rollout.id)] == ["supersede"]
