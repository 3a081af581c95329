"""What is read over HTTP: documents, events, the audit, logs, metrics."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from scenes import V6, V7, busy, troubled
from small_fleet import NOW, Installation, serving
from starlette.testclient import TestClient

from serinus.core.events import Event
from serinus.core.evidence import Totals
from serinus.core.people import Access, Actor
from serinus.engine.distrust import Distrust, Rechecked, save_distrusted, save_rechecked, shortcut_of


def test_the_status_is_the_reports_whole_document(installation: Installation, client: TestClient) -> None:
    busy(installation)
    status = client.get("/v1/status").json()
    assert [m["model"] for m in status["models"]] == ["card-fraud", "merchant-risk"]
    assert client.get("/v1/models/card-fraud").json() == {**status["models"][0], "alerts": None}
    missing = client.get("/v1/models/card-frod")
    assert missing.status_code == 404
    assert "card-fraud, merchant-risk" in missing.json()["hint"]


def test_rollouts_come_newest_first_and_whole(installation: Installation, client: TestClient) -> None:
    busy(installation)
    found = client.get("/v1/rollouts", params={"model": "card-fraud", "limit": 2}).json()
    assert [r["id"] for r in found] == ["card-fraud-r3", "card-fraud-r2"]
    assert client.get("/v1/rollouts/card-fraud-r3").json() == found[0]
    assert found[0]["steps"][1]["assessment"]["metrics"][0]["name"] == "errors"
    assert client.get("/v1/rollouts/card-fraud-r9").status_code == 404
    assert client.get("/v1/rollouts", params={"limit": 0}).status_code == 422


def test_rollouts_and_releases_are_read_page_by_page(installation: Installation, client: TestClient) -> None:
    busy(installation)
    for what in ("rollouts", "releases"):
        every = [one["id"] for one in client.get(f"/v1/{what}").json()]
        assert len(every) > 1
        pages: list[str] = []
        last: dict[str, str] = {}
        while page := client.get(f"/v1/{what}", params={"limit": 1, **last}).json():
            pages += [one["id"] for one in page]
            last = {"after": page[-1]["id"]}
        assert pages == every
        missing = client.get(f"/v1/{what}", params={"after": "missing"})
        assert missing.status_code == 404
        assert "missing" in missing.json()["error"]


def test_rollouts_in_flight_are_told_apart(installation: Installation, client: TestClient) -> None:
    busy(installation)
    every = client.get("/v1/rollouts", params={"limit": 200}).json()
    flying = [one["id"] for one in every if one["status"]["phase"] not in ("promoted", "aborted", "retired")]
    assert 0 < len(flying) < len(every)
    assert [one["id"] for one in client.get("/v1/rollouts?in_flight=true").json()] == flying


def test_a_release_is_explained_by_its_rollout(installation: Installation, client: TestClient) -> None:
    busy(installation)
    explained = client.get(f"/v1/releases/{V7.id}/explain").json()
    assert explained["id"] == "card-fraud-r3"
    assert client.get("/v1/releases/card-fraud-r1/explain").json()["status"]["reason"].startswith("errors: 37 of")
    assert {r["id"] for r in client.get("/v1/releases", params={"model": "card-fraud"}).json()} >= {V6.id, V7.id}


def test_a_first_spec_is_made_for_a_model_that_has_none(installation: Installation, client: TestClient) -> None:
    installation.fleet.specs["card-fraud"] = "model: card-fraud\n"
    answer = client.get("/v1/spec/card-fraud").json()
    assert answer == {"model": "card-fraud", "spec": "model: card-fraud\n"}


def test_events_are_paged_by_number(installation: Installation, client: TestClient) -> None:
    busy(installation)
    every = client.get("/v1/events").json()
    assert [e["kind"] for e in every] == ["aborted", "canary-500", "canary-2500"]
    after = client.get("/v1/events", params={"after": every[0]["number"], "limit": 1}).json()
    assert [e["kind"] for e in after] == ["canary-500"]
    assert client.get("/v1/events", params={"model": "merchant-risk"}).json() == []


def test_the_audit_can_be_read_and_verified(installation: Installation, client: TestClient) -> None:
    actor = Actor("anna", Access.DEPLOY, "127.0.0.1")
    for number in range(3):
        installation.store.audit(actor, "deploy", f"card-fraud@{number}", "", {}, NOW)
    entries = client.get("/v1/audit", params={"after": 1}).json()
    assert [(e["number"], e["subject"]) for e in entries] == [(2, "card-fraud@1"), (3, "card-fraud@2")]
    assert client.get("/v1/audit/verify").json() == {"holds": True, "broken_at": None}


# --- the stream -------------------------------------------------------------------------------------------


def datas(lines: Iterator[str]) -> Iterator[dict[str, object]]:
    return (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))


def test_the_stream_sends_what_happens_and_a_client_that_comes_back_misses_nothing(
    installation: Installation,
) -> None:
    busy(installation)
    headers = {"Authorization": f"Bearer {installation.token()}"}
    with serving(installation) as address, httpx.Client(base_url=address, headers=headers, timeout=10) as client:
        with client.stream("GET", "/v1/events/stream") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = stream.iter_lines()
            assert next(lines) == "retry: 1000"
            later = Event(NOW, "card-fraud", "card-fraud-r3", "promoted", "card-fraud@7 is champion")
            threading.Timer(0.1, installation.store.emit, ([later],)).start()
            event = next(datas(lines))
            assert event["kind"] == "promoted"
        again = {"Last-Event-ID": str(int(str(event["number"])) - 2)}
        with client.stream("GET", "/v1/events/stream", headers=again) as stream:
            found = datas(stream.iter_lines())
            assert [next(found)["kind"], next(found)["kind"]] == ["canary-2500", "promoted"]


def test_the_stream_ends_when_its_token_is_revoked(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serinus.api.routes.happenings.HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr("serinus.api.routes.happenings.POLL_SECONDS", 0.05)
    headers = {"Authorization": f"Bearer {installation.token('anna')}"}
    with (
        serving(installation) as address,
        httpx.stream("GET", f"{address}/v1/events/stream", headers=headers) as stream,
    ):
        lines = stream.iter_lines()
        assert ": still here" in (next(lines), next(lines), next(lines))
        installation.store.revoke_token("anna", NOW)
        assert len(list(lines)) < 50  # it ends


def test_the_stream_of_a_revoked_token_ends_also_while_something_happens_all_the_time(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serinus.api.routes.happenings.POLL_SECONDS", 0.02)
    headers = {"Authorization": f"Bearer {installation.token('anna')}"}
    over = threading.Event()

    def happen() -> None:
        while not over.wait(0.01):
            installation.store.emit([Event(NOW, "card-fraud", None, "canary-2500", "grows")])

    events = threading.Thread(target=happen)
    with (
        serving(installation) as address,
        httpx.stream("GET", f"{address}/v1/events/stream", headers=headers, timeout=20) as stream,
    ):
        events.start()
        try:
            lines = stream.iter_lines()
            while not next(lines).startswith("data:"):
                pass
            installation.store.revoke_token("anna", NOW)
            deadline = time.monotonic() + 20
            for _ in lines:
                assert time.monotonic() < deadline, "the stream goes on"
        finally:
            over.set()
            events.join()


# --- logs -------------------------------------------------------------------------------------------------


def test_logs_are_tailed_and_followed_without_losing_a_line(installation: Installation, client: TestClient) -> None:
    path = installation.home.logs / f"release-{V7.id}.log"
    path.write_text("one\ntwo\nthree\n")
    first = client.get("/v1/logs", params={"release": V7.id, "lines": 2}).json()
    assert first["lines"] == ["two", "three"]
    with path.open("a") as file:
        file.write("four\nfi")
    second = client.get("/v1/logs", params={"release": V7.id, "after": first["offset"]}).json()
    assert second["lines"] == ["four"]
    with path.open("a") as file:
        file.write("ve\n")
    third = client.get("/v1/logs", params={"release": V7.id, "after": second["offset"]}).json()
    assert third["lines"] == ["five"]
    path.write_text("anew\n")
    assert client.get("/v1/logs", params={"release": V7.id, "after": third["offset"]}).json()["lines"] == ["anew"]


@pytest.mark.parametrize(
    "query",
    ["process=../token", "process=..%2Ftoken", "process=%2Fetc%2Fpasswd", "release=../../token", "process=", ""],
)
def test_a_log_is_never_a_file_elsewhere(query: str, installation: Installation, client: TestClient) -> None:
    (installation.home.path / "token.log").write_text("srn_secret")
    (installation.home.path / "token").write_text("srn_secret")
    answer = client.get(f"/v1/logs?{query}")
    assert answer.status_code in (404, 422)
    assert "srn_secret" not in answer.text


def test_a_log_that_is_not_there_names_those_that_are(installation: Installation, client: TestClient) -> None:
    (installation.home.logs / "control.log").write_text("up\n")
    answer = client.get("/v1/logs", params={"process": "contrl"})
    assert answer.status_code == 404
    assert "control" in answer.json()["hint"]


# --- metrics ----------------------------------------------------------------------------------------------


def test_metrics_speak_prometheus_and_say_what_the_status_says(installation: Installation, client: TestClient) -> None:
    installation.log.counters = [Totals(V6.id, "card-fraud", 10_840, errors=3, cached=17)]
    troubled(installation)
    save_rechecked(installation.store, {V6.id: Rechecked("card-fraud", NOW, compared=900, differing=2)})
    distrust = Distrust("card-fraud", V6.id, "onnx", NOW, "2 of 900 answers differ from the model's own predict")
    save_distrusted(installation.store, {shortcut_of(V6): distrust})
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples: dict[tuple[Any, ...], float] = {
        (s.name, *sorted(s.labels.items())): s.value
        for family in text_string_to_metric_families(answer.text)
        for s in family.samples
    }
    names = {key[0] for key in samples}
    assert all(name.startswith("serinus_") for name in names)
    canary = (("model", "card-fraud"), ("release", V7.id), ("role", "canary"))
    champion = (("model", "card-fraud"), ("release", V6.id), ("role", "champion"))
    assert samples["serinus_recent_requests", *canary] == 3612
    assert samples["serinus_recent_errors", *champion] == 3
    assert samples["serinus_recent_latency_seconds", champion[0], ("quantile", "0.99"), *champion[1:]] == 0.0089
    assert samples["serinus_requests_total", *champion[:2]] == 10_840
    assert samples["serinus_errors_total", *champion[:2]] == 3
    assert samples["serinus_cached_total", *champion[:2]] == 17
    assert samples["serinus_dropped_total", *champion[:2]] == 0
    assert samples["serinus_rollouts_in_flight", ("model", "card-fraud"), ("phase", "canary")] == 1
    assert samples["serinus_rollouts_in_flight", ("model", "card-fraud"), ("phase", "gates")] == 0
    assert samples["serinus_process_up", ("process", "envoy")] == 0
    assert samples["serinus_process_up", ("process", "host")] == 1
    assert samples["serinus_process_restarts_total", ("process", "envoy")] == 4
    assert samples["serinus_model_trouble", ("model", "merchant-risk")] == 1
    rechecked = {name: samples[f"serinus_recheck_{name}_total", *champion[:2]] for name in ("compared", "differing")}
    assert rechecked == {"compared": 900, "differing": 2}
    assert samples["serinus_distrusted", *champion[:2]] == 1


def test_health_is_open_to_all_and_tells_nothing(anonymous: TestClient) -> None:
    assert anonymous.get("/healthz").json() == {"ok": True, "registry": True}
