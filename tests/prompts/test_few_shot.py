"""Prompts with worked examples, to the letter."""

import json

import pytest

from menon.errors import UserError
from menon.prompts.few_shot import FewShot, worked
from menon.prompts.render import render
from menon.prompts.template import find_template

EXAMPLES = (("What is 1+2?", "One and two are three. The answer is 3."), ("What is {q}?", "\n#4"))
ROWS = [
    {"question": f"What is {i}+{i}?", "solution": f"{i} twice.\n#### {2 * i}", "answer": str(2 * i)}
    for i in range(9)
]


def bytes_of(text: str, special: bool = True) -> list[int]:
    return list(text.encode())


def test_a_prompt_to_the_letter():
    few = FewShot(instruction="Solve it. End with the answer.", rationale="Think first.", examples=EXAMPLES)
    row = {"question": "What is 7+5?", "answer": "12"}
    prompts, left_out = render([row], "q_a", bytes_of, context=1000, max_new_tokens=8, few_shot=few)
    assert left_out == 0
    assert prompts[0].text == (
        "Solve it. End with the answer.\n\nThink first.\n\n"
        "Q: What is 1+2?\nA: One and two are three. The answer is 3.\n\n"
        "Q: What is {q}?\nA:\n#4\n\n"
        "Q: What is 7+5?\nA:"
    )
    assert bytes(prompts[0].tokens.tolist()).decode() == prompts[0].text
    assert prompts[0].columns["question"] == "What is 7+5?"


def test_without_shots_the_template_stands_alone():
    row = {"question": "What is 7+5?", "answer": "12"}
    texts = [
        render([row], "cot", bytes_of, context=1000, max_new_tokens=8, few_shot=few)[0][0].text
        for few in (None, FewShot())
    ]
    assert texts == ["Q: What is 7+5?\nA: Let's think step by step."] * 2


def test_examples_are_within_the_turn_of_the_user():
    def chat(messages, tools=None, answered=False):
        return "".join(f"<{m['role']}>{m['content']}" for m in messages) + "<assistant>"

    few = FewShot(examples=EXAMPLES[:1])
    row = {"question": "What is 7+5?", "answer": "12"}
    prompts, _ = render([row], "chat", bytes_of, chat=chat, context=1000, max_new_tokens=8, few_shot=few)
    assert (
        prompts[0].text
        == "<user>What is 1+2? One and two are three. The answer is 3.\n\nWhat is 7+5?<assistant>"
    )


class TestExamples:
    def test_a_template_that_ends_a_line_gets_no_space(self):
        text = FewShot(examples=(("3?", "Three."),)).before(find_template("abel"))
        assert text == "Question:\n3?\nAnswer:\nLet's think step by step.\nThree.\n\n"

    @pytest.mark.parametrize(
        ("row", "text"),
        [
            ({"question": "q", "solution": "Two.\n#### 2", "answer": "2"}, "Two.\n#### 2"),
            ({"question": "q", "solution": "So \\boxed{2}.", "answer": "2"}, "So \\boxed{2}."),
            ({"question": "q", "reasoning": "One and one. ", "answer": "2"}, "One and one. The answer is 2."),
            ({"question": "q", "rationale": "Seen.", "answer": None}, "Seen."),
        ],
    )
    def test_the_answer_follows_where_the_working_does_not_state_it(self, row, text):
        assert worked(row) == text

    def test_of_the_data_are_drawn_by_a_seed_and_not_asked(self):
        few = FewShot(shots=4)
        one, same, other = (few.chosen(ROWS, seed).examples for seed in (0, 0, 1))
        assert one == same != other
        assert len(one) == 4
        left = FewShot(shots=4).chosen(ROWS, 0).without(ROWS)
        assert {row["question"] for row in left} | {question for question, _ in one} == {
            r["question"] for r in ROWS
        }
        assert len(left) == 5

    def test_of_a_file_are_its_first_rows(self, tmp_path):
        path = tmp_path / "worked.jsonl"
        rows = [
            {"question": "a?", "answer": "no working"},
            *({"question": r["question"], "answer": r["solution"]} for r in ROWS),
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        few = FewShot(shots=2, file=str(path)).chosen(None, 0)
        assert few.examples == (("What is 0+0?", "0 twice.\n#### 0"), ("What is 1+1?", "1 twice.\n#### 2"))

    def test_that_are_there_are_kept(self):
        few = FewShot(shots=2, examples=EXAMPLES)
        assert few.chosen(None, 0) is few


class TestRefused:
    @pytest.mark.parametrize("shots", [9, -1])
    def test_too_many(self, shots):
        with pytest.raises(UserError, match=f"shots is {max(shots, 0)}; a prompt has 0 to 8"):
            FewShot(shots=shots)

    def test_a_file_without_shots(self):
        with pytest.raises(UserError, match=r"few_shot\.file has examples and shots is 0"):
            FewShot(file="worked.jsonl")

    def test_rows_without_working(self):
        rows = [{"question": f"{i}", "answer": "1"} for i in range(5)]
        with pytest.raises(
            UserError, match="shots=3 needs rows with their working in a column solution, reasoning"
        ):
            FewShot(shots=3).chosen(rows, 0)

    def test_questions_that_no_data_has(self):
        with pytest.raises(UserError, match=r"name their file with few_shot\.file=FILE"):
            FewShot(shots=3).chosen(None, 0)

    def test_a_template_with_columns(self):
        with pytest.raises(UserError, match="puts in nums, target, which worked examples do not have"):
            FewShot(examples=EXAMPLES).before(find_template("tinyzero_base"))

    def test_chat_messages(self):
        row = {"question": [{"role": "user", "content": "Hi"}], "answer": "2"}
        with pytest.raises(UserError, match="holds chat messages, and few_shot stands before a text"):
            render(
                [row],
                "chat",
                bytes_of,
                chat=lambda *_: "",
                context=99,
                max_new_tokens=8,
                few_shot=FewShot(examples=EXAMPLES),
            )
