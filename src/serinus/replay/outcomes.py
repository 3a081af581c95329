"""Labels of replayed requests, as a file for `serinus outcomes import`."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType


class OutcomesFile:
    """Writes a file. It is called with (prediction id, request id, label) for each answered request that has a
    label."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)
        self._rows.writerow(("prediction_id", "request_id", "label", "observed_at"))

    def __call__(self, prediction_id: str, request_id: str, label: float) -> None:
        self._rows.writerow((prediction_id, request_id, label, datetime.now(UTC).isoformat()))

    def __enter__(self) -> OutcomesFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
