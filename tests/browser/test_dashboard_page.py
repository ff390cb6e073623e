"""The dashboard of `make run` in a real Chromium: every chart is drawn, its numbers are those that were emitted, and
nobody is kept out."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts.local import demo, embedded_valkey
from tests.support import processes
from tests.support.patience import wait_until
from tests.support.wires import Proxy, free_port, proxy_to

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="run this with: make test-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt install chromium")

FAILED = 20
"""More failed requests than an alarm wants before it says anything at all."""

AT_ONCE = 8
SIZES = {"desk": (1440, 1000), "phone": (390, 844)}
EMPTY_UNDER_A_GOOD_LOAD = {
    "Revenue that cannot be read", "Failures (answers of 500)",
}  # fmt: skip
"""Charts of what is counted only when it happens, and does not here."""


class System:
    """A running `make run` of which nobody else asks anything."""

    def __init__(self, client: httpx.Client, page: str, wire: Proxy):
        self.client, self.page, self._wire = client, page, wire

    @contextlib.contextmanager
    def without_valkey(self) -> Iterator[None]:
        """Nobody reaches Valkey until the block ends."""
        port, self._wire.target = self._wire.target, free_port()
        self._wire.cut()
        yield
        self._wire.target = port

    def load(self) -> int:
        """Sends requests of every kind, good and bad; returns how many reached a function."""
        for number in range(3):
            user = demo.user_id(number + 1)
            revenue = {"revenue": {"amount": 250, "currency": ("EUR", "USD")[number % 2]}}
            for path in ("/leaderboard", f"/users/{user}", f"/users/{user}/rank", f"/users/{user}/nearby", "/stats"):
                assert self.client.get(path).status_code == 200
            score = {"score": 500_000 + number, "operator": "best", "gameData": revenue}
            assert self.client.put(f"/users/{user}/score", json=score).status_code == 200
            assert self.client.put(f"/users/{user}/score", json={"score": "many"}).status_code == 400
            assert self.client.post("/sessions", json={"userId": user}).status_code == 201
        assert self.client.get("/users/nobody").status_code == 404
        assert self.client.get("/nowhere").status_code == 404
        return 3 * 8 + 1


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("dashboard")
    output, port = folder / "output", free_port()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(embedded_valkey.running(folder / "valkey"))
        wire = stack.enter_context(proxy_to(server.port))
        settings = {"PORT": port, "VALKEY_HOST": server.host, "VALKEY_PORT": wire.port, "DEMO": 1}
        process = stack.enter_context(processes.started("scripts.run", output, **settings, RECONCILE_SECONDS=1))
        wait_until(lambda: "dashboard is at" in output.read_text() or process.poll() is not None)
        found = re.search(r"dashboard is at (\S+)", output.read_text())
        assert found, output.read_text()
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False))
        yield System(client, found[1], wire)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Any, system: System) -> Iterator[Callable[..., Any]]:
    """Opens the page; at the end, nothing may have been wrong with it."""
    faults: list[str] = []
    with contextlib.ExitStack() as stack:

        def open_(size: str = "desk", theme: str = "light", address: str = system.page) -> Any:
            width, height = SIZES[size]
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
            stack.callback(context.close)
            page = context.new_page()
            page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("request", lambda asked: None if asked.url.startswith(address) else faults.append(asked.url))
            page.goto(address)
            until(page, "document.querySelectorAll('.widget').length > 0")
            return page

        yield open_
    assert faults == []


def until(page: Any, expression: str) -> None:
    """Waits until an expression holds. The page's policy forbids Playwright's own way, which evaluates text there."""

    def holds() -> bool:
        page.wait_for_timeout(100)
        return bool(page.evaluate(expression))

    wait_until(holds)


def look_at_everything(page: Any) -> None:
    """Makes the window as high as the page, so that every chart is drawn, and waits for them."""
    height = page.evaluate("document.body.scrollHeight")
    page.set_viewport_size({"width": page.viewport_size["width"], "height": height})
    until(page, "[...document.querySelectorAll('.widget.lines:not([data-only]), .single, .log:not([data-only])')]"
                ".every((card) => card.dataset.drawn)")  # fmt: skip


def number(page: Any, title: str, label: str) -> float | None:
    """What a single value shows."""
    found = page.locator(f'[aria-label="{title}"] [data-label="{label}"] strong').get_attribute("data-value")
    return None if found is None else float(found)


def test_it_says_first_what_to_do_and_then_shows_what_was_done(opened: Callable[..., Any], system: System) -> None:
    page = opened()
    assert "curl" in page.locator("#empty").inner_text()
    count = system.load()
    page.keyboard.press("r")
    until(page, "!document.getElementById('empty')")
    look_at_everything(page)
    page.keyboard.press("r")
    until(page, f"document.querySelector('[aria-label=Requests] strong')?.dataset.value == {count}")
    times = page.evaluate("window_({setPeriodToTimeRange: true}, true)")
    assert times["begin"] % 60 == 0, "CloudWatch begins at a whole minute"
    assert times["begin"] + times["period"] >= times["end"], "or the last of two periods would be shown"
    assert number(page, "Revenue (minor units)", "EUR") == 500
    assert number(page, "Revenue (minor units)", "USD") == 250
    page.wait_for_timeout(6000)  # the next look at Valkey, and a run of reconcile
    page.keyboard.press("r")
    page.wait_for_timeout(3000)
    cards = page.evaluate(
        "[...document.querySelectorAll('.widget.lines:not([data-only])')].map((card) => [card.ariaLabel, "
        "Number(card.dataset.points), card.querySelectorAll('.scatterlayer .trace').length])"
    )
    empty = {title for title, points, traces in cards if not points or not traces}
    assert empty <= EMPTY_UNDER_A_GOOD_LOAD, empty - EMPTY_UNDER_A_GOOD_LOAD
    assert len(cards) - len(empty) > 25
    for table in ("Errors by code", "Slowest requests", "Refused by the gateway"):
        assert int(page.locator(f'[aria-label="{table}"]').first.get_attribute("data-rows")) > 0, table
    assert "Only on AWS" in page.locator('[aria-label="ECPU a minute"]').inner_text()


def test_an_alarm_turns_red_when_valkey_is_away_and_green_when_it_is_back(
    opened: Callable[..., Any], system: System
) -> None:
    page = opened()

    def is_red(name: str) -> str:
        return f"!!document.querySelector('#alarms [data-name$={name}][data-state=ALARM]')"

    def ask(times: int, status: int) -> None:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            answers = threads.map(lambda _: system.client.get("/stats").status_code, range(times))
            assert set(answers) == {status}

    def soon(expression: str) -> None:
        page.keyboard.press("r")
        until(page, expression)

    soon("document.querySelectorAll('#alarms details').length > 50")
    assert not page.evaluate(is_red("slo-page"))
    with system.without_valkey():
        ask(FAILED, 503)
        soon(is_red("slo-page"))
        assert page.evaluate("document.querySelector('#health').dataset.state") == "PAGE"
    ask(FAILED * 200, 200)  # half an hour's share of failures is small again
    soon(f"!{is_red('slo-page')}")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_everybody_can_read_it(opened: Callable[..., Any], system: System, size: str, theme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    system.load()
    page = opened(size, theme)
    look_at_everything(page)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "it scrolls sideways"
    found = Axe().run(page).response["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in serious] == []
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"dashboard-{size}-{theme}.png")


def test_it_can_be_used_without_a_mouse(opened: Callable[..., Any]) -> None:
    page = opened()
    page.keyboard.press("1")
    assert page.locator("#range").input_value() == "900"
    page.keyboard.press("t")
    assert page.locator("#theme").inner_text() == "Theme: light"
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    until(page, "document.querySelectorAll('.legend button').length > 0")
    button = page.locator(".legend button").first
    button.focus()
    page.keyboard.press("Enter")
    until(page, "document.querySelector('.legend button').getAttribute('aria-pressed') === 'false'")
