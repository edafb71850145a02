"""Instructions whose following can be checked (IFEval, Zhou et al., arXiv 2311.07911): one small function for each.

`CHECKS[id](text, **kwargs)`; the ids and their arguments are those of the published prompts. Two things differ from the authors'
code, which asks other libraries for them: sentences are counted by `sentences`, languages told by `language.language_of`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from menon.eval.language import WORDS, language_of
from menon.types import Verdict

_ENDS = re.compile(r"[.!?]+[\"')\]*]*(?=\s+[^a-z\s]|\s*\Z)|\n\s*\n")
_ABBREVIATIONS = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|Inc|Ltd|Co|No|e\.g|i\.e|[A-Z])\.(?=\s)")
_DOTTED = re.compile(r"(?<=\d)\.(?=\d)")


def words(text: str) -> int:
    return len(re.findall(r"\w+", text))


def sentences(text: str) -> int:
    """Pieces that hold a letter or digit, between sentence ends (. ! ? before a space and no small letter) and blank lines."""
    text = _DOTTED.sub("", _ABBREVIATIONS.sub("", text))
    return sum(bool(re.search(r"\w", piece)) for piece in _ENDS.split(text))


def holds(count: int, relation: str, number: int) -> bool:
    """The two relations of the prompts."""
    return count < number if relation == "less than" else count >= number


# Keywords and length


def existence(text: str, keywords: Sequence[str]) -> bool:
    return all(re.search(keyword, text, re.IGNORECASE) for keyword in keywords)


def frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    return holds(len(re.findall(keyword, text, re.IGNORECASE)), relation, frequency)


def forbidden(text: str, forbidden_words: Sequence[str]) -> bool:
    return not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in forbidden_words)


def letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    return holds(text.lower().count(letter.lower()), let_relation, let_frequency)


def number_words(text: str, num_words: int, relation: str) -> bool:
    return holds(words(text), relation, num_words)


def number_sentences(text: str, num_sentences: int, relation: str) -> bool:
    return holds(sentences(text), relation, num_sentences)


def parts_between(text: str, separator: str) -> list[str] | None:
    """Parts that hold something; None where one in the middle is empty. An empty one at either end is overlooked."""
    parts = [part.strip() for part in re.split(separator, text)]
    return None if "" in parts[1:-1] else [part for part in parts if part]


def number_paragraphs(text: str, num_paragraphs: int) -> bool:
    """Paragraphs are divided by ***."""
    parts = parts_between(text, r"\s?\*\*\*\s?")
    return parts is not None and len(parts) == num_paragraphs


def nth_paragraph_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Here paragraphs are divided by blank lines. The word ends at a punctuation mark; quotation marks before it do not count."""
    parts = text.split("\n\n")
    if sum(bool(part.strip()) for part in parts) != num_paragraphs or nth_paragraph > len(parts):
        return False
    paragraph = parts[nth_paragraph - 1].split()
    return (
        bool(paragraph)
        and re.split(r"[.,?!'\"]", paragraph[0].lstrip("'\""))[0].lower() == first_word.lower()
    )


# Content and format


def placeholders(text: str, num_placeholders: int) -> bool:
    return len(re.findall(r"\[.*?\]", text)) >= num_placeholders


def postscript(text: str, postscript_marker: str) -> bool:
    letters = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    return (
        re.search(letters.get(postscript_marker, re.escape(postscript_marker.lower())), text.lower())
        is not None
    )


def bullets(text: str, num_bullets: int) -> bool:
    return len(re.findall(r"^\s*(?:\*[^*]|-).*$", text, re.MULTILINE)) == num_bullets


def constrained(text: str) -> bool:
    return any(f"My answer is {word}." in text for word in ("yes", "no", "maybe"))


def highlights(text: str, num_highlights: int) -> bool:
    """*one star* or **two** around something."""
    single = [found for found in re.findall(r"\*[^\n*]*\*", text) if found.strip("*").strip()]
    double = [found for found in re.findall(r"\*\*[^\n*]*\*\*", text) if found.strip("*").strip()]
    return len(single) + len(double) >= num_highlights


def sections(text: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.findall(rf"\s?{re.escape(section_spliter.strip())}\s?\d+\s?", text)) >= num_sections


def is_json(text: str) -> bool:
    text = re.sub(r"\A```(?:json)?", "", text.strip(), flags=re.IGNORECASE).removesuffix("```").strip()
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def title(text: str) -> bool:
    return any(found.strip("<>").strip() for found in re.findall(r"<<[^\n]+>>", text))


# Combination, ends, case, punctuation, language


def two_responses(text: str) -> bool:
    parts = parts_between(text, r"\*{6}")
    return parts is not None and len(parts) == 2 and parts[0] != parts[1]


def repeat_prompt(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def ends_with(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def quoted(text: str) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def capital_words(text: str, capital_frequency: int, capital_relation: str) -> bool:
    found = re.findall(r"[^\W_][\w&.-]*", text)  # so that I'm and IBM's count, as I and IBM
    return holds(sum(word.isupper() for word in found), capital_relation, capital_frequency)


def capitals(text: str) -> bool:
    return text.isupper() and in_language(text, "en")


def lowercase(text: str) -> bool:
    return text.islower() and in_language(text, "en")


def in_language(text: str, language: str) -> bool:
    """True too where nothing speaks against it: no letter, or no common word of any language of its script."""
    found = language_of(text)
    return found in (language, "") or language in WORDS.get(found, ())


CHECKS: dict[str, Callable[..., bool]] = {
    "keywords:existence": existence,
    "keywords:frequency": frequency,
    "keywords:forbidden_words": forbidden,
    "keywords:letter_frequency": letter_frequency,
    "language:response_language": in_language,
    "length_constraints:number_words": number_words,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:number_paragraphs": number_paragraphs,
    "length_constraints:nth_paragraph_first_word": nth_paragraph_first_word,
    "detectable_content:number_placeholders": placeholders,
    "detectable_content:postscript": postscript,
    "detectable_format:number_bullet_lists": bullets,
    "detectable_format:constrained_response": constrained,
    "detectable_format:number_highlighted_sections": highlights,
    "detectable_format:multiple_sections": sections,
    "detectable_format:json_format": is_json,
    "detectable_format:title": title,
    "combination:two_responses": two_responses,
    "combination:repeat_prompt": repeat_prompt,
    "startend:end_checker": ends_with,
    "startend:quotation": quoted,
    "change_case:capital_word_frequency": capital_words,
    "change_case:english_capital": capitals,
    "change_case:english_lowercase": lowercase,
    "punctuation:no_comma": lambda text: "," not in text,
}


# The reward


@dataclass(frozen=True)
class Instructions:
    """1 if every instruction of the prompt is followed (prompt level, strict), else 0.

    Parts: `loose` is the same where the text without its first or last line, or without its stars, may do instead;
    `followed`, `followed_loose` and `instructions` count instructions.
    """

    def __call__(self, prompt: str, completion: str, answer: str | None, **columns: Any) -> Verdict:
        """`columns` holds instruction_id_list and, in the same order, kwargs."""
        checks = list(zip(columns["instruction_id_list"], columns["kwargs"], strict=True))
        strict = [follows(completion, name, given) for name, given in checks]
        loose = [any(follows(text, name, given) for text in relaxed(completion)) for name, given in checks]
        score = float(all(strict))
        parts = {
            "loose": all(loose),
            "followed": sum(strict),
            "followed_loose": sum(loose),
            "instructions": len(checks),
        }
        return Verdict(score, score, {name: float(value) for name, value in parts.items()})


def follows(text: str, name: str, given: Mapping[str, Any]) -> bool:
    """KeyError for an instruction that nobody has written a check for."""
    check = CHECKS[name]
    return bool(text.strip()) and check(
        text, **{key: value for key, value in given.items() if value is not None}
    )


def relaxed(text: str) -> Iterator[str]:
    """The text as it is, without its first line, its last, or both; and each of these without stars."""
    lines = text.split("\n")
    for piece in (
        text,
        "\n".join(lines[1:]).strip(),
        "\n".join(lines[:-1]).strip(),
        "\n".join(lines[1:-1]).strip(),
    ):
        yield piece
        yield piece.replace("*", "")


def instruction_level(parts: Mapping[str, float]) -> dict[str, float]:
    """Shares of all instructions, from the means of the parts over prompts."""
    total = parts["instructions"]
    return {
        "instruction_strict": parts["followed"] / total,
        "instruction_loose": parts["followed_loose"] / total,
    }
