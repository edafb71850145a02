"""How much memory the text of a step may take, before any of it is written."""

from collections.abc import Sequence
from typing import Any

from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.machine import free_bytes
from menon.errors import UserError
from menon.parts import Around
from menon.rollout.protocols import TakesMemory, sizes_of
from menon.types import Prompt


def at_once(rollout: Any, around: Around, slots: int) -> int:
    """The largest number of answers that the rollout writes at a time."""
    most = sizes_of(rollout, around).at_once
    return slots if most is None else min(slots, most)


def check_memory(rollout: Any, around: Around, prompts: Sequence[Prompt], sampler: TorchSampler) -> None:
    """Notifies when the caches of all answers that could be written at a time do not fit into free memory, so
    that fewer are written at a time. UserError where the sampler must keep more than fits."""
    longest = max((len(prompt.tokens) for prompt in prompts), default=0)
    room = longest + around.sampling.max_new_tokens
    if (fits := sampler.fitting(room)) < (wanted := at_once(rollout, around, sampler.slots)):
        around.notify(
            f"free memory holds {fits} answers of up to {room} tokens, so as many and not {wanted} are "
            "written at a time"
        )
    if not isinstance(rollout, TakesMemory):
        return
    needed = rollout.cache_bytes(around, longest, sampler.bytes_per_token(), sampler.slots)
    free = free_bytes(sampler.model.device)
    if needed > free:
        raise UserError(
            f"the rollout of a step ({sizes_of(rollout, around).form}) may take {needed / 2**30:.1f} GiB, "
            f"and {free / 2**30:.1f} GiB are free; lower prompts_per_step, max_new_tokens, or the sizes in "
            "rollout, like branching"
        )


def key_bytes(rollout: Any, around: Around, prompt_tokens: int, per_token: int, slots: int) -> int:
    """Bytes that a step keeps in the sampler's cache if no answer ends early."""
    most = at_once(rollout, around, slots)
    if isinstance(rollout, TakesMemory):
        return rollout.cache_bytes(around, prompt_tokens, per_token, most)
    return most * (prompt_tokens + around.sampling.max_new_tokens) * per_token
