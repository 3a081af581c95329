"""Each verb against a real server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli_harness import Proxy, Serinus
from scenes import GATES, V6, V7, busy, in_canary, rollout, troubled
from small_fleet import NOW, Installation, process
from waiting import wait_until

from serinus.api import home_token
from serinus.cli.client import Client
from serinus.core.errors import Forbidden
from serinus.core.events import Event
from serinus.core.evidence import ArmCounts, HourCounts, Traffic
from serinus.core.home import Home
from serinus.core.people import Access, Actor
from serinus.core.placement import Placement, PlacementState
from serinus.core.rollout import Cause, ModelState, Phase, Rollout


def advance(installation: Installation, *phases: Rollout) -> threading.Thread:
    """Saves what comes after the rollout that a `deploy` begins, one after another, as the engine would."""

    def save() -> None:
        (begun,) = wait_until(installation.store.in_flight)
        for phase in phases:
            installation.store.save(replace(phase, id=begun.id, actor=begun.actor))
            seen.wait(0.6)  # a look's length, so that each is seen

    seen = threading.Event()
    thread = threading.Thread(target=save, daemon=True)
    thread.start()
    return thread


# --- deploy -----------------------------------------------------------------------------------------------


def test_a_deployment_tells_each_gate_and_step_and_ends_with_0_when_promoted(
    installation: Installation, serinus: Serinus
) -> None:
    canary = in_canary(1)
    done = rollout(1, Phase.PROMOTED, steps=canary.steps, reason="every step passed")
    advance(installation, rollout(1, Phase.GATES, gates=GATES[:2]), canary, done)
    said = serinus("deploy", "card-fraud@7", "--reason", "more trees")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == "card-fraud@7 is being deployed as card-fraud-r1"
    assert "gate load: pass: loaded in 2.1 s" in lines
    assert "canary 25%: at least 5,000 requests and 60 s" in lines
    assert lines[-1] == "promoted: card-fraud@7 is champion as card-fraud-7-3f9a2c"
    assert installation.store.rollout("card-fraud-r1").why == "more trees"


def test_a_deployment_that_is_stopped_ends_with_1_and_its_reason(installation: Installation, serinus: Serinus) -> None:
    advance(installation, rollout(1, Phase.ABORTED, reason="recall .58 against .80", cause=Cause.GATE))
    said = serinus("deploy", "card-fraud@7")
    assert said.code == 1
    assert "aborted, because it did not pass the gates: recall .58 against .80" in said.out
    assert "serinus explain card-fraud-r1" in said.out


def test_deploy_with_json_is_one_document_of_how_it_ended(installation: Installation, serinus: Serinus) -> None:
    advance(installation, rollout(1, Phase.PROMOTED))
    said = serinus("deploy", "card-fraud@7", "--json")
    assert (said.code, said.json["status"]["phase"]) == (0, "promoted")


def test_a_detached_deployment_returns_at_once_and_says_how_to_look_again(
    installation: Installation, serinus: Serinus
) -> None:
    said = serinus("deploy", "card-fraud@7", "--detach")
    assert said.code == 0
    assert "serinus explain card-fraud-r1" in said.out
    refused = serinus("deploy", "card-fraud@6", "--detach")
    assert refused.code == 1
    assert "--supersede" in refused.err


def test_a_deployment_says_how_long_its_canary_takes_and_warns_of_its_spec(
    installation: Installation, serinus: Serinus, tmp_path: Path
) -> None:
    installation.store.save_model(ModelState("card-fraud", V6, 0.7))
    installation.log.traffics = {"card-fraud": [Traffic(V6.id, 14_450, 300, 3, 1.4, 8.9)]}
    (tmp_path / "spec.yaml").write_text("model: card-fraud\nwatch:\n  slow: {ok: 0.9}\n")
    said = serinus("deploy", "card-fraud@7", "--spec", "spec.yaml", "--detach")
    assert "At 48.2 requests/s the canary of a version as good as the champion takes about" in said.out
    assert "warning: spec.yaml:3: watch.slow.ok: 0.9 is less than 1" in said.out
    begun = serinus("deploy", "card-fraud@7", "--spec", "spec.yaml", "--detach", "--supersede", "--json").json
    assert begun["estimate"]["per_second"] == pytest.approx(48.17, abs=0.01)
    assert [step["traffic"] for step in begun["estimate"]["steps"]] == [0.05, 0.25, 0.5]
    assert len(begun["warnings"]) == 1


def test_deploying_what_is_there_already_does_nothing_and_says_so(installation: Installation, serinus: Serinus) -> None:
    installation.store.save_model(ModelState("card-fraud", V6, 0.7))
    said = serinus("deploy", "card-fraud@6")
    assert said.code == 0
    assert "nothing to do" in said.out
    assert installation.store.rollouts() == []


def test_a_spec_file_is_sent_and_its_mistakes_come_back(
    installation: Installation, serinus: Serinus, tmp_path: Path
) -> None:
    (tmp_path / "good.yaml").write_text("model: card-fraud\n")
    (tmp_path / "bad.yaml").write_text("model: card-fraud\nrolout: {}\n")
    said = serinus("deploy", "good.yaml", "--detach", "--json")
    assert installation.store.rollout(said.json["rollout"]).spec == "model: card-fraud\n"
    bad = serinus("deploy", "card-fraud@7", "--spec", "bad.yaml", "--supersede")
    assert bad.code == 2
    assert "bad.yaml:2: rolout" in bad.err
    missing = serinus("deploy", "missing.yaml")
    assert missing.code == 2
    assert "missing.yaml cannot be read" in missing.err


def test_ctrl_c_leaves_the_rollout_running_says_how_to_look_again_and_ends_with_130(
    installation: Installation,
) -> None:
    command = [sys.executable, "-u", "-m", "serinus.cli", "deploy", "card-fraud@7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "resolve: " not in (line := process.stdout.readline()):
            assert line, process.stderr.read() if process.stderr else ""
        process.send_signal(2)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "card-fraud-r1 continues in the background" in out
    assert "serinus status" in out
    assert err == ""
    assert [r.id for r in installation.store.in_flight()] == ["card-fraud-r1"]
    assert installation.store.orders("card-fraud-r1") == []


# --- reading ----------------------------------------------------------------------------------------------


def test_status_says_what_is_live_what_is_in_flight_and_what_is_wrong(
    installation: Installation, serinus: Serinus
) -> None:
    empty = serinus("status").out
    assert "Nothing is deployed yet" in empty
    troubled(installation)
    out = serinus("status").out
    assert "card-fraud-r3: card-fraud@7, canary 25% since 2 min ago" in out
    assert "needs about 1,400 more requests of the canary" in out
    assert "envoy is backing-off: exited with status 1 after 0.3 s" in out
    assert "merchant-risk: the champion is failed" in out
    assert "All is well" not in out
    assert serinus("status", "--json").json["models"][0]["model"] == "card-fraud"
    assert serinus("status", "card-fraud", "--json").json["champion"]["release"] == V6.id
    assert "merchant" not in serinus("status", "card-fraud").out
    assert serinus("status", "card-frod").code == 1


def test_status_and_explain_say_what_confines_models(installation: Installation, serinus: Serinus) -> None:
    busy(installation)
    level = "Confinement: Landlock ABI 7, system-call allow-list, no user namespaces."
    assert level in serinus("status").out
    assert level in serinus("explain", V7.id).out
    assert "Confinement" not in serinus("status", "card-fraud").out  # it is the machine's
    assert serinus("status", "--json").json["confinement"] == level.partition(": ")[2][:-1]


def test_status_of_one_model_says_what_share_of_its_live_requests_alerts(
    installation: Installation, serinus: Serinus
) -> None:
    busy(installation)
    line = f"{V6.id}: alert threshold 0.7; "
    assert f"{line}no live requests are counted yet" in serinus("status", "card-fraud").out
    installation.log.counted_hours = [
        HourCounts(hour, ArmCounts(V6.id, requests=10_000, answered=10_000, rows=50_000, alerts=25))
        for hour in range(4)
    ]
    said = f"{line}0.05% of 200,000 live rows alerted (95%: 0.04% to 0.06%)"
    assert said in serinus("status", "card-fraud").out
    assert serinus("status", "card-fraud", "--json").json["alerts"]["rate"] == 0.0005
    assert "alert threshold" not in serinus("status").out


def test_status_of_one_model_says_what_its_champion_runs_without(installation: Installation, serinus: Serinus) -> None:
    busy(installation)
    remark = "its limit of processors is not kept"
    installation.target.placements[V6.id] = Placement(V6.id, PlacementState.READY, reason=remark)
    assert f"{V6.id}: {remark}" in serinus("status", "card-fraud").out
    assert remark not in serinus("status").out  # fifty models would all say it
    assert serinus("status", "--json").json["models"][0]["champion"]["remarks"] == remark


def test_status_does_not_say_that_all_is_well_while_a_champion_starts_nor_warn_of_it(
    installation: Installation, serinus: Serinus
) -> None:
    busy(installation)
    installation.target.placements[V6.id] = Placement(V6.id, PlacementState.STARTING)
    out = serinus("status").out
    assert out.splitlines()[-1] == "Starting: card-fraud."
    assert "All is well" not in out
    assert "warning" not in out


def test_status_says_which_process_was_started_again_within_the_hour(
    installation: Installation, serinus: Serinus
) -> None:
    again = process("host", restarts=1, reason="killed by SIGKILL")
    installation.processes[3] = {**again, "since": NOW.timestamp() - 5}
    installation.processes[2] = process("envoy", restarts=2, reason="killed by SIGKILL")  # an hour ago
    out = serinus("status").out
    assert "host was restarted 5 s ago: killed by SIGKILL" in out
    assert "envoy" not in out


def test_releases_and_explain_tell_what_became_of_each_with_the_numbers(
    installation: Installation, serinus: Serinus
) -> None:
    assert "No releases yet" in serinus("releases").out
    busy(installation)
    rows = serinus("releases", "card-fraud").out.splitlines()
    assert any(V6.id in row and "champion" in row and "ready × 2" in row and "ONNX graph" in row for row in rows)
    *page, older = serinus("releases", "card-fraud", "--limit", "1").out.splitlines()
    assert older.startswith("Older ones: serinus releases card-fraud --limit 1 --after ")
    assert not set(page) & set(serinus(*older.split()[3:]).out.splitlines()[1:])
    out = serinus("explain", V7.id).out
    assert "gate quality: inconclusive: recall .81" in out
    assert "canary 5%: promote: every metric is cleared" in out
    assert "slow: 41 of 3,612" in out
    stopped = serinus("explain", "card-fraud-r1").out
    assert "aborted, because the judge found it worse than the champion: errors: 37 of 2,104 canary requests" in stopped
    assert "against it 4.1e+03 of 1,000" in stopped
    assert serinus("explain", "card-fraud-r1", "--json").json["status"]["cause"] == "judge"


def test_init_writes_a_spec_once(installation: Installation, serinus: Serinus, tmp_path: Path) -> None:
    installation.fleet.specs["card-fraud"] = "model: card-fraud\n"
    assert serinus("init", "card-fraud").code == 0
    assert (tmp_path / "card-fraud.yaml").read_text() == "model: card-fraud\n"
    again = serinus("init", "card-fraud")
    assert again.code == 1
    assert "--force" in again.err
    assert serinus("init", "card-fraud", "--force").code == 0
    assert serinus("init", "card-fraud", "-o", "-").out == "model: card-fraud\n"


def test_init_leaves_nothing_half_written(serinus: Serinus, installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    said = serinus("init", "card-fraud", "-o", "there/spec.yaml")
    assert (said.code, said.err.splitlines()[0]) == (1, "error: there/spec.yaml cannot be written: File exists")
    (tmp_path / "directory").mkdir()
    said = serinus("init", "card-fraud", "-o", "directory", "--force")
    assert (said.code, said.err.splitlines()[0]) == (1, "error: directory cannot be written: Is a directory")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".serinus", "directory", "there"]


def test_init_knows_the_columns_of_the_newest_version(serinus: Serinus, installation: Installation) -> None:
    installation.registry.aliased = False
    text = serinus("init", "card-fraud", "-o", "-").out
    assert "# How card-fraud version 7 (mlflow.sklearn)" in text
    assert "    amount: double\n    country: string\n" in text


def test_init_of_a_model_that_is_not_registered_writes_nothing(
    installation: Installation, serinus: Serinus, tmp_path: Path
) -> None:
    said = serinus("init", "card-frud")
    assert said.code == 1
    assert "card-frud" in said.err
    assert not (tmp_path / "card-frud.yaml").exists()


def test_events_and_the_audit_are_lines(installation: Installation, serinus: Serinus) -> None:
    busy(installation)
    lines = serinus("events", "--json", "-n", "2").out.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["canary-500", "canary-2500"]
    assert "step 1 passed" in serinus("events", "card-fraud").out
    installation.store.audit(Actor("anna", Access.DEPLOY, "10.0.0.7"), "deploy", "card-fraud@7", "why not", {}, NOW)
    assert "anna  deploy  card-fraud@7  from 10.0.0.7  (why not)" in serinus("audit").out
    assert json.loads(serinus("audit", "--json").out)["who"] == "anna"
    assert serinus("audit", "--after", "1").out == ""
    installation.store.audit(Actor("anna", Access.DEPLOY, "10.0.0.7"), "retire", "merchant-risk", "", {}, NOW)
    assert [line.split()[0] for line in serinus("audit", "-n", "1").out.splitlines()] == ["2"]
    assert [line.split()[0] for line in serinus("audit", "--model", "card-fraud").out.splitlines()] == ["1"]


def test_a_broken_audit_chain_ends_with_1(
    installation: Installation, serinus: Serinus, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert serinus("audit", "--verify").code == 0
    monkeypatch.setattr(installation.store, "audit_broken_at", lambda: 17)
    said = serinus("audit", "--verify")
    assert said.code == 1
    assert "broken at entry 17" in said.out


def test_events_are_followed(installation: Installation) -> None:
    command = [sys.executable, "-u", "-m", "serinus.cli", "events", "-f", "--json"]
    installation.store.emit([Event(NOW, "card-fraud", None, "first", "one")])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["kind"] == "first"
        installation.store.emit([Event(NOW, "card-fraud", None, "second", "two")])
        assert json.loads(process.stdout.readline())["kind"] == "second"
        process.send_signal(2)
        assert process.wait(timeout=30) == 130


def test_logs_of_a_release_and_of_a_process(installation: Installation, serinus: Serinus) -> None:
    (installation.home.logs / f"release-{V6.id}.log").write_text("one\ntwo\n")
    (installation.home.logs / "envoy.log").write_text("starting\n")
    assert serinus("logs", V6.id, "-n", "1").out == "two\n"
    assert serinus("logs", "--process", "envoy", "--json").json == {"line": "starting"}
    hint = serinus("logs", "envoy").err
    assert f"of releases: {V6.id};" in hint
    assert "with `--process` those of envoy." in hint


# --- acting -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["promote", "abort"])
def test_orders_reach_the_rollout(kind: str, installation: Installation, serinus: Serinus) -> None:
    installation.store.create(in_canary(1))
    yes = ["--yes"] if kind == "abort" else []
    assert serinus(kind, "card-fraud", *yes).code == 0
    assert [o.kind for o in installation.store.orders("card-fraud-r1")] == [kind]


def test_an_approval_of_ones_own_is_refused(installation: Installation, serinus: Serinus) -> None:
    waiting = rollout(1, Phase.APPROVAL, actor=Actor("admin", Access.ADMIN, "127.0.0.1"))
    installation.store.create(waiting)
    said = serinus("approve", "card-fraud-r1")
    assert said.code == 1
    assert "another person" in said.err


def test_a_policy_is_shown_with_whom_it_excepts(installation: Installation, serinus: Serinus) -> None:
    busy(installation)
    assert serinus("policy", "card-fraud").out == "card-fraud: approval none\n"
    serinus("policy", "card-fraud", "--approval", "required")
    assert serinus("policy", "card-fraud").out == "card-fraud: approval required\n"
    approver = installation.token("grace", Access.APPROVE)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SERINUS_TOKEN", approver)
        assert "except what grace" in serinus("policy", "card-fraud", "--approval", "none").out
    assert serinus("policy", "card-fraud").out == "card-fraud: approval none, except what grace or an alias deploys\n"


def test_tokens_are_made_listed_and_revoked(installation: Installation, serinus: Serinus) -> None:
    secret = serinus("token", "create", "ci", "--access", "deploy").out.strip()
    actor = installation.store.whose_token(secret)
    assert actor is not None
    assert (actor.name, actor.access) == ("ci", Access.DEPLOY)
    listed = serinus("token", "list").out
    assert "ci" in listed
    assert secret not in listed
    assert serinus("token", "revoke", "ci", "--yes").code == 0
    assert installation.store.whose_token(secret) is None
    assert serinus("token", "create", "ci", "--access", "king").code == 2


def test_a_token_is_made_for_its_owner(installation: Installation, serinus: Serinus) -> None:
    secret = serinus("token", "create", "ci", "--access", "deploy", "--owner", "anna@bank").out.strip()
    assert installation.store.whose_token(secret) == Actor("ci", Access.DEPLOY, owner="anna@bank")
    assert "anna@bank" in serinus("token", "list").out
    assert serinus("token", "create", "cd", "--owner", "a<b").code == 2


def test_keys_are_made_for_models_listed_and_revoked(installation: Installation, serinus: Serinus) -> None:
    made = serinus("key", "create", "shop", "--model", "card-fraud", "--model", "churn")
    assert installation.callers.keys == {"shop": made.out.strip()}
    assert installation.callers.models == {"shop": ["card-fraud", "churn"]}
    assert "callers of models need a key" in made.err
    assert serinus("key", "create", "batch", "--json").json["models"] is None
    listed = serinus("key", "list").out
    assert "card-fraud, churn" in listed
    assert made.out.strip() not in listed
    assert serinus("key", "revoke", "shop", "--yes").code == 0
    assert set(installation.callers.keys) == {"batch"}
    assert serinus("key", "revoke", "shop").code == 1, "nobody can be asked"


def test_a_link_for_the_page_signs_in_once(installation: Installation, serinus: Serinus) -> None:
    address, _, code = serinus("login").out.strip().partition("#code=")
    assert address == f"{installation.addresses['api']}/login"
    assert httpx.post(f"{installation.addresses['api']}/v1/session", json={"code": code}).status_code == 200
    assert httpx.post(f"{installation.addresses['api']}/v1/session", json={"code": code}).status_code == 401
    assert "#code=" in serinus("login", "--json").json["login"]


def test_the_homes_owner_gets_in_again_when_its_token_is_lost(installation: Installation, serinus: Serinus) -> None:
    lost = installation.home.token.read_text()
    installation.home.token.unlink()
    assert serinus("audit").code == 1
    said = serinus("token", "reset", "--yes")
    assert said.code == 0
    assert str(installation.home.token) in said.out
    token = installation.home.token.read_text()
    assert token not in said.out + said.err
    assert installation.home.token.stat().st_mode & 0o777 == 0o600
    assert installation.store.whose_token(lost) is None
    actor = installation.store.whose_token(token)
    assert actor == Actor("admin", Access.ADMIN, owner=home_token.login())
    assert serinus("audit").code == 0
    told = [(e.who, e.what, e.origin) for e in installation.store.audit_trail()]
    assert told == [(home_token.login(), what, "local socket") for what in ("reset-token", "issue-token")]


def test_a_reset_needs_the_homes_secret_and_its_own_machine(installation: Installation, serinus: Serinus) -> None:
    before = installation.home.token.read_text()
    for shown, scheme in (("another's", "Home"), (before, "Bearer"), (before, "Home"), ("", "Home")):
        client = Client(installation.addresses["api"], shown, installation.home, scheme=scheme)
        with pytest.raises(Forbidden, match="only the owner of the home"):
            client.post("/v1/home/token", {})
    assert serinus("--server", installation.addresses["api"], "token", "reset", "--yes").code == 1
    assert serinus("token", "reset").code == 1, "nobody can be asked"
    assert installation.home.token.read_text() == before
    assert installation.store.whose_token(before) is not None


def test_a_reset_at_rest_has_the_next_start_make_another_token(serinus: Serinus, tmp_path: Path) -> None:
    home = Home(tmp_path / ".serinus")
    assert serinus("token", "reset", "--yes").code == 0
    home.path.mkdir()
    home.secret.write_text("s")
    home.token.write_text("lost")
    assert "serinus up" in serinus("token", "reset", "--yes").out
    assert not home.token.exists()


def test_outcomes_are_imported_in_parts_and_again_without_a_change(
    installation: Installation, serinus: Serinus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serinus.cli.verbs.outcomes.ROWS", 2)
    rows = "".join(f"r{n},{n % 2},2026-01-31T12:00:00Z\n" for n in range(5))
    (tmp_path / "labels.csv").write_text("request_id,label,observed_at\n" + rows)
    first = serinus("outcomes", "import", "labels.csv", "--json").json
    assert first == {"received": 5, "outcomes": 5, "changed": 5, "unknown": 2, "ambiguous": 1}
    again = serinus("outcomes", "import", "labels.csv").out.splitlines()
    assert again[0] == "5 outcomes imported, 0 of them new or corrected"
    assert again[1] == "2 name requests not in the log"
    assert again[2].startswith("1 is ambiguous: several requests of a model have that request_id")
    assert serinus("outcomes", "import", "labels.txt").code == 2
    assert installation.log.labels["r3"].label == 1.0
    (one, _) = [entry for entry in installation.store.audit_trail() if entry.what == "outcomes"]
    assert (one.details["name"], one.details["rows"]) == ("labels.csv", 5)
    said = serinus("outcomes", "check").out
    assert said.startswith("5 outcomes, of which 2 label a prediction\n2 name requests not in the log\n1 is")
    assert serinus("outcomes", "check", "--json").json == {"outcomes": 5, "unmatched": 2, "ambiguous": 1}


def test_nothing_of_a_file_with_a_mistake_is_imported(
    installation: Installation, serinus: Serinus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serinus.cli.verbs.outcomes.ROWS", 2)
    (tmp_path / "labels.csv").write_text("request_id,label\na,1\nb,0\nc,1\nd,fraud\n")
    said = serinus("outcomes", "import", "labels.csv")
    assert said.code == 2
    assert "labels.csv:5: column label is not 0 or 1" in said.err
    assert (installation.log.labels, installation.log.staged) == ({}, {})
    assert [entry for entry in installation.store.audit_trail() if entry.what == "outcomes"] == []
    mapped = serinus("outcomes", "import", "labels.csv", "--label", "fraud=1")
    assert mapped.code == 0
    assert {name: label.label for name, label in installation.log.labels.items()} == {"a": 1, "b": 0, "c": 1, "d": 1}
    for wrong in ("fraud", "fraud=2", "=1"):
        assert serinus("outcomes", "import", "labels.csv", "--label", wrong).code == 2


def test_a_file_that_is_too_large_for_one_import_is_refused_whole(
    installation: Installation, serinus: Serinus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serinus.cli.verbs.outcomes.ROWS", 2)
    monkeypatch.setattr("serinus.cli.verbs.outcomes.PARTS", 3)
    (tmp_path / "labels.csv").write_text("request_id,label\n" + "".join(f"r{n},1\n" for n in range(7)))
    said = serinus("outcomes", "import", "labels.csv")
    assert said.code == 2
    assert "more outcomes than one import takes: 3 requests of up to 2" in said.err
    assert (installation.log.labels, installation.log.staged) == ({}, {})


def test_a_part_of_long_ids_is_sent_in_as_many_requests_as_the_api_takes(
    installation: Installation, serinus: Serinus, tmp_path: Path
) -> None:
    rows = [f"{n:06}{'x' * 180},{n:06}{'y' * 180},{n % 2}" for n in range(9_999)]
    (tmp_path / "labels.csv").write_text("\n".join(["prediction_id,request_id,label", *rows]))
    assert serinus("outcomes", "import", "labels.csv", "--json").json["received"] == 9_999
    assert len(installation.log.labels) == 9_999


# --- asking a model ---------------------------------------------------------------------------------------


def test_predict_asks_through_the_proxy_by_the_protocol(
    installation: Installation, proxy: Proxy, serinus: Serinus
) -> None:
    first, second = (12.5, 3, "DE", True), (3, None, "AT", False)
    row = json.dumps([dict(zip(("amount", "n", "country", "new"), one, strict=True)) for one in (first, second)])
    said = serinus("predict", "card-fraud", "--row", row, "--entity", "card-42", "--request-id", "r-1")
    assert said.code == 0
    assert said.out.splitlines()[0] == "score: 0.25, 0.25"
    assert "answered by card-fraud-6-1c04be, request r-1, prediction own-1" in said.out
    ((path, headers, body),) = proxy.asked
    assert path == "/v2/models/card-fraud/infer"
    assert (headers["x-entity-id"], headers["x-request-id"]) == ("card-42", "r-1")
    assert body["inputs"] == [
        {"name": "amount", "shape": [2], "datatype": "FP64", "data": [12.5, 3]},
        {"name": "n", "shape": [2], "datatype": "INT64", "data": [3, None]},
        {"name": "country", "shape": [2], "datatype": "BYTES", "data": ["DE", "AT"]},
        {"name": "new", "shape": [2], "datatype": "BOOL", "data": [True, False]},
    ]


def test_predict_reads_a_file_and_says_what_the_model_refused(
    installation: Installation, proxy: Proxy, serinus: Serinus, tmp_path: Path
) -> None:
    (tmp_path / "row.json").write_text('{"amount": 1}')
    said = serinus("predict", "card-fraud", "--row", "row.json", "--json")
    assert said.json["outputs"][0]["data"] == [0.25]
    assert said.json["release"] == "card-fraud-6-1c04be"
    proxy.status = 400
    refused = serinus("predict", "card-fraud", "--row", "row.json")
    assert (refused.code, refused.err) == (2, "error: 400: input 'amount' is missing\n")
    proxy.status = 404
    assert "lists the models that are served" in serinus("predict", "card-fraud", "--row", "row.json").err


@pytest.mark.parametrize("row", ["{", "[]", '[{"a": 1}, {"b": 1}]', '{"a": {}}', "missing.json", "[1]"])
def test_a_row_that_is_none_is_wrong_usage(row: str, installation: Installation, serinus: Serinus) -> None:
    assert serinus("predict", "card-fraud", "--row", row).code == 2


def test_replay_sends_a_file_and_gives_an_honest_account(
    installation: Installation, proxy: Proxy, serinus: Serinus, tmp_path: Path
) -> None:
    lines = "".join(f"{n}.5,c{n % 3},{n % 2}\n" for n in range(20))
    (tmp_path / "cards.csv").write_text("amount,card,fraud\n" + lines)
    options = ["--rate", "200", "--entity", "card", "--label", "fraud", "--outcomes", "labels.csv"]
    said = serinus("replay", "cards.csv", "--model", "card-fraud", *options, "--json")
    assert said.code == 0
    assert (said.json["sent"], said.json["answered"]) == (20, 20)
    assert all([i["name"] for i in body["inputs"]] == ["amount"] for _, _, body in proxy.asked)
    assert len((tmp_path / "labels.csv").read_text().splitlines()) == 21
    proxy.status = 500
    failed = serinus("replay", "cards.csv", "--model", "card-fraud", "--rate", "200", "--limit", "3")
    assert failed.code == 1
    assert "failed     3" in failed.out


# --- up and down ------------------------------------------------------------------------------------------


def test_up_hands_its_options_to_the_supervisor_and_prints_where_everything_is(
    serinus: Serinus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from serinus.targets.local import supervisor

    asked: list[Any] = []

    def start(home: Any, options: Any, say: Any) -> Any:
        asked.append((home.path, options))
        say("envoy answers")
        return supervisor.Addresses(
            home.path,
            "http://127.0.0.1:1",
            "http://127.0.0.1:2",
            "http://127.0.0.1:3",
            home.path / "mlflow.env",
            "http://127.0.0.1:1/login",
            limits={"memory": options.memory, "idle": options.idle} if options.memory else {},
        )

    monkeypatch.setattr(supervisor, "up", start)
    monkeypatch.setattr(supervisor, "down", lambda home, say: False)
    said = serinus("up", "--api-port", "8000", "--unconfined", "--allow-host", "serinus.example.org")
    assert said.code == 0
    assert "http://127.0.0.1:1/login\n" in said.out
    ((home, options),) = asked
    assert f"\n  . {tmp_path}/.serinus/mlflow.env\n" in said.out
    assert home == tmp_path / ".serinus"
    assert (dict(options.ports), options.unconfined) == ({"api": 8000}, True)
    assert options.allowed_hosts == ("serinus.example.org",)
    assert serinus("up", "--json").json["envoy"] == "http://127.0.0.1:2"
    assert serinus("up", "--json").json["mlflow_env"] == f"{tmp_path}/.serinus/mlflow.env"
    assert asked[1][1].unconfined is None
    assert "limits" not in said.out
    said = serinus("up", "--memory", "6GiB", "--idle", "10m", "--busiest", "0")
    assert (asked[3][1].memory, asked[3][1].idle, asked[3][1].busiest) == (6 * 2**30, 600.0, 0)
    assert "limits   memory 6GiB, idle 10m" in said.out
    assert serinus("up", "--memory", "1kB", "--json").json["limits"] == {"memory": 1000, "idle": None}
    assert serinus("down", "--json").json == {"stopped": False}


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--memory", "6G", "expected a size such as 512KiB, 1MiB or 2GiB, got '6G'; did you mean 6GiB?"),
        ("--idle", "10", "got '10'; did you mean 10s?"),
        ("--idle", "500ms", "expected at least 1s, got '500ms'"),
        ("--busiest", "-1", "greater than or equal to 0"),
    ],
)
def test_a_limit_that_is_none_is_wrong_usage(option: str, value: str, words: str, serinus: Serinus) -> None:
    said = serinus("up", option, value, "--json")
    assert said.code == 2
    error = json.loads(said.err)["error"]
    assert f"Invalid value for '{option}'" in error
    assert words in error


def test_the_help_of_up_knows_the_hosts_own_limits(serinus: Serinus) -> None:
    from serinus.targets.local.host.limits import Limits, memory_there

    own = Limits()
    text = " ".join(serinus("up", "--help").out.split())
    assert f"Default: {own.memory_bytes / memory_there():.0%} of the machine's" in text
    assert f"Default: {own.idle:g}s." in text
    assert f"Default: {own.busiest}." in text


# --- what a model wrote -----------------------------------------------------------------------------------


def test_no_verb_hands_a_models_control_characters_to_the_terminal(
    installation: Installation, serinus: Serinus
) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\r12:00 promoted: model@9 is champion\x9b"
    stopped = rollout(9, Phase.ABORTED, reason=evil, cause=Cause.LOAD, notes=(evil,))
    installation.store.create(stopped)
    busy(installation)
    installation.store.emit([Event(NOW, "card-fraud", stopped.id, "aborted", evil)])
    (installation.home.logs / f"release-{V7.id}.log").write_text(evil + "\n")
    for words in (["explain", stopped.id], ["status"], ["releases"], ["events"], ["logs", V7.id]):
        for more in ([], ["--json"]):
            said = serinus(*words, *more)
            assert said.code == 0, said
            assert not set("\x1b\x07\r\x9b") & set(said.out + said.err), words
    assert r"\x1b[2J" in serinus("explain", stopped.id).out


def test_env_prints_what_a_shell_evaluates(serinus: Serinus, tmp_path: Path) -> None:
    assert "serinus up" in serinus("env").err
    home = tmp_path / ".serinus"
    home.mkdir()
    lines = "export MLFLOW_TRACKING_URI=http://127.0.0.1:1\nexport MLFLOW_TRACKING_PASSWORD='a b'\n"
    (home / "mlflow.env").write_text(f"# Source it.\n{lines}")
    said = serinus("env")
    assert (said.code, said.out) == (0, lines)
    assert serinus("env", "--json").json == {
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
        "MLFLOW_TRACKING_PASSWORD": "a b",
    }
    assert "MLFLOW_TRACKING_TOKEN" in serinus("env", "--server", "http://127.0.0.1:1").err
