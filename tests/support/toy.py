"""A language model small enough to list everything that it can say: exact expectations, in double precision.

Three tokens, 0, 1 and END; an answer ends with END or at `length` tokens. With length 6 there are 63 answers
that end and 64 that are cut. Every prefix has three logits of its own (a table), so any distribution over
answers can be represented.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch, take
from menon.engines.in_process import InProcessHost
from menon.engines.protocols import LogitRows, Models
from menon.engines.readout import among
from menon.types import FINISHES
from menon.update.objective import Micro, loss_of, prepare
from menon.update.protocols import Need
from menon.update.terms import AnyTerm, MiniBatch, Update

END = 2
Answer = tuple[int, ...]


@cache
def prefixes(length: int) -> dict[Answer, int]:
    """Every state in which a token is written -> its row in the table."""
    states = (state for size in range(length) for state in product((0, 1), repeat=size))
    return {state: row for row, state in enumerate(states)}


@cache
def answers(length: int) -> tuple[Answer, ...]:
    """Everything that can be said."""
    ended = [(*state, END) for state in prefixes(length)]
    return (*ended, *product((0, 1), repeat=length))


def table(length: int, seed: int, size: float = 1.0) -> Tensor:
    """[prefixes, 3] logits."""
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(len(prefixes(length)), 3, generator=generator, dtype=torch.float64)


def batch_of_answers(length: int, reward: Callable[[Answer], float | Sequence[float]]) -> Batch:
    """All answers, each a group of its own behind one prompt token. A number lies on the last token, a list
    on each one."""
    said = answers(length)
    offset = torch.tensor([0, *(len(a) + 1 for a in said)]).cumsum(0)
    rewards: list[float] = []
    for answer in said:
        value = reward(answer)
        rewards += [0.0, *value] if isinstance(value, Sequence) else [0.0] * len(answer) + [value]
    stopped = torch.tensor([a[-1] == END for a in said])
    return Batch(
        offset=offset,
        token=torch.tensor([token for a in said for token in (END, *a)]),
        is_action=torch.tensor([place > 0 for a in said for place in range(len(a) + 1)]),
        reward=torch.tensor(rewards, dtype=torch.float64),
        group=torch.arange(len(said)),
        finish=torch.where(stopped, FINISHES.index("stop"), FINISHES.index("length")),
        valid=torch.ones(len(said), dtype=torch.bool),
        acc=torch.full((len(said),), float("nan"), dtype=torch.float64),
        columns={"state": _states(length)},
    )


def _states(length: int) -> Tensor:
    """[N] row of the table that writes each token; 0 for prompts."""
    row = prefixes(length)
    return torch.tensor([row[a[: max(place - 1, 0)]] for a in answers(length) for place in range(len(a) + 1)])


@dataclass(frozen=True)
class Toy:
    """The table as a scorer; its columns carry gradient where the table does."""

    logits_of_state: Tensor
    states: Tensor
    """[N] of the batch that it is asked about."""
    tokens_per_forward: int = 1 << 30

    def columns(self, batch: Batch, needs: Iterable[Need], models: Models) -> dict[str, Tensor]:
        logits = self.logits_of_state[self.states]
        logp = logits.log_softmax(-1)
        found = {}
        for need in needs:
            if need == "logp":
                found[need] = logp.gather(-1, batch.token[:, None])[:, 0]
                if batch.kept is not None:
                    found[need] = among(logits, batch.token, batch.kept.long(), found[need])
            elif need == "entropy":
                found[need] = -(logp.exp() * logp).sum(-1)
            elif not isinstance(need, str):
                other = models[need.other]
                assert isinstance(other, Toy)
                found[need.name] = need.reduce(logits, other.logits_of_state[self.states].detach())
        return {name: torch.where(batch.is_action, value, 0) for name, value in found.items()}

    def score(self, batch: Batch, needs: Iterable[Need], models: Models | None = None) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in self.columns(batch, needs, models or {}).items()}

    def logits(self, batch: Batch) -> LogitRows:
        raise NotImplementedError

    def weights(self) -> dict[str, Tensor]:
        return {}


def log_probability(batch: Batch, logits_of_state: Tensor) -> Tensor:
    """[S] log-probability of each answer, with gradient."""
    logp = Toy(logits_of_state, batch.columns["state"]).columns(batch, ("logp",), {})["logp"]
    return ragged.sequence_sum(logp, batch.offset)


def groups_of(batch: Batch, size: int) -> tuple[Batch, Tensor]:
    """Every ordered group of `size` answers as a group of one big batch, and [groups, size] which answers
    they are."""
    members = torch.cartesian_prod(*[torch.arange(batch.num_sequences)] * size).view(-1, size)
    big = take(batch, members.flatten())
    return replace(big, group=torch.arange(len(members)).repeat_interleave(size)), members


def expected_loss(
    term: AnyTerm, batch: Batch, probability_of_group: Tensor, policy: Tensor, reference: Tensor | None = None
) -> Tensor:
    """Sum over groups of probability times the loss of an update with that group alone, with gradient to
    `policy`.

    `term.share` must be a mean over groups or over equally large ones (PromptMean, SequenceMean, ...): then
    an update of all groups weighs each 1 / groups, which is undone here. Everything else is the package's own
    path from a term to a loss.
    """
    states = batch.columns["state"]
    models: dict[str, Toy] = {"policy": Toy(policy, states)}
    if reference is not None:
        models["reference"] = models["teacher"] = Toy(reference, states)
    part = MiniBatch(Update({"term": term}), torch.arange(batch.num_sequences), first=True)
    job = prepare(part, batch, InProcessHost(models))
    whole, ready = job.batch, job.terms
    _, group = torch.unique(batch.group, return_inverse=True)
    by_token = ragged.spread((probability_of_group * len(probability_of_group))[group], batch.offset)
    weighted = {name: replace(each, weight=each.weight * by_token) for name, each in ready.items()}
    micro = Micro(whole, weighted)
    loss, _ = loss_of(models["policy"].columns(whole, micro.needs, models), micro)
    return loss
