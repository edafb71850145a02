"""Columns from the states of a forward pass: heads, comparisons of layers, and the vocabulary in chunks.
Torch alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from menon.batch import Batch
from menon.engines.forward import States
from menon.engines.inside import Seen
from menon.engines.log_probs import log_probs, wide
from menon.engines.network import Network
from menon.errors import UserError
from menon.update.protocols import Head, Hidden, Inside, Need, Reduction, need_column, projection_name

OfStates = Head | Hidden | Inside
"""Needs that are computed from hidden states, without the vocabulary."""


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
