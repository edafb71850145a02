"""The grid world."""

import pytest

from menon.errors import UserError
from menon.rollout.environments.grid_world import GridWorld, shortest
from menon.types import Prompt, no_tokens

GRID = "A.#\n..#\n#.G\n"


def asked(text: str) -> Prompt:
    return Prompt(0, no_tokens(), f"template {text}", None, {"question": f"Go.\n{text}"})


def test_a_walk():
    world = GridWorld()
    assert world.reset(asked(GRID), 0) == ""
    assert world.step("up\n") == ("wall\n", 0.0, False)
    assert world.step("R\n") == (".A#\n..#\n#.G\n", 0.0, False)
    assert world.step("R") == ("\nwall\n", 0.0, False)
    assert world.step("\n") == ("no move\n", 0.0, False)
    assert world.step("down\n") == ("..#\n.A#\n#.G\n", 0.0, False)
    assert world.step("D\n") == ("..#\n..#\n#AG\n", 0.0, False)
    assert world.step("R\n") == ("", 1.0, True)


def test_shortest_way():
    assert shortest(["..#", "..#", "#.G"], (0, 0)) == "DRDR"
    assert shortest([".#G"], (0, 0)) is None
    assert shortest(["G"], (0, 0)) == ""


def test_rows_are_grids_that_can_be_solved_and_the_splits_share_none():
    world = GridWorld()
    train, held = world.rows("train", 300, 0), world.rows("heldout", 100, 0)
    assert (len(train), len(held)) == (300, 100)
    assert not {row["question"] for row in train} & {row["question"] for row in held}
    assert len({row["question"] for row in train}) == 300
    for row in train[:50]:
        walk = GridWorld()
        walk.reset(Prompt(0, no_tokens(), row["question"], None, {"question": row["question"]}), 0)
        ends = [walk.step(f"{move}\n") for move in row["answer"]]
        assert [end[1:] for end in ends] == [(0.0, False)] * (len(ends) - 1) + [(1.0, True)]
    assert world.rows("train", 5, 1) == world.rows("train", 5, 1) != world.rows("train", 5, 2)
    tiny = GridWorld(width=2, height=1, walls=0)
    assert len(tiny.rows("train", 10, 0)) + len(tiny.rows("heldout", 10, 0)) == 2
    assert tiny.room("train") == 2


@pytest.mark.parametrize("text", ["no grid", "A..\n..\n..G", "A.A\n..G", "A..\n...", ""])
def test_a_question_without_a_grid_is_told(text):
    with pytest.raises(UserError, match="holds no grid"):
        GridWorld().reset(asked(text), 0)


@pytest.mark.parametrize("settings", [{"width": 0}, {"walls": 15}, {"walls": -1}])
def test_settings_are_checked(settings):
    with pytest.raises(UserError, match="no room"):
        GridWorld(**settings)
