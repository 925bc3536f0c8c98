"""The console as people use it: a real browser, a real service, a real Redis."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from service.experiments import keys
from service.settings import Settings
from tests.service.console.conftest import CONFIGURATION, EVIL, TOKEN, Look, looking
from tests.service.console.sample import LOOKS, SENTENCE, health, readout

PAGES = ("/console", "/console/experiments/dtn-vs-ple", "/console/try?user_id=u1&items=i1", "/console/configuration",
         "/console/models")  # fmt: skip
ACCESSIBILITY = (Path(__file__).parent / "accessibility.js").read_text()


@pytest.fixture(scope="module")
def look(browser: Any, address: str) -> Iterator[Look]:
    """A page on a desk, for all who leave it as they found it."""
    with looking(browser, address) as look:
        yield look


def refresh(look: Look) -> None:
    """What the page does every few seconds, now."""
    look.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_without_a_script_every_number_is_on_the_page(browser: Any, address: str, stored: Redis) -> None:
    stored.hset(keys.health("twinscore"), "test:1", json.dumps(health(time.time())))
    with looking(browser, address, java_script_enabled=False) as look:
        page = look.page
        page.goto(f"{address}/console")
        first = page.locator("article").first
        text = first.inner_text()
        assert text.index(SENTENCE) < text.index("Sample ratio fits") < text.index("50,214")
        assert first.locator("tbody tr").first.inner_text().split("\t")[:4] == [
            "ple control",
            "ple",
            "50\u202f%",
            "50,214",
        ]
        assert "4,210" in text
        assert "dtn-vs-ple 6,000 slots, 0 to 6,000" in page.inner_text("main")
        assert "Killed its users meet the default model" in page.locator("article").nth(1).inner_text()
        first.get_by_role("link", name="dtn-vs-ple").click()
        text = page.inner_text("main")
        for expected in (
            "p = 0.28", "451,926", "3.86\u202f%", "3.80\u202f% to 3.92\u202f%", "+1.80\u202f% to +6.20\u202f%",
            "clear of 0", "breached", "open", "97 2.32\u202f%", "12 exposures were dropped", "Shadow of ple: mmoe@3",
        ):  # fmt: skip
            assert expected in text
        assert page.locator("#numbers-1 tbody tr").count() == LOOKS
        assert not page.get_by_text("fixed 6.", exact=False).first.is_visible()
        assert page.locator("svg .boundary").count() == 3  # above, below, and in the legend


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1280, "light"),
        (360, "dark"),
        pytest.param(1280, "dark", marks=pytest.mark.slow),
        pytest.param(360, "light", marks=pytest.mark.slow),
    ],
)
def test_every_page_can_be_read_by_anybody(browser: Any, address: str, width: int, scheme: str) -> None:
    with looking(browser, address, width, scheme) as look:
        for path in PAGES:
            look.page.goto(address + path)
            assert look.page.evaluate(ACCESSIBILITY) == [], path
            assert look.page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert look.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is (scheme == "dark")


def test_the_keyboard_reaches_everything_and_shows_where_it_is(look: Look) -> None:
    page = look.page
    page.goto(f"{look.address}/console/experiments/dtn-vs-ple")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name, width = page.evaluate(
            "() => { const e = document.activeElement; return [e.id || e.ariaLabel || e.textContent.trim(), "
            "parseFloat(getComputedStyle(e).outlineWidth)] }"
        )
        assert width >= 2, name
        reached.append(name)
        if name == "show-fixed":
            page.keyboard.press("Space")
        if name == "pause":
            break
    assert {"show-fixed", "Metrics of the arms", "Numbers of this chart", "Health of the arms", "pause"} <= set(reached)
    assert page.get_by_text("fixed 3.83", exact=False).is_visible()


def test_it_refreshes_itself_and_leaves_focus_and_open_parts_alone(look: Look, stored: Redis) -> None:
    page = look.page
    page.goto(f"{look.address}/console/experiments/dtn-vs-ple")
    page.locator("#numbers-1 summary").click()
    page.locator("#numbers-1 summary").focus()
    page.evaluate("scrollTo(0, 900)")
    changed = readout(alarm=True)
    changed.warnings = [EVIL]
    stored.set(keys.readout("twinscore", "dtn-vs-ple"), changed.model_dump_json())
    try:
        refresh(look)
        page.get_by_text("Sample ratio is off").wait_for()
        text = page.inner_text("#summary")
        assert "p < 0.0001: scene=search: p = 0.0004" in text
        assert "No verdict: the arms do not have the users that they should." in text
        assert EVIL in text
        assert page.evaluate("document.activeElement.parentElement.id") == "numbers-1"
        assert page.evaluate("document.getElementById('numbers-1').open") is True
        assert abs(page.evaluate("scrollY") - 900) < 120  # the warning is a line, and moves what is below
    finally:
        stored.set(keys.readout("twinscore", "dtn-vs-ple"), readout().model_dump_json())


def test_a_service_that_is_down_and_a_readout_that_is_old_are_said(look: Look, stored: Redis) -> None:
    page = look.page
    old = readout(as_of=datetime.fromtimestamp(time.time() - 7200, UTC))
    stored.set(keys.readout("twinscore", "dtn-vs-ple"), old.model_dump_json())
    try:
        page.goto(f"{look.address}/console")
        assert "2.0\u202fh ago: old; is python -m service outcomes running?" in page.inner_text("main")
        page.route("**/console", lambda route: route.abort())
        refresh(look)
        page.get_by_text("The service does not answer.").wait_for()
        assert SENTENCE in page.inner_text("main")  # what was known stays
        assert page.inner_text("#service") == "No answer"
        page.unroute("**/console")
        refresh(look)
        page.locator("#connection").wait_for(state="hidden")
        assert "Ready" in page.inner_text("#service")
    finally:
        page.unroute_all()
        look.complaints[:] = [each for each in look.complaints if "ERR_FAILED" not in each]
        stored.set(keys.readout("twinscore", "dtn-vs-ple"), readout().model_dump_json())


def test_try_it_explains_and_scores_and_leaves_no_trace(look: Look, settings: Settings) -> None:
    page = look.page
    page.goto(f"{look.address}/console/try")
    page.get_by_label("User id").fill(EVIL)
    page.get_by_label("Item ids").fill("i1\ni2, i3")
    page.get_by_label("Context").fill('{"scene": ')
    page.get_by_role("button", name="Explain and score").press("Enter")
    page.locator("#context-error").wait_for()
    assert "The context is not JSON" in page.inner_text("#context-error")
    assert page.evaluate("document.activeElement.id") == "context"
    page.get_by_label("Context").fill('{"scene": "home"}')
    page.get_by_label("User id").press("Enter")
    page.get_by_role("heading", name="Scores").wait_for()
    answer = page.inner_text("#answer")
    assert f"{EVIL} meets arm dtn of dtn-vs-ple." in answer
    assert f"murmur3 of 'ranking:{EVIL}'" in answer
    assert page.locator("#answer tbody tr").count() == 3
    page.get_by_label("Arm").select_option("ple")
    page.get_by_role("button", name="Explain and score").click()
    page.get_by_text("The arm was chosen by hand").wait_for()
    assert "By ple" in page.inner_text("#answer")
    assert "twinscore_candidates_total 0.0" in httpx.get(f"{look.address}/metrics").text
    httpx.post(f"{look.address}/score", json={"user": {"id": "u3"}, "item_ids": ["i1"]})
    assert _logged_users(settings) == ["u3"]  # that of the real request, and none before it


def test_the_editor_checks_then_applies_and_rolls_back(browser: Any, address: str) -> None:
    with looking(browser, address) as look:
        page = look.page
        page.goto(f"{address}/console/configuration")
        assert page.get_by_label("Text of version 7").input_value() == CONFIGURATION
        text = page.locator("#text")
        bad = CONFIGURATION.replace("name: dtn, model: dtn, weight: 5000", "name: dtn, model: dtn, weight: 50")
        text.fill(bad)
        page.get_by_role("button", name="Check").click()
        page.get_by_text("Line 10: the weights of 'dtn-vs-ple' sum to 5050").wait_for()
        assert page.inner_text("#gutter .wrong").strip() == "10"
        selected = "element => element.value.slice(element.selectionStart, element.selectionEnd)"
        assert text.evaluate(selected) == "        arms:"
        look.complaints.clear()  # the browser notes the 422
        text.fill(CONFIGURATION.replace("[[0, 6000]]", "[[0, 5000]]"))
        page.get_by_role("button", name="Check").click()
        page.locator("#checked").wait_for()
        said = page.inner_text("#changes")
        assert "experiment 'dtn-vs-ple': 16.7" in said
        assert "of its enrolled users would change arm or fall out" in said
        assert "write 8" in said
        assert page.get_by_role("button", name="Apply").is_disabled()
        new = CONFIGURATION.replace("version: 7", "version: 8").replace("[6000, 8000]", "[6000, 9000]")
        text.fill(new)
        page.get_by_role("button", name="Check").click()
        page.get_by_text("may become version 8").wait_for()
        assert "older-model: no enrolled user is moved" in page.inner_text("#changes")
        assert "+        slots: [[6000, 9000]]" in page.inner_text("#diff")
        page.get_by_label("Admin token").fill("guess")
        page.get_by_role("button", name="Apply").click()
        page.get_by_text("Not applied. this is not the token").wait_for()
        look.complaints.clear()  # and the 403
        page.get_by_label("Admin token").fill(TOKEN)
        page.get_by_label("Your name").fill("Zoë")
        page.get_by_label("Why").fill(EVIL)
        page.get_by_role("button", name="Apply").click()
        page.get_by_text("Version 8 was applied").wait_for()
        # it is said first, then the list is drawn anew: the old card is "in force" until then
        page.locator("article.version", has_text="Version 8").get_by_text("in force").wait_for()
        card = page.locator("article.version").first
        assert "Version 8" in card.inner_text()
        assert "Zoë" in card.inner_text()
        assert EVIL in card.inner_text()
        assert httpx.get(f"{address}/experiments").json()["version"] == 8
        _only_in_the_session(page)
        page.get_by_role("button", name="Roll back to 7").click()
        page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
        page.get_by_text("Rolled back to version 7, which is now version 9.").wait_for()
        page.get_by_text("Version 9 is in force now; your text began as version 8.").wait_for()
        assert text.input_value() == new  # what somebody writes is not taken away
        page.get_by_role("button", name="Take the live text").click()
        assert text.input_value() == CONFIGURATION.replace("version: 7", "version: 9")


def _logged_users(settings: Settings) -> list[str]:
    """Of all exposures, once there is one."""
    folder, deadline = Path(settings.log.removeprefix("file:")), time.monotonic() + 10
    while not (lines := [line for file in folder.glob("*") for line in file.read_text().splitlines()]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return [json.loads(line)["user"] for line in lines]


def _only_in_the_session(page: Any) -> None:
    """The token is where it was typed and in sessionStorage, and nowhere else."""
    assert TOKEN not in page.content()
    assert TOKEN not in page.url
    assert page.evaluate("Object.values(sessionStorage)") == [TOKEN]
    assert page.evaluate("localStorage.length") == 0
    assert page.context.cookies() == []
