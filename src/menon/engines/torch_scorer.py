"""The built-in scorer: any causal LM of `transformers`, or a critic, on one device."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor, nn

from menon.batch import Batch, take, tokens_of
from menon.engines import lora, machine
from menon.engines.forward import run_trunk
from menon.engines.inside import NOTHING, Seen, Wanted, other_layers, own_layers
from menon.engines.layers import with_checkpointing
from menon.engines.log_probs import CHUNK, wide
from menon.engines.network import take_apart
from menon.engines.parallel_passes import side_by_side
from menon.engines.protocols import LogitRows, Models
from menon.engines.readout import Readout
from menon.errors import UserError
from menon.sync.pairs import model_tensors
from menon.update.objective import forward_rows
from menon.update.protocols import Head, Inside, Need, Reduction, need_column

T = TypeVar("T")


class TorchScorer:
    """A `Scorer` over a causal LM or a `ValueModel`; `heads` puts linear heads by name on its trunk, like a
    critic's.

    `temperature` divides the logits of every column; `autocast` runs the trunk in that dtype;
    `vocabulary_chunk` is the most elements of logits that exist at once; `checkpointing` computes layers
    again in the backward pass. None of these, nor `tokens_per_forward`, changes a result. A small model on a
    CPU runs as many passes in parallel as torch has threads now; a large one makes passes of few tokens and
    whole prompts (`by_prompt`).
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        temperature: float = 1.0,
        tokens_per_forward: int = 8192,
        device: torch.device | str = "cpu",
        autocast: torch.dtype | None = None,
        vocabulary_chunk: int = CHUNK,
        heads: Mapping[str, nn.Linear] | None = None,
        checkpointing: bool = False,
    ) -> None:
        if temperature <= 0:
            raise UserError(f"temperature is {temperature}; log-probs for training need a positive one")
        if tokens_per_forward < 1 or vocabulary_chunk < 1:
            raise UserError("tokens_per_forward and vocabulary_chunk must be at least 1")
        self.model = model.to(device).eval()
        self.adapted = lora.has_adapter(model)
        self.heads = {name: head.to(device) for name, head in (heads or {}).items()}
        self.tokens_per_forward = tokens_per_forward
        self.device = torch.device(device)
        self.autocast = autocast
        network = take_apart(self.model, self.heads)
        size = sum(weight.numel() for weight in self.model.parameters())
        # The model's own forward pass (not `Decoder`) may write to the model, so it never runs in parallel.
        self.workers = 1 if network.decoder is None else machine.workers(size, self.device)
        self.readout = Readout(network, temperature, vocabulary_chunk // self.workers)
        self.is_large = machine.is_large(size, self.device)
        self.by_prompt = self.is_large and network.decoder is not None
        self.settle(checkpointing)
        if self.by_prompt:
            self.tokens_per_forward = min(tokens_per_forward, machine.AT_ONCE)

    def settle(self, checkpointing: bool) -> None:
        """Called once the model is taken apart and before an optimiser knows its weights."""
        if checkpointing:
            network = with_checkpointing(self.readout.network, self.model)
            self.readout = replace(self.readout, network=network)

    def within(self, run: Callable[[], T]) -> T:
        """Runs a forward pass; a model whose weights are not all here brings them for it."""
        return run()

    def score(self, batch: Batch, needs: Iterable[Need], models: Models | None = None) -> dict[str, Tensor]:
        needs = tuple(dict.fromkeys(needs))
        dtype = wide(next(self.model.parameters()).dtype)
        columns = {
            need_column(need): torch.zeros(batch.num_tokens, dtype=dtype, device=batch.token.device)
            for need in needs
        }

        @torch.no_grad()
        def run(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            return tokens_of(batch.offset, rows), self.forward(take(batch, rows), needs, models or {})

        passes = forward_rows(batch, "sequence", self.tokens_per_forward, self.workers, self.by_prompt)
        done: list[tuple[Tensor, dict[str, Tensor]]] = []
        side_by_side(run, passes, self.workers, done.append)
        for tokens, scored in done:  # at the end, because reading a column waits for its pass
            for name, column in scored.items():
                if columns[name].shape[1:] != column.shape[1:]:
                    columns[name] = columns[name].new_zeros(batch.num_tokens, *column.shape[1:])
                columns[name][tokens] = column.to(columns[name])
        return columns

    def logits(self, batch: Batch) -> LogitRows:
        """Rows are divided by this scorer's temperature and returned on the device of the indices."""
        return self.look(batch, NOTHING).logits

    @torch.no_grad()
    def look(self, batch: Batch, wanted: Wanted) -> Seen:
        """One forward pass without gradient: rows of logits on request, and what is wanted of the inside."""
        return self.within(partial(self._look, batch, wanted))

    def _look(self, batch: Batch, wanted: Wanted) -> Seen:
        states = run_trunk(self.readout.network, batch, self.autocast, wanted=wanted)
        row_of = torch.full(
            (batch.num_tokens,), len(states.place), device=self.device
        )  # out of range: no action, no row
        row_of[states.place] = torch.arange(len(states.place), device=self.device)

        @torch.no_grad()
        def rows(places: Tensor) -> Tensor:
            return self.readout.logits(states, row_of[places.to(self.device)]).to(places.device)

        return Seen(rows, self.depth, states.hidden, states.attention)

    @property
    def depth(self) -> int:
        """How many layers the model has."""
        return self.readout.network.depth

    def forward(self, batch: Batch, needs: Iterable[Need], models: Models) -> dict[str, Tensor]:
        """[N] columns of one forward pass, on this device, with gradient if it is enabled. The batch is best
        on the host (see `run_trunk`)."""
        needs = tuple(needs)
        roles = {need.other for need in needs if isinstance(need, Reduction | Inside) and need.other}
        others = {role: self._seen(role, needs, batch, models) for role in sorted(roles)}
        return self.within(partial(self._forward, batch, needs, others))

    def _forward(
        self, batch: Batch, needs: tuple[Need, ...], others: Mapping[str, Seen]
    ) -> dict[str, Tensor]:
        wanted = own_layers(needs, self.depth, lambda role: others[role].depth)
        if self.readout.network.whole is None:  # the last hidden state is there without being asked for
            wanted = Wanted(wanted.states - {-1}, wanted.attention)
        after = any(isinstance(need, Head) and need.at == "after" for need in needs)
        states = run_trunk(self.readout.network, batch, self.autocast, after, wanted)
        return self.readout(states, batch, needs, others)

    def _seen(self, role: str, needs: Sequence[Need], batch: Batch, models: Models) -> Seen:
        """What another model makes of the batch, for these needs."""
        inside = [n for n in needs if isinstance(n, Inside) and n.other == role]
        if role not in models:
            name = next(need_column(n) for n in needs if getattr(n, "other", "") == role)
            raise UserError(f"'{name}' compares with a {role} model, and this run has none; set {role}")
        model = models[role]
        if not inside:
            return Seen(model.logits(batch))
        if not isinstance(model, TorchScorer):
            raise UserError(
                f"the {role} reads other prompts, and layers are compared on equal texts; leave "
                "teacher_question out, or the term that compares layers"
            )
        return model.look(batch, other_layers(inside, role, self.depth, model.depth))

    def weights(self) -> Mapping[str, Tensor]:
        """The live tensors under the model's own names, tied ones once; a shared trunk's critic is
        `value_head.weight`. Of a model with an adapter only what is not frozen (`lora.own_parameters`)."""
        return {**lora.own_parameters(self.model), **self._head_weights()}

    def _head_weights(self) -> dict[str, Tensor]:
        return {
            f"{name}_head.{part}": weight
            for name, head in self.heads.items()
            for part, weight in head.named_parameters()
        }

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The live tensors of the model without its heads (see `sync.protocols.Gives`); one with an adapter
        is merged."""
        if not self.adapted:
            return model_tensors(self.weights())
        return self.merged(lora.as_it_is)

    def merged(self, whole: Callable[[Tensor], Tensor]) -> Iterator[tuple[str, Tensor]]:
        """The weights that the adapter makes, `whole` where they are in parts."""
        heads = ((name, whole(weight)) for name, weight in model_tensors(self._head_weights()))
        return chain(lora.merged_tensors(self.model, whole), heads)

    def adapter_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """(name in peft's files, live tensor) of the adapter alone, for a sampler that takes adapters; none
        where the model has no adapter."""
        return lora.adapter_tensors(self.model)
