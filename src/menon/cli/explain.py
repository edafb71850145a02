"""`menon explain RECIPE key=value ...`: what a run would do, before anything runs."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from menon import threads
from menon.assembly.run import configured, use
from menon.cli.command import Asked, asked_by
from menon.cli.configuration import as_yaml, described, wrapped
from menon.cli.explain_gpus import WORDS, asked_for, on_gpus, shape_named
from menon.cli.help import width_here
from menon.cli.plain_json import json_alone, print_json
from menon.cli.stages import explained
from menon.errors import UserError
from menon.recipes import PIPELINES
from menon.settings import plain_data

if TYPE_CHECKING:
    from menon.assembly.derived import ModelSize, Sizes
    from menon.assembly.memory import Needs, Process
    from menon.assembly.sizes import Layout, Work
    from menon.config import Models, OnlineSource, Policy
    from menon.engine_settings import Engine
    from menon.prompts.given import GivenText


def explain(words: Sequence[str]) -> int:
    """Says what a run would do, before anything runs: the objective and every part with its formula and
    settings, sizes of a step and of an update, how far off-policy it learns, threads, memory. Takes what
    `menon train` takes. With gpus=8, and gpu=a100, h100 or h200, also what each GPU holds and how long a step
    takes, by formula; a model may then be one that is published but not on this disk. With full=true it
    writes the whole configuration as YAML instead, which `menon train` reads: menon explain grpo full=true >
    run.yaml. --json prints settings and sizes as JSON, and nothing else."""
    words, alone = json_alone(words)
    gpus, words = asked_for(words), [word for word in words if word.partition("=")[0] not in WORDS]
    asked, full = asked_and_full(words)
    chosen = threads.choose(asked.settings)
    use(chosen, "cpu")
    if asked.recipe in PIPELINES:
        if full or alone:
            what = "full=true writes the settings of" if full else "--json is about"
            raise UserError(f"{what} one run; {asked.recipe} has several stages")
        print("\n".join(explained(asked.recipe, asked.changes, width_here())))
        return 0
    config = configured(asked.recipe, asked.changes, chosen.count, asked.again)
    if full:
        print(as_yaml(plain_data(config), asked.settings), end="")
        return 0
    from menon.assembly.adapter_advice import advice_on_rate
    from menon.assembly.derived import assumed_length, num_workers, size_of_model, sizes
    from menon.assembly.memory import Needs
    from menon.config import setup_of

    policy, wanted = config.models.policy, config.source.max_new_tokens
    model = size_of_model(policy.model)
    config = replace(config, source=replace(config.source, max_new_tokens=assumed_length(wanted, model)))
    found = sizes(config)
    if alone:
        print_json({"recipe": config.recipe, "settings": plain_data(config), "sizes": found, "model": model})
        return 0
    workers, rate = num_workers(config.engine, model), policy.optimiser.learning_rate
    show(f"menon explain  {config.recipe}, scale {config.scale}")
    show(*described(config.recipe, setup_of(config), config.source, config.models, width_here()), "")
    show(*length_lines(config.source, wanted, model))
    if config.rows is not None:
        show(*given(config.rows, config.source, found, rate))
    else:
        show(*asked_step(config.source, found, rate, config.engine, model))
    updates = f"{policy.updates_per_step} = {found.updates:,} updates of the policy"
    show(f"  the run      {config.control.steps:,} steps of {updates}")
    if config.rows is None:
        show(f"  off-policy   {off_policy(found)}")
    show(*parted(chosen, workers), "")
    run = Needs.of(config)
    show(*peak(policy.model, model, run))
    if gpus is None:
        show(*too_much(run, model))
    show(*adapted(policy, model, advice_on_rate(policy, config.recipe, config.scale)))
    if gpus is not None:
        layout, work = of_run(config.source, config.models, config.engine, gpus[0], found)
        show(*on_gpus(shape_named(policy.model), layout, work, gpus[1], width_here()))
    return 0


def asked_and_full(words: Sequence[str]) -> tuple[Asked, bool]:
    """The run that the words name, and whether its whole configuration is wanted."""
    full = [word for word in words if word.startswith("full=")]
    if any(word not in ("full=true", "full=false") for word in full):
        raise UserError(f"'{full[-1]}' is neither full=true nor full=false")
    asked = asked_by([word for word in words if word not in full])
    if asked.resume is not None:
        raise UserError(
            "explain is about a run that has not begun; name a recipe or a file of settings, without --resume"
        )
    return asked, full[-1:] == ["full=true"]


def show(*lines: str) -> None:
    for line in lines:
        print(line)


def of_run(
    source: "OnlineSource", models: "Models", engine: "Engine", gpus: int, found: "Sizes"
) -> "tuple[Layout, Work]":
    """The run as the formulas see it. Answers are taken to be half as long as they may be."""
    from menon.assembly.derived import PROMPT
    from menon.assembly.sizes import Layout, Work

    longest = source.max_new_tokens or 1
    work = Work(
        max(1, round(found.step.answers)),
        PROMPT,
        max(1, longest // 2),
        longest,
        scored=1 + (models.reference != "none"),
        samples=source.samples_per_prompt,
    )
    adapter = models.policy.adapter
    layout = Layout(
        gpus,
        0 if adapter is None else adapter.rank,
        models.reference != "none",
        tokens_per_forward=engine.tokens_per_forward,
        slots=engine.slots,
    )
    return layout, work


def adapted(policy: "Policy", model: "ModelSize | None", advice: Iterable[str]) -> Iterator[str]:
    """The lines about an adapter: how much learns, and what is advised."""
    from menon.assembly.header import quantity

    adapter = policy.adapter
    if adapter is None:
        return
    size = 0 if model is None else model.adapter_size(adapter)
    share = "" if model is None else f", {size / model.parameters:.2%} of the model's number"
    told = f"rank {adapter.rank}" + (f": {quantity(size)} numbers learn{share}" if size else "")
    yield from wrapped("  adapter      ", told, width_here())
    for sentence in advice:
        yield from wrapped("               ", sentence, width_here())


def length_lines(source: "OnlineSource", wanted: int | None, model: "ModelSize | None") -> Iterator[str]:
    """The longest answer, and why it is that long."""
    from menon.assembly.answer_length import length_in_words
    from menon.assembly.derived import PROMPT
    from menon.config import around_of

    length = around_of(source, 0).sampling.max_new_tokens
    told = length_in_words(wanted, length, None if model is None else model.context)
    assumed = "" if wanted is not None else f", if no prompt has more than {PROMPT} tokens"
    yield from wrapped("  answers      ", told + assumed, width_here())


def parted(chosen: threads.Threads, workers: int) -> Iterator[str]:
    """How the threads are divided."""
    yield f"  threads      {chosen.count} ({chosen.reason})"
    if workers > 1:
        yield f"               {workers} processes write answers, {workers} passes run in parallel"


def asked_step(
    source: "OnlineSource", found: "Sizes", rate: float, engine: "Engine", model: "ModelSize | None"
) -> Iterator[str]:
    """The sizes of a step that answers questions."""
    if found.step.form:
        return whole(source, found, rate)
    return answers(source, found, rate, engine, model)


def answers(
    source: "OnlineSource", found: "Sizes", rate: float, engine: "Engine", model: "ModelSize | None"
) -> Iterator[str]:
    """The sizes of a step of prompts times samples."""
    from menon.assembly.derived import num_workers, tokens_per_pass
    from menon.config import around_of

    each = around_of(source, 0).sampling.max_new_tokens
    tokens = found.per_update * each
    size = tokens_per_pass(engine, tokens, num_workers(engine, model), model)
    passes = math.ceil(tokens / size)
    prompts, samples = source.prompts_per_step, source.samples_per_prompt
    yield f"  a step       {prompts:,} prompts x {samples:,} samples = {found.step.answers:,} answers"
    yield f"               at most {each:,} tokens each, {found.step.tokens:,} in all"
    if found.step.more:
        yield f"               {found.step.more}"
    of_it = f"{found.per_update:,.0f} answers, at most {tokens:,.0f} tokens, learning rate {rate:g}"
    yield f"  an update    {of_it}"
    yield f"               {passes:,} forward pass{'es' if passes > 1 else ''} of {size:,} tokens,"
    yield "               if every answer is that long, prompts not counted"


def given(rows: "GivenText", source: "OnlineSource", found: "Sizes", rate: float) -> Iterator[str]:
    """The sizes of a step of given text, and of one whose answers the policy writes."""
    most = "as many tokens as the context holds" if rows.max_tokens is None else f"{rows.max_tokens:,} tokens"
    yield f"  a step       {rows.step}, each of at most {most}"
    if rows.written_share:
        yield f"               in {rows.written_share:.0%} of the steps, answers of the policy instead:"
        written = f"{source.prompts_per_step:,} prompts x {source.samples_per_prompt:,} samples"
        yield f"               {written}, at most {source.max_new_tokens:,} tokens each"
    yield f"  an update    {found.per_update:,.0f} texts, learning rate {rate:g}"


def whole(source: "OnlineSource", found: "Sizes", rate: float) -> Iterator[str]:
    """The sizes of a step whose rollouts are not prompts times samples."""
    size = found.step
    each = size.tokens // source.prompts_per_step
    yield f"  a step       {size.form}, each of at most {each:,} tokens"
    yield f"               at most {size.answers:,} whole answers, {size.tokens:,} tokens"
    yield f"  an update    at most {found.per_update:,.0f} {size.unit}, learning rate {rate:g}"


def off_policy(found: "Sizes") -> str:
    """By how many updates answers are learned from late, in words."""
    if not found.lag:
        return "none: each answer is learned from once, by the weights that wrote it"
    if found.step.max_age > 1:
        return f"{found.step.unit} may wait, and are learned from at most {found.lag} updates late"
    if found.staleness:
        return f"an answer is learned from at most {found.lag} updates late (staleness={found.staleness})"
    return f"an answer is learned from {found.lag / 2:g} updates late on average, {found.lag} at most"


def too_much(run: "Needs", model: "ModelSize | None") -> Iterator[str]:
    """The lines about a run that this machine cannot hold: what `menon train` would say."""
    from menon.assembly.before import check_room

    said: list[str] = []
    try:
        if model is not None:
            check_room(run, model, said.append)
    except UserError as error:
        said.append(str(error))
    for sentence in said:
        yield from wrapped("               ", f"here: {sentence}", width_here())


def peak(name: str, model: "ModelSize | None", run: "Needs") -> Iterator[str]:
    """The lines about memory: of each process where the run has several, and of all together."""
    from menon.assembly.derived import GIB
    from menon.assembly.header import quantity
    from menon.assembly.memory import processes, together

    if model is None:
        yield f"  memory       unknown: {name} is not on this disk; name a local folder"
        return
    found = processes(run, model)
    count = sum(one.count for one in found)
    among = f", in {count} processes" if count > 1 else ""
    about = f"about {together(run, found) / GIB:,.2f} GiB for {name}, {quantity(model.parameters)} parameters"
    yield from wrapped("  memory       ", about + among, width_here())
    for one in found:
        if len(found) > 1:
            yield f"    {in_words(one):<26}{one.size / GIB:>8,.3f} GiB"
        for part, size in one.parts.items():
            yield f"    {'  ' * (len(found) > 1)}{part:<18}{size / GIB:>10,.3f} GiB{parted_among(one, part)}"
    yield "    if passes are full, prompts have 128 tokens and answers their full length,"
    yield "    with AdamW and fused attention; a checkpoint copies AdamW's moments for a"
    yield "    moment, and processes that grade are not included"


def in_words(process: "Process") -> str:
    return f"each of {process.count} {process.name}s" if process.count > 1 else process.name


def parted_among(process: "Process", part: str) -> str:
    """Says of what ranks hold whether it is a part of the whole."""
    from menon.assembly.memory import PARTED

    return f", 1 of {process.count} parts" if process.name == "rank" and part in PARTED else ""
