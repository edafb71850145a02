"""Self-distillation policy optimisation (SDPO, arXiv 2601.20802): the teacher is the same model, which reads
what the answers of the step have shown."""

from menon.config import Models, OnlineSource, Policy, RunConfig
from menon.loss import Distill
from menon.loss.aggregation import SelectedMean
from menon.select import Hinted
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def sdpo() -> RunConfig:
    """The JSD with b = 1/2 over the teacher's 100 likeliest tokens and a bucket. The teacher reads another
    right answer to the question, or, where there is none, what the reward said (`Verdict.feedback`). Answers
    for which there is neither teach nothing. It is a moving average of the policy with rate .05.

    With a reward too: `advantage.credit=grpo objective.policy='{loss: ppo_clip}'`.
    """
    return RunConfig(
        recipe="sdpo",
        advantage={},
        objective={"teacher": Term(Distill("jsd", top_k=100), SelectedMean(), select=Hinted())},
        source=OnlineSource(prompts_per_step=16, samples_per_prompt=8),
        models=Models(
            policy=Policy(optimiser=Optimiser(learning_rate=3e-4)),
            teacher="start",
            teacher_rate=0.05,
            teacher_question=(
                "{q}\n\nA right answer:\n{right_answer}\n\nAnswer the question: {q}",
                "{q}\n\nAn earlier attempt failed:\n{feedback}\n\nAnswer the question: {q}",
            ),
        ),
    )
