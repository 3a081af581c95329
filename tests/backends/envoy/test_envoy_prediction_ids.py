"""Each request gets an id of Serinus' own, which no caller and no release can choose."""

from __future__ import annotations

import pytest
from envoy_harness import Proxy, routing
from waiting import wait_until

CHAMPION = "fraud-1-aaaaaa"
OWN = "x-serinus-prediction-id"


def test_a_release_and_the_caller_are_told_the_same_new_id_for_each_request(served: Proxy) -> None:
    answers = [served.ask(x_request_id="the-same") for _ in range(3)]
    told = [answer.json()["headers"][OWN] for answer in answers]
    assert [answer.headers[OWN] for answer in answers] == told
    assert len(set(told)) == 3
    assert {answer.headers["x-request-id"] for answer in answers} == {"the-same"}


def test_a_caller_cannot_choose_the_id_or_its_own_name(served: Proxy) -> None:
    answer = served.ask(x_serinus_prediction_id="mine", x_serinus_caller="payments")
    told = answer.json()["headers"]
    assert told[OWN] != "mine"
    assert answer.headers[OWN] == told[OWN]
    assert "x-serinus-caller" not in told


def test_a_release_cannot_tell_the_caller_another_id(served: Proxy) -> None:
    answer = served.ask(x_do="name", x_serinus_prediction_id="mine")
    assert answer.headers.get_list(OWN) == [answer.json()["headers"][OWN]]


@pytest.mark.parametrize("sent", ["r-1", "two words"])
def test_the_id_is_kept_where_headers_are_mended_and_the_request_is_routed_again(served: Proxy, sent: str) -> None:
    answer = served.ask(x_request_id=sent, x_entity_id="")
    assert answer.headers[OWN] == answer.json()["headers"][OWN]


def test_what_envoy_answers_in_a_releases_place_is_logged_under_the_id_that_the_caller_got(served: Proxy) -> None:
    served.router.apply(routing(served.arm(CHAMPION, 10_000), fallback_score=0.25))
    answers = [served.ask(x_do="die", x_request_id="r-1") for _ in range(2)]
    lines = wait_until(lambda: len(served.local_answers()) == 2 and served.local_answers(), 2)
    assert [line["prediction"] for line in lines] == [answer.headers[OWN] for answer in answers]
    assert len({line["prediction"] for line in lines}) == 2
    assert [line["caller"] for line in lines] == [None, None]


def test_an_error_of_envoys_has_an_id_too(served: Proxy) -> None:
    assert len(served.client.get("/none").headers[OWN]) == 36
