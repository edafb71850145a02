"""Who may ask the server: the workbench's guard, with the routes that take a POST here."""

import re

from starlette.datastructures import Headers
from starlette.types import Scope

from menon.workbench.guard import Guard

POSTS = re.compile(r"(/session/[^/]+)?/v1/(chat/)?completions|/tokenize|/update_weights_from_disk")


class Door(Guard):
    """See `Guard`. Pages of other origins and hosts are refused; clients send the token as their key."""

    def refusal(self, scope: Scope, headers: Headers, given: str) -> str:
        path = scope["path"]
        if scope["method"] == "POST" and POSTS.fullmatch(path):
            scope = {**scope, "method": "GET"}
        return super().refusal(scope, headers, given)
