"""IFEval (Zhou et al., arXiv 2311.07911): does an answer follow the instructions of its prompt?

The checks are the authors' own, as lm-eval carries them (the extra `eval`): numbers of this benchmark can be
compared only if they agree with the published checker. Two seeds are fixed here, so that an evaluation can be
repeated: that of langdetect, and that of the letter which the checker draws where a prompt asks for `#` or
`!`, which it does not count.
"""

import logging
import random
import threading
from collections.abc import Callable, Mapping
from typing import Any

from menon.errors import UserError, pip_install
from menon.thought import after_thinking
from menon.types import Verdict

_DRAWING = threading.Lock()
NO_SPLITTER = (
    "IFEval counts sentences and capital words with NLTK's data punkt_tab, which is missing; get it by "
    "python -m nltk.downloader punkt_tab, or set NLTK_DATA to a folder with tokenizers/punkt_tab"
)


class Instructions:
    """1 if the text after the thought follows every instruction of the prompt (prompt level, strict), else 0.

    Parts: `loose` is 1 if the text passes as it is, or without its first or last line, or without its stars;
    `followed`, `followed_loose` and `instructions` count instructions. UserError at construction if lm-eval
    is missing, and at a call whose instructions need the sentence splitter if its data is.
    """

    def __init__(self) -> None:
        self.published = published_checks()

    def __call__(self, prompt: str, completion: str, answer: str | None, **columns: Any) -> Verdict:
        """`columns`: instruction_id_list and, in its order, kwargs. KeyError for an unknown instruction."""
        checks, text = self.published, after_thinking(prompt, completion) or ""
        asked = checks.InputExample(0, columns["instruction_id_list"], prompt, columns["kwargs"])
        try:
            strict = drawn_alike(checks.test_instruction_following_strict, asked, text)
            loose = drawn_alike(checks.test_instruction_following_loose, asked, text)
        except LookupError as error:
            if isinstance(error, KeyError | IndexError):
                raise
            raise UserError(NO_SPLITTER) from error
        score = float(all(strict))
        counts = {"followed": sum(strict), "followed_loose": sum(loose), "instructions": len(strict)}
        parts = {"loose": float(all(loose))} | {name: float(count) for name, count in counts.items()}
        return Verdict(score, score, parts)


def with_splitter() -> Instructions:
    """The checks for a whole set of prompts, some of which count sentences: UserError already here if the
    data of the sentence splitter is missing."""
    checks = Instructions()
    find_splitter()
    return checks


def find_splitter() -> None:
    import nltk

    try:
        nltk.data.find("tokenizers/punkt_tab/english/")
    except LookupError as error:
        raise UserError(NO_SPLITTER) from error


def published_checks() -> Any:
    """lm-eval's module `lm_eval.tasks.ifeval.utils`."""
    try:
        import langdetect
        import nltk

        download, nltk.download = nltk.download, lambda *names, **settings: False
        try:  # lm-eval would download the splitter's data when it is imported
            from lm_eval.tasks.ifeval import instructions, utils
        finally:
            nltk.download = download
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        way = f"install it by {pip_install('eval')}"
        raise UserError(f"IFEval is checked by lm-eval, and package {missing} is missing; {way}") from error
    langdetect.DetectorFactory.seed = 0
    logging.getLogger(instructions.__name__).disabled = True  # it prints texts whose language is not detected
    return utils


def drawn_alike(check: Callable[[Any, str], Any], asked: Any, completion: str) -> list[bool]:
    """Which instructions are followed. The check draws from Python's random generator, whose state is
    restored afterwards."""
    with _DRAWING:
        before = random.getstate()
        random.seed(0)
        try:
            return list(check(asked, completion).follow_instruction_list)
        finally:
            random.setstate(before)


def instruction_level(parts: Mapping[str, float]) -> dict[str, float]:
    """Shares of all instructions, from the means of the parts over prompts."""
    strict, loose = (parts[name] / parts["instructions"] for name in ("followed", "followed_loose"))
    return {"instruction_strict": strict, "instruction_loose": loose}
