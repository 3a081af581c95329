"""Which of MLflow's routes the bundled server has, and which of them only read.

Everything else that an MLflow server brings stays closed: an assistant that runs commands, a gateway and webhooks that
make the server call others, jobs. Serinus needs runs, models and their files.
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
    r"|/graphql"  # whose schema has no mutation that changes anything
)


def is_known(path: str) -> bool:
    return _KNOWN.fullmatch(path) is not None


def only_reads(method: str, path: str) -> bool:
    return method in _SAFE or (method == "POST" and _READ_BY_POST.fullmatch(path) is not None)
