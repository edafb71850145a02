"""Groups with a baseline: one greedy answer more per prompt, scored and not trained on (ReMax, arXiv
2310.10505)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from menon.errors import UserError
from menon.rollout.groups import answer
from menon.rollout.protocols import Answer, Grade, Prompts, Sampler
from menon.types import Graded, Mean, Metric, Request, Sampling, Sum


@dataclass(frozen=True)
class GreedyBaseline:
    """Every prompt of a step is answered `samples_per_prompt` times at random and once greedily.

    The greedy answer's score becomes the `baseline` of its group's answers (NaN where its grader failed); the
    answer itself is in no batch. Cost: one generation more per prompt.
    """

    prompts_per_step: int
    samples_per_prompt: int
    sampling: Sampling = field(default_factory=Sampling)
    answer: Answer = answer
    """One turn, or turns with an environment."""

    def __post_init__(self) -> None:
        if self.prompts_per_step < 1 or self.samples_per_prompt < 1:
            raise UserError("prompts_per_step and samples_per_prompt must be at least 1")

    def __call__(
        self, prompts: Prompts, sampler: Sampler, grade: Grade
    ) -> tuple[list[Graded], dict[str, Metric]]:
        """In the order of the prompts, then of the samples, whatever finished first; and what the greedy
        answers were like."""
        size = self.samples_per_prompt
        greedy = replace(self.sampling, temperature=0.0, top_p=1.0, top_k=0)
        kinds = [self.sampling] * size + [greedy]
        requests = [
            Request(prompt, sampling, sample, visit)
            for prompt, visit in prompts.take(self.prompts_per_step)
            for sample, sampling in enumerate(kinds)
        ]
        graded = self.answer(
            requests, [place // len(kinds) for place in range(len(requests))], sampler, grade
        )
        groups = [graded[place : place + len(kinds)] for place in range(0, len(graded), len(kinds))]
        kept = [replace(one, baseline=last.verdict.score) for *sampled, last in groups for one in sampled]
        written = sum(one.rollout.num_actions for one in graded)
        return kept, metrics_of([group[-1] for group in groups]) | {"tokens/generated": Sum(written)}


def metrics_of(greedy: Sequence[Graded]) -> dict[str, Metric]:
    scores = [answer.verdict.score for answer in greedy]
    known = [score for score in scores if score == score]
    return {
        "greedy/reward": Mean(sum(known), len(known)),
        "greedy/failed": Sum(len(scores) - len(known)),
    }
