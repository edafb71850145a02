"""The HTTP client of the library: it sends JSON, reads JSON, and repeats a request that may succeed later.

httpx2 and tenacity are imported when a server is asked for the first time: a command that asks no server does
not load them.
"""

import asyncio
import json
import os
import random
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl

    import httpx2
    import tenacity

RETRIED = (408, 409, 425, 429, 500, 502, 503, 504)
"""Statuses after which the same request may succeed a little later: time-out, overload, server error."""
COMPLAINT = 300
"""Characters of a server's own error message that are shown."""
COMPLAINT_READ = 10_000
"""Bytes of an error page that are read to find that message."""
LONGEST = 1 << 20
"""Bytes of an answer, 1 MiB."""


class ServerFailed(Exception):
    """The server gave no usable answer. The message is one sentence that begins with the server's address."""


class MaySucceedLater(ServerFailed):
    """The same request may succeed a little later: no connection, time-out, overload, no JSON."""


class JsonServer:
    """An address that takes JSON by POST and answers with JSON.

    A context manager that keeps connections open until it ends; any number of threads may use it at once.

        with JsonServer("http://127.0.0.1:8000/v1", time_limit=60, retries=3) as server:
            server.post({"model": "m", "prompt": "2+2="}, "completions")

    `time_limit`, in seconds, bounds the whole call from the connection to the last byte, however slowly the
    server drips; so calls run in an event loop, the only place where each of their waits can be ended. After
    a failure that may pass, the request is sent again up to `retries` times: `pause` seconds later, then
    twice as many, and so on. Each wait is up to a fifth longer by chance, so that requests that failed
    together do not come back together. An answer longer than `longest` bytes is a failure, and so is a packed
    one, which could unfold to more. Redirects are not followed: they would take the key elsewhere.
    """

    def __init__(
        self,
        url: str,
        time_limit: float,
        retries: int = 0,
        pause: float = 0.5,
        longest: int = LONGEST,
    ) -> None:
        self.url = url
        self.time_limit = time_limit
        self.retries = retries
        self.pause = pause
        self.longest = longest

    def __enter__(self) -> "JsonServer":
        import httpx2

        unlimited = httpx2.Limits(max_connections=None)  # the caller's threads are the limit
        self._client = httpx2.AsyncClient(
            verify=tls(), timeout=self.time_limit, limits=unlimited, follow_redirects=False
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="menon-http", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def post(self, body: Any, path: str = "", headers: Mapping[str, str] | None = None) -> Any:
        """The answer to `body`, read from JSON; ServerFailed where there is none after the last try."""
        import tenacity

        content = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", **(headers or {})}
        address = f"{self.url.rstrip('/')}/{path}" if path else self.url
        again = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.retries + 1),
            wait=self._wait,
            retry=tenacity.retry_if_exception_type(MaySucceedLater),
            reraise=True,
        )
        return again(self._post_once, address, content, headers)

    def _wait(self, state: "tenacity.RetryCallState") -> float:
        """Seconds before the next try, after `attempt_number` failures."""
        return self.pause * 2.0 ** (state.attempt_number - 1) * random.uniform(1, 1.2)

    def _post_once(self, address: str, content: bytes, headers: Mapping[str, str]) -> Any:
        import httpx2

        call = self._exchange(address, content, headers)
        try:
            response, data = asyncio.run_coroutine_threadsafe(call, self._loop).result()
        except httpx2.InvalidURL as error:
            raise ServerFailed(f"{self.url} is not the address of a server: {error}") from error
        except httpx2.LocalProtocolError:  # its message shows the header, and with it a key
            why = "there is a space or a line break in it"
            raise ServerFailed(f"{self.url} cannot be asked with this key: {why}") from None
        except TimeoutError:
            why = f"it took longer than {self.time_limit:g} s"
            raise MaySucceedLater(f"{self.url} gave no answer: {why}") from None
        except (httpx2.HTTPError, OSError, ValueError) as error:
            raise MaySucceedLater(f"{self.url} gave no answer: {first_cause(error)}") from error
        if not response.is_success:
            failure = MaySucceedLater if response.status_code in RETRIED else ServerFailed
            why = complaint(data) or response.reason_phrase
            raise failure(f"{self.url} answered {response.status_code}: {why}")
        if len(data) > self.longest:
            raise ServerFailed(f"{self.url} answered with more than {self.longest} bytes")
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise MaySucceedLater(f"{self.url} gave no answer: {error}") from error

    async def _exchange(
        self, address: str, content: bytes, headers: Mapping[str, str]
    ) -> "tuple[httpx2.Response, bytes]":
        """The response and its body, or the beginning of one that is too long."""
        async with asyncio.timeout(self.time_limit):
            async with self._client.stream("POST", address, content=content, headers=headers) as response:
                most = self.longest if response.is_success else COMPLAINT_READ
                packed = response.headers.get("Content-Encoding", "identity")
                if packed != "identity":
                    raise ServerFailed(f"{self.url} answered in {packed}, which it was not asked for")
                data = bytearray()
                async for piece in response.aiter_raw():
                    data += piece
                    if len(data) > most:
                        break
                return response, bytes(data)


@cache
def tls() -> "ssl.SSLContext":
    """The trusted certificates, read once: that takes about a tenth of a second."""
    import httpx2

    return httpx2.create_ssl_context()


def first_cause(error: BaseException) -> str:
    """What went wrong first, such as "Connection refused"; the errors above it say less."""
    grouped = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
    if inner := grouped or error.__cause__ or error.__context__:
        return first_cause(inner)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def complaint(page: bytes) -> str:
    """What an error page says, in one line: its `error.message`, as OpenAI's pages have, or its text."""
    text = page.decode("utf-8", "replace")
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        text = str(json.loads(text)["error"]["message"])
    text = " ".join(text.split())
    return text if len(text) <= COMPLAINT else f"{text[: COMPLAINT - 3]}..."
