"""A sampler in processes of their own, each with its own copy of the weights.

The processes write with the built-in sampler (`remote_sampler_process`). With one process the text and all
numbers are bit for bit those of that sampler in this process. With several, requests are divided by prompt,
and what follows from a completion goes to the process that wrote it.
"""

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.engines import model_structure
from menon.engines.decoding.stop_strings import Detokenizer
from menon.engines.hf_models import end_token_ids
from menon.engines.limits import rows_of
from menon.engines.remote_sampler_process import FREE, TENSOR, Begin
from menon.engines.remote_stream import RemoteStream
from menon.engines.request_checks import check_request
from menon.engines.sampler_member import Member
from menon.processes.supervisor import Supervisor
from menon.processes.wire import encode
from menon.processes.worker import Launch, Spawn
from menon.rollout.protocols import OPTIONAL
from menon.types import Request

ENTRY = "menon.engines.remote_sampler_process:RemoteSamplerHandler"
"""What a launch of such a process starts."""


class RemoteSampler:
    """A `Sampler` over one process for each of `launches`. `sync.by_message` brings the weights; before the
    first publication there are none.

    The settings are those of `TorchSampler`; `dtype` is that of the weights (None: the model's own), and
    `threads` those of each process (None: as many as here). Streams may be open at the same time, in several
    threads, and while weights are published: text that is being written goes on with the new ones.

    A process that ends, is silent or hangs is replaced, with the weights that were published last, and its
    requests without an answer are asked again. Without a publication in between, the answers are bit for bit
    the same; otherwise they are those of the new weights.
    """

    gives = OPTIONAL

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        launches: Sequence[Launch] | None = None,
        *,
        dtype: torch.dtype | None = None,
        device: str = "cpu",
        threads: int | None = None,
        supervisor: Supervisor | None = None,
        **settings: Any,
    ) -> None:
        self.version = 0
        self.tokenizer = tokenizer
        self.computed_tokens = 0
        """Tokens that went through the model so far, as far as the processes have reported them."""
        self.detokenizer = Detokenizer.of(
            tokenizer, end_token_ids(model, tokenizer), settings.get("keep_special_tokens", False)
        )
        self.context = rows_of(model)
        embedding: Any = model.get_input_embeddings()
        self.vocabulary: int = embedding.num_embeddings
        self.dtypes = {
            name: dtype if dtype is not None and weight.is_floating_point() else weight.dtype
            for name, weight in model.named_parameters()
        }
        """The names of the weights that the processes hold, each with its dtype."""
        begin = Begin(
            model_structure.dumps(model, dtype),
            tokenizer,
            settings,
            device,
            torch.get_num_threads() if threads is None else threads,
        )
        self.supervisor = supervisor or Supervisor()
        launches = [Spawn(ENTRY)] if launches is None else launches
        several = len(launches) > 1
        self.members = [
            Member(f"sampler {place}" if several else "the sampler", launch, begin, self.supervisor)
            for place, launch in enumerate(launches)
        ]
        self.numbers = itertools.count()
        self.before_writing: Callable[[], None] = lambda: None
        """Called when a stream is opened."""

    def open(self, keep: bool = False) -> RemoteStream:
        self.before_writing()
        return RemoteStream(self, next(self.numbers), keep)

    def take(self, weights: Iterable[tuple[str, Tensor]]) -> dict[str, str]:
        """Gives all processes these weights, in the dtypes of `dtypes`; returns the fingerprint of what each
        then holds, by the name of the process. They wait until `adopt` says that both ends hold the same."""
        encoded = [encode([TENSOR, name], raw(weight)) for name, weight in weights]
        threads = [_Give(member, encoded) for member in self.members]
        return {thread.member.name: thread.result() for thread in threads}

    def adopt(self, version: int) -> None:
        """All processes go on with the weights that they took last, under this version."""
        for member in self.members:
            member.adopt(version)
        self.version = version

    def free(self) -> None:
        """The processes give back the memory of finished streams, for what computes next."""
        for member in self.members:
            member.send(member.life, [FREE])

    def check(self, request: Request) -> None:
        check_request(request, self.vocabulary, self.context)

    def close(self) -> None:
        """Ends the processes."""
        self.supervisor.close()
        for member in self.members:
            member.close()


class _Give(threading.Thread):
    """Gives one member its weights, beside others."""

    def __init__(self, member: Member, encoded: Sequence[bytes]) -> None:
        super().__init__(daemon=True)
        self.member, self.encoded = member, encoded
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.found = self.member.give(self.encoded)
        except BaseException as error:
            self.error = error

    def result(self) -> str:
        self.join()
        if self.error is not None:
            raise self.error
        return self.found


def raw(weight: Tensor) -> bytes:
    """The bytes of a tensor. They are copied once: an array of the tensor itself would hold its memory."""
    flat = weight.detach().cpu().contiguous().flatten().view(torch.uint8)
    found = bytearray(flat.numel())
    if found:
        torch.frombuffer(found, dtype=torch.uint8).copy_(flat)
    return bytes(found)
