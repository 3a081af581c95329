"""The status page, looked at with a real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from scenes import V7, busy, troubled
from small_fleet import NOW, Installation, serving

from serinus.core.events import Event
from serinus.core.people import Access, Actor
from serinus.core.rollout import Cause, Phase

CHROMIUM = next((p for p in ("/usr/bin/chromium", shutil.which("google-chrome") or "") if p and Path(p).exists()), None)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        why = "there is no Chromium on this machine (Debian: apt-get install chromium)"
        if os.environ.get("SERINUS_TEST_BROWSER") == "required":
            pytest.fail(why)
        pytest.skip(why)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def address(installation: Installation) -> Iterator[str]:
    with serving(installation) as address:
        yield address


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """Fails the test on any error of a script, and on any request to elsewhere."""
    context = browser.new_context()
    page = context.new_page()
    errors: list[str] = []
    elsewhere: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if "Content Security Policy" in said.text else None)
    page.on("request", lambda r: None if r.url.startswith(address) else elsewhere.append(r.url))
    yield page
    context.close()
    assert errors == []
    assert elsewhere == []


def sign_in(page: Any, address: str, token: str) -> None:
    """By a link of that token's."""
    code = httpx.post(f"{address}/v1/session/links", headers={"Authorization": f"Bearer {token}"}).json()["code"]
    page.goto(f"{address}/login#code={code}")
    page.wait_for_url(f"{address}/")
    page.wait_for_selector("#processes table, #processes p")


def test_the_link_signs_in_and_leaves_no_token_in_the_address_or_in_reach_of_a_script(
    installation: Installation, page: Any, address: str
) -> None:
    token = installation.token("anna", Access.VIEW)
    page.goto(f"{address}/")
    page.wait_for_url(f"{address}/login")
    sign_in(page, address, token)
    assert page.inner_text("#who") == "anna (view)"
    page.go_back()
    assert "code=" not in page.url
    assert page.evaluate("document.cookie") == ""
    page.goto(f"{address}/")
    page.click("#leave")
    page.wait_for_url(f"{address}/login")


def test_a_wrong_token_says_so(page: Any, address: str) -> None:
    page.goto(f"{address}/login")
    page.fill("#token", "srn_wrong")
    page.press("#token", "Enter")
    page.wait_for_selector("#said:not(:empty)")
    assert "Not signed in" in page.inner_text("#said")
    assert page.url == f"{address}/login"


def test_an_empty_fleet_says_what_to_do_next(installation: Installation, page: Any, address: str) -> None:
    sign_in(page, address, installation.token())
    assert "nothing is deployed yet" in page.inner_text("#verdict")
    assert "serinus deploy MODEL@VERSION" in page.inner_text("#fleet")


def test_one_look_tells_that_all_is_well_how_far_the_canary_is_and_why_another_was_stopped(
    installation: Installation, page: Any, address: str
) -> None:
    busy(installation)
    sign_in(page, address, installation.token())
    assert page.inner_text("h1") == "All is well: 2 models are serving, 1 rollout in flight."
    flight = page.inner_text("#flight")
    assert "3,612 of at least 5,000 requests" in flight
    assert "About 1,400 more canary requests to clear." in flight
    assert "Evidence: against it 0.4 (aborts at 1,000), for it 3.2 (clears at 20)" in flight
    assert page.inner_text("#flight [aria-current=step]") == "canary 25%"
    stopped = page.inner_text("#stopped")
    assert "the judge found it worse than the champion" in stopped
    assert "errors: 37 of 2,104 canary requests against 3 of 40,201" in stopped
    assert "recall .58 against .80" in stopped


def test_who_asked_and_who_approved_are_named_with_their_owners(
    installation: Installation, page: Any, address: str
) -> None:
    busy(installation)
    flying = installation.store.rollout("card-fraud-r3")
    asked = Actor("ci", Access.DEPLOY, "127.0.0.1", "anna@bank")
    approver = Actor("laptop", Access.APPROVE, "127.0.0.1", "bert@<b>bank")
    installation.store.save(replace(flying, actor=asked, approved_by="laptop", approver=approver))
    sign_in(page, address, installation.token())
    flight = page.inner_text("#flight")
    assert "requested by ci (anna@bank)" in flight
    assert "approved by laptop (bert@<b>bank)" in flight


def test_trouble_is_the_first_thing_it_says(installation: Installation, page: Any, address: str) -> None:
    troubled(installation)
    sign_in(page, address, installation.token())
    verdict = page.inner_text("#verdict")
    assert verdict.startswith("Something is wrong: 1 model in trouble, 1 process not running.")
    assert "envoy is backing off: exited with status 1 after 0.3 s" in verdict
    assert page.title() == "(!) Serinus"


def test_what_happens_appears_by_itself_and_what_was_opened_stays_open(
    installation: Installation, page: Any, address: str
) -> None:
    busy(installation)
    sign_in(page, address, installation.token())
    page.click("#stopped summary")
    flying = installation.store.rollout("card-fraud-r3")
    status = replace(flying.status, phase=Phase.ABORTED, reason="aborted by berta", cause=Cause.OPERATOR)
    event = Event(NOW, "card-fraud", flying.id, "aborted", "card-fraud@7 was aborted by berta")
    installation.store.save(replace(flying, status=status), events=[event])
    page.wait_for_selector("#flight-section", state="hidden")
    assert "aborted by berta" in page.inner_text("#stopped")
    assert "card-fraud@7 was aborted" in page.inner_text("#events")
    assert page.locator("#stopped details[open]").count() == 1


def test_text_from_people_and_models_is_text(installation: Installation, page: Any, address: str) -> None:
    busy(installation)
    hostile = "<img src=x onerror=document.title='owned'><b>"
    flying = installation.store.rollout("card-fraud-r3")
    event = Event(NOW, hostile, None, "x", hostile)
    installation.store.save(replace(flying, why=hostile, notes=(hostile, "\u202e\u200b\x1b")), events=[event])
    installation.warnings.append(hostile)
    sign_in(page, address, installation.token())
    assert hostile in page.inner_text("#verdict")
    assert hostile in page.inner_text("#flight")
    assert page.locator("main img").count() == 0
    assert r"\u{202e}\u{200b}\u{1b}" in (page.text_content("#flight") or "")
    assert page.title() == "Serinus"


def test_the_verdict_leads_to_why_a_version_was_stopped(installation: Installation, page: Any, address: str) -> None:
    busy(installation)
    sign_in(page, address, installation.token())
    page.click("#verdict li:has-text('card-fraud 5 was aborted') a")
    assert "errors: 37 of 2,104 canary requests" in page.inner_text(":target")


@pytest.mark.parametrize("width", [360, 720, 820, 1280])
def test_no_column_is_cut(width: int, installation: Installation, page: Any, address: str) -> None:
    troubled(installation)
    page.set_viewport_size({"width": width, "height": 740})
    sign_in(page, address, installation.token())
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert (
        page.evaluate("[...document.querySelectorAll('.wide')].filter((w) => w.scrollWidth > w.clientWidth).length")
        == 0
    )


@pytest.mark.parametrize("width", [360, 820, 1280])
def test_an_identifier_is_on_one_line(width: int, installation: Installation, page: Any, address: str) -> None:
    troubled(installation)
    page.set_viewport_size({"width": width, "height": 740})
    sign_in(page, address, installation.token())
    names = page.locator("table .id, table .whole")
    assert {"card-fraud", V7.id} <= set(names.all_inner_texts())
    heights = names.evaluate_all(
        "all => all.map(one => [one.offsetHeight, parseFloat(getComputedStyle(one).lineHeight)])"
    )
    assert all(height < 1.5 * line for height, line in heights), heights


def test_older_releases_are_a_click_away(installation: Installation, page: Any, address: str) -> None:
    for number in range(45):
        installation.store.add_release(replace(V7, id=f"card-fraud-7-{number:06x}"))
    sign_in(page, address, installation.token())
    shown = page.locator("#releases tbody tr")
    older = page.get_by_role("button", name="Older releases")
    for many in (20, 40):
        page.wait_for_function("many => document.querySelectorAll('#releases tbody tr').length === many", arg=many)
        older.click()
    page.wait_for_function("() => document.querySelectorAll('#releases tbody tr').length === 45")
    assert older.count() == 0
    assert "card-fraud-7-000000" in shown.last.inner_text()


def test_it_fits_a_phone_and_is_used_by_keyboard(installation: Installation, page: Any, address: str) -> None:
    troubled(installation)
    page.set_viewport_size({"width": 360, "height": 740})
    sign_in(page, address, installation.token())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert V7.id in page.inner_text("#releases")
    assert "ready × 2" in page.inner_text("#releases")
    assert "ONNX graph" in page.inner_text("#releases")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_it_says_when_the_server_is_gone(installation: Installation, page: Any, address: str) -> None:
    sign_in(page, address, installation.token())
    page.context.set_offline(True)
    page.wait_for_selector("h1:has-text('Something is wrong')")
    assert "the API is not answering" in page.inner_text("#verdict")
