"""The Open Inference Protocol over gRPC, by `tritonclient`, on the port where it is spoken over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy_harness import Proxy, routing
from google.protobuf import descriptor_pb2
from tritonclient.grpc import InferenceServerClient, service_pb2, service_pb2_grpc
from waiting import wait_until

from serinus.backends.envoy import grpc as calls
from serinus.core.routing import Role

CHAMPION = "fraud-1-aaaaaa"
CANARY = "fraud-2-bbbbbb"

Metadata = list[tuple[str, str]]


class Caller:
    def __init__(self, proxy: Proxy) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{proxy.port}")
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)

    def infer(self, model: str = "fraud", raw: bytes = b"", **metadata: str) -> Any:
        request = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[raw])
        return self._stub.ModelInfer(
            request, timeout=10, metadata=[(k.replace("_", "-"), v) for k, v in metadata.items()]
        )

    def headers(self, **metadata: str) -> dict[str, str]:
        headers: dict[str, str] = json.loads(self.infer(**metadata).id)
        return headers

    def failure(self, **asked: Any) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.RpcError) as caught:
            self.infer(**asked)
        return caught.value.code(), caught.value.details()

    def raw(self, method: str, message: bytes) -> bytes:
        answer: bytes = self.channel.unary_unary(calls.PREFIX + method)(message, timeout=10)
        return answer


@pytest.fixture
def caller(served: Proxy) -> Iterator[Caller]:
    caller = Caller(served)
    yield caller
    caller.channel.close()


@pytest.fixture
def asker(shared: Proxy) -> Iterator[Caller]:
    """For tests that only ask."""
    caller = Caller(shared)
    yield caller
    caller.channel.close()


@pytest.fixture
def triton(proxy: Proxy) -> Iterator[InferenceServerClient]:
    client = InferenceServerClient(f"127.0.0.1:{proxy.port}")
    yield client
    client.close()


def test_the_server_answers_for_itself_before_there_is_a_model(triton: InferenceServerClient) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.get_server_metadata().name == "serinus"


def test_a_call_goes_to_the_model_that_its_message_names(served: Proxy, caller: Caller) -> None:
    served.releases.start("other-1-cccccc")
    served.router.apply(routing(served.arm("other-1-cccccc", 10_000), model="other"))
    assert caller.infer("fraud").model_version == CHAMPION
    assert caller.infer("other").model_version == "other-1-cccccc"
    client = InferenceServerClient(f"127.0.0.1:{served.port}")
    assert client.is_model_ready("other")
    assert client.get_model_metadata("other").name == "other-1-cccccc"
    client.close()


def test_a_release_is_told_the_same_as_over_http(asker: Caller) -> None:
    told = asker.headers(x_entity_id="card-7", x_request_id="r-1", x_serinus_split="mine", x_serinus_role="mine")
    assert (told["x-serinus-split"], told["x-serinus-role"]) == ("s1", "champion")
    assert (told["x-entity-id"], told["x-request-id"]) == ("card-7", "r-1")
    assert float(told["x-serinus-start"]) > 1e9
    assert told["x-envoy-expected-rq-timeout-ms"] == "10000"


def test_a_malformed_request_id_is_replaced(asker: Caller) -> None:
    assert len(asker.headers(x_request_id="two words")["x-request-id"]) == 36


def test_an_entity_meets_the_same_release_over_both_protocols(served: Proxy, caller: Caller) -> None:
    served.releases.start(CANARY)
    served.router.apply(routing(served.arm(CHAMPION, 5_000), served.arm(CANARY, 5_000, Role.CANARY), split="s2"))
    entities = [f"card-{number}" for number in range(60)]
    sides = {entity: caller.infer(x_entity_id=entity).model_version for entity in entities}
    assert sides == served.sides(entities)
    assert set(sides.values()) == {CHAMPION, CANARY}


def test_a_release_says_itself_what_is_wrong(asker: Caller) -> None:
    assert asker.failure(x_do="object") == (grpc.StatusCode.INVALID_ARGUMENT, "input ü is not one of this model")


def test_a_retired_model_is_not_found_and_said_to_be_retired(served: Proxy, caller: Caller) -> None:
    served.router.retire("fraud")
    assert caller.failure() == (grpc.StatusCode.NOT_FOUND, "the model fraud is retired and is not served")


@pytest.mark.parametrize("model", ["frau", "fraudulent", 'fraud"]', "", "ü"])
def test_an_unknown_model_is_not_found(asker: Caller, model: str) -> None:
    assert asker.failure(model=model) == (grpc.StatusCode.NOT_FOUND, "no such model is served")


@pytest.mark.parametrize("method", ["ModelStatistics", "ServerStatistics", "ModelInferences", ""])
def test_an_unknown_method_is_unimplemented(asker: Caller, method: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        asker.raw(method, b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("message", [b"\x0a\xff", b"\xff\xff\xff", b"\x0a\x05fr"])
def test_a_message_that_is_none_is_the_callers_fault(shared: Proxy, asker: Caller, message: bytes) -> None:
    before = dict(shared.releases.served)
    with pytest.raises(grpc.RpcError) as caught:
        asker.raw("ModelInfer", message)
    assert caught.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
    assert shared.releases.served == before


def test_a_release_that_hangs_is_past_the_deadline_and_is_logged(served: Proxy, caller: Caller) -> None:
    served.router.apply(routing(served.arm(CHAMPION, 10_000), timeout_ms=150, split="s2"))
    said = "the model did not answer within its time limit"
    assert caller.failure(x_do="hang", x_request_id="r-1") == (grpc.StatusCode.DEADLINE_EXCEEDED, said)
    [line] = wait_until(served.local_answers, 2)
    assert (line["id"], line["model"], line["release"], line["split"], line["flags"]) == (
        *("r-1", "fraud", CHAMPION, "s2", "UT"),
    )


def test_a_release_that_dies_twice_over_a_call_is_unavailable(served: Proxy, caller: Caller) -> None:
    assert caller.failure(x_do="die") == (grpc.StatusCode.UNAVAILABLE, "the model is not answering")
    assert served.releases.served[CHAMPION] == 2


def test_messages_are_bounded(asker: Caller) -> None:
    size = calls.LARGEST_MESSAGE - 1_000
    assert int(asker.infer(raw=b"x" * size).outputs[0].name) > size
    code, _ = asker.failure(raw=b"x" * (calls.LARGEST_MESSAGE + 1))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_where_keys_are_required_only_their_holders_are_served(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "keys", api_keys="required").start()
    caller = Caller(proxy)
    try:
        proxy.releases.start(CHAMPION)
        proxy.router.apply(routing(proxy.arm(CHAMPION, 10_000)))
        proxy.router.admit("payments", "k1")
        assert caller.failure(x_api_key="wrong")[0] == grpc.StatusCode.UNAUTHENTICATED
        assert "k1" not in json.dumps(caller.headers(x_api_key="k1"))
        assert caller.raw("ServerLive", b"") == b"\x08\x01"
    finally:
        caller.channel.close()
        proxy.close()


def test_what_is_not_grpc_finds_nothing_on_its_paths(shared: Proxy) -> None:
    for method in ("ModelInfer", "ModelReady", "Other"):
        assert shared.client.post(calls.PREFIX + method, json={}).status_code == 404


def test_the_descriptors_are_what_protobuf_reads_in_them() -> None:
    [file] = descriptor_pb2.FileDescriptorSet.FromString(calls.descriptors()).file
    assert (file.package, file.syntax) == ("inference", "proto3")
    assert [method.name for method in file.service[0].method] == ["ModelInfer", "ModelReady", "ModelMetadata"]
    published = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    for method in file.service[0].method:
        asked = published.methods_by_name[method.name].input_type
        assert method.input_type == f".{asked.full_name}"
        assert asked.fields_by_number[1].name in ("name", "model_name")
