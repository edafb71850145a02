"""Which language a text is in, for the few that instruction sets ask for: by its script, then by its commonest words.

A table and a count, no model: enough to tell the languages of IFEval apart in a paragraph, not in three words.
"""

import re
from collections import Counter

SCRIPTS: dict[str, tuple[int, int]] = {
    "ko": (0xAC00, 0xD7A3),
    "th": (0x0E00, 0x0E7F),
    "kn": (0x0C80, 0x0CFF),
    "te": (0x0C00, 0x0C7F),
    "ta": (0x0B80, 0x0BFF),
    "gu": (0x0A80, 0x0AFF),
    "pa": (0x0A00, 0x0A7F),
    "bn": (0x0980, 0x09FF),
    "devanagari": (0x0900, 0x097F),
    "arabic": (0x0600, 0x06FF),
    "cyrillic": (0x0400, 0x04FF),
    "ja": (0x3040, 0x30FF),
    "zh": (0x4E00, 0x9FFF),
    "latin": (0x0041, 0x024F),
    "vietnamese": (0x1EA0, 0x1EF9),
}
"""First and last character of a script; a name of two letters is a language of its own."""

WORDS: dict[str, dict[str, str]] = {
    "devanagari": {
        "hi": "है हैं के और का की को से में यह था थे पर एक नहीं भी कर ने हो लिए तो इस वह अपने",
        "mr": "आहे आहेत आणि मी च्या ते हे या तो ही आपण नाही करा होते होता केले साठी एक मध्ये आपल्या तुम्ही असे",
        "ne": "छ छन् र को का मा लाई हो गर्न यो भने पनि एक गरेको थियो छैन तपाईं हुन्छ म लागि",
    },
    "arabic": {
        "ar": "في من على إلى أن هذا هذه التي الذي مع كان لا ما هو هي عن كل و أو لم بعد قد",
        "fa": "است که را در به از این با برای می آن های شود یک ما خود بر شما هستند کند هر",
        "ur": "ہے ہیں کے کی کا میں اور سے کو نے پر یہ ایک بھی نہیں کر تھا وہ اس ہو لیے",
    },
    "cyrillic": {
        "ru": "и в не на что с он как это по но из у за от то все так же для было мы вы бы я",
        "bg": "и на да се в за не от са с е че по като това си ще или той към през има беше аз",
    },
    "latin": {
        "en": "the of and to in is that it for was on are with as i be at you this have not but they his from or we an",
        "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an ich wir sie",
        "fr": "le la les de des et un une du en est que qui dans pour pas sur au par avec ce il elle nous vous",
        "es": "el la los las de que y en un una es por con para no se del al lo como más su mi pero",
        "pt": "o a os as de que e em um uma é por com para não se do da no na dos das mais seu como eu",
        "it": "il la di che e in un una per con non è del della i le da si al come più sono nel gli lo mi",
        "fi": "ja on ei se että hän oli mutta kun niin ovat joka tai myös mitä minä olen ole sen nyt kuin jos",
        "sw": "na ya wa kwa ni katika za la cha kuwa hii huu yake si pia kama au lakini wewe mimi sana hiyo",
        "vi": "và của là có cho không được trong một các với này người những đã để tôi khi về từ bạn như",
    },
}
_WORD = re.compile(r"[^\W\d_]+(?:[\u0900-\u0DFF]+[^\W\d_]*)*")


def language_of(text: str) -> str:
    """A code of ISO 639-1; the script where it has several languages and no common word of one is found; "" without a letter."""
    counts = Counter(script_of(letter) for letter in text)
    counts["latin"] += counts.pop("vietnamese", 0)
    counts.pop("", None)
    if not counts.total():
        return ""
    if counts["ja"] > 0.05 * counts.total():
        return "ja"
    script = counts.most_common(1)[0][0]
    return by_words(text, WORDS[script]) or script if script in WORDS else script


def script_of(letter: str) -> str:
    place = ord(letter)
    if not (letter.isalpha() or 0x0900 <= place <= 0x0DFF):
        return ""
    return next((name for name, (first, last) in SCRIPTS.items() if first <= place <= last), "")


def by_words(text: str, words: dict[str, str]) -> str:
    """The language whose common words make up most of the text."""
    found = Counter(_WORD.findall(text.lower()))
    score = {name: sum(found[word] for word in common.split()) for name, common in words.items()}
    best = max(score, key=lambda name: score[name])
    return best if score[best] else ""
