"""Guess the number."""

import pytest

from menon.errors import UserError
from menon.rollout.environments.guess_number import GuessNumber
from scripted import question


def test_a_game():
    game = GuessNumber(guesses=4)
    assert game.reset(question(0, answer="37"), seed=1) == ""
    assert game.step("50\n") == ("lower\n", 0.0, False)
    assert game.step("between 1 and 20?") == ("\nhigher\n", 0.0, False)
    assert game.step("\n") == ("no number\n", 0.0, False)
    assert game.step("so 37\n") == ("", 1.0, True)


def test_the_last_guess_ends_it():
    game = GuessNumber(guesses=2)
    game.reset(question(0, answer="3"), seed=1)
    assert [game.step("9\n")[1:], game.step("9\n")[1:]] == [(0.0, False), (0.0, True)]


def test_without_an_answer_the_number_is_the_seeds():
    def secret(seed):
        game = GuessNumber()
        game.reset(question(0, answer=None), seed)
        return game.secret

    numbers = [secret(seed) for seed in range(300)]
    assert numbers == [secret(seed) for seed in range(300)]
    assert (min(numbers), max(numbers)) == (1, 100)


def test_halving_finds_every_number():
    for number in range(1, 101):
        game, low, high = GuessNumber(), 1, 100
        game.reset(question(0, answer=str(number)), seed=0)
        while True:
            guess = (low + high) // 2
            told, reward, done = game.step(f"{guess}\n")
            if done:
                break
            low, high = (guess + 1, high) if told == "higher\n" else (low, guess - 1)
        assert reward == 1


def test_rows():
    game = GuessNumber(low=1, high=50)
    train, held = (
        [row["answer"] for row in game.rows(split, game.room(split), 0)] for split in ("train", "heldout")
    )
    assert sorted(map(int, train + held)) == list(range(1, 51))
    assert sorted(map(int, held)) == [10, 20, 30, 40, 50]
    assert game.rows("train", 5, 3) == game.rows("train", 5, 3) != game.rows("train", 5, 4)
    assert "from 1 to 50" in game.rows("train", 1, 0)[0]["question"]


@pytest.mark.parametrize("settings", [{"low": 5, "high": 5}, {"guesses": 0}, {"low": -1}])
def test_settings_are_checked(settings):
    with pytest.raises(UserError, match="nothing to guess"):
        GuessNumber(**settings)
