"""Replays requests from a file or a prediction log at a fixed rate, and says honestly how it went.

    source = open_source(Path("cards.parquet"), entity="card", label="is_fraud")
    report = run(source, "http://127.0.0.1:8080", "card-fraud", rate=2000)      # until the end, or Ctrl-C
    print(report.text())

    run(source, url, model, *, rate, connections=32, limit=None, passes=1, protocol="oip"|"invocations",
        api_key=None, entity_header="x-entity-id", fresh_entities=False, prefix=None, timeout=5.0,
        on_progress=None, outcomes=None) -> Report
    await replay(source, url, model, *, ..., stop=asyncio.Event()) -> Report

An **open loop**: the n-th request is due n / rate seconds after the start, whatever the answers do, and its latency
counts from then. A server that stalls is not spared the requests that would have come meanwhile. How late the
generator itself was is measured apart, as lag.

The request id is `<prefix>-<row>-<pass>` (or `<prefix>-<id>-<pass>` with an id column), so that a later outcome can
be attached by it. Each replay has a prefix of its own, which its report tells, so that two replays of one file share no
request id: `with OutcomesFile(path) as outcomes: run(..., outcomes=outcomes)` writes what
`serinus outcomes import` reads, for the requests that were answered. Errors: InvalidInput.
"""

from serinus.replay.outcomes import OutcomesFile
from serinus.replay.replaying import replay, run
from serinus.replay.report import Report
from serinus.replay.sources import Chunk, FileSource, LogSource, Source, open_source

__all__ = ["Chunk", "FileSource", "LogSource", "OutcomesFile", "Report", "Source", "open_source", "replay", "run"]
