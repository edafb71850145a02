"""How soon the workbench shows a run in Chromium, how smoothly its longest answer scrolls, and the memory of
its server.

    python scripts/large_run.py runs/large
    python scripts/workbench_times.py runs/large [--times 3]

Needs playwright and Chromium. Each page is opened anew and timed from outside until an element with values is
there; `paint` is the browser's own first contentful paint.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

MIB = 1024
LONGEST_WAIT_MS = 200_000
WHOLE = "body:has(section.group):not(:has([role=status] b))"
"""A list of answers for which all steps are read."""
PIXELS, FRAMES = 120, 180
SCROLL = """([pixels, count]) => new Promise((done) => {
  const took = []; let last = null;
  const step = (now) => {
    if (last !== null) took.push(now - last);
    last = now;
    scrollBy(0, pixels);
    took.length < count ? requestAnimationFrame(step) : done(took);
  };
  requestAnimationFrame(step);
})"""
PAINT = "performance.getEntriesByName('first-contentful-paint').map((one) => one.startTime)[0]"


@contextmanager
def workbench(folder: Path) -> Iterator[tuple[str, int]]:
    """A workbench over a folder in a process of its own, as its address and its process id."""
    command = [sys.executable, "-m", "menon", "workbench", str(folder), "port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+/", server.stdout.readline())
            if found is None:
                raise SystemExit("the workbench printed no address")
            yield found.group(), server.pid
        finally:
            server.terminate()


def largest_memory(pid: int) -> int:
    """MiB that a process has held at most."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) // MIB if found else 0


def opened(browser: Any, address: str, ready: str) -> tuple[float, float]:
    """Seconds until an element is there, and until the first contentful paint."""
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    begin = time.monotonic()
    page.goto(address)
    page.wait_for_selector(ready, timeout=LONGEST_WAIT_MS)
    seconds = time.monotonic() - begin
    paint = page.evaluate(PAINT) / 1000
    page.close()
    return seconds, paint


def longest_frames(browser: Any, address: str, path: str) -> tuple[float, list[int]]:
    """Seconds until the longest answer of a run can be read, and the longest frames in milliseconds, longest
    first, of scrolling through it."""
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    query = "step=all&sort=length&down=1&most=1"
    one = page.request.get(f"{address}api{path}/answers?{query}").json()["answers"][0]
    begin = time.monotonic()
    page.goto(f"{address}#{path}/step/{one['step']}/answer/{one['row']}")
    page.wait_for_selector(".tokens .tok")
    seconds = time.monotonic() - begin
    frames = sorted(page.evaluate(SCROLL, [PIXELS, FRAMES]), reverse=True)
    page.close()
    return seconds, [round(one) for one in frames[:3]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args()
    run = f"#/run/{asked.folder.name}"
    pages = {
        "list, first line": ("#/", "tbody a"),
        "run, what is wrong (the first time it is worked out)": (run, ".finding"),
        "run, its head": (run, ".facts"),
        "run, first curve with values": (run, "[data-key=accuracy] .key, [data-key=nll] .key"),
        "run, forecast drawn": (run, "[data-law=sigmoid] .key"),
        "answers of the newest step": (f"{run}/answers", WHOLE),
        "wrong answers of all steps": (f"{run}/answers?step=all&verdict=wrong&sort=length&down=1", WHOLE),
        "answers of all steps with a text": (f"{run}/answers?step=all&text=wait+7", WHOLE),
    }
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    with workbench(asked.folder) as (address, pid), sync_playwright() as running:
        browser = running.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        for name, (path, ready) in pages.items():
            found = [opened(browser, address + path, ready) for _ in range(asked.times)]
            said = ", ".join(f"{seconds:.2f}" for seconds, _ in found)
            paints = ", ".join(f"{paint:.2f}" for _, paint in found)
            print(f"{name}: {said} s (paint {paints}), load {os.getloadavg()[0]:.1f}", flush=True)
        for _ in range(asked.times):
            seconds, frames = longest_frames(browser, address, run.removeprefix("#"))
            said = f"longest answer: {seconds:.2f} s; its longest frames by {PIXELS} px a frame: {frames} ms"
            print(f"{said}, load {os.getloadavg()[0]:.1f}", flush=True)
        print(f"server: {largest_memory(pid)} MiB at most")
        browser.close()


if __name__ == "__main__":
    main()
