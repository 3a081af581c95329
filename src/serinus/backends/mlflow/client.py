"""MLflow's client library and its errors. It is imported on first use, because that takes a second and 100 MB."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from serinus.core.errors import InvalidInput, NotFound, SerinusError, Unavailable
from serinus.core.redaction import shown, without_credentials

_SETTINGS = {
    # MLflow's defaults, 120 s with 7 retries, would block the engine for minutes. Values that are set are respected.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
_OK = 200


def connect(uri: str) -> Any:
    """Returns an `mlflow.MlflowClient` for `uri`. MLflow's global tracking URI is neither read nor changed."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def asked(uri: str, endpoint: str, **parameters: str | int) -> bytes:
    """Returns the response of the server to a GET of its REST API, which is not parsed: MLflow's client takes a
    hundred times as long as necessary.

    Settings and credentials are those of the client. It must be called after `connect`.
    """
    from mlflow.utils import credentials, rest_utils

    request: Any = rest_utils.http_request
    own: Any = credentials.get_default_host_creds
    path = f"/api/2.0/mlflow/{endpoint}"
    response = request(own(uri), path, "GET", params=parameters)
    if response.status_code != _OK:  # The caller's parser rejects a body that MLflow did not write.
        rest_utils.verify_rest_response(response, path)
    content: bytes = response.content
    return content


def download(uri: str, artifact_uri: str, into: str) -> str:
    """Downloads the file or directory at `artifact_uri` below `into`, and returns its path."""
    from mlflow.artifacts import download_artifacts

    return str(download_artifacts(artifact_uri=artifact_uri, dst_path=into, tracking_uri=uri, registry_uri=uri))


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """A context manager that turns errors of MLflow and of the network into NotFound, InvalidInput or Unavailable."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    try:
        yield
    except MlflowException as error:
        raise _meaning(error.error_code, str(error), uri) from error
    except RequestException as error:
        raise _meaning("", str(error), uri) from error
    except (SerinusError, OSError):
        raise
    except Exception as error:  # Raised where the response is not one of MLflow.
        # It is not temporary, because a version itself may have caused it.
        raise InvalidInput(
            f"The MLflow registry at {shown(uri)} gave an answer that is not MLflow's ({type(error).__name__}).",
            hint="Check whether another program listens at that address, or log the model again.",
        ) from error


def disk_full() -> Unavailable:
    """Returns the error for a full disk."""
    return Unavailable(
        "The disk that holds the model files is full: nothing half-downloaded was kept.",
        hint="Free some space; serving goes on meanwhile.",
        delay=30,
    )


def _meaning(code: str, words: str, uri: str) -> SerinusError:
    where = f"The MLflow registry at {shown(uri)}"
    if "No space left on device" in words:
        return disk_full()
    if code == "RESOURCE_DOES_NOT_EXIST":
        return NotFound(_first_sentence(words))
    if code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST") or words.startswith("Not a proper "):
        # The client reports a source that is not a URL with the code of a server error.
        return InvalidInput(f"{where} refuses this: {_first_sentence(words)}")
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED"):
        return Unavailable(
            f"{where} denies access to Serinus.",
            hint="Set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD, where Serinus is started, or "
            "name a file that holds them: `serinus up --mlflow-credentials FILE`.",
            delay=30,
        )
    return Unavailable(
        f"{where} does not answer ({_reason(words)}).",
        hint="Serving goes on. New versions wait until it answers again.",
    )


def _reason(words: str) -> str:
    if re.search(r"timed? ?out", words, re.IGNORECASE):
        return "no answer in time; MLFLOW_HTTP_REQUEST_TIMEOUT sets how long that is"
    for known in ("Connection refused", "Name or service not known", "Connection reset", "Max retries exceeded"):
        if known in words:
            return known.lower()
    return _first_sentence(words)


def _first_sentence(words: str) -> str:
    first = words.strip().splitlines()[0] if words.strip() else "no reason given"
    return without_credentials(re.sub(r"^[A-Z_]+: ", "", first))[:200].rstrip(".")
