"""Plants faults in a real vLLM and says whether they are caught: by the publication itself, or by
`menon check sync`.

    python scripts/sync_faults.py PYTHON_OF_VLLM [model=base] [sampler.weights=file]
    python scripts/sync_faults.py PYTHON_OF_VLLM [model=base] adapter.rank=8 sampler.weights=adapter

The second plants the faults of a publication that changes an adapter. A fault whose name begins with `lying`
also hides from the comparison of both ends, so that only what the sampler writes can show it. The last line
is `caught=N of=M`; exit status 1 if one was missed.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

FAULTS = (
    "none",
    "no_reset",
    "moves_nothing",
    "lying_moves_nothing",
    "half_update",
    "lying_half_update",
    "other_dtype",
    "lying_other_dtype",
    "swapped",
    "lying_swapped",
    "raw_logp",
)
OF_ADAPTERS = ("none", "stale_adapter", "lying_stale_adapter", "other_scale", "lying_other_scale")
TEMPERATURE = 0.7
"""Of the fault `raw_logp`, and of all others: at 1 raw log-probs are the right ones."""


def handler(folder: str, ends: Sequence[int], keep_special: bool, arguments: dict[str, Any]) -> Any:
    """The entry of vLLM's process (`menon.engines.vllm_process:handler`), with faults."""
    import torch
    from safetensors.torch import load_file, save_file
    from vllm.lora.request import LoRARequest

    from menon.engines.engine_process import EngineHandler, Piece
    from menon.engines.vllm_process import VLLMEngine
    from menon.engines.vllm_worker import parts_of
    from menon.sync.fingerprint import content

    class Faulty(VLLMEngine):
        fault = "none"

        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.wanted: dict[str, Any] = {}
            self.temperatures: dict[int, float] = {}

        def plant(self, fault: str) -> None:
            self.fault = fault

        def add(self, request: Any) -> None:
            self.temperatures[request.number] = request.temperature
            super().add(request)

        def step(self) -> list[Piece]:
            pieces = super().step()
            if self.fault != "raw_logp":
                return pieces
            return [
                Piece(p.number, p.tokens, [x * self.temperatures[p.number] for x in p.logp], p.finish)
                for p in pieces
            ]

        def load(self, file: str) -> int:
            tensors = load_file(file)
            self.wanted |= {name: content(tensor) for name, tensor in tensors.items()}
            fault, names = self.fault.removeprefix("lying_"), list(tensors)
            if fault == "moves_nothing":
                return len(names)
            if fault == "half_update":
                tensors = {name: tensors[name] for name in names[::2]}
            if fault == "swapped":
                one, other = (f"model.layers.{layer}.mlp.up_proj.weight" for layer in (0, 1))
                if one in tensors and other in tensors:
                    tensors[one], tensors[other] = tensors[other], tensors[one]
            save_file(tensors, file)
            super().load(file)
            if fault == "other_dtype":
                self.engine.collective_rpc(round_all)
            return len(names)

        def adapt(self, folder: str, number: int) -> None:
            """A stale adapter: the new one comes under the number of the last, and vLLM reports success."""
            fault, matrices = (
                self.fault.removeprefix("lying_"),
                load_file(f"{folder}/adapter_model.safetensors"),
            )
            about = json.loads(Path(folder, "adapter_config.json").read_text())
            scale = about["lora_alpha"] / about["r"]
            self.shown = dict(shown_of(matrices, scale))
            if fault == "stale_adapter" and self.adapter is not None:
                last = self.adapter
                self.engine.add_lora(LoRARequest(last.lora_name, last.lora_int_id, folder))
                return
            if fault == "other_scale":
                about["lora_alpha"] *= 2
                Path(folder, "adapter_config.json").write_text(json.dumps(about))
            super().adapt(folder, number)

        def adapter_contents(self, rank: int) -> dict[str, Any]:
            return self.shown if self.fault.startswith("lying_") else super().adapter_contents(rank)

        def loaded(self, version: int) -> tuple[bool, dict[str, Any]]:
            if self.fault == "no_reset":
                return True, dict(self.engine.collective_rpc("menon_contents")[0])
            is_reset, found = super().loaded(version)
            lies = self.fault.startswith("lying_") and self.fault not in OF_ADAPTERS
            return is_reset, self.wanted if lies else found

    def shown_of(matrices: dict[str, Any], scale: float) -> Iterator[tuple[str, Any]]:
        """What a right publication of this adapter shows."""
        for name, matrix in matrices.items():
            short = name.removeprefix("base_model.model.").removesuffix(".weight")
            yield short, content(matrix * scale if short.endswith("lora_B") else matrix)

    @torch.no_grad()
    def round_all(worker: Any) -> None:
        for _, weight in parts_of(worker.model_runner.model):
            weight.copy_(weight.bfloat16())

    return EngineHandler(lambda: Faulty(folder, ends, keep_special, arguments))


def main(words: Sequence[str]) -> int:
    import os

    from menon import threads
    from menon.assembly.run import configured, use
    from menon.settings import nested, override

    python, *settings = words
    given = dict(override(word) for word in settings)
    changes = nested({"sampler": {"kind": "vllm", "python": python}, "temperature": TEMPERATURE, **given})
    chosen = threads.choose(changes)
    use(chosen, "cpu")
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    from menon.assembly.build import build
    from menon.assembly.check_sync import BOUND, SyncFailed, check_of_run, to_check
    from menon.engines import vllm_sampler

    vllm_sampler.ENTRY = "sync_faults:handler"
    config = configured("grpo", [changes], chosen.count)
    config = replace(config, models=to_check(config.models))
    caught = 0
    faults = OF_ADAPTERS if changes["sampler"].get("weights") == "adapter" else FAULTS
    with build(config, print) as run, TemporaryDirectory() as start:
        run.host.save(Path(start))
        for fault in faults:
            run.host.load(Path(start))  # without the moments that the last check's updates left
            check = check_of_run(run, BOUND[config.engine.dtype], lambda line: None)
            check.version = check.sampler.version
            run.channel.held = {}  # a lie may have left other weights there than it says
            run.channel.publish(check.version + 1)
            check.version += 1
            check.sampler.call("plant", fault)
            began = time.perf_counter()
            try:
                check()
                said = "sync ok"
            except SyncFailed as failure:
                said = f"sync failed: {failure}"
            check.sampler.call("plant", "none")
            caught += (said == "sync ok") == (fault == "none")
            print(f"{fault:20} {time.perf_counter() - began:5.1f} s  {said}", flush=True)
    print(f"caught={caught} of={len(faults)}", flush=True)
    return 0 if caught == len(faults) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
