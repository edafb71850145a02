"""`transformers`: `generate` in batches, and its continuous batching. Only tokens are returned."""

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    ContinuousBatchingConfig,
    GenerationConfig,
    StoppingCriteria,
    StoppingCriteriaList,
)

from side_by_side.channel import serve

PAGE = 32
"""Tokens of a page of the cache of continuous batching."""


class RowStops(StoppingCriteria):
    """Each row is done at its own length."""

    def __init__(self, last: torch.Tensor) -> None:
        self.last = last
        """[B] length of the whole row at which it is done."""

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        return input_ids.shape[1] >= self.last


def build(folder: str, device: str = "cpu") -> Callable[..., dict[str, Any]]:
    @cache
    def model_of(dtype: str) -> Any:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), attn_implementation="sdpa"
        )
        without_end(model)
        return model.to(device).eval()

    def answer(
        prompts: list[list[int]], limits: list[int], mode: str, dtype: str, threads: int, batch: int = 0
    ) -> dict[str, Any]:
        torch.set_num_threads(threads)
        model = model_of(dtype)
        samples = len(limits) // len(prompts)
        given = [prompts[place // samples] for place in range(len(limits))]
        start = time.perf_counter()
        if mode == "generate":
            in_batches(model, given, limits, batch)
        else:
            continuous(model, given, limits, config_of(model))
        return {"seconds": time.perf_counter() - start}

    return answer


def without_end(model: Any) -> None:
    """A setting that is None in a call is taken from these, so an end of text has to go from here."""
    model.generation_config.eos_token_id = None
    model.config.eos_token_id = None


def config_of(model: Any, **changes: Any) -> GenerationConfig:
    """Plain sampling at temperature 1 without an end of text."""
    plain = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "eos_token_id": None}
    return GenerationConfig(**plain, pad_token_id=model.config.pad_token_id, **changes)


def in_batches(
    model: Any, given: Sequence[Sequence[int]], limits: Sequence[int], batch: int
) -> list[list[int]]:
    """The answers' tokens. The batches are in the order of the requests, because sorting by length would need
    the lengths beforehand."""
    config = config_of(model, max_new_tokens=max(limits))
    answers: list[list[int]] = []
    for first in range(0, len(given), batch):
        own = torch.tensor(limits[first : first + batch], device=model.device)
        ids, mask = (
            each.to(model.device)
            for each in left_padded(given[first : first + batch], model.config.pad_token_id)
        )
        stops = StoppingCriteriaList([RowStops(ids.shape[1] + own)])
        with torch.no_grad():
            out = model.generate(
                input_ids=ids, attention_mask=mask, generation_config=config, stopping_criteria=stops
            )
        answers += [
            row[:limit] for row, limit in zip(out[:, ids.shape[1] :].tolist(), own.tolist(), strict=True)
        ]
    check([len(answer) for answer in answers], limits)
    return answers


def left_padded(given: Sequence[Sequence[int]], fill: int) -> tuple[torch.Tensor, torch.Tensor]:
    """[B, P] tokens and mask."""
    width = max(len(tokens) for tokens in given)
    ids = torch.tensor([[fill] * (width - len(tokens)) + list(tokens) for tokens in given])
    mask = torch.tensor([[0] * (width - len(tokens)) + [1] * len(tokens) for tokens in given])
    return ids, mask


def continuous(
    model: Any,
    given: Sequence[Sequence[int]],
    limits: Sequence[int],
    config: GenerationConfig,
    settings: Any = None,
) -> list[list[int]]:
    """The answers' tokens, each of its own length. What `generate_batch` does, but that gives all requests
    one limit."""
    pages = sum(
        -(-(len(tokens) + limit) // PAGE) + 1 for tokens, limit in zip(given, limits, strict=True)
    )  # room for all answers at once
    settings = settings or ContinuousBatchingConfig(page_size=PAGE, num_blocks=pages, max_batch_tokens=2048)
    names: list[str | None] = []
    found: dict[str, list[int]] = {}
    manager_of = model.continuous_batching_context_manager
    with manager_of(
        generation_config=config, continuous_batching_config=settings, block=True, timeout=60
    ) as manager:
        for tokens, limit in zip(given, limits, strict=True):
            names.append(manager.add_request(list(tokens), max_new_tokens=limit))
        while len(found) < len(given):
            result = manager.get_result(timeout=1)
            if result is not None and result.is_finished():
                found[result.request_id] = list(result.generated_tokens)
            elif result is None and not manager.is_running():
                raise RuntimeError("continuous batching has ended before all requests were answered")
    answers = [found[str(name)] for name in names]
    check([len(answer) for answer in answers], limits)
    return answers


def check(lengths: Sequence[int], limits: Sequence[int]) -> None:
    if list(lengths) != list(limits):
        raise RuntimeError(f"answers of {sum(lengths)} tokens were written, {sum(limits)} were asked for")


if __name__ == "__main__":
    serve(build)
