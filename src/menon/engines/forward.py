"""One forward pass of a trunk over a batch, and the shift by one: the states before the policy's tokens.
Torch alone."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch, sent
from menon.engines.decoder import Decoder, layer_states
from menon.engines.inside import NOTHING, Wanted, Watched, attention_maps, maps_of
from menon.engines.network import Network
from menon.engines.packed import attention, pack_distinct, pick
from menon.errors import UserError


@dataclass(frozen=True)
class States:
    """The result of a pass of the trunk for the A action tokens."""

    place: Tensor
    """[A] indices of those tokens in the batch."""
    token: Tensor
    """[A] the ids of those tokens."""
    rows: Tensor
    """[A, d] hidden states before them; [A, V] logits where the whole model ran."""
    kept: Tensor | None = None
    """[A, k] the tokens over which their log-probs are; None: over all."""
    after: Tensor | None = None
    """[A, d] hidden states after them, where they were asked for."""
    hidden: Mapping[int, Tensor] = field(default_factory=dict)
    """Layer -> [A, d] its output before them, where it was asked for."""
    attention: Mapping[int, Tensor] = field(default_factory=dict)
    """Layer -> [A, heads, L] how the tokens before them attend, where it was asked for."""


def run_trunk(
    network: Network,
    batch: Batch,
    autocast: torch.dtype | None = None,
    after: bool = False,
    wanted: Wanted = NOTHING,
) -> States:
    """One forward pass over all sequences of the batch, on the network's device; with `after` also the states
    after the action tokens, with `wanted` also what is inside. Indices are computed on the batch's device:
    keep the batch on the host, or the host waits for the GPU many times."""
    device = next(network.trunk.parameters(), batch.token).device
    place = batch.is_action.nonzero()[:, 0]
    if bool((batch.position[place] == 0).any()):
        raise UserError(
            "a sequence begins with a token of the policy, which nothing predicts; give every prompt a token"
        )
    longest = int(batch.lengths.max()) if batch.num_sequences else 0
    if network.context is not None and longest > network.context:
        limit = f"{network.context.what} of {network.context}"
        raise UserError(
            f"a sequence of {longest} tokens is longer than the model's {limit}; "
            "shorten the prompts or max_new_tokens"
        )
    before = place - 1  # the shift by one: the state before a token predicts it
    needed = torch.zeros_like(batch.is_action)
    needed[torch.cat([before, place]) if after else before] = True
    decoder = network.decoder
    with torch.autocast(device.type, dtype=autocast) if autocast else nullcontext():
        if decoder is not None and longest <= (decoder.longest or longest):
            inside = _distinct_states(decoder, batch, needed, autocast, wanted)
        else:
            inside = _padded_states(network, batch, device, wanted)

    def states(index: Tensor) -> Tensor:
        return pick(inside.rows, sent(inside.row_of[index], device))

    cell = sent(_cell_of(batch, longest)[before], device) if wanted.attention else None
    return States(
        sent(place, device),
        sent(batch.token[place], device),
        states(before),
        None if batch.kept is None else sent(batch.kept[place].long(), device),
        states(place) if after else None,
        {layer: pick(rows, sent(inside.row_of[before], device)) for layer, rows in inside.states.items()},
        {layer: pick(maps, cell) for layer, maps in inside.attention.items() if cell is not None},
    )


@dataclass(frozen=True)
class _Pass:
    """The result of a pass, before rows are picked from it."""

    rows: Tensor
    """[M, d] states, or [M, V] logits where the whole model runs."""
    row_of: Tensor
    """[N] the row of each token."""
    states: Mapping[int, Tensor]
    """Layer -> [M, d]."""
    attention: Mapping[int, Tensor]
    """Layer -> [S * L, heads, L]."""


def _cell_of(batch: Batch, longest: int) -> Tensor:
    """[N] the place of each token in rows that are padded on the right."""
    return ragged.owner(batch.offset, batch.num_tokens) * longest + batch.position


def _distinct_states(
    decoder: Decoder, batch: Batch, needed: Tensor, autocast: torch.dtype | None, wanted: Wanted
) -> _Pass:
    """By the distinct tokens."""
    packed, device = pack_distinct(batch, needed), decoder.embedding.device
    attend = Watched(attention(packed, decoder.head_dim, device, autocast), wanted.attention)
    last, taken = len(decoder.layers), {_number(layer, len(decoder.layers)) for layer in wanted.states}
    found = {
        number: states
        for number, states in enumerate(
            layer_states(decoder, sent(packed.token, device), sent(packed.position, device), attend)
        )
        if number in taken or number == last
    }
    return _Pass(
        found[last],
        packed.place,
        {layer: found[_number(layer, last)] for layer in wanted.states},
        {layer: attention_maps(q, k, packed, batch) for layer, (q, k) in attend.kept.items()},
    )


def _number(layer: int, depth: int) -> int:
    """The number of a layer that may be counted from the end; UserError where there is none."""
    number = layer if layer >= 0 else layer + depth + 1
    if not 0 <= number <= depth:
        raise UserError(f"Hidden({layer}) is none of the model's {depth} layers; name 0 to {depth}, or -1")
    return number


def _padded_states(network: Network, batch: Batch, device: torch.device, wanted: Wanted) -> _Pass:
    """By the model's own forward. Rows are padded on the right and no mask is passed: causal attention cannot
    look ahead, and with a mask `transformers` would not use the fast causal kernel."""
    ids = sent(ragged.pad(batch.token, batch.offset), device)
    how = {"output_hidden_states": True} if wanted.states else {}
    how |= {"output_attentions": True} if wanted.attention else {}
    output = (network.whole or network.trunk)(input_ids=ids, use_cache=False, **how)
    grown = output.last_hidden_state if network.whole is None else output.logits
    given = output.hidden_states if wanted.states else ()
    return _Pass(
        grown.flatten(0, 1),
        _cell_of(batch, ids.shape[1]),
        {layer: given[_number(layer, len(given) - 1)].flatten(0, 1) for layer in wanted.states},
        maps_of(output, wanted.attention),
    )
