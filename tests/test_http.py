"""The one HTTP client, against a server on this machine."""

import gzip
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import tenacity

import menon.http
from menon.http import RETRIED, JsonServer, MaySucceedLater, ServerFailed

SOURCE = Path(menon.http.__file__).parents[1]


Answer = Callable[[BaseHTTPRequestHandler, int], None]


class Server:
    """Hands each request to `answer`; keeps bodies, headers and the ports that the requests came from."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[Any] = []
        self.ports: set[int] = set()
        self.answer: Answer = lambda handler, count: reply(handler, 200, b"{}")
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                outer.headers.append(self.headers)
                outer.ports.add(self.client_address[1])
                outer.answer(self, len(outer.bodies))

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/api"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


def reply(handler: BaseHTTPRequestHandler, status: int, data: bytes) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def drip(handler: BaseHTTPRequestHandler, byte: bytes) -> None:
    """Sends a byte every twentieth of a second, for five seconds or until the client has gone."""
    try:
        for _ in range(100):
            handler.wfile.write(byte)
            time.sleep(0.05)
    except OSError:
        pass
    handler.close_connection = True


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the client sleeps between tries, which then takes no time."""
    seconds: list[float] = []
    monkeypatch.setattr(tenacity.nap.time, "sleep", seconds.append)
    return seconds


def failure(server: Server, **settings: Any) -> ServerFailed:
    with (
        JsonServer(server.url, **{"time_limit": 5.0} | settings) as client,
        pytest.raises(ServerFailed) as caught,
    ):
        client.post({})
    return caught.value


@pytest.mark.parametrize("status", [*RETRIED, 301, 400, 401, 403, 404, 422, 501])
def test_which_statuses_are_asked_again(server: Server, waits: list[float], status: int) -> None:
    server.answer = lambda handler, count: reply(handler, status, b'{"error": {"message": "not\\nnow"}}')
    error = failure(server, retries=2)
    assert str(error) == f"{server.url} answered {status}: not now"
    again = status in (408, 409, 425, 429, 500, 502, 503, 504)
    assert (len(server.bodies), len(waits)) == ((3, 2) if again else (1, 0))
    assert isinstance(error, MaySucceedLater) == again


def test_each_wait_is_twice_the_last_and_a_little_longer_by_chance(
    server: Server, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = lambda handler, count: reply(handler, 503, b"")
    drawn: list[tuple[float, float]] = []
    monkeypatch.setattr(random, "uniform", lambda low, high: drawn.append((low, high)) or 1.1)
    assert str(failure(server, retries=4, pause=0.5)) == f"{server.url} answered 503: Service Unavailable"
    assert waits == pytest.approx([0.55, 1.1, 2.2, 4.4])
    assert set(drawn) == {(1, 1.2)}


def test_a_later_answer_counts_and_connections_are_kept(server: Server, waits: list[float]) -> None:
    server.answer = lambda handler, count: reply(handler, *((200, b"[1, 2]") if count > 2 else (500, b"no")))
    with JsonServer(server.url + "/", time_limit=5, retries=2) as client:
        assert client.post({"text": "\udc80é"}, headers={"X-Own": "1"}) == [1, 2]
        assert client.post({}, "other") == [1, 2]
    assert [json.loads(body) for body in server.bodies] == [{"text": "\udc80é"}] * 3 + [{}]
    assert {headers["Content-Type"] for headers in server.headers} == {"application/json"}
    assert [headers["X-Own"] for headers in server.headers] == ["1", "1", "1", None]
    assert len(server.ports) == 1


def test_a_lost_connection_and_no_json_are_asked_again(server: Server, waits: list[float]) -> None:
    def lost(handler: BaseHTTPRequestHandler, count: int) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"[")
        handler.close_connection = True

    server.answer = lost
    assert f"{server.url} gave no answer: " in str(failure(server, retries=1))
    server.answer = lambda handler, count: reply(handler, 200, b"[" * 100_000)
    assert f"{server.url} gave no answer: " in str(failure(server, retries=1))
    assert len(server.bodies) == 4


def test_headers_in_drops_are_given_up_at_the_time_limit(server: Server) -> None:
    """Each byte comes well within the limit, and no silence is long."""

    def drops(handler: BaseHTTPRequestHandler, count: int) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        drip(handler, b"a")

    server.answer = drops
    start = time.monotonic()
    assert str(failure(server, time_limit=0.5)) == f"{server.url} gave no answer: it took longer than 0.5 s"
    assert time.monotonic() - start < 4


def test_a_key_does_not_follow_a_redirect(server: Server) -> None:
    other = Server()

    def elsewhere(handler: BaseHTTPRequestHandler, count: int) -> None:
        handler.send_response(307)
        handler.send_header("Location", other.url)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.answer = elsewhere
    with JsonServer(server.url, time_limit=5) as client, pytest.raises(ServerFailed, match="answered 307"):
        client.post({}, headers={"Authorization": "Bearer secret"})
    assert other.headers == []
    other.http.shutdown()
    other.http.server_close()


def test_a_packed_answer_is_not_unfolded(server: Server) -> None:
    def packed(handler: BaseHTTPRequestHandler, count: int) -> None:
        data = gzip.compress(b" " * 50_000_000)
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    server.answer = packed
    assert str(failure(server)) == f"{server.url} answered in gzip, which it was not asked for"
    assert server.headers[0]["Accept-Encoding"] == "identity"


def test_an_answer_in_drops_is_given_up_at_the_time_limit(server: Server) -> None:
    def drops(handler: BaseHTTPRequestHandler, count: int) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        drip(handler, b" ")

    server.answer = drops
    start = time.monotonic()
    assert str(failure(server, time_limit=0.3)) == f"{server.url} gave no answer: it took longer than 0.3 s"
    assert time.monotonic() - start < 4


def test_an_answer_that_is_too_long_and_a_long_error_page(server: Server, waits: list[float]) -> None:
    server.answer = lambda handler, count: reply(handler, 200, b"1" * 1001)
    assert str(failure(server, longest=1000, retries=3)) == f"{server.url} answered with more than 1000 bytes"
    server.answer = lambda handler, count: reply(handler, 404, b"x y\n" * 50_000)
    assert str(failure(server)) == f"{server.url} answered 404: {('x y ' * 100)[:297]}..."
    assert waits == []


def test_a_key_that_cannot_be_sent_is_not_shown(server: Server) -> None:
    with JsonServer(server.url, 5) as client, pytest.raises(ServerFailed) as caught:
        client.post({}, headers={"Authorization": "Bearer secret\n"})
    why = "there is a space or a line break in it"
    assert str(caught.value) == f"{server.url} cannot be asked with this key: {why}"
    with (
        JsonServer("http://127.0.0.1:port/", 5) as client,
        pytest.raises(ServerFailed, match="is not the address"),
    ):
        client.post({})


def test_the_libraries_are_loaded_when_a_server_is_asked() -> None:
    code = "import sys, menon.http, menon.sandbox.runner; print({'httpx2', 'tenacity'} & sys.modules.keys())"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, env={"PYTHONPATH": str(SOURCE)})
    assert done.stdout == "set()\n"
