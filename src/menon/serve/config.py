"""The settings of `menon serve`."""

from dataclasses import dataclass

from menon.errors import UserError, at_least


@dataclass(frozen=True)
class ServeConfig:
    """How a model is served."""

    port: int = 0
    """The port; 0 picks a free one."""
    host: str = "127.0.0.1"
    """The address to listen at; one that others can reach asks for the key that is printed."""
    names: tuple[str, ...] = ()
    """Names under which the model is asked for; answers carry the first. Default: the folder's own."""
    sessions: str | None = None
    """A folder that keeps what is asked under /session/NAME/v1, as tokens and log-probs."""
    reload: bool = False
    """A training run with sampler=openai may bring new weights (POST /update_weights_from_disk)."""
    slots: int = 64
    """The most answers that are written at a time."""
    threads: int | None = None
    """Without a number as many as are free."""
    device: str = "auto"
    """auto (cuda if there is one), cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        at_least(1, "slots", self.slots)
        if not 0 <= self.port < 65536:
            raise UserError(f"port is {self.port}; it can be 0 to 65535")
