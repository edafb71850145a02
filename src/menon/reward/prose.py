"""Reads sentences as a person would: where their formulas and numbers are, and whether they deny a value. For
evaluation; a reward for training asks for a marked result (`extract.WAYS`)."""

import re
from collections.abc import Iterator

Span = tuple[int, int]

SCALES = (
    r"(?:hundred|thousand|million|billion|trillion|dozen|lakh|crore|mille|cent|tausend|millionen?|mil|millones|"
    r"milhões|milhão|mila|milioni|тысяч\w*|миллион\w*)(?!\w)|[百千万亿萬億]|천|만|억"
)
"""Words that multiply the number before them."""
ALTERING = (
    r"\b(?:negative|minus|plus|half|quarter|third|double|twice|square|root|squared|cubed|point|times|divided"
    rf"|percent|(?:{SCALES}))\b"
)
ALTERS = re.compile(ALTERING, re.IGNORECASE)
"""Words that change the number beside them."""

_MARK = re.compile(
    r"\$\$?|\\[()\[\]]|\\(?:begin|end)\{(?:equation|align|aligned|gather|multline|displaymath)\*?\}|\\.",
    re.DOTALL,
)
_CLOSES = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}
_ROWS = re.compile(r"\\(?:begin|end)\{[a-z]+\*?\}")
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.])(?:(?<![0-9)\]]\s)(?<![\w)\]])[-−+])?\$?"
    r"(?:[0-9]{1,3}(?:[,  ][0-9]{3})+(?![0-9])|[0-9]+)?(?:(?<=[0-9])\.(?=[0-9])|(?<![0-9])\.(?=[0-9]))?[0-9]*"
    r"(?:(?<=[0-9])/[0-9]+)?(?<=[0-9])%?"
)
_PROSE = re.compile(r"(?<![\\A-Za-z])[^\W\d_\u3040-\u30ff\u3400-\u9fff]{3,}|[\u3040-\u30ff\u3400-\u9fff]{2}")
_SUFFIX = re.compile(rf"\s*(?:\\?%|percent(?:age)?\b|pct\b|(?i:{SCALES}))")
_JOINS = re.compile(r"\s*(?:[,;]\s*(?:and|or)?|and|or)\s*|\s+")
_DIGIT = re.compile(r"\d")
_BESIDE_NUMBERS = re.compile(
    r"(?<![\\A-Za-z])(?!(?:and|or|sqrt|pi|sin|cos|tan|log|ln)(?![A-Za-z]))[^\W\d_]{2}"
)
NEAR = 300
"""Characters around a value that are searched for a denial."""
WORDS = 2
"""A text with more words than this is prose."""


# Formulas and numbers


def formulas(text: str) -> Iterator[Span]:
    """Bounds of the formulas between dollar signs or LaTeX's brackets; an opening sign without a closing one
    does not count."""
    opened: tuple[str, int] | None = None
    for found in _MARK.finditer(text):
        mark = found[0]
        if mark.startswith("\\begin"):
            opened = opened or (mark, found.start())
            continue
        if opened is not None and mark == closing(opened[0]) and found.start() > opened[1] + len(opened[0]):
            yield opened[1], found.end()
            opened = None
        elif opened is not None and (opened[0], mark) == ("$", "$$"):  # $a$$b$
            yield opened[1], found.start() + 1
            opened = ("$", found.start() + 1)
        elif mark in _CLOSES and (opened is None or mark[0] == "\\" or opened[0][0] == "$"):
            opened = (mark, found.start())


def closing(mark: str) -> str:
    return _CLOSES.get(mark) or mark.replace("begin", "end")


def last_row(formula: str) -> str:
    """The last row of an environment of several rows, without alignment marks and a leading equals sign."""
    if not formula.startswith("\\begin"):
        return formula
    rows = [row for row in _ROWS.sub("", formula).split("\\\\") if row.strip()]
    return rows[-1].replace("&", "").strip().lstrip("=").strip() if rows else ""


def last_formula(text: str) -> Span | None:
    """Bounds of the last formula that is not prose between two prices, together with formulas that commas,
    `and` or `or` join to it."""
    spans = [(start, end) for start, end in formulas(text) if not is_prose(text[start:end])][-20:]
    if not spans:
        return None
    start, end = spans.pop()
    while spans and _JOINS.fullmatch(text, spans[-1][1], start):
        start = spans.pop()[0]
    return start, end


def numbers(text: str, start: int = 0) -> list[Span]:
    return [found.span() for found in _NUMBER.finditer(text, start) if found[0].strip("+-−$")]


def with_suffix(text: str, span: Span) -> str:
    """The value, with a percent sign or a word like `million` after it."""
    suffix = _SUFFIX.match(text, span[1])
    return last_row(text[slice(*span)]) + (suffix[0] if suffix else "")


def is_sentence(text: str) -> bool:
    """Whether a text is a sentence: with digits any word makes it one; without digits, up to two words may
    themselves be the result."""
    if _DIGIT.search(text):
        return _BESIDE_NUMBERS.search(text) is not None
    return num_words(text) > (0 if "$" in text else WORDS)


def is_prose(formula: str) -> bool:
    return num_words(re.sub(r"\\[a-zA-Z]+\s*\{[^{}]*\}", "", formula)) > WORDS - 1


def num_words(text: str) -> int:
    return len(_PROSE.findall(text))


# Denial

_NOT = (
    r"(?:\b(?:not|never|neither|nor|cannot|hardly|pas|jamais|nicht|nie|keine?[nmrs]?|(?:no|non|não)(?=\s+(?:es|son|puede|sea|era|fue|è|sono|può|é|são|pode)\b)"
    r"|nunca|jamás|не|ليس|ليست|niet|geen|inte|ikke|nem|bukan|tidak|không|δεν|değil\w*)\b|n['’]t\b"
    r"|不[是为為等对對会會可能]|并[非不]|並非|绝不|では(?:な|あり)|じゃな|아[니닌닙님닐]|नहीं|ไม่|לא\s)"
)
_WRONG = (
    r"(?:\b(?:wrong(?:ly)?|incorrect(?:ly)?|false(?:ly)?|mistaken?(?:ly)?|impossible|invalid|untrue"
    r"|doubt|no(?:body| one)|reject(?:ed)?|ruled out|exclud(?:ed|ing)|discarded|eliminated|faux|falsch"
    r"|incorrect[oa]|fals[oa]|errad[oa]|sbagliat[oa]|неверно|неправильно|ошиб\w+|خطأ)\b|错|錯|違|間違|틀[리렸린])"
)
DENIAL = re.compile(rf"{_NOT}|{_WRONG}", re.IGNORECASE)
"""Words that deny a value beside them, in the languages that `extract.phrase` reads."""
HEDGE = re.compile(
    r"(?i)\b(?:or|either|maybe|perhaps|possibly|between|at (?:least|most)|(?:more|less|fewer|greater|larger"
    r"|smaller|higher|lower|better) than|over|under|above|below|up to|exceeds?|beyond|ou|peut-être|entre"
    r"|au (?:moins|plus)|oder|vielleicht|zwischen|mindestens|höchstens|o bien|quizás?|tal vez|al menos"
    r"|como máximo|talvez|pelo menos|forse|almeno|или|возможно|между|не менее|не более|أو|ربما)\b"
    r"|或|可能|也许|至少|至多|不超过|之间|または|もしくは|たぶん|以上|以下|또는|아마|이상|이하"
)
"""Words that leave several values open."""
_IDIOMS = re.compile(
    r"(?i)\bnot (?:only|just|hard|difficult|surprising(?:ly)?)\b|\b(?:no|without|beyond (?:a|any)) doubt\b"
    r"|\bno (?:other|matter)\b|\bwithout loss of generality\b|\bnot (?:necessary|sufficient)\b"
    r"|\bnot an? \w+(?= (?:is|are)\b)"
    r"|(?:\b(?:not(?: to)?|never|cannot|no|não|non)|n['’]t) (?:(?:se|te|vous) )?(?:forget|overlook|neglect"
    r"|worry|panic|hesitate|olvid\w+|esque\w+|dimentic\w+)\b"
    r"|\bn['’]oubli\w+ pas\b|\b(?:vergiss|vergesst|vergessen sie) nicht\b|\bне забу\w+"
    r"|(?:不要|别|別|勿)忘[了记記]?|忘れ(?:ないで|ずに)"
)
_REMINDER = re.compile(
    r"(?i)^[\W_]*(?:(?:please|and|but|note|remember|careful|caution|hint|tip)\W+)*"
    r"(?:do not|don['’]t|never|(?:remember |be careful |make sure )not to|nicht|ne)\s+"
    r"(?!(?:you |ever |even |just )?(?:be|say|think|believe|write|answer|claim|conclude|accept|assume|trust"
    r"|put|use|give|state|choose|pick|submit|box|report|mark|take|enter|call|tell|reply|respond|suppose|select"
    r"|go|count on|rely|listen|agree|guess|expect|read|quote|copy|output|print|return|fall|buy|follow"
    r"|consider|hold|repeat|make|do|let|jump)\b)"
    r"(?:(?!\b(?:this|that|these|it|them|you|so|such)\b)[^:：;—–])*(?:[:：;—–]|\s-\s)"
)
"""Tells the reader not to do something else than to take the value that follows."""
_CALLED_WRONG = re.compile(_WRONG, re.IGNORECASE)
_DENIED_OR_SUPPOSED = re.compile(
    rf"{_NOT}|\b(?:if|suppose|assum(?:e|ing)|whether|unless|pretend|thought|seemed|wenn|falls|если|пусть)\b"
    r"|如果|假设|假如|もし|만약",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r"(?i)\b(?:(?<!think )(?<!believe )(?<!hope )so|thus|therefore|hence|then|consequently|which means"
    r"|we (?:get|have|find)|giving|implies|but|and|because|since|instead(?! of)|rather(?! than)"
    r"|donc|mais|sondern|also|daher|aber|sino|pero|así que"
    r"|por (?:lo )?tanto|mas|ma|dunque|quindi|а|но|значит|поэтому|بل)\b"
    r"|所以|因此|于是|而是|但|よって|したがって|따라서"
)
"""Where another clause begins, which an earlier denial does not reach."""
ENDS = re.compile(r"[.!?;](?=\s|$)|[。！？；\n]")
"""The end of a sentence."""
_ASIDE = re.compile(
    r"(?i)(?:[,(—–-]\s*(?:and |but |und |et |y |e )?(?:definitely |certainly )?"
    r"(?:not|nicht|pas|no|não|non|а не|не)"
    r"|\band not|\b(?:rather than|instead of|as opposed to|unlike|other than|except(?: for)?)|而?不是)"
    r"\s*[$\\(\[]*\s*$"
)
"""Sets the value after it aside: `6, not 5`, `6 rather than 5`."""
_DENIED_AFTER = re.compile(
    r"(?i)[\s*_$)}\]\\]*(?:,\s*(?=(?:but|though|although|which|that|this|it|was|is|would)\b)"
    r"|[,，]\s*(?=[不错錯])|\(\s*(?=wrong|incorrect|false|falsch|faux|[错錯]))?"
    r"(?:(?:but|though|although|that|this|which|it|is|are|was|were|be|been|would|can|could|should|may|might"
    r"|must|does|did|seems?|looks?|as|an?|the|definitely|clearly|certainly|obviously|simply|est|ist|es|é|è|war)"
    r"\W+){0,5}(?:(?:not|never|cannot|\w{1,6}n['’]t)(?=(?: be)?(?:\W*$|[.,;!?)]| (?:an?|the|it|our|so|true"
    r"|right|correct|possible|valid|allowed|acceptable|equal|what|zero)\b))"
    rf"|(?!not|never|cannot)(?:[是也がは은는이가]\s*)?(?:答えで?|答案|正解で?|정답|답)?(?:{_NOT}|{_WRONG})(?!\W*\d))"
)
_REPLY = re.compile(
    r"(?i)\W*(?:(?:hmm|oh|but|wait|actually|however)\W+)*"
    r"(?:(?:no|nope|nein|non|não|нет|いいえ|아니요)(?=\W*(?:$|[,.!;:—–\n-]))"
    r"|(?:wrong|incorrect|false|falsch|faux|falso|errado|неверно|неправильно)\b"
    r"|not (?:quite|right|correct|so|true|really|at all|sure|certain)\b|(?:or|maybe|perhaps|possibly)\W+-?\d"
    r"|(?:that|this|it|they|he|she|das|ce|c|это)(?:['’](?:s|re|est)| is| are| was| were| would be"
    r"| can| ist| est)?\s*"
    r"(?:not|cannot|wrong|incorrect|false|isn['’]t|can['’]t|nicht|falsch|pas|faux|неверно|impossible)\b"
    r"|(?:这?不[是对對]|这?是?错|錯|違|ちがう|틀)[^\W\d]*\W*(?:$|[，。,.\n]))"
)
_TAKEN_BACK = re.compile(
    r"(?i)(?:\b(?:not|never|cannot be|can't be|isn['’]t|is no|nicht|n['’]est pas|pas|неверно|не)"
    r"|不是|并非|ではなく)"
    r"(?:\s+(?:definitely|simply|equal to|be|just the|the answer))*[:：]?[\s*_$\\(\[]*$"
    r"|\b(?:wrong|incorrect|false|untrue|doubt(?:ful)?|deny|(?:don['’]t|do not) (?:think|believe))"
    r"(?: to say)?(?: that)?"
    r" (?:it|the (?:\w+ ){0,2}(?:answer|result|value)) (?:is|equals|was|be|to be)[:：]?[\s*_$\\(\[]*$"
    r"|\b(?:suppose|assume|pretend|imagine|if|whether|unless)(?: that)?"
    r" (?:it|the (?:\w+ ){0,2}(?:answer|result|value))"
    r" (?:is|were|was|equals)[:：]?[\s*_$\\(\[]*$"
    r"|\b(?:wrong|incorrect|false|mistaken) (?:answer|result|value)(?: is| was)?[:：]?[\s*_$\\(\[]*$"
)
"""Right before a marked result: it is denied or supposed."""
_WHOLE = re.compile(r"[{>]\s*(?P<value>-?\d+)\s*(?:\}|</answer>)$")
_OR_BEFORE = re.compile(
    r"(?:^|[\n:]|\b(?:is|be|are|equals|either)\s)[\s$\\(]*(?P<value>-?\d+)\$?,?\s+(?:or|oder|ou)\s+[\s$\\(\[]*$"
)
_OR_AFTER = re.compile(
    r"[\s$)}\]\\,]*(?:\b(?:or|oder|ou)\b\s*)?(?:maybe|perhaps|possibly|or|oder|ou)\s+[$\\(]*(?P<value>-?\d+)"
    r"(?![\d.,%/\\^]*[\d%/\\^])"
)
"""Another whole number as an alternative to a marked one. Of other values, `or` often gives a second
form: `\\boxed{1/4} or 25%`."""
_REMARK = re.compile(
    r"(?i)[\s$.*_)}\]\\]*(?:(?:hmm|but|and|also|actually|however),?\s+)*\b(?:that|this|it|they|he|she|these|those)\b[^.!?\n]*"
)
_SAYS_WRONG = re.compile(
    rf"(?i){_WRONG}|\b(?:right|correct|true|answer|possible|be(?=\W*$)|(?:not|n['’]t)(?: so)?(?=\W*$))"
)
"""In a sentence about a marked result: it is wrong. `It is not negative` says nothing against it."""
_CORRECTED = re.compile(
    r"(?i)[\s$.*_)}\]\\]*\b(?:wait|actually|hold on|sorry|oops|correction|hmm|no)\b[^.\n]{0,60}?"
    r"\b(?:answer|it|that|this|result|value)\b[^.\n\d]{0,20}?\b(?:is|should be|must be|equals"
    r"|would be)\W{0,4}(?P<value>\d+)"
)
"""After a marked result: another one in its place."""
FAR = 6
"""Most words between a denial and the value that it denies."""


def is_denied(text: str, span: Span) -> bool:
    """Whether the text around a value says that it is not the answer: its sentence denies it, is a question
    or supposes it, or the next sentence says no.

    >>> [is_denied(text, (text.index("5"), text.index("5") + 1)) for text in ("not 5", "5? No.", "it is 5")]
    [True, True, False]
    """
    clause = clause_before(text, span[0])
    if _ASIDE.search(clause) or is_supposed(clause):
        return True
    return is_followed_by_no(text, span[1])


def is_retracted(text: str, span: Span) -> bool:
    """Whether the text takes back a result that it marks: `not` or `suppose it is` right before it, or a
    denial, a question mark or another value (`Wait, it is 6.`) after it. A denial further away does
    not count, because a marked result often ends a longer argument."""
    near = text[max(0, span[0] - NEAR) : span[0]]
    if _TAKEN_BACK.search(near):
        return True
    remark = _REMARK.match(text, span[1], span[1] + NEAR)
    if is_followed_by_no(text, span[1]) and not (remark and not _SAYS_WRONG.search(remark[0])):
        return True
    corrected = _CORRECTED.match(text, span[1], span[1] + NEAR)
    return corrected is not None and corrected["value"] not in text[slice(*span)]


def alternative(text: str, span: Span) -> str:
    """The whole number that the text offers beside a marked one (`or 6`), "" where there is none."""
    whole = _WHOLE.search(text, *span)
    before = _OR_BEFORE.search(text[max(0, span[0] - NEAR) : span[0]])
    other = before or _OR_AFTER.match(text, span[1], span[1] + NEAR)
    return other["value"] if whole and other and other["value"] != whole["value"] else ""


def is_followed_by_no(text: str, place: int) -> bool:
    """Whether the rest of the sentence denies or asks what ends at this place, or the next sentence says
    no."""
    rest = text[place : place + NEAR]
    end = ENDS.search(rest)
    after, following = (rest[: end.start()], rest[end.end() :]) if end else (rest, "")
    asks = end is not None and end[0] in "?？"
    return bool(asks or _DENIED_AFTER.match(after) or _REPLY.match(following))


def is_set_aside(text: str, place: int) -> bool:
    """Whether the value that begins at this place is set aside for one before it: `6, not 5`."""
    return _ASIDE.search(clause_before(text, place)) is not None


def clause_before(text: str, place: int) -> str:
    """The text between the start of a place's clause and the place."""
    before = text[max(0, place - NEAR) : place]
    for boundary in (ENDS, _CLAUSE):
        ends = [found.end() for found in boundary.finditer(before)]
        before = before[ends[-1] :] if ends else before
    return before


def is_supposed(clause: str, far: int = FAR) -> bool:
    """Whether a clause denies or supposes what follows it. A number in between takes the denial to itself,
    and a comma ends it, except where something is called wrong."""
    clause = _REMINDER.sub(" ", _IDIOMS.sub(" ", clause))
    for word, ends, most in (
        (_CALLED_WRONG, "0123456789", far),
        (_DENIED_OR_SUPPOSED, "0123456789,，", FAR),
    ):
        for found in word.finditer(clause):
            between = clause[found.end() :]
            if not any(sign in between for sign in ends) and len(between.split()) <= most:
                return True
    return False
