"""Reads the number that a plain sentence states: `45` of `45 students passed the exam.`

It is for text that is marked as the result. A sentence that may say anything else about its number stays as
it is, and is then refused.
"""

import re

from menon.reward.math.lexicon import names_in
from menon.reward.math.units import looks_like_unit
from menon.reward.math.wording import changes
from menon.reward.prose import ALTERS, DENIAL, HEDGE, numbers

MOST_WORDS = 20
"""Words of a sentence that may be plain."""
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_COUNTED = re.compile(
    r"(?:(?:so|thus|therefore|hence|then|finally|altogether|overall),? )?"
    r"(?:(?:there (?:are|is|were|was|will be|remain)|the (?:\w+ ){0,3}(?:is|was|are|were|equals?)|="
    r"|(?:she|he|they|it|we|i|you|[A-Z]\w+) (?:is|has|have|had|will have|gets?|got|needs?|needed|spent|paid"
    r"|earn(?:s|ed)?)) )?"
    r"(?P<value>[-+−]?\$?\d[\d,./]*(?<![,.])"
    r"(?: (?!(?:are|is|were|was|left|in|remain\w*|altogether|each)\b)\w+)?)"
    r"(?: (?:are|is|were|was|remain\w*|left|in (?:total|all)|altogether|each)\b[\w\s]*)?\.?",
    re.IGNORECASE,
)
_STATEMENT = re.compile(
    r"(?P<intro>(?:(?:in (?:total|all)|so|thus|therefore|hence|then|finally|altogether|overall),? )?"
    r"(?:[^\W\d_]+(?:['’-][^\W\d_]+)* )*)(?<!\bthe )(?<!\bof )(?<!\bthese )(?<!\bthose )(?<!\ball )"
    r"(?P<value>\$?\d[\d,./]*(?<![,.])%?)(?P<noun> [^\W\d_]+)?"
    r"(?P<rest>(?:[ /][^\W\d_]+(?:['’-][^\W\d_]+)*| )*)\.?",
    re.IGNORECASE,
)
_ANSWER = re.compile(r"(?i)\b(?:answer|result|solution)\b")
"""What is said of these `_COUNTED` reads, or it is something else than that the number is the answer."""
_RATE = re.compile(r"(?: \w+)? (?:per|an?|each|every)\b|[^/]*/", re.IGNORECASE)
_ENGLISH = names_in("""
    the a an is are was were will has have had there he she it they we i you his her their its to of in
    on for by per each total can from sold bought made gave took ate ran read wrote found spent paid won
    kept saw went drove built drew grew sent brought cut costs takes
    """)
"""Words that show a sentence to be English, in which the tables of denials are complete enough."""
_HARMLESS = names_in("""
    is are was were be been being has have had do does did as it that this these those its thus hence
    it's he she they we i you to of in on for by from at the a an total so then there will can all left
    altogether a's
    """)
"""Words without a meaning for the number in a plain sentence, although they have one beside a bare value."""
_SUSPECT = names_in("""
    too guess guessed attempt candidate bound claim claimed claims pretend suppose supposed add adds
    added divide divided multiply multiplied subtract subtracted round rounded estimate estimated wish
    hope want wanted if when unless until once though although but however wait actually instead
    initially originally previously formerly used error mistake fail fails fold few low high great close
    near almost nearly barely digit digits chapter step equation option choice problem question tens
    hundreds dozens pairs couples multiple multiples factor divisor denominator numerator times exponent
    increase decrease difference short lacks lack missing before after ago off extra additional
    divisible prime primes ends ended ending starts started starting begins began beginning contains
    contain theorem exercise lemma example figure table log logarithm cube cubes part parts some several
    many none what who whom whose which thought think thinks believed other far apart remainder
    quotient opposite zero one two three four five six seven eight nine ten eleven twelve thirteen
    fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty
    ninety another others previous both neither nor either ever
    """)
"""Words that may give the number in their sentence another meaning than that of the result."""


def value_counted(text: str) -> str:
    """`72 apples` of `There are 72 apples left.` and `45 students` of `45 students passed the exam.`; any
    other text as it is, and one with a word that could change the number."""
    plain = text.strip()
    if len(numbers(plain)) != 1 or any(word.search(plain) for word in (DENIAL, HEDGE, ALTERS)):
        return text
    words = _WORD.findall(plain)
    if any(map(alters, words)):
        return text
    if (found := _COUNTED.fullmatch(plain)) is not None:
        return found["value"]
    return counted(plain, words)


def counted(sentence: str, words: list[str]) -> str:
    """The number of a plain English sentence, with the noun after it if that is a unit; the sentence as it is
    where it is none, states a rate, or holds a variable."""
    found = _STATEMENT.fullmatch(sentence)
    if (
        found is None
        or _ANSWER.search(found["intro"])
        or any(len(word) == 1 and word not in "aAI" for word in words)
    ):
        return sentence
    english = any(word.lower() in _ENGLISH or word.lower().endswith("ed") for word in words)
    if not english or len(words) > MOST_WORDS or _RATE.match((found["noun"] or "") + found["rest"]):
        return sentence
    noun = (found["noun"] or "").strip()
    if noun and noun.lower() not in _HARMLESS:
        return f"{found['value']} {noun}" if looks_like_unit(noun) else sentence
    plain = not found["intro"] or found["value"].startswith("$")
    return found["value"] if plain else sentence  # not of "I tried 45"


def alters(word: str) -> bool:
    """Whether a word could say something else about a number in its sentence than that it is the result."""
    low = word.lower()
    return low not in _HARMLESS and (low in _SUSPECT or changes(low))
