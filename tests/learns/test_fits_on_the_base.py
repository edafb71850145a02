"""The commands of docs/posterior.md that fit a policy to the optimum raise the accuracy of the built-in
base."""

import re
from pathlib import Path

import pytest

import menon
from menon.base import WEIGHTS
from menon.settings import override

PAGE = Path(__file__).parents[2] / "docs" / "posterior.md"
HERE = (WEIGHTS / "config.json").exists()
SHORT = {"report_questions": 0, "save_every": 0, "threads": 1, "device": "cpu"}
COMMANDS = re.findall(
    r"^menon train (grpo) (reference=frozen .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
)

pytestmark = pytest.mark.skipif(not HERE, reason="the built-in base is not here")


def test_the_page_has_the_three_fits():
    assert [re.search("trajectory_balance|infonca|posterior_weights", words)[0] for _, words in COMMANDS] == [
        "trajectory_balance",
        "infonca",
        "posterior_weights",
    ]


@pytest.mark.parametrize(("name", "words"), COMMANDS)
def test_a_fit_from_graded_answers(name, words, tmp_path):
    settings = dict(map(override, words.split()))
    sizes = {"steps": 3, "prompts_per_step": 16, "heldout": 60, "out": str(tmp_path / "run")}
    report = menon.train(name, **sizes, **SHORT, **settings)
    assert report["after"]["accuracy"] > report["before"]["accuracy"] + 0.1


@pytest.fixture(scope="module")
def draws(tmp_path_factory) -> str:
    """Draws of the optimum for 60 sums of three or four terms, nearly all of them right."""
    out = tmp_path_factory.mktemp("draws") / "draws.jsonl"
    task = {"kind": "chain_sum", "min_terms": 3, "max_terms": 4}
    found = menon.posterior(
        "base", task=task, method="rejection", n=60, out=str(out), threads=1, device="cpu"
    )
    assert found.numbers["accuracy"] > 0.95
    return found.numbers["out"]


def test_a_policy_from_draws(draws, tmp_path):
    """No reward is read: the run has the draws alone."""
    given = {"data": draws, "source.heldout": 60, "task": "chain_sum", **SHORT}
    report = menon.train("energy_nce", steps=5, heldout=10, out=str(tmp_path / "run"), **given)
    assert report["after"]["accuracy"] > report["before"]["accuracy"] + 0.1
    assert report["after"]["energy/accuracy"] > 0.5


def test_a_score_from_draws(draws, tmp_path):
    """It comes to prefer held-out draws to answers of the base."""
    given = {"data": draws, "rows_per_step": 16, "moves": 2, "heldout": 20, **SHORT}
    report = menon.train("contrastive_divergence", steps=8, out=str(tmp_path / "run"), **given)
    assert report["before"]["pairs/accuracy"] == 0.5
    assert report["after"]["pairs/accuracy"] > 0.6
    assert report["after"]["pairs/margin"] > 0
