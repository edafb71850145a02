"""The part of a page about text that was written beside the updates."""

from collections.abc import Iterator, Mapping
from typing import Any

from menon.report.content import Content

DOUBT = 0.01
"""Below this p the page says that lengths were favoured."""


def written_beside(content: Content) -> Iterator[str]:
    if not content.asynchrony:
        return
    groups, lengths = content.asynchrony["groups"], content.asynchrony["lengths"]
    yield "<h2>Written beside the updates</h2>"
    yield f"<p>{sentence_of_groups(groups)} {sentence_of_lengths(lengths)}</p>"
    rows = "".join(
        f"<tr><td>{age}<td>{share:.1%}</tr>" for age, share in content.asynchrony["staleness"].items()
    )
    yield (
        '<div class="wide-table"><table><thead><tr><th>versions older than the weights that learned'
        f"<th>share of the tokens</tr></thead>{rows}</table></div>"
        f'<p class="quiet">The updates waited {content.asynchrony["waited_s"]:.1f} s for text.</p>'
    )


def sentence_of_groups(groups: Mapping[str, Any]) -> str:
    """
    >>> sentence_of_groups({"asked": 8, "trained": 8, "dropped": 0, "asked_again": 2})
    '8 groups were asked for the steps that are done, 8 learned from, 0 dropped. 2 were asked again, because the process that had begun them ended.'
    """  # noqa: E501
    text = (
        f"{groups['asked']:,} groups were asked for the steps that are done, {groups['trained']:,} learned "
        f"from, {groups['dropped']:,} dropped."
    )
    again = groups["asked_again"]
    if again:
        text += f" {again:,} were asked again, because the process that had begun them ended."
    return text


def sentence_of_lengths(lengths: Mapping[str, Any]) -> str:
    """Whether answers of some lengths were favoured."""
    means = f"{lengths['mean_trained']:.1f} tokens against {lengths['mean_written']:.1f}"
    if lengths["trained"] == lengths["written"]:
        return f"Every answer that was written was learned from ({lengths['written']:,}), of whatever length."
    said = (
        f"Of {lengths['written']:,} answers that were written, {lengths['trained']:,} were learned from "
        f"({means} on average, distance {lengths['distance']:.3f}, p {lengths['p']:.3f})"
    )
    if lengths["p"] < DOUBT:
        return f"{said}: <b>which ones depends on their length.</b>"
    return f"{said}: no length was favoured as far as this can tell."
