r"""Short nouns that stand bare after a value: `72 eggs`, `5 red hats`, `3 tsp of salt`.

Up to four letters without a backslash are otherwise a product of variables, so such a word has to be known,
or to have the form of a plural.
"""

import re

from menon.reward.math.lexicon import AFTER, LINKS, NOUNS
from menon.reward.math.units import known

_PLURAL = re.compile(
    r"(?:[b-df-hj-np-tv-z](?:[aeiou][b-df-hj-np-twxyz]|[aeiouy][aeiou]|[lr][aeiouy])"
    r"|[aeiou](?:[b-df-hj-np-tv-z][aeiouy]|ff|gg|ll|nn|dd|bb|[lrn][bcdghklmnpt]|sk|ct|ps|ft))s"
)
"""Four letters that can be spoken, with the ending of a plural."""
_AFTER_VALUE = re.compile(
    r"(?<=[\d})]) +(?P<words>[A-Za-z]{2,20}(?:(?: ?/ ?| )[A-Za-z]{1,20})*)(?= *(?:$|[,;.)\]}=]))"
)
_IN_BRACKETS = re.compile(r"(?<=\d) *[(\[] *([A-Za-z]{3,20}(?: [A-Za-z]{2,20}){0,3}) *[)\]]$")
_THREE = re.compile("[A-Za-z]{3}")
_HEAD_ENDS = re.compile(r" ?/ ?| (?:of|in|per|for|to|on|an?|each|every|from|with|at) ")
_SHORTEST = LINKS | {"in", "to", "on", "at"}
"""Words of one or two letters that may stand beside a noun."""
FEWEST = 3
"""Letters of a noun that may stand bare."""


def is_short_noun(word: str) -> bool:
    """Whether a word of three or four letters is a noun rather than a product: in small letters, or like a
    name with one capital."""
    if word[1:] != word[1:].lower():
        return False
    low = word.lower()
    singular = low[:-1] if low.endswith("s") else low
    return len(low) in (FEWEST, FEWEST + 1) and (
        low in NOUNS or singular in NOUNS or known(low) is not None or _PLURAL.fullmatch(low) is not None
    )


def nouns_marked(text: str) -> str:
    r"""The text with short nouns after a value as `\text`, together with the words beside them."""
    return _AFTER_VALUE.sub(_marked, _IN_BRACKETS.sub(r" \1", text)) if _THREE.search(text) else text


def _marked(found: re.Match[str]) -> str:
    words = found["words"]
    pieces = re.findall("[A-Za-z]+", words)
    head = [word for word in _HEAD_ENDS.split(f"{words} ", maxsplit=1)[0].split() if word not in AFTER]
    if pieces[0] == "of":  # half of a pie
        head = pieces
    if not head or not is_short_noun(head[-1]):
        return found[0]
    if any(len(word) < FEWEST and word not in _SHORTEST and not known(word) for word in pieces):
        return found[0]
    return f" \\text{{ {words} }}"
