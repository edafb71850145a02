"""Words that an English reader has to translate are gone from the source, its messages and the documentation.

`docs/words.md` has the words to use instead.
"""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BANNED = re.compile(
    r"\b(nobody|whoever|mend|mends|mended|mending|behind|(?:the|its|whose) way back"
    r"|(?:a|the|its|their) told)\b",
    re.IGNORECASE,
)
PYTHON = sorted(path for folder in ("src", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])


def prose(path: Path) -> str:
    """The text of a page; for a program its comments and strings, without the code that f-strings hold."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    found = [token.string for token in tokens if token.type in kinds]
    return "\n".join(re.sub(r"\{[^{}]*\}", "", part) if part[:1] in "fF" else part for part in found)


def test_words_that_a_reader_has_to_translate():
    found = {str(path.relative_to(ROOT)): BANNED.findall(prose(path)) for path in [*PYTHON, *PAGES]}
    assert len(PYTHON) > 300
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize(
    "sentence",
    [
        "Nobody reads it.",
        "for whoever asks",
        "Mend them.",
        "the answer behind it",
        "the way back",
        "the told",
    ],
)
def test_they_are_found(sentence):
    assert BANNED.search(sentence)


@pytest.mark.parametrize(
    "sentence", ["recommend", "told apart by their parameters", "told from its neighbours"]
)
def test_other_words_are_not(sentence):
    assert not BANNED.search(sentence)
