"""What to say where rows have no column for question or answer: which columns there are, and which of them is
meant, as far as names and values show. A guess is only said, never used."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from menon.errors import MOST_NAMES, Fault
from menon.prompts.sources import BadRow

NAMES = {
    role: names.split()
    for role, names in {
        "question": (
            "question prompt problem query frage aufgabe fragestellung pregunta problema enunciado enonce "
            "domanda quesito pergunta questao vraag opgave pytanie zadanie soru вопрос задача 问题 題目 题目 "
            "質問 問題 질문 문제 سؤال instruction problem_statement input user_input message messages chat "
            "conversation task exercise riddle q statement text content"
        ),
        "answer": (
            "answer final_answer gold golden gold_answer ground_truth label target expected antwort ergebnis "
            "losung loesung respuesta resultado reponse resultat risposta risultato resposta antwoord "
            "uitkomst odpowiedz wynik cevap ответ 答案 回答 解答 答え 정답 답 جواب result output response "
            "completion reference solution solucion soluzione solucao a"
        ),
    }.items()
}
"""How data sets name the two columns, in English and other languages, the surest first; without accents."""
OF_OTHERS = {"id", "idx", "index", "type", "kind", "source", "level", "lang", "language", "url", "hash"}
"""Words in names of columns that are about a question or an answer, like question_id."""
LOOKED_AT = 200
"""Most rows whose values are looked at for a guess."""
DEEPEST = 3
"""How deep a guessed column may lie within others."""
Fits = Callable[[Any], bool]
"""Whether a value can be a question, or an answer."""


class NoColumn(BadRow):
    """A row has no column for its question, its answer or both."""

    def __init__(self, row: Mapping[str, Any], lacking: Mapping[str, str]) -> None:
        super().__init__(f"no {' and no '.join(f'{role} column' for role in lacking)}")
        self.row = row
        self.lacking = dict(lacking)
        """`question` and `answer` -> the column that a setting names, or ""."""


def faults_of(bad: Sequence[tuple[str, BadRow]], tables: int, fits: Mapping[str, Fits]) -> list[Fault]:
    """The faults of a data set's rows. Rows that lack the same columns have one cause, which names all that
    they have. `tables` is the number of rows that have columns at all."""
    without = [fault for _, fault in bad if isinstance(fault, NoColumn)]
    everywhere = {role for role in NAMES if sum(role in fault.lacking for fault in without) == tables}
    kinds: dict[tuple[str, ...], list[NoColumn]] = {}
    for fault in without:
        kinds.setdefault(tuple(fault.lacking), []).append(fault)
    causes = {kind: cause_of(alike, everywhere, fits) for kind, alike in kinds.items()}
    return [
        Fault(place, causes[tuple(fault.lacking)] if isinstance(fault, NoColumn) else str(fault))
        for place, fault in bad
    ]


def cause_of(alike: Sequence[NoColumn], everywhere: set[str], fits: Mapping[str, Fits]) -> str:
    """The cause of rows that lack the same columns. Where all rows lack one, a setting can name it; where
    only some do, it would be wrong for the others."""
    rows = [fault.row for fault in alike]
    lacking, taken, advice = alike[0].lacking, set[str](), list[tuple[str, str]]()
    names = list(dict.fromkeys(name for row in rows for name, value in row.items() if value is not None))
    looked_at = rows[:LOOKED_AT]
    columns = values_of(looked_at)
    for role, named in lacking.items():
        able = [
            name
            for name, values in columns.items()
            if 2 * sum(map(fits[role], values)) >= len(looked_at) and name not in taken
        ]
        near = get_close_matches(named, columns, 1, 0.6) if named else []
        guess, otherwise = near[0] if near else by_name(role, able), by_values(role, able, columns)
        taken.add(guess or otherwise)
        advice.append(advised(role, named, guess, role in everywhere, otherwise))
    said = [
        f"no column '{named}' for columns.{role}" if named else f"no {role} column"
        for role, named in lacking.items()
    ]
    return f"{' and '.join(said)} ({listed(names)}); {joined(advice)}"


def advised(role: str, named: str, guess: str, everywhere: bool, otherwise: str) -> tuple[str, str]:
    """What to do about a column that rows lack, a verb and its object; `otherwise` is a guess that is less
    sure."""
    if everywhere:
        why = {"question": "the longest texts", "answer": "the only other column"}[role]
        doubt = f" ({why})" if otherwise and not guess else ""
        return "set", f"columns.{role}={guess or otherwise or 'NAME'}{doubt}"
    return ("rename", f"'{guess}' to '{named or role}'") if guess else ("add", f"'{named or role}'")


def joined(advice: Sequence[tuple[str, str]]) -> str:
    """Verbs and objects as one phrase; a verb is said once.

    >>> joined([("set", "a"), ("set", "b")]), joined([("rename", "a"), ("add", "b")])
    ('set a and b', 'rename a and add b')
    """
    (verb, text), *rest = advice
    text = f"{verb} {text}"
    for other, what in rest:
        text += f" and {what}" if other == verb else f" and {other} {what}"
    return text


def listed(names: Sequence[str]) -> str:
    """The names of columns, in a parenthesis."""
    if not names:
        return "there are no columns"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"there {'are' if len(names) > 1 else 'is'} {', '.join(map(repr, names[:MOST_NAMES]))}{more}"


# Guessing


def values_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The values of each column, and of those within columns, by dotted name; outer ones first."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in within(row, ""):
            found.setdefault(name, []).append(value)
    return dict(sorted(found.items(), key=lambda one: one[0].count(".")))


def within(row: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping) and before.count(".") + 1 < DEEPEST:
            yield from within(value, f"{before}{name}.")
        elif value is not None:
            yield f"{before}{name}", value


def by_name(role: str, names: Sequence[str]) -> str:
    """The column whose name says most surely that it is the question, or the answer; "" if none does."""
    ranked = [(place, name) for name in names if (place := rank(role, name)) is not None]
    return min(ranked, key=lambda one: one[0])[1] if ranked else ""


def by_values(role: str, names: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> str:
    """The column that may be meant as its values are: for a question the one with the longest texts, for an
    answer the only one that there is. "" if none stands out."""
    other = {"question": "answer", "answer": "question"}[role]
    free = [name for name in names if rank(other, name) is None]
    if role == "answer":
        return free[0] if len(free) == 1 else ""
    letters = {name: sum(len(v) for v in columns[name] if isinstance(v, str)) for name in free}
    return max(letters, key=letters.__getitem__, default="")


def rank(role: str, name: str) -> tuple[bool, int] | None:
    """How surely a name is that of a role, the least the surest; None: it is not. The whole name says more
    than a word in it."""
    plain = plain_name(name.rpartition(".")[2])
    known = NAMES[role]
    if plain in known:
        return False, known.index(plain)
    words = plain.split("_")
    places = [known.index(word) for word in words if word in known and len(word) > 1]
    return (True, min(places)) if places and not OF_OTHERS & set(words) else None


def plain_name(name: str) -> str:
    """A name in small letters without accents, its words joined by underscores.

    >>> plain_name("Énoncé"), plain_name("finalAnswer"), plain_name("Lösung (kurz)")
    ('enonce', 'final_answer', 'losung_kurz')
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    bare = "".join(c for c in unicodedata.normalize("NFKD", apart) if not unicodedata.combining(c))
    return "_".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFC", bare).casefold()))
