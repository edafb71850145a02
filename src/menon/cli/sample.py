"""`menon sample MODEL [QUESTION]`: answers with their log-probs, on a terminal coloured by how uncertain each
token was."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from menon import threads
from menon.assembly.run import use
from menon.cli.lines import heat, slow
from menon.cli.words import NO_OPTION, understand
from menon.errors import UserError
from menon.printable import console

if TYPE_CHECKING:
    from rich.text import Text

    from menon.assembly.sample import Sampled


def sample(words: Sequence[str]) -> int:
    """Shows answers of a model with their log-probs; on a terminal each token is coloured by how uncertain it
    was. Without a question, a held-out one of a task."""
    found = understand(words, sentences=True, no_option=NO_OPTION)
    settings, plain = found.settings, list(found.plain)
    if plain and "model" not in settings:
        settings["model"] = plain.pop(0)
    if len(plain) > 1 or "model" not in settings:
        raise UserError(
            "sample takes a model and perhaps a question: menon sample base '3+4+5=?' n=3, or menon "
            "sample base task=countdown"
        )
    if plain and not plain[0].strip():
        raise UserError("the question is empty; write it after the model, or leave it out")
    if plain and {"task", "question"} & settings.keys():
        raise UserError("a question is written out and a task is named; leave one of them out")
    chosen = threads.choose(settings)
    use(chosen, str(settings.get("device", "auto")))

    from menon.assembly.as_run import environment_left_out
    from menon.assembly.sample import SampleConfig
    from menon.assembly.sample import sample as drawn
    from menon.settings import read

    config = read(SampleConfig, settings)
    out = console(soft_wrap=True)
    count = threads.plural(chosen.count, "thread")
    out.print(f"menon sample  {config.model}", markup=False)
    out.print(f"  machine      {config.dtype}, {count} ({chosen.reason})", markup=False)
    for line in slow(config.dtype, config.device):
        out.print(f"               {line}", markup=False)
    answers = drawn(config, plain[0] if plain else None)
    prompt = answers[0].graded.rollout.prompt
    gold = f"   the answer is {prompt.answer}" if prompt.answer is not None else ""
    out.print(f"  question     {prompt.text}{gold}", markup=False)
    out.print(
        f"  temperature  {config.temperature:g}, top_p {config.top_p:g}, seed {config.seed}", markup=False
    )
    if (environment := environment_left_out(config.model)) is not None:
        out.print(
            f"  the run's environment {environment} does not answer here; menon eval uses it", markup=False
        )
    for number, one in enumerate(answers, start=1):
        out.print(f"\n{number}  {facts(one)}", markup=False)
        out.print(coloured(one))
    return 0


def facts(one: "Sampled") -> str:
    """One line about an answer: length, finish, verdict, log-prob and entropy."""
    rollout, acc = one.graded.rollout, one.graded.verdict.acc
    acts = rollout.is_action
    count, logp = int(acts.sum()), float(rollout.logp[acts].sum())
    verdict = {1.0: ", right", 0.0: ", wrong"}.get(acc, "")
    mean = float("nan") if rollout.entropy is None or not count else float(rollout.entropy[acts].mean())
    each = f" ({logp / count:.2f} a token, entropy {mean:.2f})" if count else ""
    return f"{count} tokens, {rollout.finish}{verdict}, log-prob {logp:.2f}{each}"


def coloured(one: "Sampled") -> "Text":
    """The answer, each token coloured more strongly the more uncertain it was."""
    from rich.text import Text

    rollout = one.graded.rollout
    text, acts = Text(), rollout.is_action
    entropies = [0.0] * rollout.num_actions if rollout.entropy is None else rollout.entropy[acts].tolist()
    for piece, entropy in zip(one.pieces, entropies, strict=True):
        text.append(piece, style=heat(entropy))
    return text
