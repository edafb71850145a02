"""Whether publishing does what it should on a user's own placement: unchanged weights change nothing, changed
ones reach every sampler, and nothing that was computed with the old ones answers (docs/laws.md, law 11)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from menon.assembly.dry_run import online_of
from menon.assembly.scored import batch_of, scored
from menon.batch import Batch
from menon.config import Models
from menon.loop import Run
from menon.loss import PolicyGradient
from menon.loss.aggregation import TokenMean
from menon.rollout.protocols import Sampler
from menon.sync.protocols import Published, WeightChannel
from menon.types import Completion, Prompt, Request, Sampling
from menon.update.host import ModelHost
from menon.update.objective import prepare
from menon.update.optimiser import Optimiser
from menon.update.terms import MiniBatch, Term, Update

LEARNING_RATE = 1e-3
"""Of the updates that change the weights; it is not the run's own, whose change may be too small to see."""
UPDATE = Update({"policy": Term(PolicyGradient(), TokenMean())})
REPEATS = 3
"""Publications of unchanged weights."""
MOST_UPDATES = 8
"""Updates after which the change of the weights must be visible."""
PROMPTS, SAMPLES, NEW = 8, 2, 24
"""Prompts, answers to each, and most tokens of an answer."""
LONG = 320
"""Tokens of a prompt that fills at least two blocks of a prefix cache, where the context has room for it."""
BOUND = {"float32": 1e-4, "float64": 1e-4, "bfloat16": 0.5}
"""Most nats by which trainer and sampler may differ for one token (law 3), by the dtype of the run."""
VISIBLE = 20
"""A change is visible where it is so many times the bound, for the token after a long prompt."""


class SyncFailed(Exception):
    """What publishing did that it should not."""


@dataclass(frozen=True)
class Written:
    """What a sampler answered, and what the trainer says of the same tokens."""

    completions: Sequence[Completion]
    """In the order of the requests."""
    trainer: Sequence[np.ndarray]
    """[T] the trainer's log-probs of each answer."""

    def apart(self, place: int) -> float:
        """The largest difference of trainer and sampler in one answer."""
        logp = self.completions[place].logp
        return float(np.abs(self.trainer[place] - logp).max()) if len(logp) else 0.0


def to_check(models: Models) -> Models:
    """The models of a run whose placement is checked: the same, with a learning rate of our own."""
    return replace(models, policy=replace(models.policy, optimiser=Optimiser(LEARNING_RATE), natural=None))


class SyncCheck:
    """A check of a host's policy, a sampler, and the channel between them. The requests are those of
    `requests_of`; `tell` gets a line for each thing that is right. `bound` is in nats a token."""

    def __init__(
        self,
        host: ModelHost,
        channel: WeightChannel,
        sampler: Sampler,
        requests: Sequence[Request],
        bound: float,
        tell: Callable[[str], None],
    ) -> None:
        self.host, self.channel, self.sampler, self.bound, self.tell = host, channel, sampler, bound, tell
        self.requests = requests
        self.long = [request.prompt.index < 0 for request in requests]
        self.version = sampler.version
        self.fingerprint = ""
        """That of the unchanged weights."""

    def __call__(self) -> None:
        """SyncFailed says what is wrong."""
        before = self.write()
        self.compare(before, "before anything is published")
        self.publish_unchanged(before)
        self.change(before)
        self.publish_changed(before)

    def write(self) -> Written:
        """All answers, and the trainer's log-probs of them."""
        with self.sampler.open() as stream:
            stream.ask(self.requests)
            found = {id(completion.request): completion for completion in stream}
        completions = [found[id(request)] for request in self.requests]
        return Written(completions, scored(self.host, completions))

    def compare(self, written: Written, when: str) -> None:
        """Trainer against sampler, on the same tokens."""
        apart = [written.apart(place) for place in range(len(self.requests))]
        tokens = sum(len(completion.tokens) for completion in written.completions)
        odd = [place for place, most in enumerate(apart) if not most <= self.bound]
        if not odd:
            within = f"{max(apart):.2g} nats"
            self.tell(f"trainer and sampler agree on {tokens} tokens {when}, within {within}")
            return
        what = "trainer and sampler disagree"
        if all(self.long[place] for place in odd) and not all(self.long):
            what = "the sampler's prefix cache of other weights answers: trainer and sampler disagree"
        raise SyncFailed(
            f"{what} {when}, by up to {max(apart):.2g} nats a token in {len(odd)} of {len(apart)} answers; "
            f"at most {self.bound:g} is rounding"
        )

    def publish(self) -> Published:
        """The next version. SyncFailed if the two ends differ."""
        self.version += 1
        try:
            published = self.channel.publish(self.version)
        except RuntimeError as error:
            raise SyncFailed(str(error)) from error
        if (published.version, self.sampler.version) != (self.version, self.version):
            raise SyncFailed(f"publication {self.version} left the sampler at version {self.sampler.version}")
        return published

    def publish_unchanged(self, before: Written) -> None:
        """Any number of publications of the same weights changes nothing: nor does an update whose gradient
        is 0."""
        batch = batch_of(before.completions)
        fingerprints = set()
        for _ in range(REPEATS):
            self.update(replace(batch, advantage=0 * batch.is_action.float()))
            fingerprints.add(self.publish().fingerprint)
            now = self.write()
            self.same_texts(before, now)
        if len(fingerprints) > 1:
            raise SyncFailed("publishing unchanged weights changed their fingerprint")
        self.tell(f"{REPEATS} publications of unchanged weights changed no text, log-prob or fingerprint")
        self.fingerprint = fingerprints.pop()

    def same_texts(self, before: Written, now: Written) -> None:
        pairs = list(zip(before.completions, now.completions, strict=True))
        odd = sum(a.tokens.tolist() != b.tokens.tolist() for a, b in pairs)
        if odd:
            raise SyncFailed(f"publishing unchanged weights changed {odd} of {len(pairs)} texts")
        apart = max(float(np.abs(a.logp - b.logp).max(initial=0)) for a, b in pairs)
        if not apart <= self.bound:
            raise SyncFailed(f"publishing unchanged weights changed log-probs by up to {apart:.2g} nats")

    def change(self, before: Written) -> None:
        """Updates until the trainer's own log-probs of the old answers show it, also after a long prompt."""
        batch = batch_of(before.completions)
        for count in range(1, MOST_UPDATES + 1):
            self.update(replace(batch, advantage=batch.is_action.float()))
            now = scored(self.host, before.completions)
            first = [
                abs(float(new[0] - old[0]))
                for new, old, long in zip(now, before.trainer, self.long, strict=True)
                if long and len(new)
            ]
            if min(first) > VISIBLE * self.bound:
                self.tell(
                    f"{count} update{'s' * (count > 1)} moved the log-prob of the token after a long prompt "
                    f"by {min(first):.2g} nats"
                )
                return
        raise SyncFailed(
            f"{MOST_UPDATES} updates moved the trainer's log-probs by {min(first):.2g} nats: too little"
        )

    def publish_changed(self, before: Written) -> None:
        """The new weights answer everywhere, and only they."""
        published = self.publish()
        now = self.write()
        old = {version for completion in now.completions for version in completion.version.tolist()}
        if old != {self.version}:
            raise SyncFailed(f"answers after publication {self.version} carry the versions {sorted(old)}")
        if published.fingerprint == self.fingerprint:
            raise SyncFailed("the publication moved nothing: the sampler has the fingerprint of before")
        if self.unmoved(before, now):
            raise SyncFailed("the publication moved nothing: the sampler answers as before, to every prompt")
        self.compare(now, "after the weights changed")
        self.tell(f"the changed weights answer, also to a prompt of {self.longest} tokens asked before")

    def unmoved(self, before: Written, now: Written) -> bool:
        """Whether every answer and its log-probs are as before, which the new weights do not give."""
        pairs = zip(before.completions, now.completions, strict=True)
        return all(
            a.tokens.tolist() == b.tokens.tolist() and np.abs(a.logp - b.logp).max(initial=0) < self.bound
            for a, b in pairs
        )

    @property
    def longest(self) -> int:
        return max(len(request.prompt.tokens) for request in self.requests)

    def update(self, batch: Batch) -> None:
        part = MiniBatch(UPDATE, torch.arange(batch.num_sequences), first=True)
        self.host.update("policy", prepare(part, batch, self.host))


def check_of_run(run: Run, bound: float, tell: Callable[[str], None]) -> SyncCheck:
    """The check of a run that writes text."""
    source = online_of(run)
    prompts = [prompt for prompt, _ in source.prompts.take(PROMPTS)]
    context = getattr(source.sampler, "context", None)
    requests = requests_of(prompts, source.around.sampling, context)
    return SyncCheck(run.host, run.channel, source.sampler, requests, bound, tell)


def requests_of(taken: Sequence[Prompt], given: Sampling, context: int | None) -> list[Request]:
    """Answers to these prompts, and to long ones made of them, which are numbered below 0."""
    new = min(NEW, given.max_new_tokens)
    sampling = replace(given, max_new_tokens=new)
    room = LONG if context is None else min(LONG, context - new)
    prompts = [*taken, *(lengthened(prompt, room, -1 - place) for place, prompt in enumerate(taken[:2]))]
    return [Request(prompt, sampling, sample) for prompt in prompts for sample in range(SAMPLES)]


def lengthened(prompt: Prompt, tokens: int, index: int) -> Prompt:
    """A prompt repeated until it is as long as asked, or the prompt where it is longer."""
    repeats = -(-tokens // len(prompt.tokens))
    whole = np.tile(prompt.tokens, repeats)[-max(tokens, len(prompt.tokens)) :]
    return replace(prompt, index=index, tokens=whole)
