"""The client of an OpenAI-compatible server, against one on this machine."""

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from menon.engines.openai_client import OpenAIClient
from menon.errors import UserError
from menon.reward.code.signatures import Asked
from menon.reward.judge import Judge

Answer = Callable[[dict[str, Any], int], tuple[int, Any]]


class Server:
    """Answers by a function of the body and of how often it was asked before."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.paths: list[str] = []
        self.answer: Answer = lambda body, count: (200, said("YES"))
        self.most_at_once = self.at_once = 0
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer.at_once)
                    count = len(outer.asked)
                    outer.asked.append(body)
                    outer.headers.append(self.headers)
                    outer.paths.append(self.path)
                status, answer = outer.answer(body, count)
                with lock:
                    outer.at_once -= 1
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                try:
                    self.send_response(status)
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    pass

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


def said(
    text: Any, top: dict[str, float] | None = None, first: tuple[str, float] | None = None
) -> dict[str, Any]:
    choice: dict[str, Any] = {"message": {"role": "assistant", "content": text}}
    if top is not None:
        token, p = first or next(iter(top.items()))
        pairs = [{"token": token, "logprob": math.log(p)} for token, p in top.items()]
        choice["logprobs"] = {"content": [{"token": token, "logprob": math.log(p), "top_logprobs": pairs}]}
    return {"choices": [choice]}


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def client(server: Server, **settings: Any) -> OpenAIClient:
    return OpenAIClient(server.url, "judge-7b", **{"pause": 0.01, "time_limit": 5.0} | settings)


def test_a_reply_and_its_probabilities(server, monkeypatch):
    monkeypatch.setenv("OWN_KEY", "secret")
    server.answer = lambda body, count: (200, said("NO", {"NO": 0.6, "YES": 0.3}))
    replies = client(server, key_variable="OWN_KEY")(["is it?"])
    assert replies == [("NO", {"NO": pytest.approx(0.6), "YES": pytest.approx(0.3)})]
    (body,) = server.asked
    assert body == {
        "model": "judge-7b",
        "messages": [{"role": "user", "content": "is it?"}],
        "temperature": 0,
        "max_tokens": 4,
        "logprobs": True,
        "top_logprobs": 20,
    }
    assert server.paths == ["/v1/chat/completions"]
    assert server.headers[0]["Authorization"] == "Bearer secret"


def test_without_key_and_without_probabilities(server, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert client(server)(["x"]) == [("YES", {})]
    assert server.headers[0]["Authorization"] is None


def test_the_written_token_counts_where_the_top_ones_lack_it(server):
    server.answer = lambda body, count: (200, said("YES", {"NO": 0.5}, first=("YES", 0.25)))
    assert client(server)(["x"])[0][1] == {"NO": pytest.approx(0.5), "YES": pytest.approx(0.25)}


def test_order_is_kept_and_several_are_asked_at_once(server):
    def answer(body, count):
        time.sleep(0.05)
        return 200, said(body["messages"][0]["content"])

    server.answer = answer
    prompts = [str(i) for i in range(12)]
    assert [reply[0] for reply in client(server, parallel=4)(prompts)] == prompts
    assert 2 <= server.most_at_once <= 4


def test_overload_is_tried_again_and_a_refusal_is_not(server):
    server.answer = lambda body, count: (503, b"") if count < 2 else (200, said("YES"))
    assert client(server)(["x"])[0][0] == "YES"
    assert len(server.asked) == 3
    server.answer = lambda body, count: (404, {"error": {"message": "no model\njudge-7b"}})
    (error,) = client(server)(["x"])
    assert str(error) == f"{server.url} answered 404: no model judge-7b"
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("status", "answer", "why"),
    [
        (500, b"<html>oh</html>", "answered 500: <html>oh</html>"),
        (200, b"no json", "gave no answer: Expecting value"),
        (200, {"choices": []}, "answered without choices"),
        (200, [1], "answered without choices"),
        (200, said(None), "answered without text"),
    ],
)
def test_nonsense_is_told(server, status, answer, why):
    server.answer = lambda body, count: (status, answer)
    (error,) = client(server, retries=1)(["x"])
    assert isinstance(error, Exception)
    assert why in str(error)


@pytest.mark.parametrize(
    ("logprob", "p"), [(-(10**400), {}), ("x", {}), (None, {}), (float("nan"), {}), (3.0, {"YES": 1.0})]
)
def test_a_probability_that_is_none(server, logprob, p):
    answer = said("YES", {"YES": 0.5})
    answer["choices"][0]["logprobs"]["content"] = [{"token": "YES", "logprob": logprob, "top_logprobs": []}]
    server.answer = lambda body, count: (200, json.dumps(answer).encode())
    assert client(server)(["x"]) == [("YES", p)]


def test_a_bad_reply_fails_its_own_prompt_alone(server):
    odd = {
        "a": [],
        "b": b"null",
        "c": b"[" * 100_000,
        "d": b" " * (1 << 21),
        "e": {"choices": [{"message": 3}]},
    }

    def answer(body, count):
        return 200, odd.get(body["messages"][0]["content"], said("YES"))

    server.answer = answer
    replies = client(server, retries=0)([*odd, "x", "y"])
    assert [isinstance(reply, Exception) for reply in replies] == [True] * len(odd) + [False] * 2
    assert "answered with more than 1048576 bytes" in str(replies[3])


def test_a_server_that_hangs_or_is_not_there(server):
    server.answer = lambda body, count: (time.sleep(1), (200, said("YES")))[1]
    (error,) = client(server, retries=0, time_limit=0.1)(["x"])
    assert "it took longer than 0.1 s" in str(error)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (error,) = OpenAIClient(f"http://127.0.0.1:{port}/v1", "m", retries=1, pause=0.01)(["x"])
    assert "Connection refused" in str(error)


def test_a_judge_on_a_server(server):
    def answer(body, count):
        right = "line of the work:\n#25" in body["messages"][0]["content"]
        return 200, said("YES", {"YES": 0.9}) if right else said("NO", {"NO": 0.8})

    server.answer = answer
    judge = Judge(client(server), soft=True)
    verdicts = judge.many(
        [Asked("q", "3+8=11\n#25", "25"), Asked("q", "#24", "25"), Asked("q", "so\n#25", "25")]
    )
    assert [v.score for v in verdicts] == pytest.approx([0.9, 0.2, 0.9])
    assert len(server.asked) == 2
    server.answer = lambda body, count: (401, {"error": {"message": "no key"}})
    (verdict,) = judge.many([Asked("q", "new", "25")])
    assert math.isnan(verdict.score)
    assert "answered 401: no key" in verdict.error


@pytest.mark.parametrize(
    "settings",
    [{"url": "localhost:80"}, {"url": "ftp://x/"}, {"parallel": 0}, {"retries": -1}, {"time_limit": 0}],
)
def test_settings_are_checked(settings):
    with pytest.raises(UserError):
        OpenAIClient(**{"url": "http://x/v1", "model": "m"} | settings)
