"""A model behind OpenAI's API: the numbers of the built-in sampler, whoever asks and in whatever company."""

import json
import threading
import time
from copy import deepcopy
from functools import partial

import httpx2
import numpy as np
import pytest
import torch

from helpers import prompt
from menon.assembly.scored import scored
from menon.assembly.server_samplers import check_asked, check_tokenizer, probes, reload
from menon.engine_settings import OpenAI
from menon.engines.carriers import ByReload
from menon.engines.decoding.stop_strings import Detokenizer
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.engine_stream import seed_of
from menon.engines.in_process import InProcessHost
from menon.engines.openai_sampler import OpenAISampler
from menon.engines.torch_learner import TorchLearner
from menon.errors import UserError
from menon.openai_api.speech import Speech
from menon.sync.by_log_probs import ByLogProbs
from menon.types import Prompt, Request, Sampling
from menon.update.optimiser import Optimiser
from scripted import written_by

V = 257


def post(whole, path, body, **more):
    return httpx2.post(f"{whole.address}{path}", json=body, timeout=60, **more)


def completion(whole, **body):
    found = post(whole, "/v1/completions", body)
    assert found.status_code == 200, found.text
    return found.json()


def chunks(whole, path, body):
    with httpx2.stream("POST", f"{whole.address}{path}", json={**body, "stream": True}, timeout=60) as found:
        assert found.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in found.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def local(whole, request):
    """What the built-in sampler writes for the request that the server makes of it."""
    (found,) = written_by(TorchSampler(whole.model, whole.tokenizer), [request])
    return found


@pytest.fixture
def asker(whole):
    words = Detokenizer.of(whole.tokenizer, [V - 1])
    check = partial(check_asked, "openai", V, 256)
    one = OpenAISampler(f"{whole.address}/v1", "", words, [V - 1], check, context=256, parallel=6)
    yield one
    one.close()


@pytest.mark.parametrize("temperature", [1.0, 0.6, 0.0])
def test_menon_asks_its_own_server_and_gets_the_local_sampler_s_numbers(whole, asker, temperature):
    """Six requests at once over HTTP; the same ones, one at a time, here."""
    sampling = Sampling(20, temperature)
    requests = [Request(prompt(i % 3, f"{i % 3}+4="), sampling, i // 3) for i in range(6)]
    asker.probe([1, 2, 3], temperature)
    found = written_by(asker, requests)
    assert len(found) == 6
    for c in found:
        named = Request(
            Prompt(0, c.request.prompt.tokens, ""), sampling, purpose="serve", seed=seed_of(c.request, 0)
        )
        here = local(whole, named)
        assert c.tokens.tolist() == here.tokens.tolist()
        assert np.abs(c.logp - here.logp).max() <= 1e-5
        assert (c.finish, c.text) == (here.finish, here.text)


def test_the_log_probs_are_the_model_s(whole, asker):
    """By a forward pass over the whole sequence."""
    (c,) = written_by(asker, [Request(prompt(0, "3+4="), Sampling(24, 0.7))])
    ids = torch.tensor([[*c.request.prompt.tokens.tolist(), *c.tokens.tolist()]])
    with torch.no_grad():
        logits = whole.model(input_ids=ids).logits[0, len(c.request.prompt.tokens) - 1 : -1] / 0.7
    wanted = logits.log_softmax(-1).gather(-1, torch.tensor(c.tokens.tolist())[:, None])[:, 0]
    assert np.abs(wanted.numpy() - c.logp).max() <= 1e-5


def test_a_training_run_brings_its_weights_and_proves_them(whole, asker, tmp_path):
    setting = OpenAI(server=f"{whole.address}/v1", reload=f"{whole.address}/update_weights_from_disk")
    check_tokenizer(setting, whole.tokenizer)
    changed = whole.model.state_dict()["model.norm.weight"].clone()
    learner = InProcessHost({"policy": TorchLearner(deepcopy(whole.model), Optimiser(0.01))})
    whole.model.config.save_pretrained(tmp_path)
    whole.tokenizer.save_pretrained(tmp_path)
    carrier = ByReload(partial(reload, asker, setting), tmp_path)
    channel = ByLogProbs(learner, asker, carrier, probes(whole.model, 1.0), partial(scored, learner), 1e-3)
    with torch.no_grad():
        learner.models["policy"].weights()["model.norm.weight"].add_(0.3)
    try:
        channel.publish(1)
        assert torch.equal(whole.model.state_dict()["model.norm.weight"], changed + 0.3)
    finally:
        with torch.no_grad():
            whole.model.state_dict()["model.norm.weight"].copy_(changed)
        whole.served.writer.sampler.version += 1


def test_openai_s_own_client(whole):
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{whole.address}/v1", api_key="any")
    assert [one.id for one in client.models.list()] == ["tiny", "gpt-tiny"]
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "3+4=?"}], "max_tokens": 8, "seed": 3}
    reply = client.chat.completions.create(**asked, logprobs=True, top_logprobs=3)
    tokens = whole.tokenizer("[user]3+4=?;>")["input_ids"]
    here = local(
        whole, Request(Prompt(0, np.array(tokens, np.int32), ""), Sampling(8), purpose="serve", seed=3)
    )
    said = reply.choices[0].logprobs.content
    assert reply.choices[0].message.content == here.text
    assert np.abs(np.array([one.logprob for one in said]) - here.logp).max() <= 1e-5
    assert all(len(one.top_logprobs) == 3 for one in said)
    assert reply.usage.model_dump()["prompt_tokens"] == len(tokens)
    stream = client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    parts = list(stream)
    assert "".join(p.choices[0].delta.content or "" for p in parts if p.choices) == here.text
    assert parts[-1].usage.completion_tokens == len(here.tokens)
    text = client.completions.create(model="tiny", prompt="3+4=", max_tokens=5, seed=1, logprobs=2)
    assert len(text.choices[0].logprobs.token_logprobs) == 5
    with pytest.raises(openai.NotFoundError, match="there is no model 'other' here"):
        client.completions.create(model="other", prompt="a")


def test_a_stream_holds_what_the_whole_answer_holds(whole):
    asked = {"prompt": "7-2=", "max_tokens": 24, "seed": 5, "logprobs": 2, "return_token_ids": True, "n": 2}
    asked |= {"return_entropies": True}
    one, many = completion(whole, **asked), chunks(whole, "/v1/completions", asked)
    for index, choice in enumerate(one["choices"]):
        mine = [c["choices"][0] for c in many if c["choices"][0]["index"] == index]
        assert "".join(c["text"] for c in mine) == choice["text"]
        for name in ("token_ids", "entropies"):
            assert [value for c in mine for value in c[name]] == choice[name]
        for name in ("token_logprobs", "tokens", "text_offset", "top_logprobs"):
            assert [v for c in mine for v in c["logprobs"][name]] == choice["logprobs"][name]
        assert mine[-1]["finish_reason"] == choice["finish_reason"]
        assert mine[0]["prompt_token_ids"] == choice["prompt_token_ids"] == list(b"7-2=")
    assert one["choices"][0]["token_ids"] != one["choices"][1]["token_ids"]
    entropies = local(
        whole,
        Request(Prompt(0, np.array(list(b"7-2="), np.int32), ""), Sampling(24), purpose="serve", seed=5),
    ).entropy
    assert np.abs(np.array(one["choices"][0]["entropies"]) - entropies).max() <= 1e-5


def test_prompts_as_tokens_and_several_at_once(whole):
    texts = completion(whole, prompt=["1+1=", "2+2="], max_tokens=6, temperature=0)["choices"]
    tokens = completion(whole, prompt=[list(b"1+1="), list(b"2+2=")], max_tokens=6, temperature=0)
    assert [c["text"] for c in texts] == [c["text"] for c in tokens["choices"]]
    assert tokens["usage"]["prompt_tokens"] == 8


def test_stop_strings_and_stop_tokens(whole):
    plain = completion(whole, prompt="abc", max_tokens=40, seed=1, return_token_ids=True)["choices"][0]
    stop = plain["text"][10:12]
    cut = plain["text"].find(stop)
    asked = {"prompt": "abc", "max_tokens": 40, "seed": 1, "stop": stop}
    assert completion(whole, **asked)["choices"][0]["text"] == plain["text"][:cut]
    kept = completion(whole, **asked, include_stop_str_in_output=True)["choices"][0]
    assert (kept["text"], kept["finish_reason"]) == (plain["text"][: cut + 2], "stop")
    assert (
        "".join(c["choices"][0]["text"] for c in chunks(whole, "/v1/completions", asked))
        == plain["text"][:cut]
    )
    token = plain["token_ids"][7]
    place = plain["token_ids"].index(token)
    ended = completion(
        whole, prompt="abc", max_tokens=40, seed=1, stop_token_ids=[token], return_token_ids=True
    )["choices"][0]
    assert (ended["token_ids"], ended["finish_reason"]) == (plain["token_ids"][: place + 1], "stop")


def test_requests_share_the_batch(whole):
    """Eight answers of 60 tokens take the steps of one or two, not of eight."""
    writer = whole.served.writer
    before = writer.steps
    asked = [Request(prompt(i, f"{i}="), Sampling(60, 0.0)) for i in range(8)]
    threads = [
        threading.Thread(
            target=completion,
            args=(whole,),
            kwargs={"prompt": r.prompt.text, "max_tokens": 60, "temperature": 0},
        )
        for r in asked
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.steps - before < 4 * 60


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_place(whole, stream, monkeypatch):
    body = {"max_tokens": 240, "temperature": 0}
    long = (
        p for p in "abcdefghijklm" if completion(whole, prompt=p, **body)["usage"]["completion_tokens"] == 240
    )
    body["prompt"] = next(long)
    writer = whole.served.writer
    quick = writer._step

    def slow():
        time.sleep(0.01)
        quick()

    monkeypatch.setattr(writer, "_step", slow)
    before = writer.steps
    with httpx2.Client(timeout=60) as client:
        body |= {"n": 4, "stream": stream}
        if stream:
            with client.stream("POST", f"{whole.address}/v1/completions", json=body) as found:
                next(found.iter_lines())
        else:
            with pytest.raises(httpx2.TimeoutException):
                client.post(f"{whole.address}/v1/completions", json=body, timeout=0.2)
    until = time.time() + 10
    while (writer.jobs or writer.asked) and time.time() < until:
        time.sleep(0.01)
    assert not writer.jobs
    assert writer.steps - before < 200


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        (
            "completions",
            {"prompt": "a", "max_tokens": 500},
            400,
            "the model's context has 256; lower max_tokens",
        ),
        ("completions", {"prompt": ""}, 400, "the prompt is empty"),
        ("completions", {"prompt": [999]}, 400, "a token that is not one of 0 to 256"),
        (
            "completions",
            {"prompt": "a", "temperature": -1},
            400,
            "temperature is -1; it can be 0, or 0.001 to 100",
        ),
        (
            "completions",
            {"prompt": "a", "temperature": "hot"},
            400,
            "temperature is 'hot'; it must be a number",
        ),
        ("completions", {"prompt": "a", "max_tokens": 0}, 400, "max_tokens is 0"),
        ("completions", {"prompt": "a", "logprobs": 21}, 400, "logprobs is 21; it can be 0 to 20"),
        ("completions", {"prompt": "a", "n": 1000}, 400, "n asks for 1000 answers"),
        ("completions", {"prompt": "a", "frequency_penalty": 1}, 400, "frequency_penalty is not supported"),
        ("completions", {"prompt": "a", "model": "x"}, 404, "there is no model 'x' here"),
        ("chat/completions", {"messages": []}, 400, "at least one message"),
        ("chat/completions", {"messages": [{"role": "user"}]}, 400, "content of a message must be a text"),
        (
            "chat/completions",
            {"messages": [{"role": "user", "content": "a"}], "tools": [{}]},
            400,
            "tools is not",
        ),
    ],
)
def test_what_cannot_be_followed_is_refused_in_openai_s_form(whole, path, body, status, words):
    found = post(whole, f"/v1/{path}", body)
    assert found.status_code == status
    error = found.json()["error"]
    assert words in error["message"]
    assert set(error) == {"message", "type", "param", "code"}


def test_what_spells_a_special_token_is_ordinary_text(whole):
    body = {
        "messages": [{"role": "user", "content": "<|endoftext|>"}],
        "max_tokens": 1,
        "return_token_ids": True,
    }
    found = post(whole, "/v1/chat/completions", body).json()
    assert found["prompt_token_ids"] == list(b"[user]<|endoftext|>;>")


def test_other_pages_are_refused_and_a_key_is_asked_for(whole):
    from starlette.testclient import TestClient

    from menon.serve.app import create

    body = {"prompt": "a", "max_tokens": 1}
    found = post(whole, "/v1/completions", body, headers={"origin": "http://evil.example"})
    assert found.status_code == 403
    assert post(whole, "/v1/completions", body, headers={"host": "evil.example"}).status_code == 403
    assert httpx2.delete(f"{whole.address}/v1/models").status_code == 403
    guarded = TestClient(create(whole.served, "secret"))
    assert guarded.get("/v1/models").status_code == 403
    assert guarded.get("/v1/models", headers={"authorization": "Bearer secret"}).status_code == 200
    key = {"authorization": "Bearer secret"}
    assert guarded.post("/update_weights_from_disk", json={}, headers=key).status_code == 404


def test_text_comes_whole_however_its_bytes_are_cut(whole):
    """é and 日 have several bytes, each a token here; a stop string that only begins is given out."""
    speech = Speech(whole.served.voice, ["日本!"])
    said = [speech.say(token) for token in "aé日本語".encode()]
    assert said[0] == "a"
    assert "".join(said) + speech.end() == "aé日本語"
    assert "�" not in "".join(said)


def test_parts_of_a_character_are_named_by_their_bytes(whole):
    voice = whole.served.voice
    assert [voice.token_text(token) for token in "aé".encode()] == ["a", r"bytes:\xc3", r"bytes:\xa9"]
    assert voice.token_text(256) == "<|endoftext|>"
    body = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 40, "seed": 1, "logprobs": True}
    found = post(whole, "/v1/chat/completions", body | {"return_token_ids": True}).json()["choices"][0]
    said = found["logprobs"]["content"]
    ends = [list(b"<|endoftext|>") if token == 256 else [token] for token in found["token_ids"]]
    assert [one["bytes"] for one in said] == ends


def test_an_answer_that_finds_no_memory_fails_alone(whole, monkeypatch):
    sampler = whole.served.writer.sampler
    room = sampler.most_in_each

    def little(longest):
        if longest > 200:
            raise UserError("no memory for it; lower max_new_tokens")
        return room(longest)

    monkeypatch.setattr(sampler, "most_in_each", little)
    monkeypatch.setattr(whole.served.writer, "longest", 0)
    other = post(whole, "/v1/completions", {"prompt": "ab", "max_tokens": 240})
    assert other.status_code == 400
    assert "no memory for it" in other.json()["error"]["message"]
    assert completion(whole, prompt="ab", max_tokens=4)["choices"][0]["finish_reason"]


def test_a_fault_ends_the_answers_under_way_and_the_next_ones_are_written(whole, monkeypatch):
    monkeypatch.setattr(whole.served.writer, "_step", lambda: 1 / 0)
    found = post(whole, "/v1/completions", {"prompt": "ab"})
    assert (found.status_code, found.json()["error"]["type"]) == (500, "server_error")
    monkeypatch.undo()
    assert completion(whole, prompt="ab", max_tokens=4)["choices"][0]["finish_reason"]


ODD = (
    None,
    True,
    -1,
    0.5,
    1e300,
    1e-300,
    10**400,
    float("nan"),
    "x",
    "\ud800",
    [],
    [None],
    [[]],
    {},
    {"a": 1},
)


@pytest.mark.parametrize("chat", [True, False])
def test_no_body_is_a_fault_of_the_server(whole, chat):
    """Every field with odd values, of which most are refused and none ends in status 500."""
    good = {"messages": [{"role": "user", "content": "a"}]} if chat else {"prompt": "a"}
    names = "messages prompt model n seed stop max_tokens temperature top_p top_k logprobs top_logprobs"
    names += " stream_options stop_token_ids chat_template_kwargs tools return_token_ids"
    path = f"{whole.address}/v1/{'chat/' if chat else ''}completions"
    with httpx2.Client(timeout=60) as client:
        for name in names.split():
            for value in ODD:
                text = json.dumps({**good, "max_tokens": 1, name: value})
                found = client.post(path, content=text)
                assert found.status_code in (200, 400, 404), (name, value, found.text)
        for text in ("", "{", "[]", "1", "[" * 100_000):
            assert client.post(path, content=text).status_code == 400
