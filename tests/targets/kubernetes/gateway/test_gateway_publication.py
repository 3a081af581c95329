"""What is published for gateways, and read back: pure."""

from __future__ import annotations

import json
import zlib

import pytest
from gateway_harness import key_of
from hypothesis import given
from hypothesis import strategies as st

from serinus.backends.envoy.keys import Key
from serinus.backends.envoy.xds import Routes
from serinus.core.errors import Unavailable
from serinus.core.routing import WHOLE, Arm, Role, Routing
from serinus.targets.kubernetes.gateway import publication
from serinus.targets.kubernetes.gateway.publication import Publication, Unreadable, Wanted, first, parse, render

NAMES = st.text(min_size=1, max_size=20)


@st.composite
def routings(draw: st.DrawFn) -> Routing:
    weight = draw(st.integers(0, WHOLE))
    arms = (
        Arm(draw(NAMES), weight, Role.CANARY, draw(NAMES)),
        Arm(draw(NAMES), WHOLE - weight, Role.CHAMPION, draw(NAMES)),
    )
    fallback = draw(st.none() | st.floats(allow_nan=False, allow_infinity=False))
    return Routing(draw(NAMES), arms, draw(NAMES), draw(NAMES), draw(st.integers(1, 60_000)), fallback)


@st.composite
def wanted(draw: st.DrawFn) -> Wanted:
    found = {routing.model: routing for routing in draw(st.lists(routings(), max_size=4))}
    probes = {routing.model: routing for routing in draw(st.lists(routings(), max_size=2))}
    keys = st.builds(Key, NAMES, st.none() | st.lists(NAMES, max_size=2).map(tuple))
    callers = draw(st.dictionaries(NAMES, keys, max_size=3))
    retired = frozenset(draw(st.sets(NAMES, max_size=3)))
    return Wanted(Routes(found, callers, retired, draw(st.booleans())), probes)


@given(wanted())
def test_a_document_is_read_as_it_was_written(what: Wanted) -> None:
    version, content = render(what, key_of)
    document = parse(content)
    assert (document.wanted, document.version) == (what, version)
    assert document.router_keys == {release: key_of(release) for release in what.endpoints}


@given(wanted(), wanted())
def test_the_version_is_that_of_the_content(one: Wanted, other: Wanted) -> None:
    assert (render(one, key_of) == render(other, key_of)) == (one == other)


def test_the_secret_of_the_control_plane_is_not_in_the_document() -> None:
    routing = Routing("fraud", (Arm("fraud-1-a", WHOLE, Role.CHAMPION, "/r"),), "s", "")
    _, content = render(Wanted().with_routing("fraud", routing), lambda release: f"key-of-{release}")
    text = zlib.decompress(content).decode()
    assert "key-of-fraud-1-a" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not compressed",
        zlib.compress(b"not JSON"),
        zlib.compress(b"[]"),
        zlib.compress(b"{}")[:-3],
        zlib.compress(json.dumps({"format": 2}).encode()),
        zlib.compress(json.dumps({"format": 1}).encode()),
        zlib.compress(json.dumps({"format": 1, "routings": [1]}).encode()),
        zlib.compress(b" " * (publication._LARGEST_DOCUMENT + 1)),
    ],
)
def test_what_is_no_document_is_unreadable(content: bytes) -> None:
    with pytest.raises(Unreadable):
        parse(content)


def test_a_document_of_a_later_version_is_said_to_be_one() -> None:
    with pytest.raises(Unreadable, match="another version of Serinus"):
        parse(zlib.compress(json.dumps({"format": 2}).encode()))


def test_models_are_routed_retired_and_removed_by_themselves() -> None:
    one, other = (Routing(model, (Arm(f"{model}-1", WHOLE, Role.CHAMPION, "/r"),), "s", "") for model in ("a", "b"))
    both = Wanted().with_routing("a", one).with_routing("b", other)
    assert both.retired("a").routes.routings == {"b": other}
    assert both.retired("a").routes.retired == {"a"}
    assert both.retired("a").with_routing("a", one) == both.with_routing("a", one)
    assert both.retired("a").with_routing("a", None) == Wanted().with_routing("b", other)
    assert both.with_probe("a", one).with_probe("a", None) == both


def test_the_version_before_and_those_that_run_are_kept() -> None:
    documents = Publication("b", {"a": b"1", "b": b"2", "x": b"3"}, 7)
    assert documents.superseded("c", b"4", running={"a"}) == Publication("c", {"c": b"4", "b": b"2", "a": b"1"}, 8)
    assert documents.superseded("c", b"4", running=()).documents == {"c": b"4", "b": b"2"}
    assert documents.superseded("a", b"1", running={"b"}).documents == {"a": b"1", "b": b"2"}


def test_documents_of_before_make_room_for_the_one_that_is_wanted() -> None:
    large = b"x" * (publication.LARGEST // 2)
    found = Publication("b", {"a": large, "b": large}).superseded("c", large, running={"a"})
    assert found.documents.keys() == {"b", "c"}
    assert sum(map(len, found.documents.values())) <= publication.LARGEST


def test_more_models_than_fit_are_refused_in_words() -> None:
    with pytest.raises(Unavailable, match="has room for"):
        first(Wanted(), key_of, 1).superseded("v", b"x" * (publication.LARGEST // 2 + 1), running=())


def test_two_thousand_models_with_a_canary_each_fit() -> None:
    """The most that is promised (docs/kubernetes.md)."""
    what = Wanted()
    routings = {}
    for number in range(2_000):
        model = f"model-{number:05}"
        arms = tuple(
            Arm(release, weight, role, f"{release}.serinus.svc:8080")
            for release, weight, role in (
                (f"{model}-7-{number:06x}", 9_000, Role.CHAMPION),
                (f"{model}-8-{number + 7:06x}", 1_000, Role.CANARY),
            )
        )
        routings[model] = Routing(model, arms, f"split-{number}", f"rollout-{number}", 250, 0.5)
    what = Wanted(Routes(routings))
    version, content = render(what, key_of)
    assert first(Wanted(), key_of, 1).superseded(version, content, running=()).document == content
