"""`source.staleness` of a run: which source it gets, and that it goes on after a stop."""

import pytest

from menon.assembly.build import written_beside
from menon.config import changed
from menon.parts import Around
from menon.recipes import recipe
from menon.rollout.dynamic import DynamicSampling
from menon.rollout.groups import Groups
from menon.source.asynchronous import Asynchronous
from menon.source.online import Online
from menon.source.queued import Queued
from menon.source.told import Told
from menon.types import Verdict
from scripted import Queue, ScriptedSampler


def source_of(rollout, environment=None, hints=None, staleness=2):
    config = changed(recipe("grpo"), {"staleness": staleness, "environment": environment})
    online = Online(
        Queue(),
        ScriptedSampler(lambda request: "7"),
        rollout,
        lambda rollout: Verdict(1.0, 1.0),
        Around(2, 2),
    )
    return written_beside(online, config.source, 9, hints)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"rollout": Groups()}, Asynchronous),
        ({"rollout": DynamicSampling()}, Queued),
        ({"rollout": Groups(), "environment": "calculator"}, Queued),
        ({"rollout": Groups(), "staleness": 0}, Online),
    ],
)
def test_text_that_can_pause_survives_new_weights(arguments, kind):
    source = source_of(**arguments)
    assert type(source) is kind
    assert getattr(source, "staleness", 0) == arguments.get("staleness", 2) * (kind is not Online)
    if kind is Asynchronous:
        assert source.steps == 9
    source.close()


def test_hints_hear_of_a_step_when_it_is_learned_from():
    source = source_of(Groups(), hints=lambda gathered: gathered)
    assert isinstance(source, Told)
    assert isinstance(source.inner, Asynchronous)
    assert len(source.next().graded) == 4
    source.close()
