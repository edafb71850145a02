"""Bodies and errors of the API, for web applications of starlette."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from menon.errors import UserError
from menon.openai_api.fields import Refused

LONGEST = 2**26
"""Bytes of a request."""


async def body_of(request: Request) -> dict[str, Any]:
    """The body as an object. Refused: something else, or more than `LONGEST` bytes."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > LONGEST:
            raise Refused(f"the body is longer than {LONGEST >> 20} MiB", status=413)
    try:
        body = json.loads(data)
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Refused("a text of the body holds half a surrogate pair, which is no character") from None
    except (ValueError, RecursionError):
        raise Refused("the body is no JSON") from None
    if not isinstance(body, dict):
        raise Refused("the body must be a JSON object")
    return body


def error_of(error: UserError) -> dict[str, Any]:
    """An error in the form of OpenAI's API."""
    status = error.status if isinstance(error, Refused) else 400
    kind = "invalid_request_error" if status < 500 else "server_error"
    found = {"message": str(error), "type": kind, "param": None, "code": None}
    if isinstance(error, Refused):
        found |= {"param": error.field, "code": error.code}
    return {"error": found}


def refusal(error: UserError) -> JSONResponse:
    return JSONResponse(error_of(error), error.status if isinstance(error, Refused) else 400)
