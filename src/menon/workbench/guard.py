"""Who may ask the workbench, and what its pages may do."""

import hmac
from http.cookies import SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
LOCAL = ("127.0.0.1", "localhost", "[::1]", "::1")
COOKIE = "menon-workbench"
WRITES = ("/api/notes",)
"""Paths that take a POST; everything else is read."""


class Guard:
    """Refuses requests of other origins and hosts, writes, and, with a token, those that do not know it.

    Without a token only requests to a loopback name are answered, so a page elsewhere whose name resolves to
    this machine cannot read a run. With one it is given once in the address as ?token=, and kept as a cookie.
    """

    def __init__(self, app: ASGIApp, token: str | None = None, writes: tuple[str, ...] = WRITES) -> None:
        self.app, self.token, self.writes = app, token, writes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        headers = Headers(scope=scope)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if sentence := self.refusal(scope, headers, given):
            await JSONResponse({"error": sentence}, 403)(scope, receive, guarded)
        elif given and self.token:
            there = RedirectResponse(scope["path"], 303)
            there.set_cookie(COOKIE, self.token, httponly=True, samesite="strict")
            await there(scope, receive, guarded)
        else:
            await self.app(scope, receive, guarded)

    def refusal(self, scope: Scope, headers: Headers, given: str) -> str:
        """Why a request is refused, as a sentence; "" if it is not."""
        host = headers.get("host", "")
        if self.token is None and without_port(host) not in LOCAL:
            return "this workbench answers on this machine alone; start it with host= to give it a token"
        if (origin := headers.get("origin")) and origin.partition("://")[2] != host:
            return "requests of other pages are refused"
        if scope["method"] not in ("GET", "HEAD") and scope["path"] not in self.writes:
            return "the workbench writes nothing but notes"
        if self.token is not None and not self.known(headers, given):
            return "the address needs ?token=, which the command printed when it started"
        return ""

    def known(self, headers: Headers, given: str) -> bool:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        said = (given, bearer, cookie.value if cookie else "")
        return any(hmac.compare_digest(one.encode(), (self.token or "").encode()) for one in said)


def without_port(host: str) -> str:
    """The name or address in a Host header.

    >>> without_port("127.0.0.1:8000"), without_port("[::1]:8000"), without_port("localhost")
    ('127.0.0.1', '[::1]', 'localhost')
    """
    name, _, port = host.rpartition(":")
    return name if port.isdecimal() and name else host
