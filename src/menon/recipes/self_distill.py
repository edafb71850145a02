"""Self-distillation: the teacher is the same model, which reads a hint beside the question (SDFT, arXiv
2601.19897; SDPO, arXiv 2601.20802)."""

from menon.config import Models, OnlineSource, Policy, RunConfig
from menon.loss import Distill
from menon.loss.aggregation import TokenMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def self_distill() -> RunConfig:
    """The policy answers the question alone. Its distribution is drawn to that of the model of the start,
    which has read the answer too: the reverse KL over the whole vocabulary, on the policy's own text.

    `teacher_question` is what the teacher reads, with {answer}, {demonstration} or any other column of the
    rows. `teacher=policy` takes the policy as it is, and `teacher_rate` a moving average of it. Measure first
    whether the model is better with the hint (docs/distillation_failures.md).
    """
    return RunConfig(
        recipe="self_distill",
        advantage={},
        objective={"teacher": Term(Distill("reverse"), TokenMean())},
        source=OnlineSource(prompts_per_step=32, samples_per_prompt=4),
        models=Models(
            policy=Policy(optimiser=Optimiser(learning_rate=3e-4)),
            teacher="start",
            teacher_question="{q}\n\nThe answer is {answer}.\n\nSolve it in your own words: {q}",
        ),
    )
