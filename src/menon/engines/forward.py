"""One forward pass over a batch: the shift by one, the trunk, and the vocabulary in chunks. Torch alone."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from menon import ragged
from menon.batch import Batch, sent
from menon.engines.decoder import Decoder, decoder_of, layer_states
from menon.engines.inside import (
    NOTHING,
    Projection,
    Seen,
    Wanted,
    Watched,
    attention_maps,
    depth_of,
    maps_of,
)
from menon.engines.limits import context_of
from menon.engines.log_probs import log_probs, wide
from menon.engines.packed import attention, pack_distinct, pick
from menon.errors import UserError
from menon.limit import Limit
from menon.streams import stream
from menon.update.protocols import Head, Hidden, Inside, Need, Reduction, need_column, projection_name

ValueInit = Literal["zero", "orz"]
OfStates = Head | Hidden | Inside
"""Needs that are computed from hidden states, without the vocabulary."""


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


@dataclass(frozen=True)
class Readout:
    """Computes columns from hidden states."""

    network: Network
    temperature: float
    vocabulary_chunk: int
    """Most elements (rows x V) of logits that exist at once."""

    def __call__(
        self, states: States, batch: Batch, needs: Sequence[Need], others: Mapping[str, Seen]
    ) -> dict[str, Tensor]:
        """[N] or [N, k] columns, 0 where the token is not an action."""
        columns = {
            need_column(need): self._between(states, need, others[need.other])
            if isinstance(need, Inside)
            else self._of_states(states, need)
            for need in needs
            if isinstance(need, OfStates)
        }
        over_vocabulary = [need for need in needs if not isinstance(need, OfStates)]
        for need in over_vocabulary:
            if need not in ("logp", "entropy") and not isinstance(need, Reduction):
                raise ValueError(
                    "a forward pass yields 'logp', 'entropy', Head, Hidden, Inside or a Reduction, not "
                    f"{need!r}"
                )
        if over_vocabulary:
            columns |= self._over_vocabulary(states, over_vocabulary, others)
        return {name: _spread(column, states.place, batch.num_tokens) for name, column in columns.items()}

    def logits(self, states: States, rows: Tensor) -> Tensor:
        """[n, V] logits / temperature of some of the states. The head runs in the dtype of its weights,
        outside of autocast: logits rounded to bf16 would be noise in every ratio."""
        logits = states.rows[rows]
        if self.network.whole is None:
            if self.network.head is None:
                raise UserError("a value model has no vocabulary; ask the policy for log-probs")
            logits = self.network.head(logits.to(next(self.network.head.parameters()).dtype))
        return logits.to(wide(logits.dtype)) / self.temperature

    def _of_states(self, states: States, need: Head | Hidden) -> Tensor:
        """[A] or [A, k]."""
        if isinstance(need, Hidden):
            return states.hidden.get(need.layer, states.rows)
        head = self.network.heads.get(need.name)
        rows = states.rows if need.at == "before" else states.after
        if head is None or rows is None:
            own = "give the run a critic of its own" if need.name == "value" else "give it one by `heads`"
            raise UserError(f"this model has no {need.name} head; {own}")
        outputs = head(rows.to(head.weight.dtype))
        outputs = outputs[:, 0] if head.out_features == 1 else outputs
        return outputs.to(wide(outputs.dtype))

    def _between(self, states: States, need: Inside, other: Seen) -> Tensor:
        """[A]."""
        mine, theirs = states.hidden if need.what == "states" else states.attention, other.of(need)
        compared = []
        for own, their in need.pairs(self.network.depth, other.depth):
            one, two = mine[own], theirs[their]
            head = self.network.heads.get(projection_name(own, their)) if need.what == "states" else None
            one = one if head is None else head(one.to(head.weight.dtype))
            if need.what == "states" and one.shape != two.shape:
                raise UserError(
                    f"layer {own} has {one.shape[-1]} numbers and layer {their} of the {need.other} "
                    f"{two.shape[-1]}; give the model a head '{projection_name(own, their)}' between them"
                )
            one = one.to(wide(one.dtype))
            compared.append((one, two.to(one)))
        return need.between(compared)

    def _over_vocabulary(
        self, states: States, needs: Sequence[Need], others: Mapping[str, Seen]
    ) -> dict[str, Tensor]:
        """Computes the needs that read the vocabulary, a few rows at a time. If there is more than one chunk,
        each is computed again in the backward pass instead of being kept, so [A, V] never exists."""
        head, target = self.network.head, states.token
        whole = states.kept is None or "logp" not in needs
        if type(head) is nn.Linear and whole and not any(isinstance(need, Reduction) for need in needs):
            how: dict[str, Any] = {"weight": head.weight, "bias": head.bias, "chunk": self.vocabulary_chunk}
            logp, entropy = log_probs(
                states.rows, target, temperature=self.temperature, entropy="entropy" in needs, **how
            )
            return {need_column(need): logp if need == "logp" else entropy for need in needs}
        every = torch.arange(len(target), device=target.device)
        chunks = every.split(self._rows_per_chunk(states))
        run: Callable[..., tuple[Tensor, ...]] = partial(self._reduce, states, needs, others)
        if len(chunks) > 1 and torch.is_grad_enabled():
            pieces = [checkpoint(run, rows, use_reentrant=False, preserve_rng_state=False) for rows in chunks]
        else:
            pieces = [run(rows) for rows in chunks]
        return {
            need_column(need): torch.cat(column)
            for need, column in zip(needs, zip(*pieces, strict=True), strict=True)
        }

    def _rows_per_chunk(self, states: States) -> int:
        if self.network.whole is not None:
            vocabulary = states.rows.shape[-1]
        else:
            weight = getattr(self.network.head, "weight", None)
            vocabulary = 1 if weight is None else len(weight)
        return max(1, self.vocabulary_chunk // vocabulary)

    def _reduce(
        self, states: States, needs: Sequence[Need], others: Mapping[str, Seen], rows: Tensor
    ) -> tuple[Tensor, ...]:
        logits = self.logits(states, rows)
        columns = {}
        if "logp" in needs or "entropy" in needs:
            columns["logp"], columns["entropy"] = log_probs(
                logits, states.token[rows], chunk=logits.numel(), entropy="entropy" in needs
            )
            if states.kept is not None:
                kept = states.kept[rows]
                columns["logp"] = among(logits, states.token[rows], kept, columns["logp"])
        for need in needs:
            if isinstance(need, Reduction):
                other = others[need.other].logits(states.place[rows]) if need.other else None
                columns[need.name] = need.reduce(logits, other)
        return tuple(columns[need_column(need)] for need in needs)


def among(logits: Tensor, target: Tensor, kept: Tensor, logp: Tensor) -> Tensor:
    """[n] log-probs of the targets among the tokens `kept` [n, k], which end where -1 begins; `logp` [n],
    those among all tokens, where none is named."""
    z = logits.gather(-1, kept.clamp(min=0))
    named = kept >= 0
    whole = ~named.any(-1)
    norm = z.masked_fill(~named & ~whole[:, None], -torch.inf).logsumexp(-1)
    return torch.where(whole, logp, logits.gather(-1, target[:, None])[:, 0] - norm)


def _spread(column: Tensor, place: Tensor, num_tokens: int) -> Tensor:
    """[A, ...] -> [N, ...], 0 elsewhere."""
    empty = torch.zeros(num_tokens, *column.shape[1:], dtype=column.dtype, device=column.device)
    return empty.index_copy(0, place, column)
