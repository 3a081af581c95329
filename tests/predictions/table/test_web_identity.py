"""A bucket that is opened with the token of a service account, as in a pod: a token service gives a key for it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest
from identities import Authority
from object_stores import BUCKET, KEY, SECRET, ObjectStore
from servers import ServerThread

from serinus.core.errors import Unavailable
from serinus.predictions.queries.rows import TableRows
from serinus.predictions.table.delta import COLUMNS, PredictionTable
from serinus.predictions.table.places import place_at

TOKEN = "token-that-nobody-may-see"
ANSWER = f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{KEY}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>
<SessionToken></SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""
"""The server of the tests knows no tokens of sessions, so there is none."""


@pytest.fixture
def asked(
    object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[ThreadingHTTPServer, list[str]]]:
    """The token service, with what it was asked."""
    found: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.append(self.path)
            self.send_response(200)
            self.send_header("content-length", str(len(ANSWER)))
            self.end_headers()
            self.wfile.write(ANSWER.encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    authority = Authority()
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(*authority.issue().written(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = served.wrap_socket(server.socket, server_side=True)
    (tmp_path / "token").write_text(TOKEN)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
        "AWS_ROLE_ARN": "arn:aws:iam::1:role/serinus",
        "AWS_ENDPOINT_URL_STS": f"https://localhost:{server.server_address[1]}",
        "SSL_CERT_FILE": authority.written(tmp_path / "authority.pem"),
        "NO_PROXY": "127.0.0.1,localhost",
    }.items():
        monkeypatch.setenv(name, value)
    with ServerThread(server):
        yield server, found


def test_writers_and_readers_use_it(asked: tuple[ThreadingHTTPServer, list[str]]) -> None:
    place = place_at(f"s3://{BUCKET}/web-identity")
    one = pl.DataFrame({"model": ["m"], "request_id": ["r"], "rows": [1]})
    lacking = [pl.lit(None).alias(name) for name in COLUMNS if name not in one.columns]
    frame = one.with_columns(lacking).select(*COLUMNS).cast(dict(COLUMNS))  # type: ignore[arg-type]
    frame = frame.with_columns(time=pl.datetime(2026, 3, 1, time_zone="UTC"), day=pl.date(2026, 3, 1))
    PredictionTable(place, "w").append(frame, 1)
    [found] = TableRows(place).rows("m", ("request_id",))
    assert pl.DataFrame(found)["request_id"].to_list() == ["r"]
    assert all(f"WebIdentityToken={TOKEN}" in path for path in asked[1])
    assert asked[1]


def test_the_token_is_not_in_what_is_told_where_the_service_is_away(
    asked: tuple[ThreadingHTTPServer, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serinus.predictions.table.buckets._CLIENT", {"max_retries": "0"})
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "https://localhost:9")
    with pytest.raises(Unavailable, match="does not answer") as told:
        PredictionTable(place_at(f"s3://{BUCKET}/web-identity-away"))
    assert TOKEN not in str(told.value)
    assert told.value.__suppress_context__
