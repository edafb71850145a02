"""Given text as tokens: which are learned, with plain templates and with chat templates."""

from collections import Counter

import pytest

from menon.errors import UserError
from menon.prompts.examples import Encoder, encode
from menon.prompts.given import Given, GivenRow
from menon.prompts.sources import BadRow
from menon.prompts.template import find_template

END = 0


def tokenize(text: str, special: bool = True) -> list[int]:
    """One token per character, with `^` in front of a whole text; `#` is the end of a turn."""
    return [*([ord("^")] if special else []), *(END if c == "#" else ord(c) for c in text)]


def chat(messages: list, tools=None, answered: bool = False) -> str:
    text = "".join(f"<{message['role'][0]}>{message['content']}#\n" for message in messages)
    return text if answered else text + "<a>"


def forgetful(messages: list, tools=None, answered: bool = False) -> str:
    """Drops the thought of every answer but the last message's."""
    last = len(messages) - 1
    kept = [
        m if i == last and m["role"] == "assistant" else dict(m, content=m["content"].split("|")[-1])
        for i, m in enumerate(messages)
    ]
    return chat(kept, tools, answered)


def encoder(template: str = "none", learn="answers", chat=chat) -> Encoder:
    return Encoder(
        find_template(template),
        tokenize,
        lambda text, before: tokenize(text, False),
        chat,
        (END, ord("#")),
        learn,
    )


def shown(example) -> tuple[str, str]:
    """The text, and what of it is learned; the end token is `#`."""
    said = ["#" if token == END else chr(token) for token in example.tokens]
    return "".join(said), "".join(c for c, learned in zip(said, example.is_action, strict=True) if learned)


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def bot(text: str) -> dict:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    ("template", "given", "text", "learned"),
    [
        ("none", Given("2+2=", "4", {}), "^2+2=4#", "4#"),
        ("Q: {q} A:", Given("2+2=", " 4", {}), "^Q: 2+2= A: 4#", " 4#"),
        ("none", Given("", "abc", {}), "^abc#", "abc#"),
        ("chat", Given("2+2=", "4", {}), "<u>2+2=#\n<a>4#\n", "4#"),
        ("chat", Given([user("hi")], [bot("yo")], {}), "<u>hi#\n<a>yo#\n", "yo#"),
        ("chat", Given("\n\nHuman: hi\n\nAssistant:", " yo", {}), "<u>hi#\n<a>yo#\n", "yo#"),
        (
            "chat",
            Given([], [user("a"), bot("b"), user("c"), bot("d")], {}),
            "<u>a#\n<a>b#\n<u>c#\n<a>d#\n",
            "b#d#",
        ),
        (
            "chat",
            Given([user("a"), bot("b"), user("c")], [bot("d")], {}),
            "<u>a#\n<a>b#\n<u>c#\n<a>d#\n",
            "d#",
        ),
    ],
)
def test_what_is_read_and_what_is_learned(template, given, text, learned):
    assert shown(encoder(template)(given, 0)) == (text, learned)


def test_the_whole_text_or_the_last_turn():
    given = Given([], [user("a"), bot("b"), user("c"), bot("d")], {})
    assert shown(encoder("chat", "last_answer")(given, 0))[1] == "d#"
    assert shown(encoder("none", "everything")(Given("2+2=", "4", {}), 0)) == ("^2+2=4#", "2+2=4#")


def test_a_template_that_drops_earlier_thoughts_teaches_the_last_answer_only():
    """The earlier answer was written with its thought, which the conversation no longer shows."""
    given = Given([], [user("a"), bot("hm|b"), user("c"), bot("oh|d")], {})
    assert shown(encoder("chat", chat=forgetful)(given, 0)) == ("<u>a#\n<a>b#\n<u>c#\n<a>oh|d#\n", "oh|d#")


def test_messages_need_the_chat_template():
    with pytest.raises(UserError, match=r"row 3 \('hi'\) holds chat messages, which need template=chat"):
        encoder("none")(Given([user("hi")], [bot("yo")], {}), 2)
    with pytest.raises(UserError, match="the tokenizer has no chat template"):
        encoder("chat", chat=None)(Given("hi", "yo", {}), 0)


def test_an_answer_that_the_template_writes_otherwise_than_it_asks():
    def odd(messages, tools=None, answered=False):
        return chat(messages, tools, answered).replace("<a>yo", "<b>yo")

    with pytest.raises(BadRow, match="otherwise than the template asks"):
        encoder("chat", chat=odd)(Given("hi", "yo", {}), 0)


def test_a_conversation_without_an_answer():
    with pytest.raises(BadRow, match="holds nothing to learn"):
        encoder("chat")(Given([], [user("hi")], {}), 0)


def row(*answers: str, wanted=None) -> GivenRow:
    return GivenRow(tuple(Given("q", answer, {}) for answer in answers), wanted)


def test_rows_that_are_too_long_are_left_out_or_cut():
    rows = [row("ab"), row("abcdef")]
    kept = encode(rows, encoder(), longest=5)
    assert [shown(example)[0] for (example,) in kept.rows] == ["^qab#"]
    assert kept.left_out == Counter({"longer than 5 tokens": 1})
    cut = encode(rows, encoder(), longest=5, cut=True)
    assert [shown(example) for (example,) in cut.rows] == [("^qab#", "ab#"), ("^qabc", "abc")]
    assert (cut.cut, sum(cut.left_out.values())) == (1, 0)
    with pytest.raises(UserError, match="all 2 rows are longer than 2 tokens; raise max_tokens"):
        encode(rows, encoder(), longest=2)


def test_a_pair_marks_the_preferred_answer_and_is_left_out_whole():
    kept = encode([row("a", "b"), row("a", "bcdefg")], encoder(), longest=6)
    assert [[(e.acc, e.score, e.group) for e in pair] for pair in kept.rows] == [[(1, 1, 0), (0, 0, 0)]]


def test_a_label_is_a_mark():
    kept = encode([row("a", wanted=True), row("b", wanted=False)], encoder(), longest=9)
    assert [example.acc for (example,) in kept.rows] == [1, 0]


def test_rows_that_cannot_be_read_are_counted_or_stop():
    rows = [row("ab"), GivenRow((Given([user("hi")], [user("yo")], {}),))]
    with pytest.raises(UserError, match=r"row 2 \('hi'\): holds nothing to learn"):
        encode(rows, encoder("chat"), longest=99)
    assert encode(rows, encoder("chat"), longest=99, on_bad="skip").left_out == Counter({"unreadable": 1})
