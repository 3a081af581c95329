"""Schemathesis finds nothing in what a worker answers that `docs/openapi/open-inference.yaml` does not say.

Values that fit the document may still not fit the model, so a 400 is no finding; nor is it that a header or member
which the protocol passes over is passed over. The worker is asked without Envoy, which has answers of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import yaml
from conformance_world import World
from hypothesis import HealthCheck, settings
from schemathesis import checks

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi" / "open-inference.yaml"


def document() -> Any:
    """For the model `adds`, so that most requests find one."""
    content = yaml.safe_load(DOCUMENT.read_text())
    parameters = content["components"]["parameters"]
    parameters["model"]["schema"]["enum"] = ["adds"]
    parameters["version"]["schema"]["enum"] = ["1"]
    return content


schema = schemathesis.openapi.from_dict(document())


@pytest.mark.long
@schema.parametrize()
@settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_document_describes(case: schemathesis.Case, served: World) -> None:
    case.call_and_validate(
        base_url=f"http://127.0.0.1:{served.direct}",
        excluded_checks=[checks.positive_data_acceptance, checks.negative_data_rejection],
    )


@pytest.mark.long
def test_every_path_of_the_document_answers(served: World) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{served.direct}") as client:
        for path, operations in document()["paths"].items():
            if "get" in operations:
                filled = path.replace("{model}", "adds").replace("{version}", "1")
                assert client.get(filled).status_code == 200, filled
