"""A vLLM server as the sampler: text by its completions, weights by the routes that `VLLM_SERVER_DEV_MODE=1`
opens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from menon.engines.engine_sampler import contents_of
from menon.engines.openai_sampler import OpenAISampler
from menon.errors import UserError, pip_install_alone
from menon.http import JsonServer, ServerFailed
from menon.sync.to_engine import Content

RPC_LIMIT = 600.0
"""Seconds for a call, such as loading weights."""


class VLLMServer(OpenAISampler):
    """Its workers have our extension (`vllm_worker.WorkerWeights`), by which weights come and are proved. The
    files of weights must be seen by the server: it runs on this machine, or shares a folder with it."""

    dtype = torch.float32

    def ready(self) -> None:
        """UserError if the server has not our extension, or does not let its weights be changed."""
        found = next(iter(self.contents().values()))
        self.dtype = getattr(torch, found[0].removeprefix("torch."))

    @contextmanager
    def begun(self, name: str, *arguments: Any) -> Iterator[Callable[[], Any]]:
        """A call of a function of the engine, by the name that `engines.carriers` calls: `load`. The sampler
        is paused until `loaded`."""
        self.pause()
        yield partial(self.rpc, f"menon_{name}", *arguments)

    def loaded(self, version: int) -> dict[str, Content]:
        """See `sync.to_engine.RemoteWeights`."""
        self.pause()
        done = self.dev("reset_prefix_cache?reset_running_requests=true", {})
        if not done.get("success", True):
            raise RuntimeError("the server did not reset its prefix cache, so the old weights could answer")
        found = self.contents()
        self.stamp = version
        self.resume()
        return found

    def contents(self) -> dict[str, Content]:
        """See `sync.to_engine.RemoteWeights.loaded`."""
        return contents_of(self.rpc("menon_contents"))

    def rpc(self, method: str, *arguments: Any) -> Any:
        """What a function of the first worker returns."""
        body = {"method": method, "args": list(arguments), "timeout": RPC_LIMIT}
        return self.dev("collective_rpc", body)["results"][0]

    def dev(self, path: str, body: Any) -> Any:
        """Posts to a route beside the API."""
        root = self.url.removesuffix("/v1")
        try:
            with JsonServer(root, RPC_LIMIT, longest=2**26) as server:
                return server.post(body, path, self.headers)
        except ServerFailed as error:
            raise UserError(
                f"the weights of the server cannot be changed: {error}; `{pip_install_alone()}` in its "
                "environment, and start it with VLLM_SERVER_DEV_MODE=1 and --worker-extension-cls "
                "menon.engines.vllm_worker.WorkerWeights (docs/vllm.md)"
            ) from error
