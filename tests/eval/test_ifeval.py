"""Every instruction check on a text that follows and one that does not, and the published file."""

import gzip
import json
from collections import Counter

import pytest

from menon.eval.ifeval import CHECKS, Instructions, follows, instruction_level, sentences, words
from menon.eval.language import language_of
from menon.prompts.reader import read_rows
from menon.reward.grade import Grading
from menon.types import Prompt

ENGLISH = "the cat sat on the mat and it was happy with that"

CASES = [
    ("keywords:existence", {"keywords": ["alpha", "Beta"]}, "beta before ALPHA", "only alpha"),
    ("keywords:frequency", {"keyword": "ab", "frequency": 2, "relation": "at least"}, "Ab ab", "ab"),
    ("keywords:frequency", {"keyword": "ab", "frequency": 2, "relation": "less than"}, "ab", "ab ab"),
    ("keywords:forbidden_words", {"forbidden_words": ["rock", "die"]}, "rocket and died", "a Rock"),
    ("keywords:letter_frequency", {"letter": "q", "let_frequency": 2, "let_relation": "at least"}, "Q and q", "one q"),
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 2, "let_relation": "less than"}, "one #", "# and #"),
    ("language:response_language", {"language": "de"}, "Das ist ein Hund und der Mann ist nicht da.", ENGLISH),
    ("language:response_language", {"language": "th"}, "...", "Xyz!"),
    ("language:response_language", {"language": "it"}, "Xyz!", "книга"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "one, two three", "one two"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "one two", "one two three"),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "One. Two!", "Only one."),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "less than"},
        "Only 1.5 of Dr. No.",
        "A. Or b? Yes.",
    ),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n***\n***\nb"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 1}, "***\na\n***", "a\n***\nb"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "elm"},
        "one\n\n\"Elm's tree",
        "elm\n\noak",
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "elm"},
        "Elm.\n\ntwo",
        "elm\n\ntwo\n\nthree",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] at [place]", "[name]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\nP. S. Milk", "Bye.\nPS Milk"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye. p.p.s milk", "Bye. P.S. milk"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n- two", "* one\n** two\nthree"),
    ("detectable_format:constrained_response", {}, "Well. My answer is maybe.", "maybe"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a b* and **c**", "*a b* and ** **"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2},
        "SECTION 1 a SECTION 2",
        "SECTION 1",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', "{a: 1}"),
    ("detectable_format:title", {}, "<<A title>>\ntext", "<< >>\ntext"),
    ("combination:two_responses", {}, "one\n******\ntwo", "one\n******\none"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "say it. I did.", "I say it."),
    ("startend:end_checker", {"end_phrase": "That is all."}, '"Well. THAT is all."', "That is all. Bye."),
    ("startend:quotation", {}, ' "all of it" ', '"only the beginning" of it'),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "NASA and ESA",
        "NASA and Esa",
    ),
    ("change_case:english_capital", {}, ENGLISH.upper(), ENGLISH.capitalize()),
    ("change_case:english_lowercase", {}, ENGLISH, ENGLISH.capitalize()),
    ("punctuation:no_comma", {}, "one and two", "one, two"),
]


@pytest.mark.parametrize(("name", "given", "good", "bad"), CASES)
def test_each_check(name, given, good, bad):
    assert follows(good, name, given)
    assert not follows(bad, name, given)
    assert not follows(" \n", name, given)  # an empty answer follows nothing


def test_every_check_has_a_case():
    assert {name for name, *_ in CASES} == CHECKS.keys()


def test_every_instruction_of_the_published_file_is_covered(shared):
    rows, skipped = read_rows(shared / "data" / "ifeval.jsonl.gz", answers=False)
    ids = Counter(name for row in rows for name in row["instruction_id_list"])
    assert (len(rows), skipped, ids.total()) == (541, 0, 834)
    assert ids.keys() == CHECKS.keys()
    grade = Grading(Instructions())
    for row in rows:  # the arguments fit: no check raises on any row
        prompt = Prompt(0, None, row["question"], None, row)
        verdict = grade.judge(prompt, "Some text.\n\nMore of it, *with stars*.")
        assert verdict.error == ""
        assert verdict.parts["instructions"] == len(row["instruction_id_list"])
        assert verdict.parts["followed"] <= verdict.parts["followed_loose"]
        assert verdict.acc == float(verdict.parts["followed"] == verdict.parts["instructions"])


def test_counts():
    assert words("It's one-two, 3.") == 5
    assert [
        sentences(text) for text in ("", "One", "One. two", "One. Two", 'He said "No!" And left.', "a\n\nb", "3.14 is pi.")
    ] == [
        *(0, 1, 1, 2, 2, 2, 1),
    ]


def test_strict_loose_and_both_levels():
    row = {
        "instruction_id_list": ["detectable_format:json_format", "punctuation:no_comma", "startend:quotation"],
        "kwargs": [{}, {}, {}],
    }
    grade = Grading(Instructions())
    verdict = grade.judge(Prompt(0, None, "q", None, row), 'Here it is:\n"one"')
    assert (verdict.acc, verdict.score) == (0.0, 0.0)
    assert verdict.parts == {"loose": 1.0, "followed": 1.0, "followed_loose": 3.0, "instructions": 3.0}
    assert instruction_level(verdict.parts) == {"instruction_strict": 1 / 3, "instruction_loose": 1.0}
    assert grade.judge(Prompt(0, None, "q", None, row), '"one"').acc == 1.0


def test_an_unknown_instruction_is_the_graders_failure_not_a_wrong_answer():
    row = {"instruction_id_list": ["new:one"], "kwargs": [{}]}
    verdict = Grading(Instructions()).judge(Prompt(0, None, "q", None, row), "text")
    assert verdict.score != verdict.score
    assert "KeyError: 'new:one'" in verdict.error


LANGUAGES = {
    "hi": "यह एक किताब है और मैं इसे पढ़ रहा हूँ क्योंकि यह अच्छी है",
    "mr": "मी एक पुस्तक वाचत आहे आणि ते खूप चांगले आहे",
    "ne": "यो एक किताब हो र म यसलाई पढ्दै छु किनभने यो राम्रो छ",
    "kn": "ಇದು ಒಂದು ಪುಸ್ತಕ",
    "vi": "Tôi là một người và tôi không có sách trong nhà của tôi",
    "ko": "이것은 책입니다",
    "sw": "Hiki ni kitabu kizuri na mimi ninasoma kwa furaha katika nyumba ya rafiki",
    "de": "Das ist ein Buch und ich lese es nicht mit der Familie",
    "pa": "ਇਹ ਇੱਕ ਕਿਤਾਬ ਹੈ",
    "fa": "این یک کتاب است که من آن را می خوانم",
    "ru": "Это книга и я не знаю что с ней делать",
    "bg": "Това е книга и аз не знам какво да правя с нея",
    "pt": "Este é um livro que eu não li com os meus amigos em casa",
    "gu": "આ એક પુસ્તક છે",
    "te": "ఇది ఒక పుస్తకం",
    "it": "Questo è un libro che non ho letto con i miei amici della scuola",
    "ar": "هذا كتاب من المكتبة التي كان في المدينة",
    "ta": "இது ஒரு புத்தகம்",
    "fi": "Tämä on kirja ja se ei ole minun mutta olen lukenut sen",
    "ur": "یہ ایک کتاب ہے اور میں اس کو پڑھ رہا ہوں",
    "th": "นี่คือหนังสือ",
    "bn": "এটি একটি বই",
    "en": ENGLISH,
    "fr": "C'est un livre que je ne lis pas avec les amis dans la maison",
    "es": "Este es un libro que no leo con los amigos en la casa",
    "ja": "これは本です。漢字もあります",
    "zh": "这是一本书",
    "latin": "Xyz!",
    "": "12 + 7 = 19",
}


@pytest.mark.parametrize("code", LANGUAGES)
def test_languages(code):
    assert language_of(LANGUAGES[code]) == code


def test_every_language_of_the_published_file_is_told(shared):
    lines = gzip.decompress((shared / "data" / "ifeval.jsonl.gz").read_bytes()).decode().split("\n")
    asked = {given["language"] for line in lines if line for given in json.loads(line)["kwargs"] if given.get("language")}
    assert len(asked) == 22
    assert asked <= LANGUAGES.keys()
