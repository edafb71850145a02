"""A sampler of the toy language model that writes thousands of answers at once, and exact distributions to
compare with."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch

from menon.rollout.posterior.drawn import Draw
from menon.rollout.posterior.target import Target
from menon.types import Completion, Prompt, Request, Rollout, Sampling, Verdict
from scripted import RoundSampler
from toy import END, Answer, answers, prefixes


class ToySampler(RoundSampler):
    """Draws from a table of logits [prefixes, 3]; all requests of a round token by token together. A prompt
    is one token."""

    def __init__(self, logits: torch.Tensor, length: int, seed: int = 0) -> None:
        self.logits = logits.numpy()
        self.length = length
        self.random = np.random.default_rng(seed)
        rows = prefixes(length)
        self.next_row = np.full((len(rows), 3), -1)
        for state, row in rows.items():
            for token in (0, 1):
                self.next_row[row, token] = rows.get((*state, token), -1)

    def write(self, requests: list[Request]) -> Iterator[Completion]:
        rows = prefixes(self.length)
        row = np.array([rows[tuple(r.prefix.tolist())] for r in requests])
        left = np.array([r.sampling.max_new_tokens for r in requests])
        temperature = np.array([r.sampling.temperature for r in requests])
        token = np.full((len(requests), self.length), END)
        logp = np.zeros((len(requests), self.length), dtype=np.float32)
        count = np.zeros(len(requests), dtype=np.int64)
        going = np.arange(len(requests))
        for place in range(self.length):
            scaled = self.logits[row[going]] / temperature[going, None]
            log = scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)
            uniform = self.random.random(len(going))
            drawn = np.minimum((np.exp(log).cumsum(1) < uniform[:, None]).sum(1), 2)
            token[going, place] = drawn
            logp[going, place] = log[np.arange(len(going)), drawn]
            count[going] += 1
            row[going] = self.next_row[row[going], drawn]
            going = going[(drawn != END) & (count[going] < left[going])]
            if not len(going):
                break
        for place, request in enumerate(requests):
            mine = slice(0, count[place])
            tokens = token[place, mine].astype(np.int32)
            yield Completion(
                request=request,
                tokens=tokens,
                logp=logp[place, mine],
                log_kept=None,
                entropy=None,
                version=np.zeros(len(tokens), dtype=np.int32),
                finish="stop" if tokens[-1] == END else "length",
                text="",
            )


PROMPT = Prompt(0, np.array([END], dtype=np.int32), "", None)


class ToyGrade:
    """Grades all answers of a round at once, by one look at each."""

    def __init__(self, reward: Callable[[Answer], float], length: int) -> None:
        said = {*answers(length), *prefixes(length)}
        self.verdict = {answer: Verdict(reward(answer) if answer else 0.0, float("nan")) for answer in said}

    def __call__(self, rollout: Rollout) -> Verdict:
        return self.verdict[tuple(rollout.answer_tokens.tolist())]

    def grade_all(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        return [self(rollout) for rollout in rollouts]


def toy_target(
    logits: torch.Tensor, length: int, reward: Callable[[Answer], float], beta: float, **settings: object
) -> Target:
    """The target of a reward on the toy language model, and its log-probs at temperature 1."""
    rows, log = prefixes(length), logits.log_softmax(-1).numpy()

    def untempered(rollouts: Sequence[Rollout]) -> list[np.ndarray]:
        found = []
        for rollout in rollouts:
            said = rollout.answer_tokens.tolist()
            found.append(
                np.array([0.0, *(log[rows[tuple(said[:t])], token] for t, token in enumerate(said))])
            )
        return found

    return Target(
        ToySampler(logits, length),
        ToyGrade(reward, length),
        Sampling(max_new_tokens=length),
        beta=beta,
        untempered=untempered,
        **settings,
    )


def said(draws: Iterable[Draw]) -> list[Answer]:
    return [tuple(draw.graded.rollout.answer_tokens.tolist()) for draw in draws]


def total_variation(found: Sequence[Answer], exact: Sequence[float], length: int) -> float:
    """Half of the summed differences between the shares of the answers and their probabilities."""
    count = Counter(found)
    assert set(count) <= set(answers(length))
    shares = [count[answer] / len(found) for answer in answers(length)]
    return 0.5 * float(np.abs(np.array(shares) - np.array(exact)).sum())
