"""The inference engine that environments of `verifiers.v1` ask: a server on this machine, in a thread with an
event loop, whose answers come from the run's sampler.

It speaks the one request that the library's train client sends (`POST /inference/v1/generate`, as vLLM has
it): `token_ids` of the prompt in, `token_ids` and log-probs of the completion out. Which episode asks is in
the header `X-Session-ID`, which holds the id of its trace."""

import asyncio
import sys
import threading
from collections.abc import Coroutine
from functools import cache
from queue import SimpleQueue
from typing import Any

import verifiers.v1 as vf
from aiohttp import web
from verifiers.v1.clients.client import SESSION_ID_HEADER
from verifiers.v1.utils.loaders import load_environment, resolve_env_config

from menon.errors import UserError
from menon.rollout.environments import verifiers_harness
from menon.types import Completion

HARNESS = "menon_chat"
"""The name under which the library finds the harness; it looks for a module of that name."""
MODEL = "policy"


def load(taskset: str, arguments: dict[str, Any], environment: str) -> Any:
    """The environment of a taskset, with the policy in its only seat and a plain chat as its program."""
    sys.modules[HARNESS] = verifiers_harness
    raw: dict[str, Any] = {"taskset": {**arguments, "id": taskset}}
    if environment:
        raw["id"] = environment
    seats = [name for name, value in resolve_env_config(dict(raw)) if isinstance(value, vf.AgentConfig)]
    if len(seats) != 1:
        raise UserError(
            f"the environment of '{taskset}' has the seats {', '.join(seats)}, and a policy takes one; name "
            "another environment"
        )
    raw[seats[0]] = {"harness": {"id": HARNESS}, "runtime": {"type": "subprocess"}}
    env = load_environment(resolve_env_config(raw))
    check_tasks(env.taskset)
    return env


def check_tasks(taskset: Any) -> None:
    """UserError for tasks that need more than a chat."""
    task, config = type(taskset).task_type(), taskset.config
    tools = [*taskset.toolsets(config), *task.toolsets(config.task)]
    if tools or task.NEEDS_CONTAINER:
        raise UserError(
            f"the tasks of '{config.id}' need {'tool servers' if tools else 'a container'}, and the policy's "
            "seat is a plain chat; take a taskset without"
        )


@cache
def engine() -> "Engine":
    """The engine of this process."""
    return Engine()


class Engine:
    """Serves all episodes of the process, until it ends."""

    def __init__(self) -> None:
        self.episodes: dict[str, Episode] = {}
        """Id of a trace -> the episode that it belongs to."""
        self.serving: list[Any] = []
        """Contexts of the environments that are served, which last until the process ends."""
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.url = self.run(self._listen())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The result of a coroutine of the engine's thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    async def _listen(self) -> str:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/inference/v1/generate", self._generate)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        return f"http://{host}:{port}/v1"

    async def _generate(self, request: web.Request) -> web.Response:
        body = await request.json()
        episode = self.episodes.get(request.headers.get(SESSION_ID_HEADER, ""))
        if episode is None:
            return web.json_response({"error": {"message": "no such episode"}}, status=404)
        completion = await episode.asked(body["token_ids"])
        tokens = completion.tokens.tolist()
        logps = [
            {"token": f"token_id:{token}", "logprob": logp}
            for token, logp in zip(tokens, completion.logp.tolist(), strict=True)
        ]
        choice = {"index": 0, "token_ids": tokens, "finish_reason": "stop", "logprobs": {"content": logps}}
        return web.json_response({"request_id": "menon", "choices": [choice]})

    def serve(self, env: Any) -> None:
        """Brings up what all episodes of an environment share."""
        self.serving.append(env.serving())
        self.run(self.serving[-1].__aenter__())

    def play(self, env: Any, task: Any, tokenizer: str) -> "Episode":
        """Begins an episode."""
        client = vf.TrainClientConfig(
            base_url=self.url, api_key_var="MENON_HAS_NO_KEY", renderer_model_name=tokenizer
        )
        return Episode(self, env, task, vf.ModelContext(model=MODEL, client=client))


class Episode:
    """One episode of an environment, in the engine's thread. Its caller hears ("turn", token ids) when the
    policy is to write, and ("end", reward) at the end."""

    def __init__(self, owner: Engine, env: Any, task: Any, context: Any) -> None:
        self.owner = owner
        self.traces: list[str] = []
        self.events: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self.reply: asyncio.Future[Completion] | None = None
        self.playing = asyncio.run_coroutine_threadsafe(self._play(env, task, context), owner.loop)

    async def _play(self, env: Any, task: Any, context: Any) -> None:
        try:
            episode = await env.run_episode(task, context, on_trace=self._began)
            self.events.put(("end", reward_of(episode)))
        except BaseException as error:  # passed to the thread that waits
            self.events.put(("error", error))
        finally:
            for name in self.traces:
                self.owner.episodes.pop(name, None)

    def _began(self, trace: Any) -> None:
        self.traces.append(trace.id)
        self.owner.episodes[trace.id] = self

    async def asked(self, tokens: list[int]) -> Completion:
        """What the policy writes after these token ids."""
        self.reply = self.owner.loop.create_future()
        self.events.put(("turn", tokens))
        return await self.reply

    def hear(self) -> tuple[str, Any]:
        event, value = self.events.get()
        if event == "error":
            raise value
        return event, value

    def say(self, completion: Completion) -> tuple[str, Any]:
        """Gives the policy's turn to the environment, and waits for what follows."""
        self.owner.loop.call_soon_threadsafe(self._answer, completion)
        return self.hear()

    def _answer(self, completion: Completion) -> None:
        if self.reply is not None and not self.reply.done():  # it is done if the environment gave up
            self.reply.set_result(completion)

    def close(self) -> None:
        self.playing.cancel()


def reward_of(episode: Any) -> float:
    """The sum of a finished episode's rewards. RuntimeError if it failed."""
    errors = [*episode.errors, *(error for trace in episode.traces for error in trace.errors)]
    if not episode.ok:
        what = " ".join(str(errors[0].message).split()) if errors else "without an error"
        raise RuntimeError(f"the environment failed: {what}")
    return float(sum(trace.reward for trace in episode.traces))
