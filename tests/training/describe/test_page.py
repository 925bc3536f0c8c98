"""The page in a real browser: nothing wider than the screen, in either colour, and no script."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from training.describe.findings import Findings
from training.describe.page import breakable, page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_the_screen(browser: Any, leaks: Findings, tmp_path: Path, width: int, scheme: str) -> None:
    file = tmp_path / "page.html"
    file.write_text(page(leaks))
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=True
    )
    sheet = context.new_page()
    asked: list[str] = []
    sheet.on("request", lambda request: asked.append(request.url))
    sheet.goto(file.as_uri())
    sheet.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert sheet.evaluate("document.documentElement.scrollWidth") == width
    assert sheet.locator("h1").inner_text() == "Data report"
    assert sheet.locator(".verdict.bad li").count() == len(leaks.alarms)
    assert sheet.locator("details").count() == len(leaks.fields)
    back = sheet.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(255, 255, 255)") == (scheme == "light")
    assert asked == [file.as_uri()]
    context.close()


def test_leaks_come_first_and_are_open(browser: Any, leaks: Findings, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(page(leaks))
    sheet = browser.new_page()
    sheet.goto(file.as_uri())
    opened = sheet.locator("details[open] summary b").all_inner_texts()
    assert opened == ["outcome", "dwell", "badges"]
    top = sheet.locator(".verdict").first
    assert "3 leak alarms" in top.inner_text()
    sheet.close()


def test_a_clean_data_set(found: Findings) -> None:
    shown = page(found)
    assert "No leak." in shown
    assert "leak alarm" not in shown


def test_names_break_at_underscores_and_stay_escaped() -> None:
    assert str(breakable("a_<b>")) == "a_<wbr>&lt;b&gt;"
