"""What lets somebody in is in no text that is stored, logged or shown, whoever wrote the text."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serinus_runtime.process.reports import report_of

from serinus.backends.sql import SqlStore
from serinus.backends.uv.words import explain
from serinus.core.errors import Unbuildable
from serinus.core.events import Event
from serinus.core.people import Access, Actor
from serinus.core.redaction import may_hold_credentials, without_credentials
from serinus.core.text import configure_logging, one_line

SECRET = "s3cr3t"
LEAKS = (
    f"https://user:{SECRET}@host.example/simple",
    f"https://{SECRET}@host.example/simple",
    f"git+https://user:{SECRET}@host.example/x@v1",
    f"git+ssh://git:{SECRET}@host.example/x",
    f"postgresql+psycopg2://user:{SECRET}@db/mlflow",
    f"https://user:pa'{SECRET}@host.example/simple",
    f"https://user:pa/{SECRET}@host.example/simple",
    f"https://user:pa#{SECRET}@host.example/simple",
    f"https://user:pa?{SECRET}@host.example/simple",
    f"https://user:{SECRET}",
    f"https://host.example/x.whl?token={SECRET}",
    f"https://host.example/x.whl#token={SECRET}",
    f"'user:{SECRET}@host.example/simple'",
    f"//user:{SECRET}@host.example/simple",
    f"UV_INDEX_MINE_PASSWORD={SECRET}",
    f"token='{SECRET}'",
    f'{{"api_key": "{SECRET}"}}',
    f"Authorization: Basic {SECRET}",
    f"'authorization': 'Bearer {SECRET}'",
)


@pytest.mark.parametrize("text", LEAKS)
def test_it_is_in_no_text_that_is_kept_or_shown(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    said = f"it failed for {text} and ended"
    error = Unbuildable(said, hint=said)
    report = report_of(json.dumps({"state": "failed", "reason": said, "notes": [said]}).encode(), one_line)
    store = SqlStore(f"sqlite:///{tmp_path}/store.db")
    now, who = datetime(2026, 1, 1, tzinfo=UTC), Actor("ada", Access.ADMIN)
    store.emit([Event(now, "fraud", "fraud-1", "created", said, {"why": [said]})])
    store.audit(who, "deploy", "fraud", said, {"spec": {"note": said}}, now)
    root, handlers, level = logging.getLogger(), logging.getLogger().handlers[:], logging.getLogger().level
    root.handlers.clear()
    try:
        configure_logging()
        logging.getLogger("test").error("%s", said, exc_info=RuntimeError(said))
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    logged = capsys.readouterr().err
    assert "it failed for" in logged
    shown = [
        str(error),
        repr(error),
        report.reason,
        *report.notes,
        str(store.events()),
        str(store.audit_trail()),
        logged,
    ]
    assert [one for one in shown if SECRET in one] == []
    assert all("and ended" in one for one in shown[2:])
    assert store.audit_broken_at() is None


@pytest.mark.parametrize(
    "line", ["Failed to fetch: `{}`", "Git operation failed\ncause: failed to clone '{}'", "odd {}"]
)
def test_it_is_in_nothing_that_is_told_of_uv(line: str) -> None:
    for text in LEAKS:
        assert SECRET not in str(explain(line.format(text)))


plain = st.text(st.characters(exclude_characters="@:/?#\"'`<>=", exclude_categories=("Z", "C")), min_size=1)
secrets = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=8, max_size=20).map("q9".__add__)
hosts = st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8}){0,2}(:[0-9]{2,4})?", fullmatch=True)
schemes = st.sampled_from(["http", "https", "git+https", "git+ssh", "s3", "postgresql+psycopg2", "FTP"])


@given(schemes, plain, secrets, hosts, plain, st.sampled_from(["{}:{}@", ":{1}@", "{1}:{0}@", "{1}@"]))
def test_whatever_the_address_its_user_is_gone_and_its_host_is_told(
    scheme: str, user: str, secret: str, host: str, path: str, form: str
) -> None:
    kept = without_credentials(f"for {scheme}://{form.format(user, secret)}{host}/{path} it ended")
    if scheme != "git+ssh" or form != "{1}@":  # whose user is everybody's
        assert secret not in kept
    assert f"{host}/{path}" in kept
    assert kept.endswith(" it ended")


@given(st.text())
def test_what_was_cleaned_is_clean(text: str) -> None:
    once = without_credentials(text)
    assert without_credentials(once) == once


words = "authorization Author\u0131zat\u0130on pa\u017fsword TO\u212aEN secret api_key accesskey passwd"
signs = ":// user : = @ a.b \" ' x \\"
pieces = st.sampled_from([*words.split(), *signs.split(), " ", "\n", "Bearer "])


@pytest.mark.parametrize("text", LEAKS)
def test_the_quick_look_sees_what_may_leak(text: str) -> None:
    assert may_hold_credentials(text)


@given(st.lists(pieces | st.text(max_size=5), max_size=8).map("".join))
def test_what_the_quick_look_passes_over_has_nothing_to_be_removed(text: str) -> None:
    if not may_hold_credentials(json.dumps(text, ensure_ascii=False)):
        assert without_credentials(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "lib @ git+ssh://git@host.example/team/lib@v1#subdirectory=x",
        "x @ https://host.example/x-1.0-py3-none-any.whl#sha256=aa",
        "http://127.0.0.1:8080/v2/models/card-fraud/infer",
        "http://[::1]:8080/page",
        "Nobody answers at http://127.0.0.1:8080. Ask https://host.example:443, or (http://[::1]:80): it is there.",
        "models:/card fraud@champion",
        "card-fraud@7: deployment asked for by ada (ada@bank.example): sso:ada@bank.example",
        "export SERINUS_TOKEN=$(cat token)",
        "--hash=sha256:0123456789abcdef",
        json.dumps({"max_tokens": 5, "note": "the token: it is unknown"}),
    ],
)
def test_what_lets_nobody_in_stays(text: str) -> None:
    assert without_credentials(text) == text


@pytest.mark.parametrize(
    "part",
    ["a", "a-", "(", "=a:", "://", "a://", "@", "a@", "://a@", "authorization", "token", " ", "token ", "/a:", "'"],
)
def test_no_text_is_looked_at_for_long(part: str) -> None:
    began = time.thread_time()
    without_credentials(f"://@=: {part * 50_000}")
    assert time.thread_time() - began < 3  # in the square of the length it would be minutes
