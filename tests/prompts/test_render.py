import pytest

from menon.errors import UserError
from menon.prompts.render import NoRoom, render

ROWS = [{"question": "3+4=", "answer": "7", "level": 1}, {"question": "1+1=", "answer": "2"}]
LONG = {"question": "1" * 50, "answer": "3"}
CHAT = [{"role": "user", "content": "3+4?"}]


def letters(text, special=True):
    return [ord(letter) for letter in text]


def chat(messages, tools=None):
    return "".join(f"<{m['role']}>{m['content']}" for m in messages) + "<assistant>"


def test_rows_become_prompts():
    prompts, skipped = render(ROWS, "Q:{q}", letters, context=20, max_new_tokens=10)
    assert skipped == 0
    assert [p.text for p in prompts] == ["Q:3+4=", "Q:1+1="]
    assert prompts[0].tokens.tolist() == letters("Q:3+4=")
    assert [(p.index, p.answer) for p in prompts] == [(0, "7"), (1, "2")]
    assert prompts[0].columns == {"question": "3+4=", "level": 1}


def test_chat_takes_text_and_messages():
    rows = [ROWS[0], {"question": CHAT, "answer": "7"}]
    prompts, _ = render(rows, "chat", letters, chat=chat, context=90, max_new_tokens=10)
    assert [p.text for p in prompts] == ["<user>3+4=<assistant>", "<user>3+4?<assistant>"]
    assert prompts[1].columns["question"] == CHAT


def test_a_template_for_the_users_turn_goes_through_the_chat_template():
    [prompt], _ = render([ROWS[0]], "dapo", letters, chat=chat, context=900, max_new_tokens=10)
    assert prompt.text.startswith("<user>Solve the following math problem step by step. ")
    assert prompt.text.endswith(
        '.\n\n3+4=\n\nRemember to put your answer on its own line after "Answer:".<assistant>'
    )


def test_a_column_that_a_template_needs_and_a_row_lacks():
    with pytest.raises(
        UserError, match=r"row 1 \('3\+4='\) has no column 'nums', which this template puts in; take another"
    ):
        render(ROWS, "tinyzero_base", letters, context=900, max_new_tokens=10)
    [prompt], _ = render(
        [ROWS[0] | {"nums": [3, 4], "target": 7}], "tinyzero_base", letters, context=900, max_new_tokens=10
    )
    assert "Using the numbers [3, 4], create an equation that equals 7." in prompt.text


def test_chat_where_there_is_none_is_refused():
    with pytest.raises(UserError, match="take another template than 'dapo'"):
        render(ROWS, "dapo", letters, context=900, max_new_tokens=10)
    with pytest.raises(UserError, match="the tokenizer has no chat template"):
        render(ROWS, "chat", letters, context=90, max_new_tokens=10)
    with pytest.raises(UserError, match=r"row 1 \('3\+4\?'\) holds chat messages, which need template=chat"):
        render([{"question": CHAT, "answer": "7"}], "none", letters, chat=chat, context=90, max_new_tokens=10)
    with pytest.raises(UserError, match="holds chat messages, which need template=chat"):
        render(
            [{"question": CHAT, "answer": "7"}], "dapo", letters, chat=chat, context=900, max_new_tokens=10
        )


def test_a_prompt_exactly_as_long_as_the_room_is_kept():
    prompts, skipped = render([LONG], "none", letters, context=60, max_new_tokens=10)
    assert (len(prompts), skipped) == (1, 0)


def test_too_long_a_prompt_is_named_or_skipped_and_counted():
    rows = [ROWS[0], LONG, ROWS[1]]
    with pytest.raises(UserError) as caught:
        render(rows, "none", letters, context=59, max_new_tokens=10)
    assert str(caught.value) == (
        "prompts for a context of 59 tokens with max_new_tokens=10 (lower it, or take a model with a longer "
        "context): 1 of 3 rows cannot be "
        f"used: row 2 ('{'1' * 37}...', 50 tokens): longer than the 49 tokens that are left for a prompt. "
        "Fix them, or leave them out with on_bad=skip."
    )
    prompts, skipped = render(rows, "none", letters, context=59, max_new_tokens=10, on_bad="skip")
    assert ([p.index for p in prompts], skipped) == ([0, 2], 1)


def test_no_room_at_all_no_row_left_and_no_token_are_refused():
    with pytest.raises(
        NoRoom, match="context of 10 tokens leaves no room for a question before 10 new tokens"
    ):
        render(ROWS, "none", letters, context=10, max_new_tokens=10)
    with pytest.raises(
        NoRoom,
        match=r": all 2 rows, first row 1 \('1{37}\.\.\.', 50 tokens\): longer than the 10 tokens that",
    ):
        render([LONG, LONG], "none", letters, context=20, max_new_tokens=10, on_bad="skip")
    with pytest.raises(UserError, match=r"row 1 \('3\+4='\): no token at all"):
        render(ROWS, "none", lambda text, special: [], context=20, max_new_tokens=10)
