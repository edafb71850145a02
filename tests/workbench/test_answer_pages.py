"""The pages of answers, tokens and trees in a browser, on small runs and on hostile texts."""

import time
from collections import Counter
from itertools import accumulate

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("starlette")

from menon.record.layout import step_file
from menon.record.spans import pieces_of
from menon.workbench.app import create
from menon.workbench.runs import Runs
from workbench_page import chromium, page_at, picture, served, wide

SIZES = ((1200, "light"), (390, "dark"))
HOSTILE = [
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "\u202eabc",
    "\0",
    "x" * 10_000,
    "",
    "\u2066é\n",
    "end",
]
LONG = 32_000


def stored(folder, run, step, of="transcripts"):
    return pq.read_table(step_file(folder / run / of, step)).to_pylist()


@pytest.fixture(scope="module")
def written(answered, tmp_path_factory):
    """A folder with runs of one answer: `hostile`, and `long` of `LONG` tokens."""
    folder = tmp_path_factory.mktemp("written")
    about = (answered / "calculator" / "run.json").read_bytes()
    words = [*(f"w{t % 97} " if t % 11 else "\n" for t in range(LONG - 1)), "last"]
    for name, pieces in (("hostile", HOSTILE), ("long", words)):
        (folder / name / "transcripts").mkdir(parents=True)
        (folder / name / "run.json").write_bytes(about)
        pq.write_table(table_of(pieces), step_file(folder / name / "transcripts", 1))
    return folder


@pytest.fixture(scope="module")
def site(answered, written):
    """Opens a page of these runs in a browser."""
    with served(create(Runs([answered, written]))) as address, chromium() as browser:
        yield lambda path, *size: page_at(browser, f"{address}/#/run/{path}", *size)


def until(page, script):
    """Waits until a script is true; the pages' policy refuses playwright's own way, which evaluates text."""
    end = time.monotonic() + 10
    while not page.evaluate(script):
        assert time.monotonic() < end, f"{script} did not become true"
        page.wait_for_timeout(30)


def table_of(pieces):
    """A transcript with one answer of these tokens after a prompt of one."""
    whole = ["".join(HOSTILE[:3]), *pieces]
    starts = [0, *accumulate(map(len, whole[:-1]))]
    lists = {
        "tokens": (list(range(len(whole))), pa.int64()),
        "is_action": ([False] + [True] * len(pieces), pa.bool_()),
        "text_start": (starts, pa.int32()),
        "entropy": ([0.0] + [t % 7 / 7 for t in range(len(pieces))], pa.float32()),
    }
    one = {
        "step": 1, "group": 0, "sample": 0, "prompt_index": 0, "prompt": whole[0], "answer": HOSTILE[1],
        "completion": "".join(pieces), "finish": "stop", "score": 1.0, "acc": 1.0, "error": HOSTILE[0],
        "node": -1, "parent": -1, "depth": 0, "learn": True, "age": 0, "text": "".join(whole),
    }  # fmt: skip
    columns = {name: pa.array([value]) for name, value in one.items()}
    columns |= {name: pa.array([values], pa.large_list(kind)) for name, (values, kind) in lists.items()}
    columns["parts"] = pa.array([[(HOSTILE[1], 1.0), (HOSTILE[2], 0.0)]], pa.map_(pa.string(), pa.float64()))
    return pa.table(columns)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("answers", "chain/answers?step=all"),
        ("pairs", "chain/answers?view=pairs"),
        ("tokens", "chain/step/2/answer/1"),
        ("turns-tokens", "calculator/step/2/answer/1"),
        ("tree", "tree/step/2/tree/0"),
        ("segments", "chain/step/2/tree/1"),
        ("turns", "calculator/step/2/tree/0"),
    ],
)
def test_every_view_fits_and_says_nothing_odd(site, name, path):
    with site(path) as page:
        page.wait_for_selector(".card, .tok, .node")
        for width, scheme in SIZES:
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme)
            assert not wide(page)
            picture(page, f"{name}-{width}-{scheme}")
        shown = page.locator("#view").inner_text()
        for odd in ("null", "undefined", "NaN", "[object"):
            assert odd not in shown


@pytest.mark.parametrize(
    "path", ["answers", "answers?view=pairs&of=training", "step/1/answer/0", "step/1/tree/0"]
)
def test_hostile_texts_stay_text(site, path):
    with site(f"hostile/{path}", 390, "dark") as page:
        page.wait_for_timeout(100)
        assert page.evaluate("window.hacked") is None
        assert page.locator("#view img, #view script").count() == 0
        assert not wide(page)
        shown = page.locator("#view").inner_text()
        assert "\u202e" not in shown
        assert "\0" not in shown
        if "pairs" not in path:
            assert "<script>" in shown
            assert "U+202E" in shown


def test_filters_change_the_list_and_the_address(site, answered):
    rows = [row for step in (1, 2) for row in stored(answered, "chain", step)]
    right = sum(row["acc"] == 1 for row in rows)
    with site("chain/answers") as page:
        page.click("text=all steps")
        page.select_option("select[name=verdict]", "right")
        until(page, "location.hash.includes('verdict=right')")
        until(page, f"document.querySelectorAll('.card').length === {right}")
        assert page.locator(".card.wrong").count() == 0
        assert f"{right} of 32 answers of 2 steps" in page.locator("[role=status]").inner_text()
        page.fill("input[name=text]", "no answer says this")
        until(page, "document.querySelectorAll('.card').length === 0")


def test_the_start_against_now_can_be_narrowed(site, answered):
    """The counts, the cards and their verdicts are those of the files of both evaluations."""
    ends = [stored(answered, "chain", step, "evaluations") for step in (0, 2)]
    words = {0: "wrong", 1: "right"}
    pairs = {
        (
            before["prompt"],
            words[before["acc"]],
            words[after["acc"]],
            before["completion"],
            after["completion"],
        )
        for before, after in zip(*ends, strict=True)
    }
    kinds = Counter(one[1:3] for one in pairs)
    with site("chain/answers?view=pairs") as page:
        page.wait_for_selector(".cards.two")
        buttons = page.locator("button[aria-pressed]").all_inner_texts()
        assert buttons[0] == "all"
        assert sorted(buttons[1:]) == sorted(f"{a} → {b}: {count}" for (a, b), count in kinds.items())
        assert cards(page) == pairs
        for (first, last), count in kinds.items():
            page.get_by_role("button", name=f"{first} → {last}: {count}").click()
            until(page, f"document.querySelectorAll('.cards.two').length === {count}")
            assert cards(page) == {one for one in pairs if one[1:3] == (first, last)}
            assert f"kind={first}-{last}" in page.url


def cards(page):
    """The questions of the page with the verdicts and the texts of both answers."""
    found = set()
    for group in page.locator("section.group").all():
        verdicts = group.locator(".card .verdict > :first-child").all_inner_texts()
        texts = group.locator(".card > .text").all_text_contents()
        prompt = group.locator(".question > .text").text_content()
        found.add((prompt, *verdicts, *texts))
    return found


def test_tokens_show_their_numbers(site, answered):
    row = stored(answered, "chain", 2)[1]
    begin = row["is_action"].index(True)
    with site("chain/step/2/answer/1?colour=entropy") as page:
        pieces = pieces_of(row["text"], row["text_start"])
        shown = page.locator(".tokens .tok").all_inner_texts()
        assert [one.replace("↵", "\n") for one in shown] == pieces[begin:]
        page.hover(f"[data-t='{begin + 2}']")
        values = dict(
            line.split("\t") for line in page.locator(".details table").first.inner_text().split("\n")
        )
        assert float(values["entropy"]) == pytest.approx(row["entropy"][begin + 2], rel=1e-3)
        assert float(values["advantage"]) == pytest.approx(row["advantage"][begin + 2], rel=1e-3)
        page.wait_for_selector(".alternatives")
        best = max(range(begin, len(row["entropy"])), key=lambda t: row["entropy"][t])
        page.locator(".forks button").first.click()
        assert page.locator(".tokens .current").get_attribute("data-t") == str(best)
        assert "q9" in page.locator(".tokens .current").get_attribute("class")


def test_keys(site):
    with site("chain/step/2/answer/1") as page:
        current = lambda: int(page.locator(".tokens .current").get_attribute("data-t"))  # noqa: E731
        begin = current()
        for key, place in (
            ("ArrowRight", begin + 1),
            ("ArrowRight", begin + 2),
            ("ArrowLeft", begin + 1),
            ("Home", begin),
        ):
            page.keyboard.press(key)
            assert current() == place
        page.keyboard.press("f")
        assert current() > begin
        page.keyboard.press("1")
        assert page.locator(".bar select").input_value() == "probability"
        page.keyboard.press("c")
        assert page.locator(".bar select").input_value() == "entropy"
        page.keyboard.press("?")
        assert "the token before or after" in page.locator("dialog").inner_text()
        page.keyboard.press("Escape")
        page.keyboard.press("n")
        until(page, "location.hash.includes('/answer/2')")
        page.wait_for_selector("h1:has-text('answer 2')")
        page.keyboard.press("p")
        page.wait_for_selector("h1:has-text('answer 1')")
        page.keyboard.press("g")
        page.wait_for_selector(".segment")


def test_a_long_answer_has_few_elements_and_ends_where_it_ends(site):
    with site("long/step/1/answer/0") as page:
        most = "document.querySelectorAll('.tokens .tok').length"
        page.wait_for_selector(".tokens .tok")
        assert page.evaluate(most) < 4000
        page.keyboard.press("End")
        page.wait_for_selector(f"[data-t='{LONG}']")
        place = f"document.querySelector(\"[data-t='{LONG}']\").getBoundingClientRect()"
        page.wait_for_timeout(300)
        assert page.evaluate(f"(({{ top, bottom }}) => top > 0 && bottom <= innerHeight)({place})")
        assert page.evaluate(most) < 4000
        assert page.locator(f"[data-t='{LONG}']").inner_text() == "last"
        strip = page.locator(".overview")
        strip.click(position={"x": strip.bounding_box()["width"] / 2, "y": 5})
        current = int(page.locator(".tokens .current").get_attribute("data-t"))
        assert abs(current - LONG / 2) < LONG / 100


def test_forking_tokens_are_those_of_the_highest_entropy(site):
    """Of equal ones the earlier: every seventh token of the long answer, from token 6 on, has the highest."""
    with site("long/step/1/answer/0") as page:
        page.wait_for_selector(".forks button")
        for place, button in enumerate(page.locator(".forks button").all()):
            button.click()
            assert page.locator(".details h2").inner_text().startswith(f"token {6 + 7 * place} ")
        assert page.locator(".forks button").count() == 20


def test_a_tree_is_read_with_the_arrow_keys(site, answered):
    nodes = [row for row in stored(answered, "tree", 2) if row["group"] == 0]
    with site("tree/step/2/tree/0") as page:
        assert page.locator("svg .node").count() == len(nodes) + 1
        page.focus("svg.tree")
        page.keyboard.press("ArrowRight")
        first = next(row for row in nodes if row["parent"] == 0)
        assert page.locator(".node.chosen").get_attribute("data-node") == str(first["node"])
        assert first["completion"].strip() in page.locator(".node-text .text").inner_text()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowLeft")
        assert page.locator(".node.chosen").get_attribute("data-node") == "0"
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        page.wait_for_selector(".tokens .tok")


def test_a_newer_step_is_offered(site, written, answered):
    """A step that is written while the page is open is offered, and shown when it is asked for."""
    run = written / "growing"
    (run / "transcripts").mkdir(parents=True)
    (run / "run.json").write_bytes((answered / "calculator" / "run.json").read_bytes())
    pq.write_table(table_of(["one"]), step_file(run / "transcripts", 1))
    with site("growing/answers") as page:
        page.wait_for_selector(".card")
        assert page.locator(".newer").is_hidden()
        pq.write_table(table_of(["two"]), step_file(run / "transcripts", 2))
        page.locator(".newer").click(timeout=10_000)
        page.wait_for_selector(".group-head:has-text('step 2')")
        assert page.locator(".card > .text").inner_text() == "two"
