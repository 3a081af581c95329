"""MLflow's own client of its scoring server."""

from __future__ import annotations

import pandas as pd
import pytest
from conformance_world import World
from mlflow.pyfunc.scoring_server.client import ScoringServerClient


@pytest.fixture
def client(served: World) -> ScoringServerClient:
    client = ScoringServerClient("127.0.0.1", served.port)
    # It knows no paths: MLflow serves one model a port.
    client.url_prefix += "/models/adds"
    return client


def test_it_pings_and_predicts_a_dataframe(client: ScoringServerClient) -> None:
    client.ping()
    answer = client.invoke(pd.DataFrame({"a": [1.5, 2.0], "b": [1.0, 0.5]}))
    assert answer.get_predictions().iloc[:, 0].tolist() == [2.5, 2.5]


def test_it_is_told_a_callers_mistake(client: ScoringServerClient) -> None:
    with pytest.raises(Exception, match=r"error code 400.*column 'b' takes double"):
        client.invoke(pd.DataFrame({"a": [1.5]}))
