"""The policy that reads the gold answers: what `shaping.answer_probability` asks."""

from collections.abc import Mapping, Sequence
from typing import Any

from menon.assembly.models import models_here
from menon.assembly.placement import Placed
from menon.engines.answered import Answered
from menon.engines.decoding.stop_strings import text_of
from menon.engines.reprompted import key_of
from menon.engines.tokens import continue_with
from menon.errors import UserError
from menon.shaping import AnswerProbability
from menon.types import Prompt
from menon.update.scoring import ANSWERED


def give_answers(advantage: Mapping[str, Any], prompts: Sequence[Prompt], placed: Placed) -> None:
    """Gives the host a model that reads the prompts' gold answers, where a part of the advantage stage
    asks for it. UserError: a question without an answer, two answers to one question, two markers."""
    markers = {part.marker for part in advantage.values() if isinstance(part, AnswerProbability)}
    if not markers:
        return
    if len(markers) > 1:
        raise UserError("two parts answer_probability have different markers; give them the same")
    answers: dict[bytes, str] = {}
    for prompt in prompts:
        if not prompt.answer:
            raise UserError(
                "answer_probability reads the gold answer, and the row of "
                f"{prompt.text[:60]!r} has none; give every row an 'answer'"
            )
        if answers.setdefault(key_of(prompt.tokens), prompt.answer) != prompt.answer:
            raise UserError(
                f"two rows ask the same ({prompt.text[:60]!r}) and have different answers; keep one of them"
            )
    models = models_here(placed.host, "answer_probability")
    models[ANSWERED] = Answered(
        models["policy"],
        answers,
        markers.pop(),
        text_of(placed.tokenizer, skip_special=False),
        continue_with(placed.tokenizer),
        placed.context,
    )
