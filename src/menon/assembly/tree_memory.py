"""How much memory a step's trees may take, before any is grown."""

from collections.abc import Sequence

from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.machine import free_bytes
from menon.errors import UserError
from menon.rollout.trees import Trees
from menon.types import Prompt

RECORD_BYTES = 25
"""What a node keeps of each token of its sequence: its number, log-prob, log kept, entropy, version, and
whose it is."""


def check_memory(trees: Trees, prompts: Sequence[Prompt], sampler: TorchSampler) -> None:
    """UserError where the largest trees that the settings allow would not fit: keys and values of all their
    distinct tokens and of the answers that are being written, and the record of every node."""
    longest = max((len(prompt.tokens) for prompt in prompts), default=0)
    needed = estimate(trees, longest, sampler.bytes_per_token(), sampler.slots)
    free = free_bytes(sampler.model.device)
    if needed > free:
        shape = "-".join(map(str, trees.shape.branching))
        raise UserError(
            f"the trees of a step ({trees.prompts_per_step} of {shape}) may take {needed / 2**30:.1f} "
            "GiB, and "
            f"{free / 2**30:.1f} GiB are free; lower prompts_per_step, branching or max_new_tokens"
        )


def estimate(trees: Trees, prompt_tokens: int, per_token: int, slots: int) -> int:
    """Bytes, if no answer ends early."""
    room = trees.sampling.max_new_tokens
    distinct = trees.shape.most_tokens(prompt_tokens, room)
    nodes = trees.shape.most_nodes()
    whole = prompt_tokens + room
    return (
        trees.prompts_per_step * (distinct * per_token + nodes * whole * RECORD_BYTES)
        + slots * whole * per_token
    )
