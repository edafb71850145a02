"""What an agent asked is recorded, and read back as the sequences that were written."""

import json

import httpx2
import pytest

from menon.errors import UserError
from menon.record.reader import RunView
from menon.serve.sessions import Sessions, sequences_of
from menon.workbench.peers.importing import write_run


def ask(whole, name, messages, header=False, **more):
    path = "/v1/chat/completions" if header else f"/session/{name}/v1/chat/completions"
    body = {"messages": messages, "max_tokens": 6, "return_token_ids": True, "logprobs": True, **more}
    headers = {"x-session-id": name} if header else {}
    return httpx2.post(f"{whole.address}{path}", json=body, headers=headers, timeout=60)


def agent(whole, name, turns):
    """An agent that knows the protocol alone: it sends back what it was told."""
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{whole.address}/session/{name}/v1", api_key="any")
    messages = []
    for turn in turns:
        messages.append({"role": "user", "content": turn})
        reply = client.chat.completions.create(model="tiny", messages=messages, max_tokens=6, temperature=0.5)
        messages.append({"role": "assistant", "content": reply.choices[0].message.content})
    return messages


def test_an_agent_that_was_not_changed_leaves_exact_tokens(whole):
    messages = agent(whole, "one", ["3+4=", "sure?"])
    found = httpx2.get(f"{whole.address}/sessions/one").json()
    lines = [json.loads(line) for line in whole.folder.joinpath("one.jsonl").read_text().splitlines()]
    assert [line["messages"] for line in lines] == [messages[:1], messages[:3]]
    first, second = lines
    assert first["prompt_token_ids"] == list(b"[user]3+4=;>")
    written = [token for sequence in found["sequences"] for token, wrote in pairs(sequence) if wrote]
    assert written == first["token_ids"] + second["token_ids"]
    logps = [
        logp
        for sequence in found["sequences"]
        for logp, wrote in zip(sequence["logp"], sequence["is_action"], strict=True)
        if wrote
    ]
    assert logps == first["logprobs"] + second["logprobs"]


def pairs(sequence):
    return list(zip(sequence["tokens"], sequence["is_action"], strict=True))


def test_a_header_names_a_session_and_a_stream_is_recorded(whole):
    ask(whole, "two", [{"role": "user", "content": "a"}], header=True)
    with httpx2.stream(
        "POST",
        f"{whole.address}/session/two/v1/completions",
        json={"prompt": "b", "max_tokens": 3, "stream": True},
        timeout=60,
    ) as found:
        assert found.read().endswith(b"data: [DONE]\n\n")
    lines = [json.loads(line) for line in whole.folder.joinpath("two.jsonl").read_text().splitlines()]
    assert [line["prompt"] for line in lines] == [None, "b"]
    assert lines[1]["prompt_token_ids"] == [98]
    assert len(lines[1]["token_ids"]) == len(lines[1]["logprobs"]) == len(lines[1]["entropies"]) > 0


def test_tokens_that_go_on_make_one_sequence():
    """Two turns; the second prompt is the first one, its answer, and two tokens of the environment."""
    lines = [
        {"prompt_token_ids": [1, 2], "token_ids": [3, 4], "logprobs": [-0.1, -0.2]},
        {"prompt_token_ids": [1, 2, 3, 4, 5, 6], "token_ids": [7], "logprobs": [-0.3]},
    ]
    (one,), breaks = sequences_of(lines)
    assert one["tokens"] == [1, 2, 3, 4, 5, 6, 7]
    assert one["is_action"] == [False, False, True, True, False, False, True]
    assert one["logp"] == [0, 0, -0.1, -0.2, 0, 0, -0.3]
    assert (one["answers"], breaks) == ([0, 1], [])


def test_sessions_can_be_looked_at_as_a_run(whole, tmp_path):
    session = Sessions(tmp_path / "sessions").path("three")
    both = {"messages": None, "choice": 0, "finish": "stop"}
    lines = [
        both
        | {"prompt": "ab", "text": "cd", "prompt_token_ids": [1, 2], "token_ids": [3, 4]}
        | {"logprobs": [-0.1, -0.2], "entropies": [1.0, 2.0]},
        both
        | {"prompt": "abcdef", "text": "g", "prompt_token_ids": [1, 2, 34, 6], "token_ids": [7]}
        | {"logprobs": [-0.3], "entropies": [3.0], "finish": "length"},
    ]
    session.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = write_run(tmp_path / "sessions", tmp_path / "run")
    one, two = RunView.open(tmp_path / "run").transcripts.rows(1)
    assert (one["prompt"], one["completion"], one["finish"], two["finish"]) == ("ab", "cd", "stop", "length")
    assert one["entropy"] == [0, 0, 1.0, 2.0]
    assert two["tokens"] == [1, 2, 34, 6, 7]
    (fault,) = done.faults
    assert fault.startswith("three: answer 1 does not go on from sequence 0; the first 2 tokens agree")


def test_text_that_became_other_tokens_is_a_break():
    """The answer [3, 4] was sent back as text, and read as the one token 34."""
    lines = [
        {"prompt_token_ids": [1, 2], "token_ids": [3, 4], "logprobs": [-0.1, -0.2]},
        {"prompt_token_ids": [1, 2, 34, 5], "token_ids": [7], "logprobs": [-0.3]},
        {"prompt_token_ids": [9, 9], "token_ids": [8], "logprobs": [-0.4]},
    ]
    sequences, breaks = sequences_of(lines)
    assert [one["tokens"] for one in sequences] == [[1, 2, 3, 4], [1, 2, 34, 5, 7], [9, 9, 8]]
    assert breaks == [{"answer": 1, "sequence": 0, "agree": 2, "expected": [3, 4], "found": [34, 5]}]


@pytest.mark.parametrize("name", ["../x", "..", ".hidden", "a/b", "", "x" * 200])
def test_a_name_reaches_no_other_file(name, tmp_path):
    with pytest.raises(UserError, match="the name of a session has letters"):
        Sessions(tmp_path).path(name)


def test_no_file_outside_is_made(whole):
    found = ask(whole, "../x", [{"role": "user", "content": "a"}], header=True)
    assert found.status_code == 400
    assert "the name of a session" in found.json()["error"]["message"]
    assert httpx2.get(f"{whole.address}/sessions/none").status_code == 400


def test_an_answer_that_cannot_be_recorded_says_so(whole):
    (whole.folder / "full.jsonl").mkdir()
    found = ask(whole, "full", [{"role": "user", "content": "a"}])
    assert found.status_code == 400
    assert "full" in found.json()["error"]["message"]
