"""Menon's sampler, by its protocol. It returns more than the others: every token's log-prob and entropy, and
the text."""

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch

from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.hf_models import load_policy
from menon.types import Completion, Prompt, Request, Sampling
from side_by_side.channel import serve


def answers(sampler: TorchSampler, requests: list[Request]) -> list[Completion]:
    with sampler.open() as stream:
        stream.ask(requests)
        return list(stream)


def build(folder: str, device: str = "cpu") -> Callable[..., dict[str, Any]]:
    @cache
    def sampler_of(dtype: str, slots: int, processes: int) -> TorchSampler:
        model, tokenizer = load_policy(folder, getattr(torch, dtype), device)
        sampler = TorchSampler(model, tokenizer, slots=slots, processes=processes)
        sampler.end_tokens = np.array(
            [-1]
        )  # no token ends a text: every answer has the length that was asked for
        # Starts its processes.
        answers(sampler, [Request(Prompt(0, np.array([0], dtype=np.int32), ""), Sampling(1))])
        return sampler

    def answer(
        prompts: list[list[int]], limits: list[int], dtype: str, threads: int, slots: int, processes: int = 1
    ) -> dict[str, Any]:
        torch.set_num_threads(threads)
        sampler = sampler_of(dtype, slots, processes)
        samples = len(limits) // len(prompts)
        asked = [Prompt(index, np.array(tokens, dtype=np.int32), "") for index, tokens in enumerate(prompts)]
        requests = [
            Request(asked[place // samples], Sampling(max_new_tokens=limit), sample=place % samples)
            for place, limit in enumerate(limits)
        ]
        start = time.perf_counter()
        written = answers(sampler, requests)
        seconds = time.perf_counter() - start
        if any(len(done.tokens) != done.request.sampling.max_new_tokens for done in written) or len(
            written
        ) < len(limits):
            raise RuntimeError("an answer is not as long as it was asked to be")
        return {"seconds": seconds}

    return answer


if __name__ == "__main__":
    serve(build)
