"""The HTTP client of the library: it sends JSON, reads JSON, and repeats a request that may succeed later.

httpx2 and tenacity are imported when a server is asked for the first time: a command that asks no server does
not load them.
"""

import json
import random
import time
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
LONGEST = 1 << 24
"""Bytes of an answer, 16 MiB."""


class ServerFailed(Exception):
    """The server gave no usable answer. The message is one sentence that begins with the server's address."""


class MaySucceedLater(ServerFailed):
    """The same request may succeed a little later: no connection, time-out, overload, no JSON."""


class JsonServer:
    """An address that takes JSON by POST and answers with JSON.

    A context manager that keeps connections open until it ends; any number of threads may use it at once.

        with JsonServer("http://127.0.0.1:8000/v1", time_limit=60, retries=3) as server:
            server.post({"model": "m", "prompt": "2+2="}, "completions")

    `time_limit`, in seconds, bounds a silence of the server (while connecting, sending or reading), and it
    bounds one whole answer: reading stops at the first piece that arrives later than that. After a failure
    that may pass, the request is sent again up to `retries` times: `pause` seconds later, then twice as many,
    and so on. Each wait is up to a fifth longer by chance, so that requests that failed together do not come
    back together. An answer longer than `longest` bytes is a failure. Redirects are not followed, because
    most of them would turn the POST into a GET.
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
        self._client = httpx2.Client(verify=tls(), timeout=self.time_limit, limits=unlimited)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def post(self, body: Any, path: str = "", headers: Mapping[str, str] | None = None) -> Any:
        """The answer to `body`, read from JSON; ServerFailed where there is none after the last try."""
        import tenacity

        content = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **(headers or {})}
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

        late = time.monotonic() + self.time_limit
        try:
            with self._client.stream("POST", address, content=content, headers=headers) as response:
                data = self._read(response, late, self.longest if response.is_success else COMPLAINT_READ)
        except httpx2.InvalidURL as error:
            raise ServerFailed(f"{self.url} is not the address of a server: {error}") from error
        except httpx2.LocalProtocolError:  # its message shows the header, and with it a key
            why = "there is a space or a line break in it"
            raise ServerFailed(f"{self.url} cannot be asked with this key: {why}") from None
        except (httpx2.HTTPError, OSError, ValueError) as error:
            why = str(error) or type(error).__name__
            raise MaySucceedLater(f"{self.url} gave no answer: {why}") from error
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

    def _read(self, response: "httpx2.Response", late: float, most: int) -> bytes:
        """The body, or its beginning where it has more than `most` bytes; late after `late` (monotonic)."""
        data = bytearray()
        for piece in response.iter_bytes():
            data += piece
            if len(data) > most:
                break
            if time.monotonic() > late:
                raise MaySucceedLater(f"{self.url} gave no answer: it took longer than {self.time_limit:g} s")
        return bytes(data)


@cache
def tls() -> "ssl.SSLContext":
    """The trusted certificates, read once: that takes about a tenth of a second."""
    import httpx2

    return httpx2.create_ssl_context()


def complaint(page: bytes) -> str:
    """What an error page says, in one line: its `error.message`, as OpenAI's pages have, or its text."""
    text = page.decode("utf-8", "replace")
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        text = str(json.loads(text)["error"]["message"])
    text = " ".join(text.split())
    return text if len(text) <= COMPLAINT else f"{text[: COMPLAINT - 3]}..."
