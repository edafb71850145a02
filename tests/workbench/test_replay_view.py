"""A replay over HTTP and in the page: the numbers of the library, and no code of anybody's."""

import pytest

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from menon.record.reader import RunView
from menon.study.replay import replay
from menon.workbench.app import create
from menon.workbench.runs import Runs
from workbench_page import chromium, page_at, picture, served, wide

ADDRESS = "/api/run/one/step/2/replay"


def ask(folder, **query):
    client = TestClient(create(Runs([folder])), base_url="http://127.0.0.1:1")
    return client.get(ADDRESS, params=query)


def test_the_numbers_are_those_of_the_library(folder):
    made = replay(RunView.open(folder / "one"), 2, "kl_cov")
    found = ask(folder, recipe="kl_cov", row=3).json()
    assert found["summary"]["cosine"] == pytest.approx(made.summary()["cosine"])
    assert found["answer"]["other"]["push"] == pytest.approx(made.answer(3)["other"]["push"])
    assert found["answer"]["own"]["advantage"] == pytest.approx(made.answer(3)["own"]["advantage"])
    half = ask(folder, **{"objective.policy.coef": "0.5"}).json()
    assert half["changes"] == {"objective.policy.coef": [1, 0.5]}
    assert half["summary"]["size"] in (None, pytest.approx(0.5))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"objective.policy.loss": "mine.py:Mine"}, "parts of your own run on the command line alone"),
        ({"objective.policy": "{loss: os:system}"}, "parts of your own run on the command line alone"),
        ({"objective.policy.select": "&a [*a]"}, "not a setting that the page takes"),
        ({"advantage.credit": "gae"}, "needs a critic"),
        ({"learning_rate": "1"}, "is none of them"),
        ({"row": "999"}, "no answer in row 999"),
    ],
)
def test_what_cannot_be_replayed_is_one_sentence(folder, query, said):
    answer = ask(folder, **query)
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_the_page(folder):
    made = replay(RunView.open(folder / "one"), 2, "dapo").summary()
    with served(create(Runs([folder]))) as address, chromium() as browser:
        for width, scheme in ((1200, "light"), (390, "dark")):
            with page_at(browser, f"{address}/#/run/one/step/2/replay", width, scheme) as page:
                page.get_by_label("recipe", exact=True).select_option("dapo")
                page.get_by_role("button", name="replay").click()
                page.wait_for_selector(".replay-table")
                shown = page.locator(".replay-found").inner_text()
                assert f"{made['tokens']} tokens were learned from" in shown
                assert f"{100 * made['other']['selected']:.1f} %" in shown
                assert not wide(page)
                picture(page, f"replay-{scheme}")
