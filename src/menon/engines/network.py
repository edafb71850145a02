"""A model taken apart into what a forward pass needs: its trunk, its heads, its limits. Torch alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from menon.engines.decoder import Decoder
from menon.engines.inside import Projection, depth_of
from menon.engines.limits import context_of
from menon.engines.llama_family import decoder_of
from menon.errors import UserError
from menon.limit import Limit
from menon.streams import stream

ValueInit = Literal["zero", "orz"]


class ValueModel(nn.Module):
    """A critic with a trunk of its own: V(state) = head(last hidden state), without bias."""

    def __init__(self, trunk: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head


def value_head(hidden_size: int, init: ValueInit = "zero", seed: int = 0) -> nn.Linear:
    """A bias-free linear head: all zeros, or U(-sqrt 5, sqrt 5) as in Open-Reasoner-Zero's code (arXiv
    2503.24290)."""
    head = nn.Linear(hidden_size, 1, bias=False)
    drawn = stream(seed, "value_head").uniform(-(5**0.5), 5**0.5, size=(1, hidden_size))
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(drawn) if init == "orz" else torch.zeros(1, hidden_size))
    return head


@dataclass(frozen=True)
class Network:
    """A model taken apart into what a pass needs."""

    trunk: nn.Module
    """Token ids [S, L] -> `.last_hidden_state` [S, L, d]."""
    head: nn.Module | None = None
    """Hidden states [n, d] -> logits [n, V]; None where the model has no vocabulary, or changes its logits
    after the head."""
    whole: nn.Module | None = None
    """The whole model if its logits are not simply head(hidden); then all logits [S, L, V] exist at once."""
    heads: Mapping[str, nn.Linear] = field(default_factory=dict)
    """Heads by name: hidden states [n, d] -> [n, k]."""
    context: Limit | None = None
    """Most tokens of a sequence, where the model says so."""
    decoder: Decoder | None = None
    """The trunk as plain data, where the model is of the family that has a fast path."""
    depth: int = 0
    """How many layers the trunk has, where the model says so."""


@torch.no_grad()
def take_apart(model: Any, heads: Mapping[str, nn.Linear] | None = None) -> Network:
    """Finds trunk and heads of a causal LM of `transformers` or of a `ValueModel`.

    Some models scale or soft-cap their logits, under different names in their configurations. So the model is
    tested by a forward pass: the head counts as plain if it receives the trunk's output and the model returns
    the head's output unchanged.
    """
    if isinstance(model, ValueModel):
        trunk, own = model.trunk, {"value": model.head, **(heads or {})}
        about: dict[str, Any] = {"context": context_of(trunk), "depth": depth_of(trunk)}
        return Network(trunk, heads=own, decoder=decoder_of(trunk), **about)
    heads, head = heads or {}, model.get_output_embeddings()
    about = {"heads": heads, "context": context_of(model), "depth": depth_of(model)}
    if head is not None and model.base_model is not model and _plain(model, head):
        return Network(model.base_model, head=head, decoder=decoder_of(model), **about)
    if not all(isinstance(head, Projection) for head in heads.values()):
        raise UserError(
            "this model scales its logits, and its trunk cannot carry a head; give a critic a trunk of its "
            "own, or a reward model another start"
        )
    return Network(model.base_model, whole=model, **about)


def _plain(model: Any, head: nn.Module) -> bool:
    seen: list[tuple[Tensor, Tensor]] = []
    hook = head.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    ids = torch.arange(2, device=next(model.parameters()).device)[None]
    try:
        logits = model(input_ids=ids, use_cache=False).logits
    finally:
        hook.remove()
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    # The same tensor, not only equal numbers: a head that starts at zero gives zeros, scaled or not.
    return (
        len(seen) == 1
        and logits is seen[0][1]
        and torch.equal(seen[0][0], hidden)
        and torch.equal(logits, head(hidden))
    )
