"""`menon replay RUN step=S ...`: what another algorithm would have done with the answers of a stored step."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from menon import threads
from menon.assembly.run import use
from menon.cli.plain_json import json_alone, print_json
from menon.cli.words import NO_OPTION, understand
from menon.errors import UserError

if TYPE_CHECKING:
    from menon.study.replay import Replay

EXAMPLE = "menon replay runs/mine step=5 objective.policy.loss=kl_cov"
USAGE = f"replay takes a run, a step, and what to replay it under: a recipe or settings, like {EXAMPLE}"
SHOWN = 10
"""Groups and tokens that are shown."""
SEEN = 5e-4
"""The least difference between the shares of a group that is shown."""


def replay(words: Sequence[str]) -> int:
    """What another credit, loss, aggregation, correction or selection would have done with a step that a run
    has stored, without its model: for each token the push -d loss / d log-prob, beside the run's own. Takes a
    recipe (`menon replay runs/mine step=5 kl_cov`), or the settings of `menon train` that name parts, your
    own files too (objective.policy.loss.clip_high=.28). With nothing but the step it shows the run's own
    update.

    --json prints everything as JSON and nothing else: a summary, and each answer token by token.
    """
    rest, alone = json_alone(words)
    found = understand(rest, no_option=NO_OPTION)
    changes = [dict(one) for one in found.overrides]
    step = next((one.pop("step") for one in changes if "step" in one), None)
    if not 1 <= len(found.plain) <= 2 or step is None or not str(step).isdecimal():
        raise UserError(USAGE)
    recipe = found.plain[1] if len(found.plain) == 2 else None
    use(threads.choose({}), "cpu")
    from menon.cli.lines import Screen
    from menon.record.reader import RunView
    from menon.study.replay import replay as replayed

    made = replayed(RunView.open(found.plain[0]), int(str(step)), recipe, [one for one in changes if one])
    if alone:
        print_json(made.as_json())
        return 0
    screen = Screen()
    screen.say(lines(made, recipe))
    return 0


def lines(made: "Replay", recipe: str | None) -> Iterator[str]:
    """The lines about a replay."""
    from menon.printable import printable

    summary, changes = made.summary(), made.changes()
    yield f"replay of {printable(str(made.view.path))}, step {made.step}: {summary['tokens']:,} tokens"
    if recipe is not None:
        yield f"  with the credit and objective of {recipe}"
    elif not changes:
        yield "  under the run's own settings; name a recipe or a part to compare with"
    for place, (was, now) in briefly(changes).items() if recipe is None else ():
        yield printable(f"  {place}: {value(now)} instead of {value(was)}")
    yield ""
    yield f"  {'':<40}{'run':>12}{'replay':>12}"
    yield from table(summary)
    yield ""
    yield from difference(summary)
    yield from groups(summary["groups"])
    yield from tokens(made)
    for note in made.notes:
        yield f"  note: {printable(note)}"


def table(summary: dict[str, Any]) -> Iterator[str]:
    """Shares, terms and metrics of both sides, one a row."""
    own, other = summary["own"], summary["other"]
    for name, label in (("selected", "tokens selected"), ("clipped", "clipped"), ("pushed", "pushed")):
        yield row(label, own[name], other[name], ".1%")
    for name in dict.fromkeys((*own["terms"], *other["terms"])):
        sides = [side["terms"].get(name) for side in (own, other)]
        losses = " / ".join(dict.fromkeys(side["loss"] for side in sides if side))
        if any(side and side["model"] == "policy" for side in sides):
            was, now = (side and side["mass"] for side in sides)
            yield row(f"push of {name} ({losses})", was, now, ".4g")
    for name in dict.fromkeys((*own["metrics"], *other["metrics"])):
        if (was := own["metrics"].get(name)) != (now := other["metrics"].get(name)):
            yield row(name, was, now, ".4g")


def briefly(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes, where another part has taken a place by its kind alone.

    >>> briefly({"a.loss.kind": ["x", "y"], "a.loss.low": [1, None], "a.coef": [1, 2]})
    {'a.loss': ['x', 'y'], 'a.coef': [1, 2]}
    """
    parts = [place.removesuffix(".kind") for place in changes if place.endswith(".kind")]
    inside = {place for place in changes for part in parts if place == part or place.startswith(f"{part}.")}
    kinds = {part: changes[f"{part}.kind"] for part in parts}
    return kinds | {place: change for place, change in changes.items() if place not in inside}


def row(label: str, own: float | None, other: float | None, form: str) -> str:
    cells = ("-" if one is None or one != one else format(one, form) for one in (own, other))
    return f"  {label:<40}" + "".join(f"{cell:>12}" for cell in cells)


def difference(summary: dict[str, Any]) -> Iterator[str]:
    """How far the two pushes differ, and how well the run's own record is met."""
    if summary["known"] < summary["tokens"]:
        yield f"  known on {summary['known']:,} of {summary['tokens']:,} tokens"
    if summary["cosine"] is not None:
        size = f", size {summary['size']:.3g} of the run's" if summary["size"] is not None else ""
        yield f"  cosine of the two pushes {summary['cosine']:.4f}{size}"
    yield (
        f"  sign changed on {summary['sign_changed']:.1%} of the tokens; {summary['only_own']:.1%} pushed by "
        f"the run alone, {summary['only_other']:.1%} by the replay alone"
    )
    if summary["reproduced"] is not None:
        gap = summary["reproduced"]
        yield "  weights that the run recorded: met " + (f"to within {gap:.1g}" if gap else "exactly")


def groups(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The groups whose share of the push changes most."""
    moved = sorted(found, key=lambda one: -abs(one["own"] - one["other"]))[:SHOWN]
    moved = [one for one in moved if abs(one["own"] - one["other"]) >= SEEN]
    if moved:
        yield ""
        yield f"  {'share of the push, by group':<40}{'run':>12}{'replay':>12}"
    for one in moved:
        yield row(f"group {one['group']}", one["own"], one["other"], ".1%")


def tokens(made: "Replay") -> Iterator[str]:
    """The tokens whose push differs most."""
    from menon.cli.lines import visible

    largest = made.largest(SHOWN)
    if not largest or made.own is made.other:
        return
    yield ""
    yield f"  {'tokens that differ most':<40}{'run':>12}{'replay':>12}"
    for one in largest:
        who = f"answer {one['sample']}" if one.get("node", -1) < 0 else f"node {one['node']}"
        name = f"group {one['group']}, {who}, token {one['token']}: {visible(one['text'] or '')}"
        yield row(name, one["own"], one["other"], ".4g")


def value(one: Any) -> str:
    from menon.cli.configuration import text_of_value

    return text_of_value(one)
