"""The listing, the page of a run and the comparison in a browser: what they show is what the files say."""

import fcntl
import json
import shutil
import time

import pyarrow.parquet as pq
import pytest

pytest.importorskip("starlette")

from menon.record.layout import step_file
from menon.record.reader import RunView
from menon.record.spans import pieces_of
from menon.workbench.app import create
from menon.workbench.findings import findings_of
from menon.workbench.runs import Runs
from workbench_page import chromium, page_at, picture, served, wide

SIZES = ((1200, "light"), (390, "dark"))
SEARCH = "input[aria-label='Find a chart or any number']"
HOSTILE = "<img src=x onerror='window.hacked = 1'>\u202eabc"


def stored(run, file="metrics.jsonl"):
    return [json.loads(line) for line in (run / file).read_text().splitlines()]


def short(value):
    """A number as the page writes it."""
    return float(f"{value:.4g}")


@pytest.fixture(scope="module")
def shown(folder, seeded, tmp_path_factory):
    """A folder with all of these runs, and `damaged`."""
    path = tmp_path_factory.mktemp("shown") / "runs"
    shutil.copytree(seeded, path)
    shutil.copytree(folder / "one", path / "one")
    shutil.copytree(folder / "one", path / "damaged")
    (path / "damaged" / "run.json").write_text("{")
    return path


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def site(shown, browser):
    """Opens a page of these runs in a browser."""
    with served(create(Runs([shown]))) as address:
        yield lambda path, *size: page_at(browser, f"{address}/#/{path}", *size)


def until(page, script):
    """Waits until a script is true; the pages' policy refuses playwright's own way, which evaluates text."""
    end = time.monotonic() + 15
    while not page.evaluate(script):
        assert time.monotonic() < end, f"{script} did not become true"
        page.wait_for_timeout(30)


def legend(page, chart):
    """The values beside the names of a chart's lines."""
    page.locator(f"[data-key='{chart}']").scroll_into_view_if_needed()
    page.wait_for_selector(f"[data-key='{chart}'] .key")
    keys = page.locator(f"[data-key='{chart}'] .key").all_inner_texts()
    return {key.rpartition(" ")[0]: float(key.rpartition(" ")[2]) for key in keys}


@pytest.mark.parametrize(
    ("name", "path", "ready"),
    [
        ("listing", "", "tbody a"),
        ("run", "run/one", ".key"),
        ("over", "run/fast-1?with=fast-2,slow-1", "[data-law=sigmoid] .key"),
        ("compare", "compare?a=slow-1,slow-2&b=fast-1,fast-2", ".key"),
    ],
)
def test_every_view_fits_and_says_nothing_odd(site, name, path, ready):
    with site(path) as page:
        page.wait_for_selector(ready)
        for width, scheme in SIZES:
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(150)
            assert not wide(page)
            picture(page, f"{name}-{width}-{scheme}")
        said = page.locator("#view").inner_text()
        for odd in ("null", "undefined", "NaN", "[object"):
            assert odd not in said


def test_the_listing_shows_the_numbers_and_leads_on(site, shown):
    with site("") as page:
        row = page.locator("tr", has=page.locator("a", has_text="fast-1"))
        assert f"{stored(shown / 'fast-1', 'evaluations.jsonl')[-1]['accuracy']:.3f}" in row.inner_text()
        damaged = page.locator("tr", has=page.locator(".badge.damaged")).inner_text()
        assert "run.json is damaged" in damaged
        assert page.locator("tbody tr").count() == 6
        page.fill("input[type=search]", "fast")
        until(page, "document.querySelectorAll('tbody tr').length === 2")
        page.get_by_label("choose fast-1").check()
        page.get_by_label("choose fast-2").check()
        page.click("text=curves over one another")
        until(page, "/^#.run.fast-\\d.with=fast-\\d$/.test(location.hash)")
        page.go_back()
        page.locator("tr", has=page.locator("a", has_text="one")).locator("text=answers").click()
        page.wait_for_selector(".card")


def test_the_page_of_a_run_shows_the_last_values(site, shown):
    last, held = stored(shown / "fast-1")[-1], stored(shown / "fast-1", "evaluations.jsonl")[-1]
    with site("run/fast-1") as page:
        assert legend(page, "accuracy") == {
            "training": short(last["acc/mean"]),
            "held out": short(held["accuracy"]),
        }
        assert legend(page, "gradient") == {"policy": short(last["grad_norm"])}
        page.fill(SEARCH, "gradient norm")
        until(page, "document.querySelectorAll('article[data-key]:not([hidden])').length === 1")


def test_keys_move_along_a_chart(site, shown):
    lines = stored(shown / "one")
    with site("run/one") as page:
        legend(page, "gradient")
        page.focus(SEARCH)
        page.keyboard.type("gradient norm")
        while not page.evaluate("document.activeElement.matches('[data-key=gradient] .plot')"):
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement !== document.body"), (
                "the tab key passed the chart by"
            )
        for key, step in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
            page.keyboard.press(key)
            until(page, f"document.querySelector('[data-key=gradient] .at').textContent === 'step {step}'")
            assert legend(page, "gradient") == {"policy": short(lines[step - 1]["grad_norm"])}
        page.keyboard.press("Enter")
        until(page, "location.hash === '#/run/one/answers?step=1'")
        page.wait_for_selector(".card")


def test_the_links_of_a_run_lead_to_its_pages(site, shown):
    """Each page says whose it is, and has what the files of the last step have."""
    rows = pq.read_table(step_file(shown / "one" / "transcripts", 2)).to_pylist()
    first, step = rows[0], "#/run/one/step/2"
    group = [row for row in rows if row["group"] == first["group"]]
    pieces = pieces_of(first["text"], first["text_start"])[first["is_action"].index(True) :]
    held = len(stored(shown / "one", "evaluations.jsonl"))
    places = (
        ("its answers", "#/run/one/answers", "h1", ["Answers"], ".card", len(rows)),
        (
            "start against now",
            "#/run/one/answers?view=pairs",
            "[aria-current]",
            ["start against now"],
            "option",
            2 + 2 * held,
        ),
        (
            "tokens of step 2",
            f"{step}/answer/0",
            "h1",
            [f"Step 2, group {first['group']}, answer 0"],
            ".tok[data-t]",
            len(pieces),
        ),
        (
            "a group of step 2",
            f"{step}/tree/{first['group']}",
            "h1",
            [f"Step 2, group {first['group']}"],
            ".cards.wide .card",
            len(group),
        ),
        (
            "step 2 under another algorithm",
            f"{step}/replay",
            "h1",
            ["Step 2 under another algorithm"],
            "form",
            1,
        ),
    )
    with site("run/one") as page:
        for text, address, place, said, of, count in places:
            page.locator("#view a", has_text=text).first.click()
            until(page, f"document.querySelectorAll('#view {of}').length === {count}")
            assert unquoted(page).startswith(address)
            assert page.locator(f"#view {place}").all_inner_texts()[: len(said)] == said
            page.go_back()
            page.wait_for_selector(".jump a")
        found = findings_of(RunView.open(shown / "one"))["findings"]
        example = next(one for one in found if one["shown"] and "row" in one["shown"])
        page.locator(f"[data-cause={example['cause']}] a").click()
        page.wait_for_selector(".tok[data-t]")
        shown_at = example["shown"]
        assert unquoted(page) == f"#/run/one/step/{shown_at['step']}/answer/{shown_at['row']}"


def unquoted(page):
    return page.evaluate("decodeURIComponent(location.hash)")


def test_files_of_a_chart(site, shown):
    with site("run/fast-1") as page:
        legend(page, "gradient")
        for form, start in (("csv", b"run,"), ("svg", b"<svg"), ("png", b"\x89PNG")):
            with page.expect_download() as waiting:
                page.locator("[data-key=gradient] .files button", has_text=form).click()
            assert waiting.value.suggested_filename == f"fast-1-gradient.{form}"
            assert waiting.value.path().read_bytes().startswith(start)


def test_runs_over_one_another_are_a_mean(site, shown):
    both = [stored(shown / name)[-1]["grad_norm"] for name in ("fast-1", "fast-2")]
    with site("run/fast-1?with=fast-2") as page:
        assert list(legend(page, "gradient").values()) == [short(sum(both) / 2)]
        assert "2 seeds" in page.locator("[data-key=gradient] .legend").inner_text()
        assert "In nothing but their seeds" in page.locator("#settings").inner_text()


def test_the_comparison_shows_its_test(site, shown):
    finals = {
        name: stored(shown / name, "evaluations.jsonl")[-1]["accuracy"]
        for name in ("slow-1", "slow-2", "fast-1", "fast-2")
    }
    gain = (finals["fast-1"] + finals["fast-2"] - finals["slow-1"] - finals["slow-2"]) / 2
    with site("compare?a=slow-1,slow-2&b=fast-1,fast-2") as page:
        page.wait_for_selector("[data-set=fast]")
        assert page.locator("[data-set=fast] h3").inner_text() == "not decided"
        assert f"{gain:+.3f}" in page.locator("table", has_text="probability of improvement").inner_text()
        page.click("button:has-text('tokens')")
        until(page, "location.hash.includes('at=tokens')")
        page.wait_for_selector("h2:has-text('8,000 tokens')")


def test_a_run_that_goes_on_changes_the_page(seeded, tmp_path, browser):
    run = tmp_path / "runs" / "live"
    shutil.copytree(seeded / "fast-1", run)
    (run / "report.json").unlink()
    with open(run / "lock", "ab") as lock, served(create(Runs([tmp_path / "runs"]))) as address:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as the process that drives the run
        with page_at(browser, f"{address}/#/run/live") as page:
            assert page.locator("h1 .badge").inner_text() == "running"
            legend(page, "gradient")
            with open(run / "metrics.jsonl", "a") as out:
                out.write(json.dumps(stored(run)[-1] | {"step": 41, "grad_norm": 7.25}) + "\n{")
            until(page, "document.querySelector('[data-key=gradient] .key').textContent.endsWith(' 7.25')")
            assert "41" in page.locator(".facts").inner_text()
            with open(run / "metrics.jsonl", "a") as out:
                out.write("broken\n")
            page.wait_for_selector("text=A line of live/metrics.jsonl cannot be read")


def test_a_note_stays_text(seeded, tmp_path, browser):
    run = tmp_path / "runs" / "noted"
    shutil.copytree(seeded / "fast-1", run)
    application = create(Runs([tmp_path / "runs"]))
    with served(application) as address, page_at(browser, f"{address}/#/run/noted", 390, "dark") as page:
        page.fill("textarea", HOSTILE)
        page.click("text=keep this note")
        page.wait_for_selector(".note-text")
        shown = page.locator(".note-text").inner_text()
        assert "<img" in shown
        assert "\u202e" not in shown
        assert page.evaluate("window.hacked") is None
        assert page.locator("#view img").count() == 0
    assert [note["text"] for note in stored(run, "notes.jsonl")] == [HOSTILE]
