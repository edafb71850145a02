"""The built-in scorer and learner: any causal LM of `transformers`, or a critic, on one device.

Dropout is off, in training too: a policy is trained on the distribution that it was sampled from.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from menon.batch import Batch, take, tokens_of
from menon.engines import lora, machine
from menon.engines.forward import run_trunk
from menon.engines.inside import NOTHING, Seen, Wanted, other_layers, own_layers
from menon.engines.layers import with_checkpointing
from menon.engines.log_probs import CHUNK, wide
from menon.engines.network import take_apart
from menon.engines.own_backward import adding_gradients
from menon.engines.parallel_passes import side_by_side
from menon.engines.protocols import LogitRows, Models, check_same_model
from menon.engines.put_aside import give_back
from menon.engines.readout import Readout
from menon.errors import UserError
from menon.sync.pairs import model_tensors
from menon.types import Mean, Metric, Sum, merge
from menon.update.objective import Micro, forward_rows, loss_of, moved, weighs
from menon.update.optimiser import Optimiser, rate
from menon.update.protocols import Head, Inside, Need, Reduction, need_column

T = TypeVar("T")
MOST_SKIPPED = 10
"""Updates in a row without a finite gradient after which a run stops."""


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
        self.by_prompt = network.decoder is not None and machine.passes_by_prompt(size, self.device)
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


class Passed(NamedTuple):
    """The result of a forward and backward pass."""

    metrics: dict[str, Metric]
    weighed: Tensor
    grads: tuple[Tensor | None, ...] = ()
    """Gradients of the trained weights, if the pass has not accumulated them itself."""


class TorchLearner(TorchScorer):
    """A `Learner` that trains fp32 (or fp64) weights by AdamW. `settings` are those of `TorchScorer`."""

    def __init__(self, model: nn.Module, optimiser: Optimiser, **settings: Any) -> None:
        super().__init__(model, **settings)
        self.optimiser = optimiser
        self._trained = {name: weight for name, weight in self.weights().items() if weight.requires_grad}
        if any(weight.dtype not in (torch.float32, torch.float64) for weight in self._trained.values()):
            raise UserError(
                "a learner's weights must be float32, or small updates are lost; for bfloat16 speed set "
                "autocast"
            )
        self._adamw = torch.optim.AdamW(
            list(self._trained.values()),
            lr=optimiser.learning_rate,
            betas=optimiser.betas,
            eps=optimiser.eps,
            weight_decay=optimiser.weight_decay,
            fused=True,  # one pass over weights, moments and gradients
        )
        self._updates = 0
        self._skipped_in_a_row = 0
        self._weighed: list[Tensor] = []
        """For each pass, whether one of its tokens had a weight."""

    def accumulate(self, micros: Iterable[Micro], models: Models) -> dict[str, Metric]:
        """Gradients of parallel passes are added in the order of the passes, so that the sum is the same bit
        for bit every time."""
        metrics: dict[str, Metric] = {}
        self.tidy()

        def run(micro: Micro) -> Passed:
            now = self.forward(micro.batch, micro.needs, models)
            micro = moved(micro, self.device)
            loss, found = loss_of(now, micro)
            if self.workers > 1:
                grads = torch.autograd.grad(loss, list(self._trained.values()), allow_unused=True)
                return Passed(found, weighs(now, micro), grads)
            loss.backward()  # needs no room for a pass's own gradient
            return Passed(found, weighs(now, micro))

        def alone(micro: Micro) -> Passed:
            with adding_gradients():
                return run(micro)

        def add(passed: Passed) -> None:
            merge(metrics, passed.metrics)
            self._weighed.append(passed.weighed)
            for weight, grad in zip(self._trained.values(), passed.grads, strict=False):
                if grad is not None:
                    weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
                    weight.grad.add_(grad)

        side_by_side(alone if self.by_prompt else run, micros, self.workers, add)
        return metrics

    def step(self) -> dict[str, Metric]:
        """One AdamW step, unless no token of the update had a weight (`update/empty`) or the norm of the
        gradient is not finite (`update/skipped`): then weights and moments stay as they are, and the schedule
        does not advance."""
        weighed, self._weighed = self.anywhere(any(bool(each) for each in self._weighed)), []
        metrics: dict[str, Metric] = {"update/empty": Sum(int(not weighed)), "update/skipped": Sum(0)}
        if weighed:
            # No name for the gradients: they must be free when memory is given back.
            norm = self.total_norm([w.grad for w in self._trained.values() if w.grad is not None])
            if math.isfinite(size := float(norm)):
                self._move(norm)
                metrics |= {"grad_norm": Mean(size), "learning_rate": Mean(self._adamw.param_groups[0]["lr"])}
            else:
                metrics["update/skipped"] = Sum(1)
                self._skip()
        self._adamw.zero_grad(set_to_none=True)
        self.tidy()
        return metrics

    def tidy(self) -> None:
        """Gives back what the sampler before an update, and the update before the sampler, has freed."""
        if self.by_prompt:
            give_back()

    def anywhere(self, here: bool) -> bool:
        """Whether something holds in one of the processes that share an update."""
        return here

    def total_norm(self, grads: list[Tensor]) -> Tensor:
        """The norm of the whole gradient; 0-dim."""
        return get_total_norm(grads)

    def take_gradient(self) -> dict[str, Tensor]:
        """The gradient that `accumulate` has added up, by the weights' names; it is then forgotten."""
        found = {name: weight.grad for name, weight in self._trained.items() if weight.grad is not None}
        self._adamw.zero_grad(set_to_none=True)
        self._weighed = []
        return found

    def _move(self, norm: Tensor) -> None:
        if self.optimiser.clip_norm:
            clip_grads_with_norm_(list(self._trained.values()), self.optimiser.clip_norm, norm)
        for group in self._adamw.param_groups:
            group["lr"] = rate(self.optimiser, self._updates)
        self._adamw.step()
        self._updates += 1
        self._skipped_in_a_row = 0

    def _skip(self) -> None:
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row >= MOST_SKIPPED:
            raise UserError(
                f"{MOST_SKIPPED} updates in a row had a gradient that is not finite; lower learning_rate, "
                "or go back to an "
                "earlier checkpoint"
            )

    def state(self) -> dict[str, Any]:
        """Moments by weight's name, and counters. Live tensors, like `weights()`: write them before the next
        step."""
        moments = {
            name: dict(self._adamw.state[weight])
            for name, weight in self._trained.items()
            if weight in self._adamw.state
        }
        return {"updates": self._updates, "skipped_in_a_row": self._skipped_in_a_row, "moments": moments}

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Copies into the live tensors, so that a sampler that shares them sees the new weights."""
        own = self.weights()
        check_same_model(own, weights)
        for name, weight in own.items():
            self.put(weight, weights[name])
        self._updates, self._skipped_in_a_row = int(state["updates"]), int(state["skipped_in_a_row"])
        self._weighed = []
        self._adamw.zero_grad(set_to_none=True)
        self._adamw.state.clear()
        for name, moments in state["moments"].items():
            weight = self._trained[name]
            self._adamw.state[weight] = {
                # The optimiser's step count has a dtype of its own.
                key: value.to(weight.device, copy=True) if key == "step" else self.like(weight, value)
                for key, value in moments.items()
            }

    def put(self, weight: Tensor, given: Tensor) -> None:
        """Writes numbers into a weight."""
        weight.copy_(given)

    def like(self, weight: Tensor, given: Tensor) -> Tensor:
        """A copy of a checkpoint's moment, held as the weight is."""
        return given.to(weight, copy=True)
