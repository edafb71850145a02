"""Samplers that are servers: how they are asked before a run, and the channels to their weights."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.assembly.scored import scored
from menon.config import Control, OnlineSource
from menon.engine_settings import VLLM, Engine, OpenAI
from menon.engines.carriers import ByFile, ByReload, scratch
from menon.engines.decoding.stop_strings import Detokenizer
from menon.engines.hf_models import end_token_ids
from menon.engines.limits import rows_of
from menon.engines.openai_sampler import OpenAISampler, written_in
from menon.engines.request_checks import check_request
from menon.engines.vllm_sampler import truncated
from menon.engines.vllm_server import VLLMServer
from menon.errors import UserError
from menon.http import JsonServer, ServerFailed
from menon.limit import Limit
from menon.streams import stream
from menon.sync.by_log_probs import ByLogProbs
from menon.sync.protocols import WeightChannel
from menon.sync.to_engine import ToEngine
from menon.types import Prompt, Request, Sampling

ASK_LIMIT = 30.0
"""Seconds in which a server must answer before a run."""
SPELT = "12+34=? The quick brown fox, été 日本\n"
"""A text that tokenizers cut in different ways."""
PROBES, PROBE_TOKENS = 4, 300
"""Requests that prove a publication, and the tokens of their prompts: more than two blocks of a cache."""
BOUND = {"float32": 1e-3, "bfloat16": 0.5}
"""Most nats by which such an answer's log-probs may differ from the learner's."""


def api_of(setting: VLLM | OpenAI) -> str:
    """Where a server's API begins."""
    address = setting.server.rstrip("/")
    return address if isinstance(setting, OpenAI) or address.endswith("/v1") else f"{address}/v1"


def headers_of(setting: VLLM | OpenAI) -> dict[str, str]:
    key = os.environ.get(setting.key_variable) if isinstance(setting, OpenAI) else None
    return {"Authorization": f"Bearer {key}"} if key else {}


def check_server(setting: VLLM | OpenAI) -> None:
    """UserError, before any model is read, if no server answers as it must, or if it could not get new
    weights."""
    if isinstance(setting, OpenAI) and not setting.reload:
        raise UserError(
            "sampler=openai needs sampler.reload=URL, the address that loads a model folder, or the server "
            "would go on with the old weights; for vLLM set sampler=vllm sampler.server=URL instead"
        )
    body = {"prompt": [1], "max_tokens": 1, "return_token_ids": True, "logprobs": 1}
    model = setting.model if isinstance(setting, OpenAI) else ""
    try:
        with JsonServer(api_of(setting), ASK_LIMIT) as server:
            asked = {**body, "model": model} if model else body
            written_in(server.url, server.post(asked, "completions", headers_of(setting)))
    except ServerFailed as error:
        raise UserError(
            f"sampler.server: {error}; start the server, or correct sampler.server (docs/vllm.md)"
        ) from error


def check_tokenizer(setting: VLLM | OpenAI, tokenizer: PreTrainedTokenizerBase) -> None:
    """UserError if a server that can say how it cuts a text cuts it otherwise than the policy's tokenizer."""
    root = api_of(setting).removesuffix("/v1")
    try:
        with JsonServer(root, ASK_LIMIT) as server:
            body = {"prompt": SPELT, "add_special_tokens": False}
            found = server.post(body, "tokenize", headers_of(setting))
        theirs = [int(token) for token in found["tokens"]]
    except (ServerFailed, KeyError, TypeError, ValueError):
        return  # not every server has this route
    ours = tokenizer(SPELT, add_special_tokens=False)["input_ids"]
    if theirs != ours:
        raise UserError(
            f"the tokenizer of {setting.server} is another one than the policy's: of the same text it makes "
            f"{len(theirs)} tokens and the policy's {len(ours)}, or others; serve the model that is trained"
        )


def server_sampler(
    source: OnlineSource,
    engine: Engine,
    control: Control,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> OpenAISampler:
    """The sampler that asks a server, which has answered as it must."""
    setting = engine.sampler
    assert isinstance(setting, VLLM | OpenAI)
    ends = end_token_ids(model, tokenizer)
    embedding: Any = model.get_input_embeddings()
    sampler = (VLLMServer if isinstance(setting, VLLM) else OpenAISampler)(
        api_of(setting),
        setting.model if isinstance(setting, OpenAI) else "",
        Detokenizer.of(tokenizer, ends, source.keep_special_tokens),
        ends,
        partial(check_asked, setting.kind, embedding.num_embeddings, rows_of(model)),
        context=rows_of(model),
        key=headers_of(setting).get("Authorization", "").removeprefix("Bearer "),
        seed=control.seed,
        parallel=engine.slots,
    )
    try:
        question = tokenizer("1+1=", add_special_tokens=False)["input_ids"]
        sampler.probe(list(map(int, question)), source.temperature)
        if isinstance(sampler, VLLMServer):
            sampler.ready()
    except BaseException:
        sampler.close()
        raise
    return sampler


def check_asked(name: str, vocabulary: int, context: Limit | None, request: Request) -> None:
    """UserError for a request that a server cannot answer as a run needs it."""
    check_request(request, vocabulary, context)
    if request.sampling.forking_temperature is not None:
        raise UserError(f"sampler={name} has one temperature for all tokens; leave forking_temperature out")
    if request.sampling.top_p < 1 or request.sampling.top_k > 0:
        raise UserError(truncated(name, request.sampling.top_p, request.sampling.top_k))


def server_channel(
    engine: Engine,
    host: Any,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    temperature: float,
    sampler: OpenAISampler,
) -> WeightChannel:
    """The channel to a server; the first publication has brought it the weights."""
    setting = engine.sampler
    temporary = scratch(model.num_parameters() * 4)
    folder = Path(temporary.name)
    sampler.keep(temporary)
    if isinstance(sampler, VLLMServer):
        assert isinstance(setting, VLLM)
        channel: WeightChannel = ToEngine(host, sampler, ByFile(sampler.begun, folder))
    else:
        assert isinstance(setting, OpenAI)
        folder.chmod(0o755)
        model.config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        carrier = ByReload(partial(reload, sampler, setting), folder)
        requests = probes(model, temperature)
        score = partial(scored, host)
        channel = ByLogProbs(host, sampler, carrier, requests, score, BOUND[engine.dtype])
    channel.publish(0)
    return channel


def reload(sampler: OpenAISampler, setting: OpenAI, name: str, folder: str) -> None:
    """Has the server load a model folder."""
    sampler.pause()
    try:
        with JsonServer(setting.reload, 600.0) as server:
            server.post({"model_path": folder}, headers=headers_of(setting))
    except ServerFailed as error:
        raise UserError(f"sampler.reload: {error}") from error
    finally:
        sampler.resume()


def probes(model: PreTrainedModel, temperature: float) -> list[Request]:
    """Requests of long prompts of random tokens, always the same."""
    context, embedding = rows_of(model), model.get_input_embeddings()
    vocabulary = int(getattr(embedding, "num_embeddings", 2))
    length = PROBE_TOKENS if context is None else min(PROBE_TOKENS, int(context) - 8)
    sampling = Sampling(8, temperature)
    return [
        Request(
            Prompt(-1 - place, drawn.integers(vocabulary, size=length).astype(np.int32), ""),
            sampling,
            purpose="probe",
        )
        for place, drawn in enumerate(stream(0, "probe", place) for place in range(PROBES))
    ]
