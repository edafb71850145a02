import dataclasses
import random
from itertools import islice

import pytest

from menon.base.corpus import HABITS, Habit, PretrainRecipe, guess, respond, work
from menon.base.recipe import batches
from menon.base.tokenizer import END_ID, decode
from menon.prompts.tasks import ChainSum
from menon.prompts.tasks.split import split_of

CALM = Habit("{q}", share=1.0, give_up=(0.0, 0.0, 0.0), check=0.0, slip=0.0, checked_slip=0.0)
SLIP = dataclasses.replace(CALM, slip=1.0, checked_slip=1.0)


def test_documents_are_seeded_and_never_held_out():
    recipe = PretrainRecipe()
    first = list(islice(recipe.documents(), 2000))
    assert first == list(islice(recipe.documents(), 2000))
    assert first != list(islice(dataclasses.replace(recipe, seed=recipe.seed + 1).documents(), 2000))
    for prompt, _ in first:
        question = prompt.removeprefix("Q: ").removesuffix("\nA:").removesuffix("\nSteps:")
        assert split_of(question) == "train"


def test_working_without_slips_is_written_line_by_line():
    rng = random.Random(0)
    assert respond([3, 8, 5, 9], CALM, rng) == "\n3+8=11\n11+5=16\n16+9=25\n#25"
    checked = dataclasses.replace(CALM, check=1.0)
    assert respond([3, 8, 5], checked, rng) == "\n3+8=11 ok\n11+5=16 ok\n#16"


def test_giving_up_leaves_a_guess():
    rng = random.Random(0)
    assert respond([3, 8, 5], dataclasses.replace(CALM, give_up=(1.0, 0.0, 0.0)), rng).startswith("#")
    assert respond([3, 8, 5], dataclasses.replace(CALM, give_up=(0.0, 1.0, 0.0)), rng).startswith(
        "\n3+8=11\n#"
    )
    late = respond([3, 8, 5, 9], dataclasses.replace(CALM, give_up=(0.0, 0.0, 1.0)), rng)
    assert late.startswith("\n3+8=11\n11+5=16\n#")


def test_guesses_fall_short_by_three_or_over_by_one_for_each_term_left():
    rng = random.Random(0)
    drawn = [guess(11, [5, 9], rng) for _ in range(9000)]
    assert set(drawn) == set(range(19, 28))
    # 1000 each; three standard deviations are 90.
    assert all(abs(drawn.count(value) - 1000) < 100 for value in range(19, 28))


def test_a_check_puts_a_slip_right_and_a_line_without_check_does_not():
    rng = random.Random(0)
    lines = [work(11, 5, True, SLIP, rng) for _ in range(2000)]
    assert sum(total == 16 for _, total in lines) / 2000 == pytest.approx(0.98, abs=0.01)
    assert all((" wait, 16" in line) == (total == 16) for line, total in lines)
    assert all(
        total != 16 and line == f"\n11+5={total}"
        for line, total in (work(11, 5, False, SLIP, rng) for _ in range(50))
    )


def accuracy(name: str, n: int = 4000) -> float:
    """How often the corpus itself is right on the default task when it follows one habit."""
    task, rng = ChainSum(), random.Random(0)
    drawn = [task.draw(rng) for _ in range(n)]
    return sum(task.grade("", respond(terms, HABITS[name], rng), str(sum(terms))) for terms in drawn) / n


def test_the_habits_are_as_bad_as_they_are_meant_to_be():
    # Two standard deviations of 4000 draws are below .016.
    assert accuracy("plain") == pytest.approx(0.34, abs=0.02)
    assert accuracy("answer") == pytest.approx(0.09, abs=0.02)
    assert accuracy("steps") == pytest.approx(0.85, abs=0.02)
    assert sum(habit.share for habit in HABITS.values()) == pytest.approx(1.0)


def test_updates_hold_whole_documents_and_just_enough_tokens():
    recipe = PretrainRecipe(updates=3, tokens_per_update=500)
    stream = recipe.documents()
    updates = list(batches(recipe))
    assert len(updates) == 3
    for update in updates:
        sizes = [len(prompt) + len(response) for prompt, response in update]
        assert sum(sizes) >= 500 > sum(sizes[:-1])
        for prompt, response in update:
            assert response[-1] == END_ID
            assert (decode(prompt), decode(response)) == next(stream)


def test_every_document_fits_the_context():
    longest = max(
        len(prompt) + len(response) + 1 for prompt, response in islice(PretrainRecipe().documents(), 20_000)
    )
    assert longest <= PretrainRecipe().shape.context
