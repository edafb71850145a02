"""Who may ask the server: the workbench's guard, with the routes that take a POST here."""

import re

from starlette.datastructures import Headers
from starlette.types import Scope

from menon.workbench.guard import Guard

POSTS = re.compile(r"(/session/[^/]+)?/v1/(chat/)?completions|/tokenize|/update_weights_from_disk")


class Door(Guard):
    """See `Guard`. Pages of other origins and hosts are refused; clients send the token as their key."""

    def refusal(self, scope: Scope, headers: Headers, given: str) -> str:
        if scope["method"] == "POST" and POSTS.fullmatch(scope["path"]):
            scope = {**scope, "method": "GET"}
        elif scope["method"] not in ("GET", "HEAD"):
            return "this server takes no such request; POST to /v1/completions or /v1/chat/completions"
        sentence = super().refusal(scope, headers, given)
        if sentence and self.token is not None and not self.known(headers, given):
            return "give the key that the command printed when it started, as Authorization: Bearer KEY"
        return sentence.replace("this workbench", "this server")
