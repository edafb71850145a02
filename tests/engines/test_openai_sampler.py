"""Servers as samplers, on a server of the test's own that writes with the built-in sampler."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engines import CONTEXT, V
from helpers import prompt, tiny_model, tiny_tokenizer
from menon import errors
from menon.assembly.engine_samplers import check_before
from menon.assembly.scored import scored
from menon.assembly.server_samplers import check_asked, check_tokenizer, probes, reload
from menon.config import OnlineSource
from menon.engine_settings import VLLM, Engine, OpenAI
from menon.engines.carriers import ByFile, ByReload
from menon.engines.decoding.stop_strings import Detokenizer
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.in_process import InProcessHost
from menon.engines.openai_sampler import OpenAISampler
from menon.engines.torch_learner import TorchLearner
from menon.engines.vllm_server import VLLMServer
from menon.errors import UserError
from menon.sync.by_log_probs import ByLogProbs
from menon.sync.fingerprint import content, fingerprint
from menon.sync.to_engine import ToEngine
from menon.types import Prompt, Request, Sampling
from menon.update.optimiser import Optimiser
from scripted import written_by


class Server:
    """`/v1/completions` as vLLM answers it, and routes for weights; `fault` plants faults."""

    def __init__(self) -> None:
        self.model = tiny_model(vocab=V, seed=5)
        self.sampler = TorchSampler(self.model, tiny_tokenizer(V))
        self.fault, self.lock = "", threading.Lock()

    def answer(self, path: str, body: Any) -> Any:
        with self.lock:
            name = path.partition("?")[0].removeprefix("/").replace("v1/", "").replace("/", "_")
            return getattr(self, name)(body)

    def completions(self, body: Any) -> Any:
        request = Request(
            Prompt(0, np.array(body["prompt"], np.int32), ""),
            Sampling(body["max_tokens"], 1.0 if self.fault == "raw" else body.get("temperature", 1.0)),
            seed=body.get("seed", 0),
        )
        (done,) = written_by(self.sampler, [request])
        choice = {
            "token_ids": done.tokens.tolist(),
            "logprobs": {"token_logprobs": done.logp.tolist()},
            "finish_reason": done.finish,
        }
        if self.fault == "no_ids":
            del choice["token_ids"]
        return {"choices": [choice]}

    def tokenize(self, body: Any) -> Any:
        tokens = tiny_tokenizer(V)(body["prompt"])["input_ids"]
        return {"tokens": tokens[::-1] if self.fault == "tokenizer" else tokens}

    def collective_rpc(self, body: Any) -> Any:
        if body["method"] == "menon_load":
            self.put(load_file(body["args"][0]))
            return {"results": ["1"]}
        return {"results": [{name: content(weight) for name, weight in self.model.named_parameters()}]}

    def reset_prefix_cache(self, body: Any) -> Any:
        return {"success": self.fault != "no_reset"}

    def update_weights_from_disk(self, body: Any) -> Any:
        folder = Path(body["model_path"])
        files = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"].values()
        for file in set(files):
            self.put(load_file(folder / file))
        return {"success": True}

    @torch.no_grad()
    def put(self, tensors: Any) -> None:
        if self.fault != "moves_nothing":
            for name, tensor in tensors.items():
                dict(self.model.named_parameters())[name].copy_(tensor)
        self.sampler.version += 1


@contextmanager
def serving(made: Server) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            data = json.dumps(made.answer(self.path, body)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def made() -> Server:
    return Server()


@pytest.fixture(scope="module")
def address(made):
    with serving(made) as url:
        yield url


@pytest.fixture(autouse=True)
def whole(made):
    yield
    made.fault = ""


def sampler_at(address: str, cls: type[OpenAISampler] = OpenAISampler) -> OpenAISampler:
    words = Detokenizer.of(tiny_tokenizer(V), [V - 1])

    def check(request: Request) -> None:
        check_asked("openai", V, CONTEXT, request)

    return cls(f"{address}/v1", "", words, [V - 1], check, context=CONTEXT, parallel=4)


@pytest.fixture
def sampler(address):
    one = sampler_at(address)
    yield one
    one.close()


def requests(count: int = 6, **sampling: Any) -> list[Request]:
    return [
        Request(prompt(i % 3, [1, 2, 3 + i % 3], vocab=V), Sampling(8, **sampling), i // 3)
        for i in range(count)
    ]


def host_of(temperature: float = 1.0) -> InProcessHost:
    learner = TorchLearner(tiny_model(vocab=V), Optimiser(0.01), temperature=temperature)
    return InProcessHost({"policy": learner})


def test_token_ids_and_log_probs_come_back(sampler, made):
    found = written_by(sampler, requests())
    assert {(c.request.prompt.index, c.request.sample) for c in found} == {(i % 3, i // 3) for i in range(6)}
    for c in found:
        assert len(c.tokens) == len(c.logp) == len(c.version) > 0
        assert c.entropy is None
    again = {(c.request.prompt.index, c.request.sample): c.text for c in written_by(sampler, requests())}
    assert all(again[c.request.prompt.index, c.request.sample] == c.text for c in found)


def test_a_stop_string_ends_the_answer_here_too(sampler):
    """A server may go on after a stop string that spans tokens; what follows it is cut off."""
    plain = {(c.request.prompt.index, c.request.sample): c for c in written_by(sampler, requests())}
    letter = plain[0, 0].text[2]
    for c in written_by(sampler, requests(stop=(letter,))):
        whole = plain[c.request.prompt.index, c.request.sample].text
        cut = whole.find(letter)
        assert c.text == (whole if cut < 0 else whole[: cut + 1])
        assert len(c.logp) == len(c.tokens)


def test_what_follows_may_be_asked_late(sampler):
    seen = []
    with sampler.open() as stream:
        stream.ask(requests(3))
        for c in stream:
            seen.append(c.request.path)
            if not c.request.path:
                stream.ask(replace(c.request, prefix=c.tokens[:2], path=(0,)) for _ in range(1))
    assert sorted(seen) == [(), (), (), (0,), (0,), (0,)]


def test_requests_that_cannot_be_answered_are_refused(sampler):
    with sampler.open() as stream:
        for asked, words in (
            (Sampling(8, top_p=0.9), r"top_p=0\.9 draws from a part of the tokens, and openai does not say"),
            (Sampling(8, top_k=3), r"top_k=3 draws from a part"),
            (Sampling(8, forking_temperature=1.0), "one temperature for all tokens"),
            (Sampling(500), "the model's context is 128"),
        ):
            with pytest.raises(UserError, match=words):
                stream.ask([Request(prompt(0, [1], vocab=V), asked)])


def test_a_server_is_asked_before_a_run(sampler, made):
    sampler.probe([1, 2, 3], 0.7)
    made.fault = "raw"
    with pytest.raises(UserError, match=r"log-probs at temperature 1.*--logprobs-mode processed_logprobs"):
        sampler.probe([1, 2, 3], 0.7)
    sampler.probe([1, 2, 3], 1.0)
    made.fault = "no_ids"
    with pytest.raises(UserError, match="gives no token ids or no log-probs"):
        sampler.probe([1, 2, 3], 1.0)


def test_another_tokenizer_is_refused(address, made):
    setting = OpenAI(server=f"{address}/v1", reload="x")
    check_tokenizer(setting, tiny_tokenizer(V))
    made.fault = "tokenizer"
    with pytest.raises(UserError, match=r"the tokenizer of .* is another one than the policy's"):
        check_tokenizer(setting, tiny_tokenizer(V))


def test_a_server_that_does_not_answer_is_named():
    for setting, words in (
        (VLLM(server="http://127.0.0.1:9"), r"sampler\.server: http://127\.0\.0\.1:9/v1 gave no answer"),
        (OpenAI(server="http://127.0.0.1:9/v1", reload="x"), r"start the server, or correct sampler\.server"),
        (OpenAI(server="http://127.0.0.1:9/v1"), r"needs sampler\.reload=URL"),
        (VLLM(server="http://127.0.0.1:9", weights="broadcast"), r"weights=broadcast needs an engine"),
    ):
        with pytest.raises(UserError, match=words):
            check_before(OnlineSource(), Engine(sampler=setting))


def test_weights_of_a_vllm_server_are_carried_and_proved(address, made, tmp_path):
    one = sampler_at(address, VLLMServer)
    one.ready()
    host = host_of()
    channel = ToEngine(host, one, ByFile(one.begun, tmp_path))
    assert channel.publish(1).fingerprint == fingerprint(host.models["policy"].weights())
    found = written_by(one, requests())
    wanted = scored(host, found)
    assert max(np.abs(a - c.logp).max() for a, c in zip(wanted, found, strict=True)) < 1e-4
    assert {version for c in found for version in c.version.tolist()} == {1}
    made.fault = "no_reset"
    with pytest.raises(RuntimeError, match="did not reset its prefix cache"):
        channel.publish(2)
    made.fault = "moves_nothing"
    with torch.no_grad():
        host.models["policy"].weights()["model.norm.weight"].add_(0.1)
    with pytest.raises(RuntimeError, match=r"1 of \d+ tensors differ; the first, 'model\.norm\.weight'"):
        channel.publish(3)
    assert one.version == 1
    one.close()


def test_a_vllm_server_without_our_package_is_told_what_to_install():
    one = sampler_at("http://127.0.0.1:9", VLLMServer)
    with pytest.raises(UserError, match=r"cannot be changed: .* in its environment, and start it") as error:
        one.ready()
    assert f"; `pip install --no-deps '{Path(errors.__file__).parents[2]}'` in" in str(error.value)
    one.close()


def test_weights_of_another_server_are_proved_by_its_log_probs(sampler, address, made, tmp_path):
    host = host_of()
    setting = OpenAI(server=f"{address}/v1", reload=f"{address}/update_weights_from_disk")
    asked = probes(tiny_model(vocab=V), 1.0)
    assert len({r.prompt.tokens.tobytes() for r in asked}) == 4
    assert all(len(r.prompt.tokens) == 120 for r in asked)

    def call(name: str, folder: str) -> None:
        reload(sampler, setting, name, folder)

    carrier, score = ByReload(call, tmp_path), partial(scored, host)
    channel = ByLogProbs(host, sampler, carrier, asked, score, 1e-3)
    assert channel.publish(1).fingerprint == fingerprint(host.models["policy"].weights())
    assert sampler.version == 1
    made.fault = "moves_nothing"
    with torch.no_grad():
        host.models["policy"].weights()["model.norm.weight"].add_(0.1)
    with pytest.raises(RuntimeError, match="after publication 2 log-probs of sampler and learner differ by"):
        channel.publish(2)
