"""The parts of a page. Everything that a model or a user wrote is escaped, and its control characters are
replaced."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from menon.printable import printable
from menon.record.beside import interval_of, shown
from menon.report.answers import BY_REWARD, Marked, Pair, Row, chosen, counts, verdict
from menon.report.charts import Axis, Chart, Line, figure
from menon.report.content import Content
from menon.report.curves import curves, times
from menon.settings import setting

OF_TRUTH = ("accuracy", "best_accuracy", "maj_at_8")
"""Rows that mean something only where every evaluation knows which answers are right."""
VISIBLE_KL = 0.02
FULL_KL = 2.0
"""Nats: below the first a token is not coloured; from the second on it has the strongest colour."""


def safe(text: str) -> str:
    return escape(printable(text).strip("\n"))


def head(content: Content) -> Iterator[str]:
    settings = content.settings
    written = sum(float(line.get("tokens/generated") or 0) for line in content.lines)
    facts = [
        str(setting(settings, "recipe") or "a run"),
        f"model {setting(settings, 'model', '?')}",
        content.source,
        f"seed {setting(settings, 'seed', '?')}",
        f"{content.steps} of {setting(settings, 'steps', content.steps)} steps",
        f"{written:,.0f} tokens {'written' if content.writes else 'learned'}",
        duration(content.wall_s),
    ]
    yield f"<h1>{safe(content.name)}</h1>"
    yield f'<p class="quiet">{safe(" · ".join(facts))}</p>'
    for warning in content.warnings:
        yield f'<p class="warning">{safe(warning)}</p>'
    if sentence := lead(content):
        yield f'<p class="lead">{sentence}</p>'
    report = content.report or {}
    if "verdict" in report:
        yield f"<p>{safe(str(report['verdict']['sentence']))}.</p>"
    if "minutes" in report:
        yield f"<p>It ended there to keep within minutes={float(report['minutes']):g}.</p>"


def lead(content: Content) -> str:
    """The main result: is the trained model better than the best that the initial model reaches without
    training? In accuracy and reward, or in reward alone where the accuracy is not known."""
    before, after = content.first, content.last
    if not before or not after:
        return ""
    measured = [key for key in content.measures if before.get(key) is not None and after.get(key) is not None]
    if not measured:
        return lead_of_rows(before, after)
    n = int(after.get("n", 0))
    went = [f"{key} {{}}from {told_of(before, key)} to {told_of(after, key)}" for key in measured]
    text = f"On {n:,} held-out questions, {went[0].format('at temperature 1 went ')}"
    text += "".join(f", and {one.format('')}" for one in went[1:])
    if measured == ["reward"]:
        text += "; the reward does not say which answers are right, so there is no accuracy"
    rivals = rivals_of(before, measured[0])
    if not rivals:
        return text + "."
    asked = f" (on {int(before['probe_n']):,} of them)" if before.get("probe_n", n) != n else ""
    what = "" if measured[0] == "accuracy" else "a reward of "
    return f"{text}. Without training the start reaches {what}{' and '.join(rivals)}{asked}."


OF_ROWS = (
    ("pairs/accuracy", "the share of pairs put right"),
    ("kto/accuracy", "the share of answers put right"),
    ("nll", "the loss"),
    ("distill/divergence", "the divergence from the teacher"),
)


def lead_of_rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The main result of a run on given text."""
    told = [
        f"{label} went from <b>{before[key]:.3f}</b> to <b>{after[key]:.3f}</b>"
        for key, label in OF_ROWS
        if before.get(key) is not None and after.get(key) is not None
    ]
    return f"On {int(after.get('rows', 0)):,} held-out rows {' and '.join(told)}." if told else ""


def told_of(numbers: Mapping[str, Any], key: str) -> str:
    ends = interval_of(numbers, key)
    return f"<b>{numbers[key]:.3f}</b>" + (f" ({ends[0]} to {ends[1]})" if ends else "")


def rivals_of(before: Mapping[str, Any], measure: str) -> list[str]:
    """What the start reaches without training: at its best temperature, and by a vote."""
    rivals = []
    best, temperature = (
        ("best_accuracy", "best_temperature")
        if measure == "accuracy"
        else ("best_reward", "best_reward_temperature")
    )
    if best in before:
        # The answers at temperature 1 are those of the vote, so their mean differs from that of the single
        # answer in the sentence before.
        at = float(before[temperature])
        how = "1, eight answers each" if at == 1 else f"{at:g}"
        rivals.append(f"{before[best]:.3f} at its best temperature ({how})")
    if measure == "accuracy" and "maj_at_8" in before:
        rivals.append(f"{before['maj_at_8']:.3f} by a vote of eight")
    return rivals


def numbers(content: Content) -> Iterator[str]:
    before, after = content.first, content.last
    rows = [row for row in shown(before, after) if "accuracy" in content.measures or row[0] not in OF_TRUTH]
    if not rows:
        return
    when = f"after step&nbsp;{after['step']}"
    yield (
        '<h2>Before and after</h2><p class="quiet">Small numbers are 95 % intervals over the questions.</p>'
        f'<div class="wide-table"><table class="beside"><thead><tr><th>held-out questions<th>before<th>{when}'
        "<th class=bars></tr></thead>"
    )
    for key, label, form in rows:
        old, new = float(before[key]), float(after[key])
        most = 1.0 if form == ".3f" and max(old, new) <= 1 and key != "entropy" else max(old, new) or 1.0
        widths = [100 * max(0.0, value) / most for value in (old, new)]
        bars = (
            f'<i class="old" style="width:{widths[0]:.1f}%"></i><i style="width:{widths[1]:.1f}%"></i>'
            if min(old, new) >= 0
            else ""
        )
        cells = [f"{value:{form}}{ends(side, key)}" for value, side in ((old, before), (new, after))]
        yield f'<tr><td>{label}<td>{cells[0]}<td class="new">{cells[1]}<td class="bars">{bars}</tr>'
    yield "</table></div>"


def ends(numbers: Mapping[str, Any], key: str) -> str:
    found = interval_of(numbers, key)
    return f" <small>{found[0]} to {found[1]}</small>" if found else ""


def charts(content: Content) -> Iterator[str]:
    yield (
        '<h2>Training</h2><p class="quiet">Each point is a step; dots are evaluations on the '
        "held-out questions.</p>"
    )
    figures = [figure(chart) for chart in curves(content.lines, content.evaluations, content.measures)]
    yield f'<div class="grid-of">{"".join(figures)}</div>'


# The same questions


def answers(content: Content) -> Iterator[str]:
    if not content.writes:
        return
    yield "<h2>The same questions, before and after</h2>"
    if not content.pairs:
        yield '<p class="quiet">There are no two evaluations of the same questions yet.</p>'
        return
    told = ", ".join(
        f"{number:,} {was} → {now}" if was != BY_REWARD else f"{number:,} with {now} reward"
        for (was, now), number in counts(content.pairs).items()
    )
    note = f"First answers at temperature 1: {told}. Shown are the first ones of each kind"
    note += f" among the first {len(content.after)}." if content.after else "."
    if content.after:
        note += (
            " Colour marks the tokens at which the two models disagree: the KL between their next-token "
            "distributions there, "
            f"from {VISIBLE_KL:g} nats (none) to {FULL_KL:g} (full)."
        )
    yield f'<p class="quiet">{note}</p>'
    for pair in chosen([pair for pair in content.pairs if not content.after or pair.row in content.after]):
        yield from one_pair(pair, content.before.get(pair.row), content.after.get(pair.row))


def one_pair(pair: Pair, before: Marked | None, after: Marked | None) -> Iterator[str]:
    gold = pair.before["answer"]
    right = f" <span>the answer is {safe(str(gold))}</span>" if gold is not None else ""
    yield f'<div class="card pair"><h3>{safe(pair.before["prompt"])}{right}</h3>'
    for when, row, marks in zip(("before", "after"), (pair.before, pair.after), (before, after), strict=True):
        kind = verdict(row)
        known = f'<span class="{kind}">{kind}</span>, ' if kind in ("right", "wrong") else ""
        yield f"<div>{when}: {known}{facts_of(row)}"
        yield f"<pre>{coloured(marks) if marks else safe(row['completion']) or '(empty)'}</pre></div>"
    yield "</div>"


def facts_of(row: Row) -> str:
    """Reward, length and end of an answer."""
    score = row.get("score")
    reward = f"reward {score:g}, " if score is not None and score == score else "not graded, "
    cut = ", cut at max_new_tokens" if row["finish"] == "length" else ""
    return f"{reward}{sum(row['is_action'])} tokens{cut}"


def coloured(marks: Marked) -> str:
    """The pieces as HTML, coloured by their KL. Line breaks at the beginning and the end are removed: a
    browser would drop the first one anyway."""
    found = []
    for text, kl in marks:
        shown = printable(text)
        if kl >= VISIBLE_KL and text:
            strength = min(0.85, 0.85 * kl / FULL_KL)
            line = "\n" if shown.endswith("\n") else ""
            shown = (
                f'<u style="--kl:{strength:.2f}" title="{kl:.2f} nats">'
                f"{escape(shown.replace(chr(10), '⏎'))}</u>{line}"
            )
        else:
            shown = escape(shown)
        found.append(shown)
    return "".join(found).strip("\n")


# Distance and time


def distance(content: Content) -> Iterator[str]:
    if not content.writes:
        return
    yield "<h2>How far from the start</h2>"
    drift = content.drift
    if drift is None:
        yield (
            '<p class="quiet">Not measured. <code>menon report RUN</code> reads the answers with '
            "both models, once there is a "
        )
        yield "checkpoint of an evaluated step.</p>"
        return
    yield (
        f"<p>On {drift['answers']} answers of the model after step {drift['step']}, KL(trained || start) "
        "sums to <b>"
        f"{drift['sequence_kl']:.2f} nats</b> an answer; <b>{drift['first_token_share']:.0%}</b> of it "
        "sits on the first token "
        f"({drift['first_token_kl']:.2f} nats). On the start's own answers KL(start || trained) is "
        f"{drift['back']['sequence_kl']:.2f} nats, {drift['back']['first_token_share']:.0%} of it on the "
        "first token.</p>"
    )
    lines = (
        Line("trained model's answers", positions(drift), 1),
        Line("the start's answers", positions(drift["back"]), 4),
    )
    note = (
        "How far the two models' next tokens differ at each place: mean over the answers that are that long, "
        "as far as a tenth of the answers reach."
    )
    chart = Chart("KL at each token of the answer", lines, note, Axis(unit="nats", low=0), Axis("token"))
    yield figure(chart).replace('"chart"', '"chart wide"', 1)


def positions(side: Mapping[str, Any]) -> list[tuple[float, float]]:
    both = enumerate(zip(side["per_position"], side["reach"], strict=True), start=1)
    return [(float(place), float(kl)) for place, (kl, reach) in both if reach >= 0.1]


def time(content: Content) -> Iterator[str]:
    spent = times(content.lines)
    steps = sum(spent.values())
    rest = content.wall_s - steps
    if rest > 0:
        spent = spent | {"outside of steps": rest}
    whole = sum(spent.values())
    yield "<h2>Where the time went</h2>"
    if not whole:
        yield '<p class="quiet">The run kept no times.</p>'
        return
    tones = {name: 0 if name == "outside of steps" else 1 + place % 5 for place, name in enumerate(spent)}
    bars = [
        f'<i class="t{tones[name]}" style="width:{100 * s / whole:.2f}%" title="{name}"></i>'
        for name, s in spent.items()
    ]
    yield (
        f'<div class="share">{"".join(bars)}</div>'
        '<div class="wide-table"><table><thead><tr><th>part<th>seconds<th>share<th>a step</tr></thead>'
    )
    for name, seconds in spent.items():
        each = f"{seconds / len(content.lines):.3f} s" if name != "outside of steps" else ""
        key = f'<span class="key t{tones[name]}">{escape(name)}</span>'
        yield f"<tr><td>{key}<td>{seconds:.1f}<td>{seconds / whole:.1%}<td>{each}</tr>"
    yield '</table></div><p class="quiet">Outside of steps: evaluations, checkpoints, the start.</p>'


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def rows_of(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of a tree as dotted names with plain values."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from rows_of(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def settings(content: Content) -> Iterator[str]:
    parts: Sequence[tuple[str, Any]] = [
        ("Settings", content.settings),
        ("Versions", content.about.get("versions", {})),
        ("Machine", content.about.get("machine", {})),
    ]
    yield "<h2>What was run</h2>"
    for title, tree in parts:
        text = "\n".join(f"{name} = {value}" for name, value in rows_of(tree))
        yield f"<details><summary>{title}</summary><pre>{safe(text)}</pre></details>"
