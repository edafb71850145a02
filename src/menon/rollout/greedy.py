"""Groups with a baseline: one more, greedy answer per prompt, which is graded and not trained on (ReMax,
arXiv 2310.10505)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from menon.parts import Around
from menon.rollout.groups import answer
from menon.rollout.protocols import Collected, Grade, Prompts, Sampler, StepSizes, group_sizes
from menon.types import Graded, Mean, Metric, Request, Sum


@dataclass(frozen=True)
class GreedyBaseline:
    """Every prompt of a step is answered `samples_per_prompt` times at random and once greedily.

    The greedy answer's score becomes the `baseline` of its group's answers (NaN where its grader failed); the
    answer itself is in no batch. Cost: one generation more per prompt.
    """

    kind: Literal["greedy_baseline"] = "greedy_baseline"
    writes: ClassVar[tuple[str, ...]] = ("baseline",)

    def sizes(self, around: Around) -> StepSizes:
        return group_sizes(around, "and a greedy answer to each prompt")

    def __call__(self, prompts: Prompts, sampler: Sampler, grade: Grade, around: Around) -> Collected:
        """Answers in the order of the prompts, then of the samples, and metrics of the greedy answers."""
        size = around.samples_per_prompt
        greedy = replace(around.sampling, temperature=0.0, top_p=1.0, top_k=0)
        kinds = [around.sampling] * size + [greedy]
        requests = [
            Request(prompt, sampling, sample, visit)
            for prompt, visit in prompts.take(around.prompts_per_step)
            for sample, sampling in enumerate(kinds)
        ]
        ask = around.answer or answer
        graded = ask(requests, [place // len(kinds) for place in range(len(requests))], sampler, grade)
        groups = [graded[place : place + len(kinds)] for place in range(0, len(graded), len(kinds))]
        kept = [replace(one, baseline=last.verdict.score) for *sampled, last in groups for one in sampled]
        written = sum(one.rollout.num_actions for one in graded)
        metrics = metrics_of([group[-1] for group in groups]) | {"tokens/generated": Sum(written)}
        return Collected(kept, metrics)


def metrics_of(greedy: Sequence[Graded]) -> dict[str, Metric]:
    scores = [answer.verdict.score for answer in greedy]
    known = [score for score in scores if score == score]
    return {
        "greedy/reward": Mean(sum(known), len(known)),
        "greedy/failed": Sum(len(scores) - len(known)),
    }
