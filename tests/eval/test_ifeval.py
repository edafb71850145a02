"""IFEval by the published checker: every kind of instruction, on a text that follows and one that does not.

Tests of the checker itself are left out where lm-eval is not installed (extra `eval`: 50 packages, 360 MB).
What Menon does around it is tested everywhere.
"""

import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from menon.errors import UserError, pip_install
from menon.eval.ifeval import Instructions, instruction_level, with_splitter
from menon.prompts.reader import read_rows
from menon.reward.grade import Grading
from menon.types import Prompt, Verdict

ENGLISH = "the cat sat on the mat and it was happy with that"

CASES = [
    ("keywords:existence", {"keywords": ["alpha", "Beta"]}, "beta before ALPHA", "only alpha"),
    ("keywords:frequency", {"keyword": "ab", "frequency": 2, "relation": "at least"}, "Ab ab", "ab"),
    ("keywords:frequency", {"keyword": "ab", "frequency": 2, "relation": "less than"}, "ab", "ab ab"),
    ("keywords:forbidden_words", {"forbidden_words": ["rock", "die"]}, "rocket and died", "a Rock"),
    (
        "keywords:letter_frequency",
        {"letter": "q", "let_frequency": 2, "let_relation": "at least"},
        "Q and q",
        "one q",
    ),
    (
        "keywords:letter_frequency",
        {"letter": "q", "let_frequency": 2, "let_relation": "less than"},
        "one Q",
        "Q, q",
    ),
    (
        "language:response_language",
        {"language": "de"},
        "Das ist ein Hund und der Mann ist nicht da.",
        ENGLISH,
    ),
    ("language:response_language", {"language": "th"}, "...", "Xyz!"),
    ("language:response_language", {"language": "ru"}, "Это книга и я не знаю что с ней делать", "Xyz!"),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "at least"},
        "one, two three",
        "one two",
    ),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "less than"},
        "one two",
        "one two three",
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "at least"},
        "One. Two!",
        "Only one.",
    ),
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
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        "*a b* and **c**",
        "*a b* and ** **",
    ),
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
}


def model_of_the_splitter(folder: Path) -> None:
    """A model of NLTK's sentence splitter that knows two abbreviations: these tests download nothing."""
    folder.mkdir(parents=True)
    (folder / "abbrev_types.txt").write_text("dr\nno\n")
    (folder / "collocations.tab").write_text("")
    (folder / "sent_starters.txt").write_text("")
    (folder / "ortho_context.tab").write_text("the\t46")


@pytest.fixture(scope="module")
def instructions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instructions]:
    pytest.importorskip("lm_eval", reason="lm-eval is not installed (pip install 'menon[eval]')")
    nltk = pytest.importorskip("nltk", reason="NLTK is not installed (pip install 'menon[eval]')")
    folders = list(nltk.data.path)
    try:
        nltk.data.find("tokenizers/punkt_tab/english/")
    except LookupError:
        folder = tmp_path_factory.mktemp("nltk_data")
        model_of_the_splitter(folder / "tokenizers" / "punkt_tab" / "english")
        nltk.data.path.append(str(folder))
    yield Instructions()
    nltk.data.path[:] = folders


def judged(instructions: Instructions, text: str, *asked: tuple[str, dict]) -> Verdict:
    row = {"instruction_id_list": [name for name, _ in asked], "kwargs": [given for _, given in asked]}
    return Grading(instructions).judge(Prompt(0, None, "q", None, row), text)


@pytest.mark.parametrize(("name", "given", "good", "bad"), CASES)
def test_each_check(instructions, name, given, good, bad):
    assert judged(instructions, good, (name, given)).acc == 1.0
    assert judged(instructions, bad, (name, given)).acc == 0.0
    assert judged(instructions, " \n", (name, given)).acc == 0.0  # an empty answer follows nothing


def test_every_check_has_a_case(instructions):
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

    assert {name for name, *_ in CASES} == INSTRUCTION_DICT.keys()


def test_every_instruction_of_the_published_file_is_covered(instructions, shared):
    rows, skipped = read_rows(shared / "data" / "ifeval.jsonl.gz", answers=False)
    ids = Counter(name for row in rows for name in row["instruction_id_list"])
    assert (len(rows), skipped, ids.total()) == (541, 0, 834)
    assert ids.keys() == {name for name, *_ in CASES}
    languages = {given["language"] for row in rows for given in row["kwargs"] if given.get("language")}
    assert len(languages) == 22
    assert languages <= LANGUAGES.keys()
    grade = Grading(instructions)
    for row in rows:  # the arguments fit: no check raises on any row
        prompt = Prompt(0, None, row["question"], None, row)
        verdict = grade.judge(prompt, "Some text.\n\nMore of it, *with stars*.")
        assert verdict.error == ""
        assert verdict.parts["instructions"] == len(row["instruction_id_list"])
        assert verdict.parts["followed"] <= verdict.parts["followed_loose"]
        assert verdict.acc == float(verdict.parts["followed"] == verdict.parts["instructions"])


@pytest.mark.parametrize("code", LANGUAGES)
def test_languages(instructions, code):
    check = ("language:response_language", {"language": code})
    assert judged(instructions, LANGUAGES[code], check).acc == 1.0
    assert judged(instructions, LANGUAGES["ko" if code != "ko" else "th"], check).acc == 0.0


def test_strict_loose_and_both_levels(instructions):
    kinds = ("detectable_format:json_format", "punctuation:no_comma", "startend:quotation")
    checks = [(kind, {}) for kind in kinds]
    verdict = judged(instructions, 'Here it is:\n"one"', *checks)
    assert (verdict.acc, verdict.score) == (0.0, 0.0)
    assert verdict.parts == {"loose": 1.0, "followed": 1.0, "followed_loose": 3.0, "instructions": 3.0}
    assert judged(instructions, '"one"', *checks).acc == 1.0


def test_arguments_that_a_table_left_empty_are_no_arguments(instructions):
    given = {"num_words": 3, "relation": "at least", "language": None, "keywords": None}
    assert judged(instructions, "one two three", ("length_constraints:number_words", given)).acc == 1.0


def test_a_letter_that_is_drawn_is_always_the_same(instructions):
    """In place of `#` the published checker counts a letter that it draws; here a text has one verdict."""
    check = ("keywords:letter_frequency", {"letter": "#", "let_frequency": 1, "let_relation": "at least"})
    state = random.getstate()
    letters = [chr(ord("a") + place) for place in range(26)]
    found = [letter for letter in letters if judged(instructions, letter, check).acc == 1.0]
    assert len(found) == 1
    assert found == [letter for letter in letters if judged(instructions, letter, check).acc == 1.0]
    assert random.getstate() == state


def test_an_unknown_instruction_is_the_graders_failure_not_a_wrong_answer(instructions):
    verdict = judged(instructions, "text", ("new:one", {}))
    assert verdict.score != verdict.score
    assert "KeyError: 'new:one'" in verdict.error


# Without lm-eval


def libraries(patch: pytest.MonkeyPatch, find: object = lambda place: place, without: str = "") -> None:
    """Stands in for what is imported before lm-eval; the one named `without` is not installed."""
    patch.setitem(sys.modules, "langdetect", SimpleNamespace())
    nltk = SimpleNamespace(data=SimpleNamespace(find=find), download=lambda name: False)
    patch.setitem(sys.modules, "nltk", nltk)
    if without:
        patch.setitem(sys.modules, without, None)


@pytest.mark.parametrize("name", ["langdetect", "nltk", "lm_eval"])
def test_a_missing_package_is_named_with_what_installs_it(monkeypatch, name):
    libraries(monkeypatch, without=name)
    for loaded in [module for module in sys.modules if module.startswith("lm_eval.")]:
        monkeypatch.delitem(sys.modules, loaded)
    with pytest.raises(UserError) as caught:
        Instructions()
    way = f"install it by {pip_install('eval')}"
    assert str(caught.value) == f"IFEval is checked by lm-eval, and package {name} is missing; {way}"


def test_missing_data_is_named_with_what_gets_it(monkeypatch):
    def find(place: str) -> None:
        raise LookupError(f"a page about {place}")

    libraries(monkeypatch, find)
    monkeypatch.setattr("menon.eval.ifeval.published_checks", lambda: SimpleNamespace(InputExample=list))
    sentence = (
        "IFEval counts sentences and capital words with NLTK's data punkt_tab, which is missing; get it "
        "by python -m nltk.downloader punkt_tab, or set NLTK_DATA to a folder with tokenizers/punkt_tab"
    )
    with pytest.raises(UserError) as caught:
        with_splitter()
    assert str(caught.value) == sentence

    def split(asked: object, text: str) -> None:
        find("punkt_tab")

    checks = SimpleNamespace(InputExample=lambda *row: row, test_instruction_following_strict=split)
    monkeypatch.setattr("menon.eval.ifeval.published_checks", lambda: checks)
    with pytest.raises(UserError) as caught:
        Instructions()("p", "text", None, instruction_id_list=["a"], kwargs=[{}])
    assert str(caught.value) == sentence


def test_what_the_checker_says_is_counted(monkeypatch):
    """Two of three instructions are followed, and the third too where the text is read loosely."""

    def answers(*followed: bool):
        return lambda asked, completion: SimpleNamespace(follow_instruction_list=list(followed))

    published = SimpleNamespace(
        InputExample=lambda key, ids, prompt, kwargs: (ids, prompt, kwargs),
        test_instruction_following_strict=answers(True, False, True),
        test_instruction_following_loose=answers(True, True, True),
    )
    monkeypatch.setattr("menon.eval.ifeval.published_checks", lambda: published)
    verdict = judged(Instructions(), "text", ("a", {}), ("b", {}), ("c", {}))
    assert (verdict.acc, verdict.score) == (0.0, 0.0)
    assert verdict.parts == {"loose": 1.0, "followed": 2.0, "followed_loose": 3.0, "instructions": 3.0}
    assert instruction_level(verdict.parts) == {"instruction_strict": 2 / 3, "instruction_loose": 1.0}
