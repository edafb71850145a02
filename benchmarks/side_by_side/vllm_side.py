"""vLLM on a CPU, in its own environment. Only tokens are returned: no log-probs, no text.

The dtype and the number of sequences are settled when the engine starts. So are threads where it runs in
processes of its own (VLLM_ENABLE_V1_MULTIPROCESSING=1, bound to cores); in this process they can be changed
from run to run.
"""

import time
from collections.abc import Callable
from typing import Any

import torch

from side_by_side.channel import serve

set_num_threads = torch.set_num_threads
"""Saved here, because vLLM replaces it by a function that does nothing."""


def build(
    folder: str, dtype: str, sequences: int, longest: int, **settings: Any
) -> Callable[..., dict[str, Any]]:
    from vllm import LLM, SamplingParams
    from vllm.inputs import TokensPrompt

    engine = LLM(
        model=folder,
        dtype=dtype,
        max_num_seqs=sequences,
        max_model_len=longest,
        disable_log_stats=True,
        seed=0,
        **{"enable_prefix_caching": True, **settings},
    )

    def answer(prompts: list[list[int]], limits: list[int], threads: int = 0) -> dict[str, Any]:
        if threads:
            set_num_threads(threads)
        samples = len(limits) // len(prompts)
        given = [TokensPrompt(prompt_token_ids=prompts[place // samples]) for place in range(len(limits))]
        settings = [
            SamplingParams(
                max_tokens=limit, temperature=1.0, top_p=1.0, top_k=0, ignore_eos=True, detokenize=False
            )
            for limit in limits
        ]
        engine.reset_prefix_cache()  # it would hold this work's prompts from the last time
        start = time.perf_counter()
        written = engine.generate(given, settings, use_tqdm=False)
        seconds = time.perf_counter() - start
        if [len(done.outputs[0].token_ids) for done in written] != limits:
            raise RuntimeError("an answer is not as long as it was asked to be")
        return {"seconds": seconds}

    return answer


if __name__ == "__main__":
    serve(build)
