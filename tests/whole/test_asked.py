"""Nothing goes live that was never asked: real models without an example, through a real router, before any traffic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mlflow
import pytest
import xgboost
from whole_load import wait_until
from whole_serinus import Serinus

pytestmark = [pytest.mark.long, pytest.mark.timeout(280)]

TYPED = "model: {model}\ngates: {{evaluation: null, golden: null, latency_p99: 5s}}\nserving: {{timeout: 5s{more}}}\n"


def gate(ended: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    [found] = [result for result in ended["gates"] if result["gate"] == name]
    return found


def test_a_booster_without_signature_and_example_is_asked_by_every_protocol_before_traffic(
    serinus: Serinus, requirements: Callable[..., list[str]], transactions: Callable[..., Any]
) -> None:
    frame, label = transactions(500)
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(frame, label=label), num_boost_round=3)
    logged = mlflow.xgboost.log_model(
        booster, name="model", registered_model_name="booster", pip_requirements=requirements("xgboost-cpu")
    )
    spec = TYPED.format(model="booster", more="")
    ended = serinus.deployed(f"booster@{logged.registered_model_version}", text=spec)
    assert ended["status"]["phase"] == "promoted", ended["status"]
    asked = gate(ended, "asked")
    assert asked["outcome"] == "pass", asked
    assert "the columns that it was fitted with (feature_names)" in asked["summary"]
    assert [check["protocol"] for check in asked["evidence"]["protocols"] if not check["unasked"]] == [
        "open-inference",
        "grpc",
        "invocations",
    ]
    assert "not warmed up" in gate(ended, "load")["summary"]
    # What the gates asked is nobody's traffic.
    release = ended["candidate"]["id"]
    totals = serinus.api.get("/v1/status").json()["totals"]
    assert [one for one in totals if one["release"] == release and one["requests"]] == []
    # What became of it stands at the version in MLflow.
    version = logged.registered_model_version
    tags = wait_until(
        lambda: (
            found
            if (found := serinus.mlflow.get_model_version("booster", version).tags).get("serinus.state") == "champion"
            else None
        ),
        30,
        "the tags of the version",
    )
    assert (tags["serinus.rollout"], tags["serinus.release"]) == (ended["id"], release)
    assert tags["serinus.link"].endswith(f"/#{ended['id']}")


@pytest.mark.parametrize("signature", [True, False])
def test_a_model_that_raises_on_everything_never_goes_live(
    serinus: Serinus, register_code: Callable[..., str], signature: bool
) -> None:
    model = f"raises-{'typed' if signature else 'untyped'}"
    version = register_code("raises", signature=signature, example=False, model=model)
    ended = serinus.deployed(f"{model}@{version}")
    assert (ended["status"]["phase"], ended["status"]["cause"]) == ("aborted", "gate")
    assert "gate asked could not decide: The model could not be asked" in ended["status"]["reason"]
    assert "gates.accept: [unasked]" in ended["status"]["reason"]
    assert serinus.infer(model, [{"amount": 1.0, "hour": 2.0}]).status_code == 404


def test_one_answer_to_all_rows_is_refused_until_the_spec_says_that_they_belong_together(
    serinus: Serinus, register_code: Callable[..., str]
) -> None:
    version = register_code("window", example=False)
    ended = serinus.deployed(f"window@{version}", text=TYPED.format(model="window", more=""))
    assert (ended["status"]["phase"], gate(ended, "asked")["outcome"]) == ("aborted", "fail")
    assert "serving.rows: together" in gate(ended, "asked")["summary"] + ended["status"]["reason"]
    ended = serinus.deployed(f"window@{version}", text=TYPED.format(model="window", more=", rows: together"))
    assert ended["status"]["phase"] == "promoted", ended["status"]
    answer = serinus.infer("window", [{"amount": 1.0, "hour": 2.0}, {"amount": 3.0, "hour": 2.0}])
    assert (answer.status_code, answer.json()) == (200, {"predictions": [2.0]})
