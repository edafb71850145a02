"""Letters of a choice."""

import pytest

from menon.reward.choice import MultipleChoice, gold_letter, letter, mentioned

LETTERS = [
    ("(A) to (D)", None),
    ("(A)-(D)", None),
    ("(A) – D", None),
    ("(A) to walk", "A"),
    ("(A) (wrong)", None),
    ("(B) not (A)", "B"),
    ("Neither A nor B", None),
    ("(A), (C) or none", None),
    ("\\overline{AC}", "AC"),
    ("\\overline{A}", None),
    ("B", "B"),
    ("b", "B"),
    ("(B)", "B"),
    ("\\text{(B)}", "B"),
    ("B. Paris", "B"),
    ("B) 12", "B"),
    ("Option B", "B"),
    ("A, B", "AB"),
    ("A or B", None),
    ("AB", "AB"),
    ("", None),
    ("Berlin", None),
    ("2", None),
    ("not B", None),
    ("(A)(B)(C)(D)", "ABCD"),
    ("A B C D", "ABCD"),
    ("A. or B.", None),
    ("A) or B)", None),
    ("[A][B]", "AB"),
    ("A (or B)", None),
    ("A.\nB.", "AB"),
    ("(A) (B)", "AB"),
    ("(B)(C)", "BC"),
    ("A, maybe B", None),
    ("B。不是 A", "B"),
    ("B。 不是 A", "B"),
    ("C, because B is wrong", "C"),
    ("B, D", "BD"),
    ("B和D", "BD"),
    ("A、C、D", "ACD"),
    ("B and D", "BD"),
    ("A, B, C", "ABC"),
    ("D and B", "BD"),
    ("(B) and (D)", "BD"),
    ("B) and D)", "BD"),
    ("Options B and D", "BD"),
    ("B & D", "BD"),
    ("\\{B, D\\}", "BD"),
    ("B,D.", "BD"),
    ("B; D", "BD"),
    ("DB", "BD"),
    ("(B) a cat", "B"),
    ("B. A cat", "B"),
    ("B. a metal", "B"),
    ("(C) I and II only", "C"),
    ("(A) F = ma", "A"),
    ("(B) E = mc^2", "B"),
    ("(D) E. coli", "D"),
    ("(B) B cells", "B"),
    ("(A) B cells", "A"),
    ("A/B", None),
    ("A | B", None),
    ("A?", None),
    ("A or perhaps B", None),
    ("either A or B", None),
    ("A, possibly C", None),
    ("a, b", "AB"),
    ("(a) or (b)", None),
    ("A. Paris or B. Rome", None),
    ("A or a cat", None),
    ("(A) is wrong", None),
    ("(A) is not correct", None),
    ("(A). No, (B)", None),
    ("B, not A", "B"),
    ("The correct answer is (C).", "C"),
    ("C: the mitochondria", "C"),
    ("A triangle has three sides", None),
    ("A + B", "AB"),
    ("both A and B", "AB"),
    ("A and/or B", None),
    ("A 或 B", None),
    ("A或B", None),
    ("AA", None),
    ("(A), (A)", None),
    ("**B**", "B"),
    ("$B$", "B"),
    ("\\mathbf{B}", "B"),
    ("A-B", None),
    ("A–D", None),
    ("B!", "B"),
    ("All of A, B, C", None),
    ("A B", "AB"),
    ("A,B,C,D", "ABCD"),
    ("A; or B", None),
    ("B (not A)", "B"),
    ("C. CO2", "C"),
    ("D. 42", "D"),
    ("(A) $x$", "A"),
    ("I", "I"),
    ("A\n\nB", "AB"),
    ("A - Paris", None),
]


@pytest.mark.parametrize(("text", "found"), LETTERS)
def test_letters_before_the_first_word_are_the_choice(text, found):
    assert letter(text) == found


GOLDS = [
    ("BD", "BD"),
    ("B, D", "BD"),
    ("A C D", "ACD"),
    ("A、B、C、D", "ABCD"),
    ("\\text{B, E, G}", "BEG"),
    ("A \\text{ and } D", "AD"),
    ("\\text{H, E}", None),
    ("CBAD", None),
    ("B", "B"),
    ("(B)", "B"),
    ("\\text{(B)}", "B"),
    ("B.", "B"),
    ("Berlin", None),
    ("A and B, A and C", None),
    ("$\\textbf{(B)}$", "B"),
    ("x", None),
    ("b", None),
    ("A+B", None),
    ("A=B", None),
    ("A^2", None),
    ("-A", None),
    ("\\{A, B\\}", "AB"),
    ("ABC", "ABC"),
    ("[A]", "A"),
    ("A_1", None),
    ("|AB|", None),
    ("A/B", None),
    ("A<B", None),
]


@pytest.mark.parametrize(("text", "found"), GOLDS)
def test_a_gold_answer_may_be_several_letters(text, found):
    assert gold_letter(text) == found


MENTIONED = [
    ("I choose C", "C"),
    ("So, D is the correct answer.", "D"),
    ("The answer is A or B", None),
    ("I would not choose C", None),
    ("I don't pick C.", None),
    ("B is not the correct answer", None),
    ("option A is correct, B is not", "A"),
    ("Is B right? No", None),
    ("the answer is (C)", "C"),
    ("I choose C and D", "CD"),
    ("D is correct? No.", None),
    ("I select B.", "B"),
    ("It is wrong that D is the correct answer", None),
]


@pytest.mark.parametrize(("text", "found"), MENTIONED)
def test_a_choice_in_words_that_is_not_denied(text, found):
    assert mentioned(text) == found


@pytest.mark.parametrize(
    ("gold", "said", "score"),
    [
        ("BD", "B, D", 1),
        ("B, D", "D and B", 1),
        ("B D", "BD", 1),
        ("BD", "B", 0),
        ("BD", "B, C, D", 0),
        ("BD", "B or D", 0),
        ("A", "(A)(B)(C)(D)", 0),
        ("A", "A, maybe B", 0),
        ("A", "A", 1),
        ("HE", "E, H", 0),
    ],
)
def test_exactly_the_letters_that_are_asked(gold, said, score):
    assert MultipleChoice()("", f"\\boxed{{{said}}}", gold).score == score
