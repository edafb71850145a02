"""An engine that writes nothing: it fails to start, dies, or hangs. It starts faster than `fake_engine`."""

import os
import time
from collections.abc import Sequence
from typing import Any

from menon.engines.engine_process import EngineHandler, Piece
from menon.engines.engine_wire import Asked


def handler(fault: str = "") -> EngineHandler:
    return EngineHandler(lambda: BadEngine(fault))


class BadEngine:
    busy = False

    def __init__(self, fault: str) -> None:
        if fault:
            raise ValueError(fault)

    def about(self) -> dict[str, Any]:
        return {"dtype": "torch.float32"}

    def add(self, request: Asked) -> None: ...

    def step(self) -> list[Piece]:
        return []

    def abort(self, numbers: Sequence[int]) -> None: ...

    def die(self) -> None:
        print("the last words of the engine", flush=True)
        os._exit(3)

    def hang(self, seconds: float) -> None:
        time.sleep(seconds)

    def refuse(self) -> None:
        raise RuntimeError("no such adapter")
