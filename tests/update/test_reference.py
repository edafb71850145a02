from dataclasses import dataclass, field

import pytest
import torch

from menon.engines.in_process import InProcessHost
from menon.errors import UserError
from menon.update.reference import HardReset, MovingAverage


@dataclass
class Held:
    """A scorer that is nothing but its weights."""

    named: dict[str, torch.Tensor] = field(default_factory=dict)
    tokens_per_forward: int = 1

    def weights(self):
        return self.named

    def score(self, batch, needs, models=None): ...

    def logits(self, batch): ...


def models():
    policy = Held({"w": torch.tensor([1.0, 2.0]), "value_head.weight": torch.ones(1)})
    return {"policy": policy, "reference": Held({"w": torch.tensor([0.0, 4.0])})}


def test_hard_reset_after_every_second_step():
    both = models()
    HardReset(every=2)(1, InProcessHost(both))
    assert both["reference"].named["w"].tolist() == [0, 4]
    HardReset(every=2)(2, InProcessHost(both))
    assert both["reference"].named["w"].tolist() == [1, 2]
    both["policy"].named["w"] += 1  # a copy, not the same tensor
    assert both["reference"].named["w"].tolist() == [1, 2]


def test_moving_average():
    """.25 * 1 + .75 * 0 = .25; again .25 + .75 * .25 = .4375. 4: 3.5, 3.125."""
    both = models()
    part = MovingAverage(rate=0.25)
    part(1, InProcessHost(both))
    assert both["reference"].named["w"].tolist() == [0.25, 3.5]
    part(2, InProcessHost(both))
    assert both["reference"].named["w"].tolist() == [0.4375, 3.125]
    MovingAverage(rate=0.25, every=3)(4, InProcessHost(both))
    assert both["reference"].named["w"].tolist() == [0.4375, 3.125]


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="at least 1"):
        HardReset(every=0)
    with pytest.raises(UserError, match="above 0"):
        MovingAverage(rate=0)
    with pytest.raises(
        UserError, match="this run has no reference model; set reference in the configuration"
    ):
        HardReset(every=1)(1, InProcessHost({"policy": models()["policy"]}))
