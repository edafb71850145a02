"""The code reward named in a configuration."""

import pytest

from menon.assembly.build import reward_of
from menon.config import RunConfig, around_of, changed
from menon.errors import UserError
from menon.recipes import recipe
from menon.reward.code.tests import CodeTests
from menon.sandbox.layers import pool
from menon.settings import plain_data, read


@pytest.fixture(autouse=True)
def full():
    try:
        pool("full")
    except UserError as error:
        pytest.skip(str(error))


def test_by_its_name_with_settings_and_back_from_the_record():
    named = {"data": "x.jsonl", "reward": "code"}
    config = changed(
        recipe("grpo"), named, {"reward.score": "fraction"}, {"reward.sandbox": "without_landlock"}
    )
    assert config.source.reward == CodeTests(score="fraction", sandbox="without_landlock")
    assert reward_of(config.source, around_of(config.source, config.control.seed)) == config.source.reward
    assert read(RunConfig, plain_data(config)).source.reward == config.source.reward


def test_a_level_that_is_none_is_refused():
    with pytest.raises(UserError, match=r"in source\.reward: sandbox is 'off'; it is full, without_landlock"):
        changed(recipe("grpo"), {"data": "x.jsonl", "reward": {"kind": "code", "sandbox": "off"}})
    with pytest.raises(UserError, match=r"in source\.reward: unknown setting 'sandboxx'"):
        changed(recipe("grpo"), {"data": "x.jsonl", "reward": {"kind": "code", "sandboxx": "off"}})
