import dataclasses
import random
import re
from itertools import islice

import pytest

from menon.base.recipe import batches
from menon.base.search import FEWEST_STEPS, HABITS, MOST_STEPS, Habit, SearchRecipe, chain, pairs, search
from menon.prompts.tasks import Countdown, LongChain
from menon.prompts.tasks.split import split_of

CALM = Habit("{q}", share=1.0, at_once=0.0, tired=0.0, bored=0.0, slip=0.0)


def test_documents_are_seeded_and_never_held_out():
    recipe = SearchRecipe()
    first = list(islice(recipe.documents(), 2000))
    assert first == list(islice(recipe.documents(), 2000))
    assert first != list(islice(dataclasses.replace(recipe, seed=recipe.seed + 1).documents(), 2000))
    questions = [re.sub("^(Answer|Steps): ", "", prompt) for prompt, _ in first]
    assert {split_of(question) for question in questions} == {"train"}
    # Three standard deviations of 2000 draws at .6 are .033. Chains have a few more questions in the training
    # split or fewer.
    assert sum(">" in question for question in questions) / 2000 == pytest.approx(recipe.search, abs=0.04)


def test_whoever_goes_on_tries_every_pair_once_and_stops_on_the_hit():
    assert pairs([3, 8, 14]) == [
        ("3+8", 11),
        ("8-3", 5),
        ("3+14", 17),
        ("14-3", 11),
        ("8+14", 22),
        ("14-8", 6),
    ]
    written = {search([3, 8, 14], 6, CALM, random.Random(seed)) for seed in range(50)}
    assert len(written) == 6
    assert "\n14-8=6 6 yes\n#14-8" in written
    assert "\n3+14=17 6 no\n14-3=11 6 no\n8+14=22 6 no\n14-8=6 6 yes\n#14-8" in written
    every = "\n3+8=11 6 no\n8-3=5 6 no\n3+14=17 6 no\n14-3=11 6 no\n8+14=22 6 no\n14-8=6 6 yes\n#14-8"
    assert max(written, key=len) == every


def test_a_tired_searcher_guesses_blindly():
    rng = random.Random(0)
    assert search([3, 8, 14], 6, dataclasses.replace(CALM, at_once=1.0), rng)[0] == "#"
    tired = [search([3, 8, 14], 99, dataclasses.replace(CALM, tired=1.0), rng) for _ in range(600)]
    assert all(text.count("\n") == 2 for text in tired)
    guessed = [text.rpartition("#")[2] for text in tired]
    # 100 each; three standard deviations are 28.
    assert all(abs(guessed.count(pair) - 100) < 35 for pair, _ in pairs([3, 8, 14]))


def test_a_chain_is_worked_line_by_line_and_a_slip_is_carried_on():
    rng = random.Random(0)
    assert chain([3, 8, 2, 6], CALM, rng) == "\n3+5=8\n8-6=2\n2+4=6\n#6"
    slipping = dataclasses.replace(CALM, slip=0.3)
    for _ in range(200):
        text = chain([3, 8, 2, 6], slipping, rng)
        lines = re.findall(r"(-?\d+)([+-]\d)=(-?\d+)", text)
        assert [line[1] for line in lines] == ["+5", "-6", "+4"]
        assert [line[0] for line in lines[1:]] == [line[2] for line in lines[:-1]]
        assert text.endswith(f"\n#{lines[-1][2]}")
    texts = [chain([3, 8], slipping, rng) for _ in range(4000)]
    # A slip of one or two, in .3 of the lines; up from 8 it ends at 9 both ways. Three standard deviations
    # are .022.
    assert sum("=8" not in text for text in texts) / 4000 == pytest.approx(0.3, abs=0.025)
    assert {text[5] for text in texts} == set("6789")


def score(name: str, task: Countdown | LongChain, n: int = 4000) -> tuple[float, float]:
    """How often the corpus itself is right when it follows one habit, and how often it goes on after a
    miss."""
    rng, right, again = random.Random(0), 0.0, 0
    for _ in range(n):
        if isinstance(task, Countdown):
            numbers, _, target = task.draw(rng)
            text = search(numbers, target, HABITS[name], rng)
            question = f"{','.join(map(str, numbers))}>{target}=?"
            right += task.grade(question, text, "")
            again += task.reflects(text)
        else:
            totals = task.draw(rng)
            right += task.grade("", chain(totals, HABITS[name], rng), str(totals[-1]))
    return right / n, again / n


def test_the_habits_are_as_bad_as_they_are_meant_to_be():
    # Two standard deviations of 4000 draws are below .016.
    measured = {name: score(name, Countdown()) for name in HABITS}
    assert measured["plain"] == pytest.approx((0.35, 0.25), abs=0.02)
    assert measured["answer"] == pytest.approx((0.20, 0.04), abs=0.02)
    assert measured["steps"] == pytest.approx((0.94, 0.79), abs=0.02)
    chains = [score(name, LongChain())[0] for name in HABITS]
    assert chains == pytest.approx([0.43, 0.135, 0.89], abs=0.02)
    assert sum(habit.share for habit in HABITS.values()) == pytest.approx(1.0)


def test_every_document_fits_the_context_and_chains_are_longer_and_shorter_than_the_tasks():
    recipe = SearchRecipe(updates=30)
    assert (
        max(len(prompt) + len(response) for batch in batches(recipe) for prompt, response in batch)
        <= recipe.shape.context
    )
    assert FEWEST_STEPS < LongChain().steps < MOST_STEPS
