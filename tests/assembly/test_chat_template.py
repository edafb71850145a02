"""The chat template of a model's tokenizer, and what a run and its rows give it."""

import copy

import pytest
from tokenizers import processors

from helpers import tiny_tokenizer
from menon.assembly.chat_template import chat_with
from menon.assembly.questions import rendered
from menon.engines.tokens import ids_with
from menon.errors import UserError
from tokenizer_kinds import SPECIAL, tokenizer_of

ASKED = [{"role": "user", "content": "ok"}]
PLAIN = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}[a]{% endif %}"
)
FULL = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn.\nReally') }}{% endif %}"
    "{{ bos_token }}{% for tool in tools or [] %}"
    "({{ tool.name + '' }}{{ tool.parameters | tojson if tool.parameters }}){% endfor %}"
    "{% for d in documents or [] %}({{ d.text }}){% endfor %}{{ messages[0].content }}"
    "{% if enable_thinking is defined and not enable_thinking %}=off{% endif %}"
)


def with_template(template, kind=None):
    tokenizer = tokenizer_of(kind) if kind else copy.deepcopy(tiny_tokenizer())
    tokenizer.chat_template = template
    return tokenizer


def prompts_of(rows, tokenizer, template="chat", on_bad="stop", notify=lambda sentence: None, **arguments):
    return rendered(rows, template, None, tokenizer, 8, on_bad, notify, arguments)


def test_it_leaves_room_for_the_answer():
    chat = chat_with(with_template(PLAIN))
    assert chat is not None
    assert chat(ASKED, None) == "[user]ok[a]"
    assert chat_with(tiny_tokenizer()) is None


@pytest.mark.parametrize("single", ["<s> $A", "<turn> <s> $A", "$A </s>", "<s> $A </s>"])
@pytest.mark.parametrize("template", ["{{ bos_token }}", "<turn><s>", "", "<turn>"])
def test_the_tokens_are_those_of_the_chat_template(single, template):
    """None of the tokenizer's own come before or after them, whether or not the template writes some."""
    tokenizer = with_template(template + "{{ messages[0].content }}", "metaspace_first")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[(name, SPECIAL.index(name)) for name in SPECIAL if name in single]
    )
    [prompt] = prompts_of([{"question": "the ok"}], tokenizer)
    own = tokenizer.apply_chat_template(
        [{"role": "user", "content": "the ok"}], add_generation_prompt=True, return_dict=False
    )
    assert prompt.tokens.tolist() == own == ids_with(tokenizer)(prompt.text)


def test_arguments_documents_and_tools_reach_it():
    tokenizer = with_template(FULL, "byte_level")
    tool = {"name": "add", "parameters": {"type": "object", "extra": None}}
    rows = [{"question": "ok", "tools": tools} for tools in ([tool], None, [], '[{"name": "ten"}]')]
    texts = [p.text for p in prompts_of(rows, tokenizer, enable_thinking=False, documents=[{"text": "1"}])]
    shown = ['(add{"type": "object"})', "", "", "(ten)"]
    assert texts == [f"<s>{tools}(1)ok=off" for tools in shown]
    texts = [p.text for p in prompts_of(rows, tokenizer, enable_thinking=True, tools=[{"name": "the"}])]
    assert texts == [f"<s>{tools or '(the)'}ok" for tools in shown]
    messages = [{"question": ASKED, "tools": [tool]}]
    assert [p.text for p in prompts_of(messages, tokenizer)] == [f"<s>{shown[0]}ok"]


def test_one_of_several_templates_is_chosen():
    tokenizer = with_template({"default": "{{ messages[0].content }}", "tool_use": "{{ tools[0].name }}"})
    rows = [{"question": "ok"}, {"question": "ok", "tools": [{"name": "add"}]}]
    assert [p.text for p in prompts_of(rows, tokenizer)] == ["ok", "add"]
    assert [p.text for p in prompts_of(rows, tokenizer, chat_template="default")] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("template", "arguments", "sentence"),
    [
        ("chat", {"enable_thinkng": True}, "sets enable_thinkng, and the model's chat template uses no such"),
        ("chat", {"tokenize": True}, "cannot set tokenize, which Menon sets itself; leave it out"),
        ("chat", {"messages": []}, "cannot set messages"),
        ("chat", {"chat_template": "rag"}, "no chat template 'rag'; .*chat_template is one of default"),
        (
            "none",
            {"enable_thinking": True},
            "template=none does not use it; set template=chat, or leave",
        ),
    ],
)
def test_arguments_that_have_no_effect_are_refused(template, arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        prompts_of([{"question": "ok"}], with_template(FULL), template, **arguments)


def test_a_template_that_cannot_be_read_is_one_sentence():
    with pytest.raises(UserError, match=r"^the chat template of the tokenizer cannot be read \(.*\); fix"):
        prompts_of([{"question": "ok"}] * 3, with_template("{% if %}"))


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (
            {"question": [{"role": "system", "content": "1"}, *ASKED]},
            r"row 2 \('ok'\): cannot be read by the chat template of the model \(no system turn\)",
        ),
        (
            {"question": "ok", "tools": "a hammer"},
            r"row 2 \('ok'\): has 'tools' that are no list of JSON schemas",
        ),
        ({"question": "ok", "tools": ["add"]}, r"row 2 \('ok'\): has 'tools' that are no list"),
        (
            {"question": "ok", "tools": [{"name": 1}]},
            r"row 2 \('ok'\): cannot be read by the chat template of the model \(unsupported operand",
        ),
    ],
)
def test_a_row_that_the_template_refuses_is_named_or_left_out(row, sentence):
    rows = [{"question": "1"}, row, {"question": "10"}]
    tokenizer = with_template(FULL, "byte_level")
    with pytest.raises(UserError, match=sentence) as error:
        prompts_of(rows, tokenizer)
    assert str(error.value).startswith("prompts of template=chat: 1 of 3 rows cannot be used: ")
    assert str(error.value).endswith("Fix them, or leave them out with on_bad=skip.")
    told: list[str] = []
    assert [p.index for p in prompts_of(rows, tokenizer, on_bad="skip", notify=told.append)] == [0, 2]
    assert told == [
        "1 questions are left out: they do not fit into the model's context, or the chat template refuses "
        "them"
    ]


def test_a_row_that_the_tokenizer_refuses_is_named():
    tokenizer = tokenizer_of("words_alone")
    tokenizer.backend_tokenizer.model.unk_token = "gone"
    with pytest.raises(UserError, match=r"row 2 \('é'\): cannot be read by the tokenizer of the model"):
        prompts_of([{"question": "ok"}, {"question": "é"}], tokenizer, template="none")
