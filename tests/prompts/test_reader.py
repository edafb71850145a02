import gzip
import json

import pytest

from menon.errors import UserError
from menon.prompts.reader import Columns, read_row, read_rows
from menon.prompts.sources import BadRow

GOOD = '{"question": "3+4=", "answer": "7"}'


@pytest.fixture
def file(tmp_path):
    def write(*lines, name="data.jsonl"):
        path = tmp_path / name
        data = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


def test_reads_question_or_prompt_answer_and_every_other_column(file):
    path = file(GOOD, '{"prompt": "2+2=", "answer": 4, "level": 1, "tags": ["easy"]}', "")
    assert read_rows(path) == (
        [
            {"question": "3+4=", "answer": "7"},
            {"question": "2+2=", "answer": "4", "level": 1, "tags": ["easy"]},
        ],
        0,
    )


def test_reads_gzip_blank_lines_windows_ends_and_a_byte_order_mark(file):
    lines = [b"\xef\xbb\xbf" + GOOD.encode() + b"\r", b"", b"  ", GOOD.encode() + b"\r", b""]
    expected = [{"question": "3+4=", "answer": "7"}] * 2
    assert read_rows(file(*lines))[0] == expected
    assert read_rows(file(*lines, name="data.jsonl.gz"))[0] == expected


def test_only_newlines_end_a_row(file):
    text = "a\u2028b\x85c"  # str.splitlines would cut at both
    path = file(json.dumps({"question": text, "answer": "1"}, ensure_ascii=False))
    assert read_rows(path)[0][0]["question"] == text


def test_a_gsm8k_solution_gives_its_answer(file):
    worked = "She has 16 - 3 = <<16-3=13>>13.\n#### 1,013"
    rows, _ = read_rows(
        file(
            json.dumps({"question": "q", "answer": worked}),
            json.dumps({"question": "q", "solution": worked}),
            json.dumps({"question": "q", "answer": "18", "solution": worked}),
        )
    )
    assert [row["answer"] for row in rows] == ["1,013", "1,013", "18"]
    assert [row["solution"] for row in rows] == [worked] * 3


def test_chat_messages_are_kept(file):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "3+4?"}]
    rows, _ = read_rows(file(json.dumps({"prompt": messages, "answer": "7"})))
    assert rows == [{"question": messages, "answer": "7"}]


FAULTS = {
    "{": "not JSON (Expecting property name",
    "[" + GOOD + "]": "a list instead of an object",
    "[" + GOOD + ",": "one object per line, not one array",
    '"text"': "a string instead of an object with 'question' and 'answer'",
    "3": "a number instead of an object",
    "null": "null instead of an object",
    "{}": "no question column and no answer column (there are no columns); add 'question' and 'answer'.",
    '{"q": "3+4=", "answer": "7"}': "no question column (there are 'q', 'answer'); rename 'q' to 'question'.",
    '{"Frage": "3+4="}': (
        "no question column and no answer column (there is 'Frage'); rename 'Frage' to 'question' and add "
        "'answer'."
    ),
    '{"id": "x", "answer": "7"}': "no question column (there are 'id', 'answer'); add 'question'.",
    '{"prompt": "a", "question": "b", "answer": "7"}': "'prompt' and 'question' may each be the question; "
    "choose with columns.question=prompt or columns.question=question",
    '{"question": " ", "answer": "7"}': "'question' is empty",
    '{"question": 3, "answer": "7"}': (
        "'question' is a number; it must be a string or a list of chat messages"
    ),
    '{"prompt": null, "answer": "7"}': "'prompt' is null; it must be a string or a list of chat messages",
    '{"prompt": [], "answer": "7"}': "'prompt' is a list, but not of chat messages",
    '{"prompt": ["hi"], "answer": "7"}': "'prompt' is a list, but not of chat messages",
    '{"prompt": [{"role": "user", "content": ["hi"]}], "answer": "7"}': (
        "'prompt' is a list, but not of chat messages"
    ),
    '{"prompt": [{"role": "assistant", "content": "Hi"}], "answer": "7"}': (
        "the last message of 'prompt' is the assistant's"
    ),
    '{"prompt": [{"role": "user", "content": ""}], "answer": "7"}': "'prompt' is empty",
    '{"question": "3+4="}': "no answer column (there is 'question'); add 'answer'.",
    '{"question": "3+4=", "answer": null, "id": 1}': (
        "no answer column (there are 'question', 'id'); add 'answer'."
    ),
    '{"question": "3+4=", "solution": "It is 7."}': (
        "'solution' states no answer after '####' or in \\boxed{}"
    ),
    '{"prompt": "3+4=", "solution": "It is\\n7."}': (
        "'solution' states no answer after '####' or in \\boxed{}; give the row"
    ),
    '{"prompt": "3+4=", "answer": "7", "reward_model": {"ground_truth": "8"}}': "'answer' and "
    "'reward_model.ground_truth' may each be the answer; choose with columns.answer=answer or "
    "columns.answer=reward_model.ground_truth",
    '{"prompt": "3+4=", "reward_model": {"ground_truth": ["7"]}}': (
        "'reward_model.ground_truth' is a list; it must be a string"
    ),
    '{"prompt": "3+4=", "reward_model": "rule"}': (
        "no answer column (there are 'prompt', 'reward_model'); add 'answer'."
    ),
    '{"question": "3+4=", "answer": ""}': "'answer' is empty",
    '{"question": "3+4=", "answer": true}': "'answer' is true; it must be a string or a number",
    '{"question": "3+4=", "answer": ["7"]}': "'answer' is a list; it must be a string or a number",
    '{"question": "3+4=", "answer": NaN}': "not JSON (NaN is no JSON number)",
    '{"question": "\\ud800", "answer": "7"}': "'question' holds half of a Unicode pair at character 1",
    b'{"question": "caf\xe9", "answer": "7"}': "byte 18 is not UTF-8; save the file as UTF-8",
    "[" * 100_000: "nested too deeply",
}


@pytest.mark.parametrize("line", FAULTS, ids=range(len(FAULTS)))
def test_every_fault_is_named_by_its_line(file, line):
    path = file(GOOD, "", line, GOOD)
    with pytest.raises(UserError) as caught:
        read_rows(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: 1 of 3 rows cannot be used: line 3: ")
    assert FAULTS[line] in message
    assert message.endswith("leave them out with on_bad=skip.")
    assert "\n" not in message
    assert read_rows(path, on_bad="skip") == ([{"question": "3+4=", "answer": "7"}] * 2, 1)


def refusal(path, **columns) -> str:
    with pytest.raises(UserError) as caught:
        read_rows(path, columns=Columns(**columns))
    return str(caught.value).removeprefix(f"{path}: ")


FRAGE = '{"Frage": "Wie viel ist 3+4?", "meta": {"gold": "7", "id": 3}, "schwierigkeit": 2}'
FIX = ". Fix them, or leave them out with on_bad=skip."


@pytest.mark.parametrize(
    ("lines", "columns", "message"),
    [
        (
            [FRAGE] * 60,
            {},
            "all 60 rows: no question column and no answer column (there are 'Frage', 'meta', "
            "'schwierigkeit'); set columns.question=Frage and columns.answer=meta.gold",
        ),
        (
            [FRAGE] * 2,
            {"question": "Frge", "answer": "meta.gold"},
            "all 2 rows: no column 'Frge' for columns.question (there are 'Frage', 'meta', 'schwierigkeit'); "
            "set columns.question=Frage",
        ),
        (
            [FRAGE] * 2,
            {"question": "Frage", "answer": "loesung"},
            "all 2 rows: no column 'loesung' for columns.answer (there are 'Frage', 'meta', "
            "'schwierigkeit'); set columns.answer=meta.gold",
        ),
        (
            [GOOD] * 3 + ['{"frage": "3+4=", "answer": 7}'] * 3,
            {},
            "3 of 6 rows cannot be used, first line 4: no question column (there are 'frage', 'answer'); "
            f"rename 'frage' to 'question'{FIX}",
        ),
        (
            [FRAGE] * 3 + ['{"Frage": "3+4=", "meta": null}'],
            {"question": "Frage", "answer": "meta.gold"},
            "1 of 4 rows cannot be used: line 4: no column 'meta.gold' for columns.answer (there is "
            f"'Frage'); add 'meta.gold'{FIX}",
        ),
        (
            [GOOD, '{"question": "", "answer": 1}', "[]", '{"question": " ", "answer": 1}'],
            {},
            "3 of 4 rows cannot be used: 2 rows, first line 2: 'question' is empty; line 3: a list instead "
            f"of an object; one object per line, not one array (or name the file .json){FIX}",
        ),
        (
            ["[]", *['{"problem_statement": "1+1", "expected": 2}'] * 2],
            {},
            "3 of 3 rows cannot be used: 2 rows, first line 2: no question column and no answer column "
            "(there are 'problem_statement', 'expected'); set columns.question=problem_statement and "
            "columns.answer=expected; line 1: a list instead of an object; one object per line, not one "
            "array (or name the file .json)",
        ),
        (
            [GOOD, *["3"] * 4],
            {},
            "4 of 5 rows cannot be used, first line 2: a number instead of an object with 'question' and "
            f"'answer'{FIX}",
        ),
        (['{"question": 3}'], {}, "line 1: no answer column (there is 'question'); set columns.answer=NAME"),
    ],
)
def test_equal_causes_are_told_once(file, lines, columns, message):
    assert refusal(file(*lines), **columns) == message


@pytest.mark.parametrize(
    ("row", "question", "answer"),
    [
        ({"instruction": "add", "input": "", "output": "7"}, "instruction", "output"),
        ({"data": {"pregunta": "3+4", "respuesta": 7}}, "data.pregunta", "data.respuesta"),
        ({"Question": "3+4", "Answer": 7}, "Question", "Answer"),
        ({"Énoncé": "3+4", "Réponse": 7}, "Énoncé", "Réponse"),
        ({"问题": "3+4", "答案": "7"}, "问题", "答案"),
        ({"math_problem": "3+4", "finalAnswer": "7"}, "math_problem", "finalAnswer"),
        ({"text": "3+4", "label": 7, "label_id": "9"}, "text", "label"),
        # by their values, which is said
        ({"id": "a1", "zeile": "Wie viel ist 3+4?", "n": 7}, "zeile (the longest texts)", "NAME"),
        ({"zeile": "Wie viel?", "n": 7}, "zeile (the longest texts)", "n (the only other column)"),
        # nothing that could be one
        ({"conversations": [{"from": "human", "value": "3+4"}]}, "NAME", "NAME"),
        ({"frage": "", "antwort": ""}, "NAME", "NAME"),
    ],
)
def test_the_column_that_is_meant_is_guessed(file, row, question, answer):
    told = refusal(file(*[json.dumps(row)] * 2))
    assert told.endswith(f"; set columns.question={question} and columns.answer={answer}")


def test_of_many_columns_and_many_causes_some_are_told(file):
    many = refusal(file(json.dumps({f"c{n}": n for n in range(20)})))
    assert "(there are 'c0', 'c1', 'c2', 'c3', 'c4', 'c5', 'c6', 'c7' and 12 more)" in many
    lines = ["{" * n for n in range(1, 3)] + ["[]", "3", "null", '"a"', "true", "{}"]
    told = refusal(file(GOOD, *lines))
    assert told.startswith("8 of 9 rows cannot be used: ")
    assert told.count("line ") == 5 + 1  # and the place in a line that is not JSON
    assert told.endswith(f"; and 2 more with 2 other causes{FIX}")


def test_skipping_everything_is_refused(file):
    with pytest.raises(UserError, match=r"all 2 rows: no question column and no answer column"):
        read_rows(file("{}", "{}"), on_bad="skip")


def test_files_that_are_none_are_refused(file, tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*missing\.jsonl"):
        read_rows(tmp_path / "missing.jsonl")
    with pytest.raises(
        UserError, match=r"is a folder without Parquet files and no saved data set; name one file in it"
    ):
        read_rows(tmp_path)
    with pytest.raises(UserError, match="is empty; give it rows with 'question' and 'answer'"):
        read_rows(file("", "\n"))
    with pytest.raises(UserError, match="is not a whole gzip file"):
        read_rows(file(GOOD).rename(tmp_path / "plain.jsonl.gz"))
    cut = file(*[GOOD] * 99, name="cut.jsonl.gz")
    cut.write_bytes(cut.read_bytes()[:-12])
    with pytest.raises(UserError, match="is not a whole gzip file"):
        read_rows(cut)


def test_real_files_are_read_whole(shared):
    counts = {
        "gsm8k_test.jsonl": 1319,
        "math500.jsonl": 500,
        "aime24.jsonl": 30,
        "gsm8k_train.jsonl.gz": 7473,
    }
    for name, count in counts.items():
        rows, skipped = read_rows(shared / "data" / name)
        assert (len(rows), skipped) == (count, 0)
        assert all(row["question"] and row["answer"] for row in rows)


# Layouts

LAYOUTS = {
    "GSM8K": (
        {"question": "q", "answer": "16-3=13\n#### 13"},
        {"question": "q", "answer": "13", "solution": "16-3=13\n#### 13"},
    ),
    "MATH": (
        {
            "problem": "q",
            "solution": "So $\\boxed{1}$, no, $\\boxed{\\frac{1}{\\sqrt{2}}}$.",
            "level": "Level 5",
        },
        {
            "question": "q",
            "answer": "\\frac{1}{\\sqrt{2}}",
            "solution": "So $\\boxed{1}$, no, $\\boxed{\\frac{1}{\\sqrt{2}}}$.",
            "level": "Level 5",
        },
    ),
    "MATH-500": (
        {"problem": "q", "solution": "So $\\boxed{1}$", "answer": "1.0"},
        {"question": "q", "answer": "1.0", "solution": "So $\\boxed{1}$"},
    ),
    "TRL text": ({"prompt": "q", "answer": "7"}, {"question": "q", "answer": "7"}),
    "TRL messages": (
        {"prompt": [{"role": "user", "content": "q", "name": None}], "solution": "$\\frac{1}{2}$"},
        {
            "question": [{"role": "user", "content": "q"}],
            "answer": "$\\frac{1}{2}$",
            "solution": "$\\frac{1}{2}$",
        },
    ),
    "verl": (
        {
            "data_source": "gsm8k",
            "prompt": [{"role": "user", "content": "q"}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": "72"},
            "extra_info": {"index": 0, "answer": "#### 72"},
        },
        {
            "question": [{"role": "user", "content": "q"}],
            "answer": "72",
            "data_source": "gsm8k",
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": "72"},
            "extra_info": {"index": 0, "answer": "#### 72"},
        },
    ),
    "verl, a programming task": (
        {
            "prompt": [{"role": "user", "content": "q"}],
            "reward_model": {"style": "rule", "ground_truth": '{"inputs": ["1"], "outputs": ["2"]}'},
        },
        {
            "question": [{"role": "user", "content": "q"}],
            "answer": None,
            "reward_model": {"style": "rule", "ground_truth": '{"inputs": ["1"], "outputs": ["2"]}'},
        },
    ),
    "verl, a list as the answer": (
        {"prompt": "q", "reward_model": {"ground_truth": "[1, 2]"}},
        {"question": "q", "answer": "[1, 2]", "reward_model": {"ground_truth": "[1, 2]"}},
    ),
    "KodCode": (
        {"question": "q", "solution": "def f(): pass", "test": "def test_f(): assert f() is None"},
        {
            "question": "q",
            "answer": None,
            "solution": "def f(): pass",
            "test": "def test_f(): assert f() is None",
        },
    ),
    "LiveCodeBench": (
        {"question_content": "q", "public_test_cases": "[]", "private_test_cases": "eJw="},
        {"question": "q", "answer": None, "public_test_cases": "[]", "private_test_cases": "eJw="},
    ),
    "one answer in two places": (
        {"prompt": "q", "answer": 7, "reward_model": {"ground_truth": "7"}},
        {"question": "q", "answer": "7", "reward_model": {"ground_truth": "7"}},
    ),
    "an unfinished box is no answer": (
        {"problem": "q", "answer": "7", "solution": "\\boxed{"},
        {"question": "q", "answer": "7", "solution": "\\boxed{"},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_known_layouts_are_told_by_their_columns(name):
    raw, row = LAYOUTS[name]
    assert read_row(raw) == row


def test_columns_by_name_settle_what_fits_two_layouts():
    raw = {"prompt": "p", "problem": "q", "answer": "7", "solution": "so \\boxed{8}", "meta": {"gold": 9}}
    assert read_row(raw, columns=Columns("problem")) == {
        "question": "q", "answer": "7", "prompt": "p", "solution": "so \\boxed{8}", "meta": {"gold": 9}
    }  # fmt: skip
    assert read_row(raw, columns=Columns("prompt", "solution"))["answer"] == "8"
    assert read_row(raw, columns=Columns("prompt", "meta.gold"))["answer"] == "9"
    with pytest.raises(BadRow, match=r"^no question column$"):
        read_row({"text": "q", "answer": "7"})


def test_a_file_that_fits_two_layouts_is_refused_with_the_way_out(file):
    path = file('{"question": "q", "problem": "p", "answer": "7"}')
    with pytest.raises(
        UserError, match=r"line 1: .*choose with columns\.question=question or columns\.question=problem$"
    ):
        read_rows(path)
    assert read_rows(path, columns=Columns("problem")) == ([{"question": "p", "answer": "7"}], 0)


def test_the_original_forms_of_real_sets(shared):
    """Rows as their authors published them, made from the copies' columns, give the copies' answers."""
    rows, _ = read_rows(shared / "data" / "gsm8k_test.jsonl")
    gsm8k = [read_row({"question": row["question"], "answer": row["solution"]}) for row in rows]
    assert [row["answer"].replace(",", "") for row in gsm8k] == [row["answer"] for row in rows]
    rows, _ = read_rows(shared / "data" / "math_test.jsonl.gz")
    made = [read_row({"problem": row["question"], "solution": row["solution"]}) for row in rows]
    assert [row["answer"] for row in made] == [row["answer"] for row in rows]
