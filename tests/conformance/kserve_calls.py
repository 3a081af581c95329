"""Run in an environment of its own: KServe's clients, `rest|grpc <address>`. Prints what they made of the answers."""

from __future__ import annotations

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, InferResponse
from kserve.inference_client import RESTConfig

VALUES = {
    "BOOL": np.array([[True, False], [False, True]]),
    **{
        f"{sign}INT{bits}": np.array(
            [[np.iinfo(f"{sign.lower()}int{bits}").min, np.iinfo(f"{sign.lower()}int{bits}").max], [0, 1]],
            dtype=f"{sign.lower()}int{bits}",
        )
        for sign in ("", "U")
        for bits in (8, 16, 32, 64)
    },
    "FP16": np.array([[0.5, -1.25], [65504.0, 6e-5]], dtype="float16"),
    "FP32": np.array([[0.5, -1.25], [65504.0, 6e-5]], dtype="float32"),
    "FP64": np.array([[0.5, -1.25], [65504.0, 6e-5]]),
    "BYTES": np.array([["", "FR"], ["é", "abc"]], dtype=object),
}


HALF = "FP16"
"""Neither typed contents nor, with this client, JSON hold it: so `most`, which takes the others, is asked in these."""


def request(binary: bool) -> InferRequest:
    inputs = []
    for datatype, array in VALUES.items():
        if binary or datatype != HALF:
            given = InferInput(datatype.lower(), list(array.shape), datatype)
            given.set_data_from_numpy(array, binary_data=binary)
            inputs.append(given)
    return InferRequest(model_name="echo" if binary else "most", infer_inputs=inputs, request_id="mine")


def differences(response: InferResponse) -> list[str]:
    """Names of the outputs that are not what was sent."""
    outputs = {output.name: output for output in response.outputs}
    return [
        datatype
        for datatype, array in VALUES.items()
        if (datatype != HALF or response.model_name == "echo")
        and not np.array_equal(plain(array), plain(outputs[datatype.lower()].as_numpy()))
    ]


def plain(array: np.ndarray) -> np.ndarray:
    """Strings may come as bytes."""
    if array.dtype != object:
        return array
    texts = [value.decode() if isinstance(value, bytes) else value for value in array.reshape(-1)]
    return np.array(texts, dtype=object).reshape(array.shape)


async def rest(address: str) -> dict[str, object]:
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=20))
    base = f"http://{address}"
    found: dict[str, object] = {
        "live": await client.is_server_live(base),
        "ready": await client.is_server_ready(base),
        "model": await client.is_model_ready(base, "echo"),
    }
    for encoding, binary in (("json", False), ("binary", True)):
        asked = request(binary)
        answer = await client.infer(base, asked, model_name=asked.model_name)
        found[encoding] = [answer.id, differences(answer)]
    return found


async def grpc(address: str) -> dict[str, object]:
    client = InferenceGRPCClient(address)
    found: dict[str, object] = {
        "live": await client.is_server_live(),
        "ready": await client.is_server_ready(),
        "model": await client.is_model_ready("echo"),
    }
    for encoding, binary in (("typed", False), ("raw", True)):
        answer = await client.infer(request(binary))
        found[encoding] = [answer.id, differences(answer)]
    await client.close()
    return found


protocol, where = sys.argv[1:]
print(json.dumps(asyncio.run({"rest": rest, "grpc": grpc}[protocol](where))))
