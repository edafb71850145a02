"""The process that holds vLLM as an offline engine. It runs in vLLM's environment; `vllm_sampler` is the
sampler at the other end of its connection."""

from collections.abc import Sequence
from typing import Any, cast

from vllm import SamplingParams
from vllm.engine.arg_utils import EngineArgs
from vllm.inputs import TokensPrompt
from vllm.lora.request import LoRARequest
from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.llm_engine import LLMEngine

from menon.engines.decoding.stop_strings import Detokenizer
from menon.engines.engine_process import EngineHandler, Piece
from menon.engines.engine_wire import Asked
from menon.types import Finish

ADAPTER = "menon"
FINISHES: dict[str, Finish] = {"stop": "stop", "length": "length"}


def handler(folder: str, ends: Sequence[int], keep_special: bool, arguments: dict[str, Any]) -> EngineHandler:
    """The entry of the process; the engine starts in it."""
    return EngineHandler(lambda: VLLMEngine(folder, ends, keep_special, arguments))


class VLLMEngine:
    """See `engine_process.Engine`. `folder` has the model's configuration and tokenizer; the weights come
    later. `ends` are the tokens that end a text."""

    def __init__(
        self, folder: str, ends: Sequence[int], keep_special: bool, arguments: dict[str, Any]
    ) -> None:
        self.folder, self.ends, self.keep_special = folder, list(ends), keep_special
        self.engine = LLMEngine.from_engine_args(EngineArgs(model=folder, **arguments))
        self.adapter: LoRARequest | None = None
        self._words: Detokenizer | None = None

    def about(self) -> dict[str, Any]:
        """What the sampler needs to know of the engine."""
        config = self.engine.vllm_config
        return {
            "context": config.model_config.max_model_len,
            "block": config.cache_config.block_size,
            "workers": config.parallel_config.world_size,
            "dtype": str(config.model_config.dtype),
        }

    # Text

    @property
    def busy(self) -> bool:
        return self.engine.has_unfinished_requests()

    def add(self, request: Asked) -> None:
        settings = SamplingParams(
            max_tokens=request.max_new_tokens,
            temperature=request.temperature,
            seed=request.seed,
            stop_token_ids=self.ends,
            ignore_eos=True,  # it is among these, and vLLM would read it from the generation config
            logprobs=0,
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )
        prompt = TokensPrompt(prompt_token_ids=request.tokens.tolist())
        self.engine.add_request(str(request.number), prompt, settings, lora_request=self.adapter)

    def step(self) -> list[Piece]:
        return [piece_of(cast(RequestOutput, output)) for output in self.engine.step()]

    def abort(self, numbers: Sequence[int]) -> None:
        self.engine.abort_request([str(number) for number in numbers])

    def words(self) -> Detokenizer:
        if self._words is None:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(self.folder)
            self._words = Detokenizer.of(tokenizer, self.ends, self.keep_special)
        return self._words

    # Weights

    def load(self, file: str) -> int:
        """Copies the tensors of a file into the live weights; returns how many there were."""
        return int(self.engine.collective_rpc("menon_load", args=(file,))[0])

    def meet(self, meeting: dict[str, Any]) -> None:
        """Joins the group in which weights are broadcast."""
        self.engine.collective_rpc("init_weight_transfer_engine", args=(meeting,))

    def receive(self, names: list[str], dtypes: list[str], shapes: list[list[int]]) -> int:
        """Receives tensors that the trainer broadcasts."""
        coming = {"names": names, "dtypes": dtypes, "shapes": shapes}
        self.engine.collective_rpc("start_weight_update")
        self.engine.collective_rpc("update_weights", args=(coming,))
        self.engine.collective_rpc("finish_weight_update")
        return len(names)

    def map(self, handles: str) -> int:
        """Copies tensors that are in the memory of the GPU of this process into the live weights."""
        return int(self.engine.collective_rpc("menon_map", args=(handles,))[0])

    def adapt(self, folder: str, number: int) -> None:
        """Takes the last adapter out and puts this one in. vLLM answers with the old one, and reports
        success, when one of the same number is loaded already."""
        if self.adapter is not None:
            self.engine.remove_lora(self.adapter.lora_int_id)
        self.adapter = LoRARequest(f"{ADAPTER}-{number}", number, folder)
        if not self.engine.add_lora(self.adapter):
            raise RuntimeError(f"vLLM did not load the adapter in {folder}")

    def loaded(self, version: int) -> tuple[bool, dict[str, Any]]:
        """The weights are complete. Forgets keys and values of the old ones; requests that are being written
        go on from their tokens with the new ones. Returns whether it could, and what
        `sync.fingerprint.content` says of each weight, by the names of the policy's own model."""
        is_reset = bool(self.engine.reset_prefix_cache(reset_running_requests=True))
        return is_reset, dict(self.engine.collective_rpc("menon_contents")[0])

    def adapter_contents(self, rank: int) -> dict[str, Any]:
        """The same of the matrices of the adapter that answers."""
        return dict(self.engine.collective_rpc("menon_adapter", args=(rank,))[0])

    def reload(self, folder: str) -> None:
        """Loads a model folder by vLLM's own means."""
        self.engine.vllm_config.load_config.load_format = "auto"
        self.engine.collective_rpc("reload_weights", kwargs={"weights_path": folder})

    def sleep(self) -> None:
        """Frees the memory of keys and values, and of weights, which the next publication brings again."""
        self.engine.sleep(level=2)

    def wake_up(self) -> None:
        self.engine.wake_up()


def piece_of(output: RequestOutput) -> Piece:
    written = output.outputs[0]
    found: Any = written.logprobs
    logp = [] if found is None else [found.logprobs[start] for start in found.start_indices]
    finish = written.finish_reason
    return Piece(
        int(output.request_id),
        list(written.token_ids),
        logp,
        None if finish is None else FINISHES.get(finish, "abort"),
    )
