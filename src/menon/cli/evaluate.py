"""`menon eval`, from words to a table and a file."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from menon import threads
from menon.assembly.evaluate import evaluate as measured
from menon.assembly.evaluate import summary
from menon.cli.lines import slow
from menon.cli.words import NO_OPTION, understand, wants_json
from menon.errors import UserError

if TYPE_CHECKING:
    from menon.assembly.evaluation import Result
    from menon.eval.config import EvalConfig
    from menon.threads import Threads


def evaluate(words: Sequence[str]) -> int:
    """Evaluates a model on held-out questions: avg@k, pass@k and maj@k with intervals. Prints a table; every
    answer's verdict goes into a file. With json=true, or where stdout is no terminal, the last line has the
    numbers as JSON."""
    found = understand(words, no_option=NO_OPTION)
    models, settings = found.plain, found.settings
    as_json = wants_json(settings)
    if len(models) > 1:
        raise UserError(f"'{models[1]}' is neither key=value nor the model, which is '{models[0]}' already")
    if models and "model" in settings:
        raise UserError(
            f"the model is named twice, {models[0]} and model={settings['model']}; leave one of them out"
        )
    if models:
        settings["model"] = models[0]
    if "model" not in settings:
        raise UserError(
            "eval needs a model: menon eval base task=chain_sum, or the folder of a model or of a run"
        )

    def on_ready(config: "EvalConfig", chosen: "Threads") -> None:
        print("\n".join(header(config, chosen)), flush=True)

    done, notes = measured(settings, on_ready)
    for line in [*table(done), *(f"  {note}" for note in notes)]:
        print(line)
    if as_json:
        print(json.dumps(summary(done)), flush=True)
    return 0


def header(config: "EvalConfig", chosen: "Threads") -> list[str]:
    """The lines above the table: the questions, the sampling and the machine."""
    answers = f"{config.per_question} answer" + ("s" if config.per_question > 1 else "")
    source = config.source + (f" ({config.path})" if config.path else "")
    temperature = f"{config.temperature:g}"
    if config.forking_temperature is not None:
        temperature += (
            f" ({config.forking_temperature:g} where the entropy is above {config.entropy_threshold:g})"
        )
    return [
        f"menon eval  {config.model}",
        *as_in_the_run(config),
        f"  questions  {config.n} of {source}, {answers} each",
        f"  sampling   temperature {temperature}, top_p {config.top_p:g}, at most {config.max_new_tokens:,} "
        f"tokens, seed {config.seed}",
        f"  machine    {config.dtype}, {threads.plural(chosen.count, 'thread')} ({chosen.reason})",
        *(f"             {line}" for line in slow(config.dtype, config.device)),
        "",
    ]


def as_in_the_run(config: "EvalConfig") -> list[str]:
    """The lines about a run whose settings are used, and about the environment."""
    part = config.environment
    environment = None if part is None else getattr(part, "kind", type(part).__name__)
    lines = []
    if config.run is not None:
        reward = getattr(config.reward, "kind", config.reward) or "that of the questions"
        lines.append(
            f"  as in      {config.run}: template {config.template}, environment {environment or 'none'}, "
            f"reward {reward}"
        )
    if part is not None:
        answer = "what the program prints" if environment == "agent" else "what the policy wrote"
        lines.append(
            f"  in turns   {environment}, at most {config.max_turns} turns; the reward reads "
            + (answer if config.graded_text == "policy" else "the observations too")
        )
    return lines


def table(done: "Result") -> list[str]:
    """The lines of the table of an evaluation."""
    config, numbers = done.config, done.numbers
    lines = [f"{'':<12}{'value':>7}   95 % interval over questions"]
    hidden = {"pass@1", "maj@1", f"cons@{config.k}"} if config.per_question > 1 else {"pass@1", "cons@1"}
    for name, number in numbers.items():
        if isinstance(number, dict) and "low" in number and name not in hidden:
            value, low, high = (number_or_dash(number[key]) for key in ("value", "low", "high"))
            lines.append(f"  {name:<10}{value:>7}   {low} to {high}")
    for name, value in numbers["parts"].items():
        lines.append(f"  {name:<24}{value:>7.3f}")
    lines += [
        "",
        f"  length {numbers['mean_length']:.1f}, cut at the limit {numbers['trunc_rate']:.3f}"
        + silent(numbers),
    ]
    if numbers["failed"]:
        lines.append(f"  {numbers['failed']} answers could not be graded and are in no number")
    if numbers["not_applicable"]:
        lines.append(f"  {numbers['not_applicable']} answers are of rows that the reward does not apply to")
    return [*lines, f"  {done.about['seconds']:.1f} s"]


def silent(numbers: Mapping[str, Any]) -> str:
    """The part of a line about answers that state no answer; "" if that is not known."""
    return f", states no answer {numbers['no_answer']:.3f}" if "no_answer" in numbers else ""


def number_or_dash(value: float | None) -> str:
    """A number to three digits; `-` if there is none."""
    return "-" if value is None else f"{value:.3f}"
