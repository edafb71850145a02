"""New continuations of answers that are cut, for Monte-Carlo values and segments."""

import hashlib
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from menon.rollout.groups import answer_on
from menon.rollout.protocols import Grade, Sampler, Stream
from menon.types import Estimate, Graded, Request, Rollout, Sampling


def fork(rollout: Rollout, cut: int, k: int, sampling: Sampling, purpose: str = "fork") -> list[Request]:
    """K requests that go on after the first `cut` tokens of an answer (0 <= cut < its length).

    A continuation may use what the whole answer has left of `sampling.max_new_tokens`. Its random stream is
    named by the prompt's visit and the prefix itself, not by the sample that was cut: equal prefixes get the
    same continuations, and these do not depend on other answers.
    """
    tokens = rollout.answer_tokens
    if k < 1:
        raise ValueError(f"a fork has at least 1 continuation, not {k}")
    if not 0 <= cut < len(tokens):
        raise ValueError(
            f"an answer of {len(tokens)} tokens cannot be cut at {cut}; a cut leaves at least one token "
            "to write"
        )
    left = sampling.max_new_tokens - cut
    if left < 1:
        raise ValueError(
            f"nothing may follow a prefix of {cut} tokens with max_new_tokens {sampling.max_new_tokens}"
        )
    prefix = tokens[:cut]
    digest = hashlib.blake2b(prefix.astype("<i4").tobytes(), digest_size=7).digest()
    branch = int.from_bytes(digest, "big")
    return [
        Request(
            prompt=rollout.prompt,
            sampling=replace(sampling, max_new_tokens=left),
            visit=rollout.visit,
            purpose=purpose,
            path=(branch, child),
            prefix=prefix,
            last=True,
        )
        for child in range(k)
    ]


@dataclass(frozen=True)
class Explored:
    """New continuations of cut answers."""

    names: tuple[tuple[Hashable, ...], ...]
    """For every rollout the names of its prefixes, in the order of its cuts; equal prefixes have one name."""
    continued: Mapping[Hashable, Sequence[Graded]]
    """Name of a prefix -> its K graded continuations."""

    def estimates(self) -> list[list[Estimate | None]]:
        """Estimates in the shape of the cuts; None where the grader failed on every continuation."""
        known = {name: known_scores(group) for name, group in self.continued.items()}
        found = {name: Estimate.of(scores) if scores else None for name, scores in known.items()}
        return [[found[name] for name in row] for row in self.names]

    @property
    def generated_tokens(self) -> int:
        return sum(g.rollout.num_actions for group in self.continued.values() for g in group)


def explore(
    rollouts: Sequence[Rollout],
    cuts: Sequence[Sequence[int]],
    k: int,
    stream: Stream,
    grade: Grade,
    sampling: Sampling,
) -> Explored:
    """K continuations from each cut of each rollout, all of them asked at once.

    `cuts[i]` are numbers of answer tokens of `rollouts[i]` that are kept. Prefixes that are equal, within one
    answer or between answers to one visit of a prompt, are continued once.
    """
    if len(rollouts) != len(cuts):
        raise ValueError(f"{len(rollouts)} rollouts and {len(cuts)} lists of cuts")
    names: list[tuple[Hashable, ...]] = []
    wanted: dict[Hashable, list[Request]] = {}
    for rollout, places in zip(rollouts, cuts, strict=True):
        forks = [fork(rollout, cut, k, sampling) for cut in places]
        names.append(tuple((rollout.prompt.index, rollout.visit, requests[0].path[0]) for requests in forks))
        wanted.update(zip(names[-1], forks, strict=True))
    requests = [request for group in wanted.values() for request in group]
    graded = answer_on(stream, requests, [place // k for place in range(len(requests))], grade)
    return Explored(tuple(names), {name: graded[i * k : (i + 1) * k] for i, name in enumerate(wanted)})


def prefix_values(
    rollouts: Sequence[Rollout],
    cuts: Sequence[Sequence[int]],
    k: int,
    sampler: Sampler,
    grade: Grade,
    sampling: Sampling,
) -> list[list[float]]:
    """The mean score of K new continuations from each cut of each rollout (VinePPO, arXiv 2410.01679, eq. 5).

    In the shape of `cuts` (see `explore`). A continuation whose grader failed is left out of the mean; NaN
    where all failed.
    """
    with sampler.open() as stream:
        found = explore(rollouts, cuts, k, stream, grade, sampling).estimates()
    return [[math.nan if estimate is None else estimate.value for estimate in row] for row in found]


def known_scores(graded: Sequence[Graded]) -> list[float]:
    return [g.verdict.score for g in graded if not math.isnan(g.verdict.score)]
