"""A source whose steps are told to somebody before they are learned from."""

from collections.abc import Callable, Mapping
from typing import Any

from menon.source.protocols import Gathered, Source
from menon.types import StepReport


class Told:
    """Gives each step of `inner` to `tell`, which may add to it, in the thread that learns: also where inner
    writes ahead, `tell` has heard last of the step that is learned from."""

    def __init__(self, inner: Source, tell: Callable[[Gathered], Gathered]) -> None:
        self.inner, self.tell = inner, tell

    def next(self) -> Gathered:
        return self.tell(self.inner.next())

    def learned(self, report: StepReport) -> None:
        self.inner.learned(report)

    def published(self, version: int) -> None:
        self.inner.published(version)

    def state(self) -> dict[str, Any]:
        return self.inner.state()

    def load(self, state: Mapping[str, Any]) -> None:
        self.inner.load(state)

    def close(self) -> None:
        self.inner.close()
