"""The routes of MLflow that the bundled server offers, and those of them that only read.

All other routes of MLflow are closed: an assistant that runs commands, a gateway and webhooks that send requests to
other servers, and jobs. Serinus needs runs, models and their files.
"""

from __future__ import annotations

import re

_API = r"/(?:ajax-)?api/[23]\.0/mlflow/"
_PARTS = (
    r"artifacts|datasets|experiments|get-trace-artifact|logged-models|metrics|model-versions|registered-models|runs"
    r"|server-info|traces|unified-traces"
)
_KNOWN = re.compile(
    rf"{_API}(?:{_PARTS})(?:/.*)?"
    r"|/(?:ajax-)?api/2\.0/mlflow-artifacts/.+"
    r"|/|/static-files/.+|/version|/graphql|/get-artifact|/model-versions/get-artifact|/v1/traces",
    re.DOTALL,
)
_SAFE = ("GET", "HEAD", "OPTIONS")
_READ_BY_POST = re.compile(
    rf"{_API}(?:experiments|runs|logged-models|datasets|traces)/search"
    rf"|{_API}experiments/search-datasets|{_API}registered-models/get-latest-versions"
    rf"|{_API}traces/(?:batchGetInfos|metrics|calculate-filter-correlation)"
    r"|/graphql"  # Its schema has no mutation that changes anything.
)


def is_known(path: str) -> bool:
    """Whether the server offers the route."""
    return _KNOWN.fullmatch(path) is not None


def only_reads(method: str, path: str) -> bool:
    """Whether the request changes nothing."""
    return method in _SAFE or (method == "POST" and _READ_BY_POST.fullmatch(path) is not None)
