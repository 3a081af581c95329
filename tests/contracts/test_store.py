"""What every Store must do. Another implementation joins by a line in `STORES`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from leaders import Leader
from store_values import ANNA, NOW, event, full_rollout, release, rollout

from serinus.backends.sql import SqlStore
from serinus.core.errors import InvalidInput, NotFound, Refused, Superseded
from serinus.core.events import Event
from serinus.core.kept_rows import MOST_BYTES, MOST_ROWS, KeptRow
from serinus.core.people import Access, Actor
from serinus.core.ports import Store
from serinus.core.rollout import ModelState, Order, Phase, Status

STORES: dict[str, Callable[[pytest.FixtureRequest, Path], str]] = {
    "postgresql": lambda request, _path: str(request.getfixturevalue("postgres_database")),
    "sqlite": lambda _request, path: f"sqlite:///{path / 'store.db'}",
}
"""Name -> the address of a database of its own for a test."""


@pytest.fixture(params=sorted(STORES))
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Opens the store of this test, again at each call, as another process would."""
    url = STORES[request.param](request, tmp_path)
    opened: list[SqlStore] = []

    def opener() -> Store:
        opened.append(SqlStore(url))
        return opened[-1]

    yield opener
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Callable[[], Store]) -> Store:
    return reopen()


# --- rollouts ---------------------------------------------------------------------------------------------


def test_a_rollout_comes_back_as_it_was_saved_after_a_restart(reopen: Callable[[], Store]) -> None:
    first = reopen()
    first.create(rollout())
    first.save(full_rollout())
    assert reopen().rollout("card-fraud-r1") == full_rollout()


def test_a_model_has_at_most_one_rollout_in_flight(store: Store) -> None:
    store.create(rollout(1))
    with pytest.raises(Refused, match="card-fraud-r1") as refusal:
        store.create(rollout(2))
    assert "--supersede" in refusal.value.hint
    store.create(rollout(1, model="account-takeover"))
    store.save(rollout(1, phase=Phase.ABORTED))
    store.create(rollout(2))
    assert {one.id for one in store.in_flight()} == {"account-takeover-r1", "card-fraud-r2"}
    with pytest.raises(Refused, match="card-fraud-r2"):
        store.save(rollout(1, phase=Phase.CANARY))


def test_of_many_deploys_at_once_exactly_one_is_created(reopen: Callable[[], Store]) -> None:
    stores = [reopen(), reopen()]

    def deploy(number: int) -> bool:
        try:
            stores[number % 2].create(rollout(number), [event("created")])
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(deploy, range(1, 17))) == 1
    assert len(stores[0].in_flight()) == 1
    assert len(stores[0].events()) == 1, "what was refused must leave no event"


def test_creating_the_same_rollout_twice_is_creating_it_once(store: Store) -> None:
    store.create(rollout(), [event("created")])
    store.create(rollout(), [event("created")])
    assert len(store.events()) == 1
    with pytest.raises(Refused):
        store.create(replace(rollout(), why="something else"))


def test_rollout_state_and_events_are_saved_together_or_not_at_all(store: Store) -> None:
    store.create(rollout(phase=Phase.PROMOTING))
    state = ModelState("card-fraud", champion=release(), aborted={"6": "card-fraud-r0"})
    with pytest.raises(NotFound):
        store.save(rollout(9, phase=Phase.PROMOTED), state, [event("promoted")])
    assert store.model("card-fraud") == ModelState("card-fraud")
    assert store.events() == []
    store.save(rollout(phase=Phase.PROMOTED), state, [event("promoted")])
    assert store.model("card-fraud") == state
    assert [one.kind for one in store.events()] == ["promoted"]


def test_an_unknown_rollout_is_answered_with_near_ones(store: Store) -> None:
    store.create(rollout())
    with pytest.raises(NotFound, match="card-fraud-r1"):
        store.rollout("card-fruad-r1")


def test_rollouts_come_newest_first_by_model(store: Store) -> None:
    for number in (1, 2, 3):
        store.create(rollout(number, phase=Phase.ABORTED))
    store.create(rollout(1, model="other"))
    assert [one.id for one in store.rollouts("card-fraud", limit=2)] == ["card-fraud-r3", "card-fraud-r2"]
    assert store.rollouts()[0].id == "other-r1"


def test_rollouts_are_read_page_by_page_and_by_what_is_in_flight(store: Store) -> None:
    every = [rollout(number, phase=Phase.ABORTED) for number in (1, 2, 3, 4)] + [rollout(5), rollout(1, model="other")]
    for one in every:
        store.create(one)
    newest = [one.id for one in reversed(every)]
    pages = [store.rollouts(limit=4), store.rollouts(limit=4, after=newest[3]), store.rollouts(after=newest[-1])]
    assert [[one.id for one in page] for page in pages] == [newest[:4], newest[4:], []]
    assert [one.id for one in store.rollouts("card-fraud", limit=2, after="other-r1")] == newest[1:3]
    assert [one.id for one in store.rollouts(in_flight=True)] == ["other-r1", "card-fraud-r5"]
    assert [one.id for one in store.rollouts(in_flight=True, after="other-r1")] == ["card-fraud-r5"]
    with pytest.raises(NotFound, match="other-r2"):
        store.rollouts(after="other-r2")


def test_releases_are_read_page_by_page(store: Store) -> None:
    every = [release(version) for version in ("6", "7", "8")]
    for one in every:
        store.add_release(one)
    newest = every[::-1]
    assert [*store.releases(limit=2)] == newest[:2]
    assert [*store.releases("card-fraud", 2, after=newest[1].id)] == newest[2:]
    assert [*store.releases(after=newest[2].id)] == []
    with pytest.raises(NotFound, match="missing"):
        store.releases(after="missing")


def test_a_number_is_never_given_twice(reopen: Callable[[], Store]) -> None:
    stores = [reopen(), reopen()]
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda turn: stores[turn % 2].next_number("card-fraud"), range(40)))
    assert sorted(numbers) == list(range(1, 41))
    assert reopen().next_number("card-fraud") == 41
    assert stores[0].next_number("other") == 1


def test_rollouts_are_found_by_version_by_release_and_by_what_was_promoted(store: Store) -> None:
    tried = replace(rollout(1, phase=Phase.ABORTED), candidate=release("7"))
    live = replace(rollout(2, phase=Phase.PROMOTED), candidate=release("7"), threshold=0.9)
    again = replace(rollout(3, phase=Phase.ABORTED), candidate=release("8"), version="8")
    for one in (tried, live, again, rollout(4), rollout(1, model="other", phase=Phase.PROMOTED)):
        store.create(one)
    assert store.rollouts(release=release("7").id) == [live, tried]
    assert store.rollouts(release=release("7").id, limit=1) == [live]
    assert store.rollouts(release=release("7").id, promoted=True) == [live]
    assert store.rollouts("card-fraud", version="8") == [again]
    assert store.rollouts("card-fraud", promoted=True) == [live]
    assert store.in_flight("card-fraud") == [rollout(4)]
    assert store.in_flight("other") == []
    store.save(replace(rollout(4, phase=Phase.PROMOTING), candidate=release("9")))
    assert [one.id for one in store.rollouts("card-fraud", promoted=True)] == ["card-fraud-r4", "card-fraud-r2"]
    assert [one.id for one in store.rollouts(release=release("9").id)] == ["card-fraud-r4"]


def test_the_last_rollouts_of_many_releases_are_found_at_once(store: Store) -> None:
    versions = [str(number) for number in range(1, 1203)]
    tried = [
        replace(rollout(number, phase=Phase.ABORTED), candidate=release(version))
        for number, version in enumerate(("1", "2", "1202", "1"), start=1)
    ]
    for one in (*tried, rollout(5)):
        store.create(one)
    found = store.last_rollouts([release(version).id for version in versions])
    assert found == {release("1").id: tried[3], release("2").id: tried[1], release("1202").id: tried[2]}
    assert store.last_rollouts([]) == {}


def test_what_supersedes_is_pending_until_it_begins(reopen: Callable[[], Store]) -> None:
    store = reopen()
    store.create(rollout(1))
    give_way = Order("supersede", ANNA, "r2 takes its place", NOW)
    for _ in range(2):  # and again changes nothing
        store.supersede("card-fraud-r1", give_way, rollout(2))
    assert reopen().pending() == [rollout(2)]
    assert store.orders("card-fraud-r1") == [give_way]
    with pytest.raises(Refused):
        store.create(rollout(2))
    assert store.pending() == [rollout(2)], "what was refused is pending still"
    store.save(rollout(1, phase=Phase.ABORTED))
    store.supersede("card-fraud-r1", replace(give_way, why="too late"), rollout(3))
    assert store.orders("card-fraud-r1") == [give_way], "what has ended needs no order"
    assert store.pending() == [rollout(2), rollout(3)]
    store.create(rollout(2, phase=Phase.ABORTED))
    store.create(rollout(3))
    assert store.pending() == []
    assert store.in_flight() == [rollout(3)]
    with pytest.raises(NotFound):
        store.supersede("card-fraud-r9", give_way, rollout(4))
    assert store.pending() == []


def test_of_many_models_superseded_at_once_none_is_lost(reopen: Callable[[], Store]) -> None:
    stores = [reopen(), reopen()]
    models = [f"model-{index}" for index in range(16)]
    for model in models:
        stores[0].create(rollout(1, model))

    def supersede(index: int) -> None:
        order = Order("supersede", ANNA, "", NOW)
        stores[index % 2].supersede(f"{models[index]}-r1", order, rollout(2, models[index]))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(supersede, range(16)))
    assert sorted(one.model for one in stores[1].pending()) == sorted(models)
    assert all(len(stores[0].orders(f"{model}-r1")) == 1 for model in models)


def test_orders_are_kept_in_turn_once_each_and_only_while_in_flight(store: Store) -> None:
    store.create(rollout())
    approve, abort = Order("approve", ANNA, "fine", NOW), Order("abort", ANNA, "not fine", NOW)
    for order in (approve, abort, approve):
        store.order("card-fraud-r1", order)
    assert store.orders("card-fraud-r1") == [approve, abort]
    store.save(rollout(phase=Phase.ABORTED))
    store.order("card-fraud-r1", approve)
    with pytest.raises(Refused, match="aborted"):
        store.order("card-fraud-r1", Order("promote", ANNA, "late", NOW))
    with pytest.raises(NotFound):
        store.order("card-fraud-r9", approve)


# --- models, releases, settings ---------------------------------------------------------------------------


def test_orders_of_many_rollouts_are_read_at_once(store: Store) -> None:
    approve, abort = Order("approve", ANNA, "fine", NOW), Order("abort", ANNA, "not fine", NOW)
    for model, orders in (("a", (approve, abort)), ("b", (abort,)), ("c", ())):
        store.create(rollout(1, model))
        for order in orders:
            store.order(f"{model}-r1", order)
    assert store.orders_of(["a-r1", "c-r1", "never"]) == {"a-r1": [approve, abort]}
    assert store.orders_of(["a-r1", "b-r1"]) == {"a-r1": [approve, abort], "b-r1": [abort]}
    assert store.orders_of([]) == {}


def test_rollouts_in_flight_are_saved_together_or_not_at_all(reopen: Callable[[], Store]) -> None:
    store = reopen()
    for model in ("a", "b", "c"):
        store.create(rollout(1, model))
    first, second = rollout(1, "a", Phase.BUILD), rollout(1, "b", Phase.PLACE)
    store.save_in_flight([first, second])
    store.save_in_flight([])
    assert reopen().in_flight() == store.in_flight() == [first, second, rollout(1, "c")]
    ended = rollout(1, "c", Phase.ABORTED)
    store.save(ended)
    with pytest.raises(NotFound):
        store.save_in_flight([rollout(1, "a", Phase.GATES), replace(ended, status=first.status)])
    with pytest.raises(NotFound):
        store.save_in_flight([rollout(1, "a", Phase.GATES), rollout(9, "a")])
    assert store.in_flight() == [first, second]
    assert store.rollout("c-r1") == ended


def test_a_model_without_state_is_empty_and_with_state_as_saved(store: Store) -> None:
    assert store.model("card-fraud") == ModelState("card-fraud")
    assert store.models() == []
    state = ModelState("card-fraud", release(), 0.9, release("6"), NOW, {"champion": "7"}, {"5": "r2"}, "anna", "why")
    store.save_model(state, [event("promoted")])
    store.save_model(state)
    assert store.models() == [state]


def test_a_release_is_added_once_and_listed_newest_first(store: Store) -> None:
    for version in ("6", "7", "6"):
        store.add_release(release(version))
    store.add_release(release("1", "other"))
    assert [one.version for one in store.releases("card-fraud")] == ["7", "6"]
    assert store.releases("card-fraud")[0] == release("7")
    assert len(store.releases()) == 3


def test_models_are_read_by_name_and_in_turn(store: Store) -> None:
    names = ["a", "b", "c", "d", "e"]
    for name in reversed(names):
        store.save_model(ModelState(name))
    assert [one.model for one in store.models()] == names
    assert [one.model for one in store.models({"d", "b", "unknown"})] == ["b", "d"]
    assert store.models(()) == []
    assert [one.model for one in store.models_after("", 2)] == ["a", "b"]
    assert [one.model for one in store.models_after("b", 2)] == ["c", "d"]
    assert [one.model for one in store.models_after("d", 2)] == ["e"]
    assert store.models_after("e", 2) == []


def test_a_setting_is_what_it_was_last_set_to(store: Store) -> None:
    assert store.setting("paused") is None
    store.set_setting("paused", "yes")
    store.set_setting("paused", "no")
    assert store.setting("paused") == "no"


def test_settings_are_read_by_the_beginning_of_their_keys(store: Store) -> None:
    for key in ("watch.a", "watch.b_c", "watchdog", "Watch.a", "a.watch.", "w%tch.a", "w_tch.a"):
        store.set_setting(key, key.upper())
    assert store.settings("watch.") == {"watch.a": "WATCH.A", "watch.b_c": "WATCH.B_C"}
    assert store.settings("w_tch.") == {"w_tch.a": "W_TCH.A"}
    assert store.settings("none.") == {}


# --- events -----------------------------------------------------------------------------------------------


def test_events_are_numbered_and_read_on_from_any_number(store: Store) -> None:
    store.emit([event(f"step-{index}") for index in range(5)])
    store.emit([event("elsewhere", "other")])
    everything = store.events()
    assert [one.kind for one in everything] == ["step-0", "step-1", "step-2", "step-3", "step-4", "elsewhere"]
    assert everything[0] == replace(event("step-0"), number=everything[0].number)
    assert [one.kind for one in store.events(after=everything[1].number, limit=2)] == ["step-2", "step-3"]
    assert [one.kind for one in store.events(limit=2)] == ["step-4", "elsewhere"], "after 0: the last ones"
    assert [one.kind for one in store.events(model="other")] == ["elsewhere"]
    assert store.events(after=everything[-1].number) == []
    store.emit([replace(event("of-another", "other"), rollout="other-r2"), replace(event("of-none"), rollout=None)])
    assert [one.kind for one in store.events(rollout="other-r1")] == ["elsewhere"]
    assert [one.kind for one in store.events(rollout="card-fraud-r1", limit=2)] == ["step-3", "step-4"]


def test_events_are_read_from_the_first_one_on(store: Store) -> None:
    assert store.events_after(0, 10) == []
    store.emit([event(f"step-{index}") for index in range(5)])
    first = store.events_after(0, 2)
    assert [one.kind for one in first] == ["step-0", "step-1"]
    assert [one.kind for one in store.events_after(first[-1].number, 10)] == ["step-2", "step-3", "step-4"]
    assert first == store.events()[:2]
    store.emit([event("elsewhere", "other"), event("step-5")])
    own = store.events_after(first[0].number, 4, model=first[0].model)
    assert [one.kind for one in own] == ["step-1", "step-2", "step-3", "step-4"]
    assert [one.kind for one in store.events_after(own[-1].number, 4, model=first[0].model)] == ["step-5"]
    assert [one.kind for one in store.events_after(0, 4, model="other")] == ["elsewhere"]


def test_events_of_many_threads_all_arrive_with_numbers_of_their_own(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda index: store.emit([event(f"e{index}"), event(f"f{index}")]), range(20)))
    numbers = [one.number for one in store.events()]
    assert len(set(numbers)) == 40
    assert numbers == sorted(numbers)


# --- audit ------------------------------------------------------------------------------------------------


def test_the_audit_trail_tells_who_did_what_and_the_chain_holds(reopen: Callable[[], Store]) -> None:
    store = reopen()
    assert store.audit_broken_at() is None
    for index in range(3):
        store.audit(ANNA, "deploy", f"card-fraud@{index}", "better", {"supersede": False, "ä": [1.5, None]}, NOW)
    trail = reopen().audit_trail()
    assert [entry.subject for entry in trail] == ["card-fraud@0", "card-fraud@1", "card-fraud@2"]
    assert trail[2].previous == trail[1].digest
    assert trail[0].details == {"supersede": False, "ä": [1.5, None]}
    assert (trail[0].who, trail[0].origin, trail[0].at) == ("anna", "cli", NOW)
    assert [entry.number for entry in store.audit_trail(after=1, limit=1)] == [2]
    assert store.audit_broken_at() is None


def test_the_audit_trail_is_read_by_model_and_from_its_end(store: Store) -> None:
    store.create(rollout(3))
    store.create(rollout(1, "card-fraud-r3"))
    told = ["card-fraud", "card-fraud@7", "card-fraud-r3", "card-fraud-r3@1", "card-frauds@7", "card-fraud-r31", "x"]
    for subject in told:
        store.audit(ANNA, "act", subject, "", {}, NOW)
    assert [entry.subject for entry in store.audit_trail(model="card-fraud")] == told[:3]
    assert [entry.subject for entry in store.audit_trail(model="card-fraud", limit=2, newest=True)] == told[1:3]
    assert [entry.subject for entry in store.audit_trail(limit=2, newest=True)] == told[-2:]
    assert [entry.number for entry in store.audit_trail(after=5, limit=9, newest=True)] == [6, 7]


def test_the_chain_holds_when_many_write_it_at_once(reopen: Callable[[], Store]) -> None:
    stores = [reopen(), reopen()]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda turn: stores[turn % 2].audit(ANNA, "act", str(turn), "", {}, NOW), range(40)))
    assert stores[0].audit_broken_at() is None
    assert [entry.number for entry in stores[0].audit_trail()] == list(range(1, 41))


# --- tokens -----------------------------------------------------------------------------------------------


def test_a_token_tells_its_owner_until_it_is_revoked(store: Store) -> None:
    secret = store.issue_token("anna", Access.DEPLOY, NOW)
    assert secret.startswith("srn_")
    assert store.whose_token(secret) == Actor("anna", Access.DEPLOY, owner="anna")
    assert store.whose_token(secret + "x") is None
    assert store.whose_token("") is None
    store.revoke_token("anna", NOW)
    store.revoke_token("anna", NOW)
    assert store.whose_token(secret) is None
    again = store.issue_token("anna", Access.VIEW, NOW)
    assert store.whose_token(again) == Actor("anna", Access.VIEW, owner="anna")
    assert store.whose_token(secret) is None, "the old one stays revoked"


def test_a_token_is_found_by_name_while_it_is_valid(store: Store) -> None:
    store.issue_token("anna", Access.VIEW, NOW)
    assert store.token("anna") == store.tokens()[0]
    assert store.token("anna", plane="data") is None
    assert store.token("bert") is None
    store.revoke_token("anna", NOW)
    assert store.token("anna") is None


def test_a_token_of_one_plane_is_nobody_on_the_other(store: Store) -> None:
    caller = store.issue_token("payments", Access.VIEW, NOW, plane="data")
    person = store.issue_token("anna", Access.ADMIN, NOW)
    assert store.whose_token(caller) is None
    assert store.whose_token(caller, plane="data") == Actor("payments", Access.VIEW, owner="payments")
    assert store.whose_token(person, plane="data") is None


def test_tokens_are_listed_without_anything_secret(store: Store) -> None:
    secret = store.issue_token("payments", Access.VIEW, NOW, plane="data")
    store.issue_token("anna", Access.ADMIN, NOW)
    store.revoke_token("payments", NOW)
    first, second = store.tokens()
    assert (first["name"], first["plane"], first["access"]) == ("payments", "data", "view")
    assert datetime.fromisoformat(first["revoked_at"]) == NOW
    assert second["revoked_at"] is None
    assert set(first) == {"name", "owner", "access", "plane", "models", "issued_at", "revoked_at"}
    assert secret not in str(store.tokens())


def test_a_token_has_an_owner_for_ever_and_by_default_its_name(store: Store) -> None:
    secret = store.issue_token("ci", Access.DEPLOY, NOW, owner="anna@bank")
    assert store.whose_token(secret) == Actor("ci", Access.DEPLOY, owner="anna@bank")
    assert not store.own_token("ci", "bert@bank"), "only a token of a version before owners is given one"
    assert not store.own_token("nobody", "bert@bank")
    store.issue_token("bert", Access.VIEW, NOW)
    assert [token["owner"] for token in store.tokens()] == ["anna@bank", "bert"]


@pytest.mark.parametrize("owner", [" anna", "a\nb", "x" * 129, "<b>", "-", "nobody", "Serinus"])
def test_an_owner_is_a_name_of_somebody(owner: str, store: Store) -> None:
    with pytest.raises(InvalidInput):
        store.issue_token("ci", Access.DEPLOY, NOW, owner=owner)
    assert store.tokens() == []


def test_a_key_says_which_models_it_opens(store: Store) -> None:
    store.issue_token("shop", Access.VIEW, NOW, plane="data", models=["fraud", "churn", "fraud"])
    store.issue_token("batch", Access.VIEW, NOW, plane="data")
    assert [token["models"] for token in store.tokens()] == [["churn", "fraud"], None]


def test_what_no_database_keeps_as_it_is_is_kept_as_an_escape(store: Store) -> None:
    store.audit(ANNA, "refused", "/v1/models/a\0b", "be\0cause", {"ä\0": "\0"}, NOW)
    (entry,) = store.audit_trail()
    assert (entry.subject, entry.why) == ("/v1/models/a\\x00b", "be\\x00cause")
    assert entry.details == {"ä\0": "\0"}
    assert store.audit_broken_at() is None


def test_models_come_by_name_whatever_the_database_thinks_of_letters(store: Store) -> None:
    for model in ("b", "B", "a_b", "a.b", "a-b", "Z"):
        store.save_model(ModelState(model))
    assert [state.model for state in store.models()] == ["B", "Z", "a-b", "a.b", "a_b", "b"]


def test_the_audit_names_a_tokens_owner(store: Store) -> None:
    store.audit(replace(ANNA, owner="anna@bank"), "deploy", "m@1", "", {"supersede": False}, NOW)
    (entry,) = store.audit_trail()
    assert (entry.who, entry.details) == ("anna", {"supersede": False, "owner": "anna@bank"})


def test_bad_token_names_planes_and_taken_names_are_refused(store: Store) -> None:
    store.issue_token("anna", Access.VIEW, NOW)
    with pytest.raises(Refused, match="anna"):
        store.issue_token("anna", Access.VIEW, NOW)
    for name in ("", "nobody", "Serinus", "a b", "<script>", "x" * 65, "-x", "a\n"):
        with pytest.raises(InvalidInput):
            store.issue_token(name, Access.VIEW, NOW)
    with pytest.raises(InvalidInput):
        store.issue_token("bert", Access.VIEW, NOW, plane="moon")
    with pytest.raises(NotFound, match="anna"):
        store.revoke_token("anne", NOW)


# --- kept rows ----------------------------------------------------------------------------------------


def kept_row(*values: object, at: datetime = NOW, score: float | None = 0.1) -> KeptRow:
    columns = tuple(f"column {number}" for number in range(len(values)))
    return KeptRow(columns, list(values), score, "card-fraud-7-3f9a2c", "a" * 64, "e" * 64, at)


def test_kept_rows_come_back_value_by_value_after_a_restart(reopen: Callable[[], Store]) -> None:
    values = (1, 1.0, True, None, 0.1 + 0.2, 5e-324, 2**70, "ä\0\ud800", "https://anna:geheim@bank", [1, {"a": None}])
    reopen().keep_rows("card-fraud", [kept_row(*values), kept_row(-1.5, score=None)])
    store = reopen()
    first, second = store.kept_rows("card-fraud")
    assert (first, second) == (kept_row(*values), kept_row(-1.5, score=None))
    assert list(map(type, first.row)) == list(map(type, values))
    assert store.kept_rows("other") == []
    assert store.models_with_kept_rows() == ["card-fraud"]


def test_of_equal_kept_rows_the_newest_is_kept_and_the_oldest_are_dropped(store: Store) -> None:
    later = NOW + timedelta(days=1)
    store.keep_rows("card-fraud", [kept_row(1, at=later), kept_row(2)])
    store.keep_rows("card-fraud", [kept_row(1), kept_row(1.0), kept_row(2, score=0.2)])
    found = store.kept_rows("card-fraud")
    assert found == [kept_row(1.0), kept_row(2, score=0.2), kept_row(1, at=later)]
    assert list(map(type, (one.row[0] for one in found))) == [float, int, int]
    many = [kept_row(number, at=NOW + timedelta(hours=number)) for number in range(100, 100 + MOST_ROWS)]
    for some in (many[: MOST_ROWS // 2], many[MOST_ROWS // 2 :]):
        store.keep_rows("card-fraud", some)
    assert store.kept_rows("card-fraud") == many


def test_kept_rows_are_bounded_in_size(store: Store) -> None:
    hours = [NOW + timedelta(hours=number) for number in range(5)]
    half = "x" * (MOST_BYTES // 2 - 100)
    store.keep_rows("card-fraud", [kept_row(half + str(number), at=hours[number]) for number in range(3)])
    store.keep_rows("card-fraud", [kept_row("x" * MOST_BYTES, at=hours[3]), kept_row("small", at=hours[4])])
    assert [(len(str(one.row[0])), one.at) for one in store.kept_rows("card-fraud")] == [
        (len(half) + 1, hours[1]),
        (len(half) + 1, hours[2]),
        (5, hours[4]),
    ]


def test_kept_rows_are_forgotten_by_their_age(store: Store) -> None:
    days = [NOW + timedelta(days=number) for number in range(3)]
    for model in ("card-fraud", "other"):
        store.keep_rows(model, [kept_row(number, at=at) for number, at in enumerate(days)])
    store.forget_rows("card-fraud", days[1])
    assert [one.at for one in store.kept_rows("card-fraud")] == days[1:]
    store.forget_rows("card-fraud", days[2] + timedelta(seconds=1))
    store.forget_rows("card-fraud", days[2])
    store.keep_rows("card-fraud", [])
    assert (store.kept_rows("card-fraud"), len(store.kept_rows("other"))) == ([], 3)
    assert store.models_with_kept_rows() == ["other"]


def test_rows_that_several_control_planes_keep_at_once_are_all_kept(reopen: Callable[[], Store]) -> None:
    stores = [reopen() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: stores[number % 4].keep_rows("card-fraud", [kept_row(number)]), range(40)))
    assert sorted(str(one.row[0]) for one in reopen().kept_rows("card-fraud")) == sorted(map(str, range(40)))


# --- terms --------------------------------------------------------------------------------------------


def test_no_term_has_begun_in_a_new_store(store: Store) -> None:
    assert store.last_term() == (0, "")


def test_what_decides_in_a_lower_term_stores_nothing_and_ends(reopen: Callable[[], Store]) -> None:
    mine, theirs = reopen(), reopen()
    assert isinstance(mine, SqlStore)
    assert isinstance(theirs, SqlStore)
    first, second = Leader(1), Leader(2)
    deciding = mine.deciding(first)
    deciding.begin_term(1, "a")
    deciding.create(rollout(1))
    theirs.deciding(second).begin_term(2, "b")
    for write in _writes(deciding):
        with pytest.raises(Superseded, match="b decides in term 2"):
            write()
        assert "term 1" in first.ended
        first.ended = ""
    assert [one.status for one in mine.rollouts()] == [Status(Phase.RESOLVE, NOW)]
    assert (mine.events(), mine.releases(), mine.models(), mine.audit_trail()) == ([], [], [], [])
    assert (mine.pending(), mine.settings(""), mine.tokens()) == ([], {}, [])
    assert mine.models_with_kept_rows() == []
    theirs.deciding(second).save(rollout(1, phase=Phase.ABORTED))
    assert not second.ended


def _writes(store: Store) -> list[Callable[[], object]]:
    """Every method that writes, but for `begin_term`."""
    event, order = Event(NOW, "card-fraud", None, "said", "words"), Order("abort", ANNA, "", NOW)
    return [
        lambda: store.create(rollout(1, "other")),
        lambda: store.save(rollout(1, phase=Phase.PROMOTED), ModelState("card-fraud"), [event]),
        lambda: store.save_in_flight([rollout(1, phase=Phase.CANARY)]),
        lambda: store.next_number("card-fraud"),
        lambda: store.order("card-fraud-r1", order),
        lambda: store.supersede("card-fraud-r1", order, rollout(2)),
        lambda: store.save_model(ModelState("card-fraud"), [event]),
        lambda: store.add_release(release()),
        lambda: store.emit([event]),
        lambda: store.audit(ANNA, "deploy", "card-fraud@7", "", {}, NOW),
        lambda: store.issue_token("anna", Access.VIEW, NOW),
        lambda: store.own_token("anna", "anna"),
        lambda: store.revoke_token("anna", NOW),
        lambda: store.set_setting("key", "value"),
        lambda: store.keep_rows("card-fraud", [kept_row(1.0)]),
        lambda: store.forget_rows("card-fraud", NOW),
    ]


def test_what_people_ask_is_stored_in_any_term(reopen: Callable[[], Store]) -> None:
    store = reopen()
    store.create(rollout(1))
    reopen().begin_term(7, "b")
    store.order("card-fraud-r1", Order("abort", ANNA, "", NOW))
    assert [one.kind for one in reopen().orders("card-fraud-r1")] == ["abort"]


def test_nothing_is_stored_without_a_term(store: Store) -> None:
    assert isinstance(store, SqlStore)
    leader = Leader(1)
    leader.end("the lease has run out")
    with pytest.raises(Superseded, match="the lease has run out"):
        store.deciding(leader).create(rollout(1))
    assert store.rollouts() == []


def test_a_term_begins_once_and_above_those_before(reopen: Callable[[], Store]) -> None:
    store = reopen()
    store.begin_term(3, "a")
    store.begin_term(3, "a")
    for term, holder in ((2, "a"), (3, "b")):
        with pytest.raises(Superseded, match="a decides in term 3"):
            reopen().begin_term(term, holder)
    assert store.last_term() == (3, "a")


def test_of_control_planes_that_begin_one_term_at_once_one_has_it(reopen: Callable[[], Store]) -> None:
    stores = [reopen() for _ in range(4)]

    def begin(number: int) -> bool:
        try:
            stores[number].begin_term(1, f"control-{number}")
        except Superseded:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        begun = list(pool.map(begin, range(4)))
    assert sum(begun) == 1
    assert reopen().last_term() == (1, f"control-{begun.index(True)}")
