"""NVIDIA's `tritonclient`, over HTTP and gRPC, sees a server of the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
import tritonclient.http.aio
from conformance_values import same, values
from conformance_world import World
from tritonclient.utils import InferenceServerException


@pytest.fixture
def by_http(served: World) -> Iterator[tritonclient.http.InferenceServerClient]:
    with tritonclient.http.InferenceServerClient(served.address) as client:
        yield client


@pytest.fixture
def by_grpc(served: World) -> Iterator[tritonclient.grpc.InferenceServerClient]:
    with tritonclient.grpc.InferenceServerClient(served.address) as client:
        yield client


def http_inputs(binary: bool) -> list[tritonclient.http.InferInput]:
    inputs = []
    for datatype, array in values().items():
        if datatype == "FP16" and not binary:  # its client knows no JSON for it
            binary = True
        given = tritonclient.http.InferInput(datatype.lower(), list(array.shape), datatype)
        inputs.append(given.set_data_from_numpy(array, binary_data=binary))
    return inputs


def test_http_health_and_metadata_are_understood(by_http: tritonclient.http.InferenceServerClient) -> None:
    assert by_http.is_server_live()
    assert by_http.is_server_ready()
    assert by_http.is_model_ready("echo")
    assert by_http.is_model_ready("echo", "1")
    assert not by_http.is_model_ready("echo", "2")
    assert not by_http.is_model_ready("other")
    metadata = by_http.get_model_metadata("echo")
    assert metadata["name"] == "echo"
    assert {entry["name"]: entry["datatype"] for entry in metadata["inputs"]} == {
        datatype.lower(): datatype for datatype in values()
    }


@pytest.mark.parametrize("sent_binary", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize("answered_binary", [True, False], ids=["binary", "json"])
def test_http_returns_every_datatype_as_it_was_sent(
    by_http: tritonclient.http.InferenceServerClient, sent_binary: bool, answered_binary: bool
) -> None:
    wanted = [
        tritonclient.http.InferRequestedOutput(datatype.lower(), binary_data=answered_binary) for datatype in values()
    ]
    result = by_http.infer("echo", http_inputs(sent_binary), outputs=wanted, request_id="mine")
    assert result.get_response()["id"] == "mine"
    for datatype, array in values().items():
        described = result.get_output(datatype.lower())
        assert (described["datatype"], described["shape"]) == (datatype, [2, 2])
        assert ("parameters" in described) == answered_binary
        assert same(array, result.as_numpy(datatype.lower())), datatype


def test_http_answers_in_binary_where_nothing_is_said_of_outputs(
    by_http: tritonclient.http.InferenceServerClient,
) -> None:
    result = by_http.infer("echo", http_inputs(True))
    assert all("binary_data_size" in output["parameters"] for output in result.get_response()["outputs"])
    for datatype, array in values().items():
        assert same(array, result.as_numpy(datatype.lower())), datatype


def test_the_asyncio_client_is_answered_too(served: World) -> None:
    async def call() -> None:
        async with tritonclient.http.aio.InferenceServerClient(served.address) as client:
            assert await client.is_server_live()
            given = [tritonclient.http.InferInput(name, [1], "FP64") for name in ("a", "b")]
            for entry in given:
                entry.set_data_from_numpy(np.array([1.5]), binary_data=False)
            result = await client.infer("adds", given)
            assert result.as_numpy("output-0").tolist() == [3.0]

    asyncio.run(call())


def test_http_callers_are_told_their_mistake(by_http: tritonclient.http.InferenceServerClient) -> None:
    wrong = tritonclient.http.InferInput("a", [1], "FP64").set_data_from_numpy(np.array([1.5]))
    with pytest.raises(InferenceServerException, match="column 'b' takes double: it is required"):
        by_http.infer("adds", [wrong])


# --- gRPC


def test_grpc_health_and_metadata_are_understood(by_grpc: tritonclient.grpc.InferenceServerClient) -> None:
    assert by_grpc.is_server_live()
    assert by_grpc.is_server_ready()
    assert by_grpc.is_model_ready("echo")
    assert by_grpc.is_model_ready("adds", "1")
    metadata = by_grpc.get_model_metadata("echo")
    assert {entry.name: entry.datatype for entry in metadata.inputs} == {
        datatype.lower(): datatype for datatype in values()
    }


def test_grpc_returns_every_datatype_as_it_was_sent(by_grpc: tritonclient.grpc.InferenceServerClient) -> None:
    inputs = []
    for datatype, array in values().items():
        given = tritonclient.grpc.InferInput(datatype.lower(), list(array.shape), datatype)
        inputs.append(given.set_data_from_numpy(array))
    result = by_grpc.infer("echo", inputs, request_id="mine")
    assert result.get_response().id == "mine"
    for datatype, array in values().items():
        assert same(array, result.as_numpy(datatype.lower())), datatype
    wanted = [tritonclient.grpc.InferRequestedOutput("fp64")]
    assert [output.name for output in by_grpc.infer("echo", inputs, outputs=wanted).get_response().outputs] == ["fp64"]


def test_grpc_callers_are_told_their_mistake(by_grpc: tritonclient.grpc.InferenceServerClient) -> None:
    wrong = tritonclient.grpc.InferInput("a", [1], "FP64").set_data_from_numpy(np.array([1.5]))
    with pytest.raises(InferenceServerException, match="column 'b' takes double: it is required") as raised:
        by_grpc.infer("adds", [wrong])
    assert raised.value.status() == "StatusCode.INVALID_ARGUMENT"
    # The connection goes on.
    other = tritonclient.grpc.InferInput("b", [1], "FP64").set_data_from_numpy(np.array([2.0]))
    assert by_grpc.infer("adds", [wrong, other]).as_numpy("output-0").tolist() == [3.5]
