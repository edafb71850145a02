"""The workbench served in a thread, and Chromium to look at it."""

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SHOTS = Path(tempfile.gettempdir()) / "menon-screenshots"
"""Where tests leave pictures of what they saw."""


@contextmanager
def served(application: Any) -> Iterator[str]:
    """An ASGI application at a free port of this machine, as its address without the last slash."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def chromium() -> Iterator[Any]:
    """Chromium without a window, as playwright's browser; the test skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def page_at(browser: Any, address: str, width: int = 1200, scheme: str = "light") -> Iterator[Any]:
    """A page of this width and colour scheme; fails if it logged an error or a refusal of the content
    security policy, or asked another host."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    faults: list[str] = []
    host = address.split("/")[2]
    page.on("console", lambda message: message.type == "error" and faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request",
        lambda asked: (
            asked.url.split("/")[2:3] != [host]
            and not asked.url.startswith(("data:", "blob:"))
            and faults.append(asked.url)
        ),
    )
    page.goto(address)
    page.wait_for_selector("#view > div > *")
    yield page
    page.close()
    assert not faults, faults


def wide(page: Any) -> bool:
    """Whether the page is wider than its window, so that a reader must scroll sideways."""
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


def picture(page: Any, name: str) -> None:
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=str(SHOTS / f"{name}.png"), full_page=True)
