"""What a judge is shown of an answer, and how its reply is read."""

import re
from collections.abc import Mapping
from typing import Any

from menon.reward.batched import NoReply
from menon.reward.extract import WAYS, stated
from menon.thought import after_thinking

LONGEST_LINE = 1000
"""Characters of the stated result that the judge reads, the end of it."""

_LAYOUT = re.compile(
    r"^\s*(?:```|~~~)\w*\s*$|\\(?:begin|end)\{[^{}]*\}(?:\{[^{}]*\})?|</?[A-Za-z][\w:-]*>|<\|[^|<>]*\|>"
    r"|\\(?:left|right|hline|quad|qquad|square|blacksquare|qed|[vh]fill|bigskip)\b"
    r"|\\(?:tag|label)\{[^{}]*\}|!\[[^\[\]]*\]\([^()]*\)"
)
"""What holds no words of an answer: fences, environments, tags."""
_CONTENT = re.compile(r"[^\W_]|[∞∅]")
_OFFERS = """
let me know|feel free|hope (?:this|that|it)|i hope|hopefully|good luck|thanks(?! to)|thank you
cheers|enjoy(?!\\w)
if you (?:have|need|want|would|'d|require|wish|like|are|find|still|ever)|if anything|if there's
should you
(?:do not|don't) hesitate|(?:let|ask|tell) me|i'm (?:here|happy|glad|always)|i'd be
i(?: am|'ll be) (?:happy|glad)
happy to|glad to|is there anything|any (?:other|further|more)? ?questions|would you like
do you (?:want|need|have)
have a (?:nice|great|good|lovely)|you(?:'re| are) welcome|best (?:regards|wishes|of luck)
done(?!\\w)|this (?:completes|concludes)|that(?:'s| is) (?:it|all)(?!\\w)
end of (?:the )?(?:answer|solution|proof)
wishing you|q\\.?e\\.?d
希望(?:这|以上|能|对|我)|如果(?:你|您)?(?:还|有|需|想)|如有|若有|祝(?:你|您|学|好)|请?随时|欢迎|谢谢|感谢|还?有什么(?:问题|需)|需要我
お役に立|何か(?:ご|他|質)|ご不明|ご質問|お気軽|よろしく|ありがとう|도움이 되|궁금한|언제든|더 필요
espero que|si (?:tienes?|necesitas?|quieres?) |no dude|av[ií]same|gracias(?! a)
¿(?:hay|necesitas|quieres)|buena suerte
j'espère|n'hésite|si (?:vous|tu) (?:avez|as|voulez|veux|souhaite)|dites-moi|faites-moi|bonne chance
merci|avez-vous
ich hoffe|hoffentlich|lass(?:en sie)? (?:es )?mich|bei (?:weiteren )?fragen
(?:falls|wenn) (?:du|sie) (?:noch|frag|weiter)
melden? |viel (?:erfolg|glück)|danke|kann ich
надеюсь|если (?:у вас|вам) (?:есть|возник|остал|нужн)|дайте знать|обращайтесь|спасибо|удачи|буду рад
se (?:você |tiver|precisar|quiser|hai |ha |serve|vuoi|avete)|fique à vontade|avise|qualquer dúvida
obrigad|boa sorte
spero (?:che|di)|fammi sapere|non esitare|grazie(?! a)|آمل|أتمنى|لا تتردد|إذا كان لديك
"""
"""How a line begins that speaks to the reader after the answer: thanks, wishes, an offer of help."""
_OFFER = re.compile(
    rf"(?i)[\W_]*(?:(?:and|also|so|please|otherwise|just|but|do)\W+)*(?:{'|'.join(_OFFERS.strip().splitlines())})"
)

_OPENERS = re.compile(
    r"(?i)[\W_]*(?:(?:the |my |a |final |step[- ]by[- ]step |detailed )*"
    r"(?:solution|thought(?:s| process)?|thinking|reasoning|explanation|analysis|proof"
    r"|answer|steps?(?: 1)?|result|conclusion)"
    r"|let(?:['’]?s| us) (?:solve|think|break|work|begin|start|go|analy[sz]e|see)\b[^\d=]*"
    r"|(?:to (?:solve|find|answer|determine)|we (?:need|have|want) to"
    r"|i (?:need|have|want|will)|first(?:ly)?,)\b[^\d=]*:"
    r"|解答?|解析|思路|答案?|分析|解説|解答例|かいせつ|解き方|풀이|해설"
    r"|respuesta|soluci[óo]n|l[öo]sung|solu[çc][ãa]o|soluzione|решение"
    r"|r[ée]ponse|antwort|risposta|resposta|ответ)[\W_]*"
)
"""What announces an answer and is none. Judges say yes to such lines (arXiv 2507.08794)."""
_ADDRESSED = re.compile(
    r"(?i)\b(?:reference|ground[- ]truth|gold(?:en)?|expected) answers?\b"
    r"|\bdo (?:they|these|the two|both) agree\b"
    r"|\b(?:ignore|disregard|forget) (?:all|any|the|every|previous|prior|above)\b"
    r"|\b(?:reply|respond|answer|say)(?: with| only| just| the word)*:? [\"'“]*yes\b"
    r"|\bas (?:a|the) (?:judge|grader|evaluator)\b|\b(?:dear|note to(?: the)?) (?:judge|grader)\b"
    r"|(?:参考|标准|正确的?)答案(?:一致|相同|一样)|[回答输出]{2}\W*yes"
)
"""What speaks to the judge or of its reference, and not of the question."""

_LABEL = re.compile(
    r"(?i)(?:(?:the|my|so|final|overall)\W+)*"
    r"(?:do (?:they|these|the two) agree|answer|decision|verdict|judge?ment|"
    r"conclusion|output|result|response|reply|evaluation)\W*(?:is\b\W*)?"
)
_WRAPPING = re.compile(r"\\(?:boxed|text\w*|mathrm|mathbf)\b|</?\w+>")
_WORD = re.compile(r"(?i)\W*(yes|no)(?!\w)")
_YES = re.compile(r"(?i)\byes\b")
_SINGLE_NO = re.compile(r"(?i)\bno\b")
_DECIDED_NO = re.compile(r"\bNO\b|(?i:\bno\b(?!\s+\w)|(?:^|[.!?;:]\s+)no\b(?!\s+\w))")
"""In an explanation "no difference" and the like are no decision."""


def final_step(prompt: str, completion: str) -> str:
    """What the judge reads of an answer, in one line: the result that it states (`extract.WAYS`), else the
    last line after the thought that holds a letter or digit and does more than offer help. "" where there is
    none.

    >>> final_step("", "So\\n$$\\n42\\n$$"), final_step("", "It is 42.\\n\\nLet me know if I can help!")
    ('42', 'It is 42.')
    """
    result = stated(prompt, completion, WAYS)
    if result is None:
        result = last_line(after_thinking(prompt, completion) or "")
    return " ".join(result.split()).strip("*").strip()[-LONGEST_LINE:]


def is_no_answer(step: str) -> bool:
    """Whether a result only announces an answer (`Solution:`, `Let's think step by step`), or speaks to the
    judge or of the reference. A judge is easily led by such a line, so it is not asked."""
    return bool(_OPENERS.fullmatch(step) or speaks_to_judge(step))


def speaks_to_judge(text: str) -> bool:
    """Whether a text speaks to the judge, or of what the judge is given."""
    return bool(_ADDRESSED.search(text))


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if _CONTENT.search(_LAYOUT.sub("", line))]
    answers = [
        line for line in lines if any(map(str.isdigit, line)) or not _OFFER.match(line.replace("’", "'"))
    ]
    return (answers or lines or [""])[-1]


def decision_of(reply: str) -> bool | None:
    """True for yes, False for no: the first word of the judge's reply after its thought, or of the result
    that the reply states. None for anything else, and where the reply says both."""
    text = after_thinking("", reply)
    if text is None or not text.strip():
        return None
    result = stated("", reply, WAYS)
    body = text.strip(" \t\n*#\"'`>{[(-")
    label = _LABEL.match(body)
    first_line, _, rest = body[label.end() if label else 0 :].partition("\n")
    bare = [_WRAPPING.sub(" ", part) for part in (result or "", first_line, rest)]
    found = (_WORD.match(bare[0]) if result is not None else None) or _WORD.match(bare[1])
    if found is None:
        return None
    yes = found[1].lower() == "yes"
    others = (_SINGLE_NO, _DECIDED_NO) if yes else (_YES, _YES)
    denied = any(other.search(part) for other, part in zip(others, bare[1:], strict=True))
    return None if denied else yes


def first(text: str, decision: bool, probabilities: Mapping[str, float]) -> float:
    """The probability of the reply's first token, which is the longest of the given tokens that the reply
    begins with. NoReply where it is not given, or where the reply does not begin with its decision."""
    text = text.strip()
    check_begins(text, decision)
    tokens = [token for token in probabilities if token.strip() and text.startswith(token.strip())]
    if not tokens:
        raise NoReply(
            "gave no probability of its first token, which the soft reward needs; ask the binary one "
            "(soft=false)"
        )
    return sound(max((len(token.strip()), probabilities[token]) for token in tokens)[1])


def check_begins(text: str, decision: bool) -> None:
    """NoReply where the first token cannot be the decision, so that its probability says nothing of it."""
    if not text.strip().lower().startswith("yes" if decision else "no"):
        raise NoReply(
            "began its reply with something else than YES or NO, and the soft reward needs the probability "
            "of that word; ask the binary one (soft=false)"
        )


def beginning(word: str, probabilities: Mapping[str, float]) -> float:
    """The total probability of all tokens that spell the word or its beginning."""
    bare = {token: token.strip().lower() for token in probabilities}
    return sum(sound(probabilities[token]) for token, text in bare.items() if text and word.startswith(text))


def sound(p: Any) -> float:
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1.0001:
        raise NoReply(f"gave {p!r} as a probability")
    return min(float(p), 1.0)
