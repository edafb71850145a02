"""What the user should know of a run's sampler."""

import math
from collections.abc import Callable, Sequence

from menon.config import RunConfig
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.rollout.kinds import SegmentsRollout, TreeRollout
from menon.types import Prompt


def tell_of_memory(
    config: RunConfig, sampler: TorchSampler, prompts: Sequence[Prompt], notify: Callable[[str], None]
) -> None:
    """What the caches of a step take, where that is more than there is."""
    longest = max(len(prompt.tokens) for prompt in prompts) + config.max_new_tokens
    if (fits := sampler.fitting(longest)) < (wanted := at_once(config)):
        notify(
            f"free memory holds {fits} answers of up to {longest} tokens, so as many and not {wanted} are "
            "written at a time"
        )


def at_once(config: RunConfig) -> int:
    """Most answers that are written at a time. Fresh ones from all cuts of a step are asked for together, and
    fill the slots."""
    own = config.rollout
    if isinstance(own, SegmentsRollout):
        return config.slots
    width = math.prod(own.branching) if isinstance(own, TreeRollout) else config.samples_per_prompt
    return min(config.slots, config.prompts_per_step * width)
