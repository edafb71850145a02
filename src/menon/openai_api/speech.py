"""The text of one answer as its tokens come."""

from collections.abc import Sequence

from menon.openai_api.voice import Texts
from menon.record.spans import BROKEN


class Speech:
    """Tokens in, settled text out: no half characters, and nothing that may turn out to be a stop string.

    All that `say` and `end` gave, joined, is the text of the answer, without its stop string unless
    `keep_stop`, and without special tokens.
    """

    def __init__(self, words: Texts, stop: Sequence[str] = (), keep_stop: bool = False) -> None:
        self.words, self.stop, self.keep_stop = words, tuple(stop), keep_stop
        self.tokens: list[int] = []
        self.start = self.read = 0
        """Text is given out up to the tokens before `read`. It is decoded from `start` on, so that a decoder
        which looks at neighbours sees some."""
        self.held = ""
        """Text that may be the beginning of a stop string."""
        self.stopped = False

    def say(self, token: int) -> str:
        """The text that is settled with this token."""
        self.tokens.append(token)
        new = self._new()
        if new.endswith(BROKEN):
            return ""
        if new:
            self.start, self.read = self.read, len(self.tokens)
        return self._free(new)

    def end(self) -> str:
        """The text that was held back and belongs to the answer after all."""
        new = self._new()
        self.read = self.start = len(self.tokens)
        text = self._free(new) + self.held
        self.held = ""
        return text

    def _new(self) -> str:
        before = self.words.text(self.tokens[self.start : self.read])
        return self.words.text(self.tokens[self.start :])[len(before) :]

    def _free(self, new: str) -> str:
        """What of the held and the new text can be given out now."""
        if self.stopped:
            return ""
        text = self.held + new
        places = [(place, stop) for stop in self.stop if (place := text.find(stop)) >= 0]
        if places:
            place, stop = min(places)
            self.stopped, self.held = True, ""
            return text[: place + len(stop)] if self.keep_stop else text[:place]
        most = max((len(stop) for stop in self.stop), default=0)
        held = next(
            (
                size
                for size in range(min(most - 1, len(text)), 0, -1)
                if any(stop.startswith(text[-size:]) for stop in self.stop)
            ),
            0,
        )
        self.held = text[len(text) - held :]
        return text[: len(text) - held]
