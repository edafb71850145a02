"""What a run with ranks cannot do yet: refused by name before anything starts."""

from typing import TYPE_CHECKING

from menon.errors import UserError
from menon.shaping import AnswerProbability

if TYPE_CHECKING:
    from menon.config import RunConfig


def check_ranks(config: "RunConfig") -> None:
    """UserError for a part that needs a whole model in one process, in a run whose models are in parts."""
    ranks, models = config.engine.ranks, config.models
    if ranks == 1:
        return
    device = config.engine.device
    if ":" in device:
        raise UserError(
            f"device={device} is one GPU, and each of ranks={ranks} takes its own; set device=cuda"
        )
    needs_whole = {
        "natural": models.policy.natural is not None,
        "teachers (several)": bool(models.teachers),
        "teacher_question": bool(models.teacher_questions),
        "answer_probability": any(isinstance(p, AnswerProbability) for p in config.advantage.values()),
        "negatives": config.rows is not None and config.rows.negatives != "none",
    }
    for name, asked in needs_whole.items():
        if asked:
            raise UserError(
                f"{name} needs a whole model in one process, and ranks={ranks} holds each in parts; leave it "
                "out, or set ranks=1"
            )
