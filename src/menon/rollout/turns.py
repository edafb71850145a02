"""Answers in turns with an environment: the policy writes, the environment answers, and so on, in one
sequence.

The policy's tokens are never tokenised again; an observation is tokenised once and appended. Each turn
continues everything before it (`Request.prefix`), and a token's random number depends on its index in the
whole answer.
"""

import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from menon.errors import UserError
from menon.processes.deadline import Call, Late
from menon.rollout.answered import Answered
from menon.rollout.environments.protocol import Environment, EpisodeFailed, ReadsTokens
from menon.rollout.protocols import Grade, GradeAll, Sampler
from menon.streams import stream
from menon.types import Completion, Finish, Graded, Request, Rollout, Tokens, Verdict, no_tokens
from menon.user_code import describe, file_of, line_of

GradedText = Literal["policy", "all"]
"""What a grader reads of an answer in turns. `policy`: what the policy wrote, with a line break in place of
each observation, so that no answer is put together across one. `all`: the observations too."""
PARALLEL = os.cpu_count() or 1
"""Most calls of environments that run in parallel, where an environment does not say `at_once`."""
OBSERVED = {
    "logp": np.float32,
    "log_kept": np.float32,
    "entropy": np.float32,
    "version": np.int32,
    "reward": np.float32,
}
"""Columns that are 0 where the policy did not write."""


@dataclass(frozen=True)
class Turns:
    """Answers each request in turns until the environment says that the episode is over (finish "stop").

    A request's `max_new_tokens` bounds everything after the prompt, observations included. When it or
    `max_turns` is used up, the answer is cut (finish "length"); a turn that was itself cut is not passed to
    the environment.

    An environment that raises, takes longer than `time_limit` seconds for one call or returns something of
    another type ends its episode (finish "abort") with a NaN verdict that says so. The verdicts of the others
    are the grader's, with the environment's rewards added to the score, and three parts: `turns`, `observed`
    (1 if the policy got to read an observation) and `environment` (the sum of its rewards).
    """

    environment: Environment
    """The settings of the environment; each episode gets a new copy."""
    tokenize: Callable[[str, Tokens], Sequence[int]]
    """(text, the tokens before it) -> its tokens as a continuation: without any for the beginning or end of a
    text, and without a space in front that the text does not have."""
    decode: Callable[[list[int]], str]
    """The tokens of a turn -> the text that the environment reads."""
    seed: int = 0
    max_turns: int = 16
    time_limit: float = 60.0
    graded_text: GradedText = "policy"

    def __post_init__(self) -> None:
        if self.max_turns < 1 or not self.time_limit > 0:
            raise UserError(
                f"max_turns ({self.max_turns}) must be at least 1 and an environment's time_limit positive"
            )

    def __call__(
        self, requests: Sequence[Request], groups: Sequence[int], sampler: Sampler, grade: Grade
    ) -> list[Graded]:
        """Graded answers in the order of the requests, which get the given group numbers."""
        episodes = [Episode(request, group, self) for request, group in zip(requests, groups, strict=True)]
        most = getattr(self.environment, "at_once", len(episodes)) or 1
        for start in range(0, len(episodes), most):
            some = episodes[start : start + most]
            try:
                self._play(some, sampler)
            finally:
                self._close(some)
        return verdicts_of(episodes, grade)

    def _play(self, episodes: "Sequence[Episode]", sampler: Sampler) -> None:
        """Plays episodes to their ends, all at the same time."""
        waits = hasattr(self.environment, "at_once")
        room = threading.Semaphore(max(len(episodes), 1) if waits else PARALLEL)
        self._wait([(episode.begin, Call(episode.reset, room=room)) for episode in episodes])
        with sampler.open(keep=True) as stream:  # a turn goes on from the one before
            answers = Answered[Episode](stream)
            answers.ask([(episode, episode.request()) for episode in episodes if episode.finish is None])
            for episode, completion in answers:
                if episode.takes(completion):
                    step = Call(self.step_of(episode.environment), completion, room=room)
                    answers.ask(self._next_turn(episode, step))

    @property
    def _limit(self) -> float:
        return float(getattr(self.environment, "time_limit", self.time_limit))

    def step_of(self, environment: Environment) -> Callable[[Completion], Any]:
        """How an environment takes a turn: as tokens if it reads them, else as text."""
        if isinstance(environment, ReadsTokens):
            return environment.step_tokens
        return lambda completion: environment.step(self.decode(completion.tokens.tolist()))

    def _next_turn(self, episode: "Episode", step: Call) -> "Iterator[tuple[Episode, Request]]":
        """Waits for the environment, and asks unless the episode is over."""
        self._wait([(episode.goes_on, step)])
        if episode.finish is None:
            yield episode, episode.request()

    def _close(self, episodes: "Sequence[Episode]") -> None:
        closing = [
            Call(close)
            for episode in episodes
            if (close := getattr(episode.environment, "close", None)) is not None
        ]
        for call in closing:
            with suppress(Exception):  # nothing depends on it any more
                call.result(self._limit)

    def _wait(self, calls: Sequence[tuple[Callable[[Any], None], Call]]) -> None:
        for heard, call in calls:
            try:
                answer = call.result(self._limit)
            except Late as late:
                answer = self._fault(str(late))
            except EpisodeFailed as failed:
                answer = Fault(str(failed))
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # no error of a user's environment ends the run
                own = type(self.environment)
                answer = self._fault(f"raised {describe(error, file_of(own), line_of(own, 'reset'))}")
            heard(answer)

    def _fault(self, what: str) -> "Fault":
        return Fault(f"the environment {type(self.environment).__name__} {what}")


@dataclass(frozen=True)
class Fault:
    """The error of an environment that did not answer, in one sentence."""

    sentence: str


class Episode:
    """One request in progress: its tokens so far, and their columns."""

    def __init__(self, request: Request, group: int, turns: Turns) -> None:
        if len(request.prefix):
            raise ValueError(
                "an answer in turns cannot go on from a prefix: its environment would not know of it"
            )
        self.asked, self.group, self.turns = request, group, turns
        self.environment: Environment = replace(turns.environment)  # type: ignore[type-var]  # any dataclass
        self.tokens: Tokens = no_tokens()
        """All tokens after the prompt."""
        self.columns: dict[str, list[Any]] = {name: [] for name in ("is_action", *OBSERVED)}
        """The pieces of each column; None in place of one that the sampler does not give."""
        self.turns_written: list[tuple[int, Completion]] = []
        """The turns, each with the index after the prompt at which it begins."""
        self.finish: Finish | None = None
        self.text, self.fault = "", ""
        self.num_turns = self.observed = 0
        self.short = False
        """Whether the environment limits the turn that is being written."""

    @property
    def left(self) -> int:
        return self.asked.sampling.max_new_tokens - len(self.tokens)

    def reset(self) -> Any:
        prompt, request = self.asked.prompt, self.asked
        seed = stream(self.turns.seed, "environment", request.purpose, request.visit, prompt.index).integers(
            2**31
        )
        return self.environment.reset(prompt, int(seed))

    def begin(self, observation: Any) -> None:
        if isinstance(observation, Fault):
            self.abort(observation.sentence)
        elif isinstance(observation, np.ndarray):
            self.goes_on_from(observation)
        elif not isinstance(observation, str):
            self.fail(f"returned {kind(observation)} from reset; it must be the first observation, a string")
        else:
            self.observe(observation)

    def request(self) -> Request:
        sampling = self.asked.sampling
        stop = (*sampling.stop, *getattr(self.environment, "stop", ()))
        most = getattr(self.environment, "most_tokens", None)
        self.short = most is not None and most <= self.left
        room = self.left if most is None else min(most, self.left)
        return replace(
            self.asked, sampling=replace(sampling, max_new_tokens=room, stop=stop), prefix=self.tokens
        )

    def takes(self, completion: Completion) -> bool:
        """Appends a turn; returns whether the environment must answer it."""
        size = len(completion.tokens)
        is_whole = completion.finish == "stop" or (completion.finish == "length" and self.short)
        self.turns_written.append((len(self.tokens), completion))
        self.append(
            completion.tokens,
            np.ones(size, dtype=np.bool_),
            {name: getattr(completion, name) for name in OBSERVED if name != "reward"},
        )
        self.num_turns += 1
        self.text = completion.text
        if not is_whole:
            self.finish = completion.finish
        return self.finish is None

    def goes_on(self, answer: Any) -> None:
        """Takes the environment's answer to the last turn."""
        if isinstance(answer, Fault):
            return self.abort(answer.sentence)
        if not isinstance(answer, tuple | list) or len(answer) != 3:
            return self.fail(f"returned {kind(answer)} from step; it must be (observation, reward, done)")
        observation, reward, done = answer
        if not isinstance(observation, str | np.ndarray):
            return self.fail(f"returned {kind(observation)} as observation; it must be a string")
        if not isinstance(reward, int | float | np.number | np.bool_) or not math.isfinite(reward):
            return self.fail(f"returned {reward!r} as reward; it must be a finite number")
        if not isinstance(done, bool | np.bool_):
            return self.fail(f"returned {done!r} for done; it must be true or false")
        if len(self.tokens):
            self.columns["reward"][-1][-1] = reward
        if done:
            self.finish = "stop"
        elif self.num_turns >= self.turns.max_turns:
            self.finish = "length"
        elif isinstance(observation, np.ndarray):
            self.observed = 1
            self.goes_on_from(observation)
        else:
            self.observe(observation)
            self.observed |= bool(observation)

    def goes_on_from(self, sequence: Tokens) -> None:
        """Takes the whole sequence that the next turn goes on from. Before the first turn it may replace the
        prompt; the tokens by which it is longer count as observed."""
        prompt = self.asked.prompt
        known = np.concatenate([prompt.tokens, self.tokens])
        if not np.array_equal(sequence[: len(known)], known):
            if self.turns_written:
                return self.fail("rendered what was read or written before in other tokens")
            room = self.left - max(0, len(sequence) - len(known))
            if room < 1:
                self.finish = "length"
                return None
            sampling = replace(self.asked.sampling, max_new_tokens=room)
            self.asked = replace(self.asked, prompt=replace(prompt, tokens=sequence), sampling=sampling)
            return None
        self.append_observation(sequence[len(known) :])
        return None

    def observe(self, text: str) -> None:
        before = np.concatenate([self.asked.prompt.tokens, self.tokens])
        self.append_observation(np.asarray(self.turns.tokenize(text, before) if text else [], dtype=np.int32))

    def append_observation(self, tokens: Tokens) -> None:
        if len(tokens) >= self.left:
            self.finish = "length"  # an observation that leaves no room for an answer would have no effect
        else:
            self.append(tokens, np.zeros(len(tokens), dtype=np.bool_), {})

    def append(self, tokens: Tokens, is_action: np.ndarray, known: dict[str, Any]) -> None:
        self.tokens = np.concatenate([self.tokens, tokens])
        self.columns["is_action"].append(is_action)
        for name, dtype in OBSERVED.items():
            self.columns[name].append(known.get(name, np.zeros(len(tokens), dtype=dtype)))

    def fail(self, what: str) -> None:
        self.abort(f"the environment {type(self.environment).__name__} {what}")

    def abort(self, sentence: str) -> None:
        self.finish, self.fault = "abort", sentence

    def rollout(self) -> Rollout:
        prompt = self.asked.prompt
        size = len(prompt.tokens)
        types = {"is_action": np.bool_, **OBSERVED}
        columns: dict[str, Any] = {
            name: np.concatenate([np.zeros(size, dtype=types[name]), *pieces])
            for name, pieces in self.columns.items()
            if not any(piece is None for piece in pieces)
        }
        return Rollout(
            prompt=prompt,
            tokens=np.concatenate([prompt.tokens, self.tokens]),
            finish=self.finish or "abort",
            text=self.text,
            written=self.written() if self.turns.graded_text == "policy" else None,
            group=self.group,
            sample=self.asked.sample,
            visit=self.asked.visit,
            **{"log_kept": None, "entropy": None, **columns},
            **self._alternatives(size),
            kept=self._kept(size),
        )

    def written(self) -> str:
        """What the policy wrote, or the environment's answer in its place. Turns without an observation
        between them are decoded together."""
        answer = getattr(self.environment, "answer", None)
        if answer is not None:
            return str(answer)
        pieces: list[list[Tokens]] = []
        end = -1
        for begin, turn in self.turns_written:
            if begin != end:
                pieces.append([])
            pieces[-1].append(turn.tokens)
            end = begin + len(turn.tokens)
        return "\n".join(self.turns.decode(np.concatenate(piece).tolist()) for piece in pieces)

    def _kept(self, prompt_tokens: int) -> Tokens | None:
        """[L, k] of all turns, -1 where the policy did not write; None where they were not recorded."""
        found: Tokens | None = None
        for begin, turn in self.turns_written:
            if turn.kept is not None:
                if found is None:
                    size = prompt_tokens + len(self.tokens)
                    found = np.full((size, turn.kept.shape[1]), -1, dtype=np.int32)
                found[prompt_tokens + begin : prompt_tokens + begin + len(turn.tokens)] = turn.kept
        return found

    def _alternatives(self, prompt_tokens: int) -> dict[str, Any]:
        """[L, k] of all turns, empty where the policy did not write; nothing where they were not recorded."""
        recorded = [turn.alternatives for _, turn in self.turns_written if turn.alternatives is not None]
        if not recorded:
            return {}
        shape = (prompt_tokens + len(self.tokens), recorded[0].shape[1])
        tokens, logp = np.full(shape, -1, dtype=np.int32), np.full(shape, np.nan, dtype=np.float32)
        for begin, turn in self.turns_written:
            rows = slice(prompt_tokens + begin, prompt_tokens + begin + len(turn.tokens))
            if turn.alternatives is not None and turn.alternatives_logp is not None:
                tokens[rows], logp[rows] = turn.alternatives, turn.alternatives_logp
        return {"alternatives": tokens, "alternatives_logp": logp}


def verdicts_of(episodes: Sequence[Episode], grade: Grade) -> list[Graded]:
    rollouts = [episode.rollout() for episode in episodes]
    whole = [place for place, episode in enumerate(episodes) if not episode.fault]
    if isinstance(grade, GradeAll):
        verdicts = grade.grade_all([rollouts[place] for place in whole])
    else:
        verdicts = [grade(rollouts[place]) for place in whole]
    found = dict(zip(whole, verdicts, strict=True))
    graded = []
    for place, episode in enumerate(episodes):
        verdict = found.get(place, Verdict(math.nan, math.nan, error=episode.fault))
        graded.append(Graded(rollouts[place], with_turns(verdict, episode, given(rollouts[place]))))
    return graded


def with_turns(verdict: Verdict, episode: Episode, earned: float) -> Verdict:
    own = {"turns": float(episode.num_turns), "observed": float(episode.observed), "environment": earned}
    return replace(verdict, score=verdict.score + earned, parts={**verdict.parts, **own})


def given(rollout: Rollout) -> float:
    """The sum of an environment's rewards."""
    return 0.0 if rollout.reward is None else float(rollout.reward.sum())


def environment_alone(rollout: Rollout) -> Verdict:
    """A `Grade` for environments whose rewards are the only ones. Their sum is taken for correctness as a
    function's number is (`menon.truth`): if it is 0 or 1 in every episode."""
    total = given(rollout)
    return Verdict(0.0, total if total in (0, 1) else math.nan, guessed=True)


def kind(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"
