"""Ways to an engine's weights: the engine's own fault is said, not the end of a wait for it."""

from contextlib import contextmanager

import pytest
import torch

from menon.engines.carriers import ByBroadcast


class Failing:
    """An engine that cannot take what it is sent."""

    @contextmanager
    def begun(self, name, *arguments):
        def result():
            if name == "receive":
                raise RuntimeError("the engine is out of memory")

        yield result


class Unheard:
    """A broadcast that nobody joins in."""

    meeting = ()

    def meet(self):
        pass

    def send(self, tensors):
        raise TimeoutError("no answer in 60 s")


def test_a_broadcast_that_the_engine_does_not_take_says_why():
    carrier = ByBroadcast(Failing(), Unheard())
    with pytest.raises(RuntimeError, match="the engine is out of memory"):
        carrier.carry(iter([("a", torch.zeros(2))]))
