import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from menon.errors import UserError
from menon.reward.code.tests import CodeTests
from menon.sandbox.launch import SandboxError
from menon.sandbox.runner import ask


@pytest.fixture
def runner():
    """A server that gives the next of `replies` and keeps what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.asked.append(json.loads(body))
            server.keys.append(self.headers["Authorization"])
            status, reply = server.replies.pop(0)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(reply if isinstance(reply, bytes) else json.dumps(reply).encode())

        def log_message(self, *words):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.replies, server.keys = [], [], []
    server.url = f"http://127.0.0.1:{server.server_port}/run"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


ROW = {"tests": ["assert f(1) == 2", "assert f(2) == 3"], "entry_point": "f"}
ANSWER = "```python\ndef f(x): return x + 1\n```"


def test_what_is_asked_and_what_comes_back(runner):
    runner.replies.append((200, {"outcome": "fail", "why": "x", "passed": 1, "total": 2, "cpu_seconds": 0.5}))
    verdict = CodeTests(score="fraction", time_s=3, sandbox=runner.url)("", ANSWER, **ROW)
    assert (verdict.score, verdict.acc, verdict.parts["cpu_seconds"]) == (0.5, 0.0, 0.5)
    (asked,) = runner.asked
    assert asked["code"] == "def f(x): return x + 1\n"
    assert asked["tests"] == [{"code": "assert f(1) == 2"}, {"code": "assert f(2) == 3"}]
    assert (asked["entry"], asked["score"], asked["compare"]) == ("f", "fraction", "tokens")
    assert (asked["limits"]["time_s"], asked["limits"]["memory_mb"]) == (3, 512)


@pytest.mark.parametrize(
    "reply",
    [
        (500, {}),
        (200, b"<html>"),
        (200, []),
        (200, {"outcome": "error", "why": "no room", "passed": 0, "total": 2}),
        (200, {"outcome": "pass", "passed": 1, "total": 2}),
        (200, {"outcome": "fail", "passed": 2, "total": 2}),
        (200, {"outcome": "fail", "passed": 3, "total": 2}),
        (200, {"outcome": "fail", "passed": True, "total": 2}),
        (200, {"outcome": "fail", "passed": 0, "total": 0}),
        (200, {"outcome": "fail"}),
    ],
)
def test_anything_but_a_verdict_is_no_verdict(runner, reply):
    runner.replies.append(reply)
    with pytest.raises(SandboxError, match="the runner"):
        ask(runner.url, {"tests": [1, 2]}, 5)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ((500, {"error": {"message": "no room"}}), "the runner cannot be asked: URL answered 500: no room"),
        ((200, b"["), "the runner cannot be asked: URL gave no answer: Expecting value: line 1"),
        ((200, b" " * (1 << 21)), "the runner cannot be asked: URL answered with more than 1048576 bytes"),
        ((200, {"outcome": "error", "why": "no room"}), "the runner URL gave no verdict: no room"),
    ],
)
def test_a_failure_is_one_sentence_and_the_runner_is_asked_once(runner, reply, why):
    runner.replies.append(reply)
    with pytest.raises(SandboxError) as caught:
        ask(runner.url, {"tests": [1, 2]}, 5)
    assert str(caught.value).replace(runner.url, "URL").startswith(why)
    assert len(runner.asked) == 1


def test_no_runner_there():
    verdict = CodeTests(sandbox="http://127.0.0.1:9/run")("", ANSWER, **ROW)
    assert "cannot be asked" in verdict.error
    assert verdict.score != verdict.score


@pytest.mark.parametrize(
    "reply",
    [
        {"outcome": "fail", "passed": 0, "total": 2, "cpu_seconds": "x", "memory_mb": [1]},
        {"outcome": "fail", "passed": 0, "total": 2, "cpu_seconds": 10**400, "memory_mb": None},
        {"outcome": "fail", "passed": 0, "total": 2, "why": {"a": 1}},
        {"outcome": ["fail"], "passed": 0, "total": 2},
        {"outcome": "pass", "passed": 1, "total": 1},
        {"outcome": "pass", "passed": 200, "total": 200},
        {"outcome": "pass", "passed": 10**400, "total": 10**400},
    ],
)
def test_no_reply_is_an_exception_of_the_reward(runner, reply):
    runner.replies.append((200, reply))
    verdict = CodeTests(sandbox=runner.url)("", ANSWER, **ROW)
    if reply["total"] == 2 and reply["outcome"] == "fail":
        assert (verdict.score, verdict.acc) == (0.0, 0.0)
    else:
        assert verdict.score != verdict.score
        assert "the runner http" in verdict.error


def test_another_number_of_tests_is_no_verdict(runner):
    runner.replies.append((200, {"outcome": "pass", "passed": 1, "total": 1}))
    verdict = CodeTests(sandbox=runner.url)("", ANSWER, **ROW)
    assert verdict.error.endswith("has run 1 tests, and it was given 2")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("file:///etc/passwd", "is no address of a runner"),
        ("ftp://host/run", "is no address of a runner"),
        ("https:///run", "is no address of a runner"),
        ("http://host.example/run", "by plain http"),
        ("http://10.0.0.1:8000/run", "by plain http"),
        ("http://127.0.0.1.example.com/run", "by plain http"),
        ("http://localhost@evil.example/run", "by plain http"),
    ],
)
def test_which_runners_are_asked(url, why):
    with pytest.raises(UserError, match=why):
        CodeTests(sandbox=url)
    for fine in ("https://host/run", "http://127.3.0.1:9/run", "http://[::1]:9/run", "http://localhost/run"):
        assert CodeTests(sandbox=fine).is_remote


def test_a_key_is_sent_and_stands_in_no_setting(runner, monkeypatch):
    reward = CodeTests(sandbox=runner.url, key_variable="RUNNER_KEY")
    verdict = reward("", ANSWER, **ROW)
    assert verdict.error.endswith("RUNNER_KEY, which holds its key, is not set")
    monkeypatch.setenv("RUNNER_KEY", "secret")
    runner.replies.append((200, {"outcome": "pass", "passed": 2, "total": 2}))
    assert reward("", ANSWER, **ROW).acc == 1.0
    assert runner.keys == ["Bearer secret"]
    assert "secret" not in repr(reward)
