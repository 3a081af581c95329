"""Replays requests from a file or a prediction log at a fixed rate, and reports the results.

    source = open_source(Path("cards.parquet"), entity="card", label="is_fraud")
    report = run(source, "http://127.0.0.1:8080", "card-fraud", rate=2000)      # until the end, or Ctrl-C
    print(report.text())

    run(source, url, model, *, rate, connections=32, limit=None, passes=1, protocol="oip"|"invocations",
        api_key=None, entity_header="x-entity-id", fresh_entities=False, prefix=None, timeout=5.0,
        on_progress=None, outcomes=None) -> Report
    await replay(source, url, model, *, ..., stop=asyncio.Event()) -> Report

It is an **open loop**: the n-th request is due n / rate seconds after the start, whatever the answers do, and its
latency counts from that time. A server that stalls therefore gets the requests that arrive in the meantime as well. The
delay of the generator itself is measured separately, as lag.

The request id is `<prefix>-<row>-<pass>` (or `<prefix>-<id>-<pass>` with an id column), so that an outcome can be
attached later. Each replay has its own prefix, which the report names, so that two replays of one file have no request
id in common. `with OutcomesFile(path) as outcomes: run(..., outcomes=outcomes)` writes a file for `serinus outcomes
import`, with the requests that were answered. Raises InvalidInput.
"""

from serinus.replay.outcomes import OutcomesFile
from serinus.replay.replaying import replay, run
from serinus.replay.report import Report
from serinus.replay.sources import Chunk, FileSource, LogSource, Source, open_source

__all__ = ["Chunk", "FileSource", "LogSource", "OutcomesFile", "Report", "Source", "open_source", "replay", "run"]
