"""Settings of rewards that ask a model; `assembly.reward_models` builds them."""

from dataclasses import dataclass
from typing import Literal

from menon.errors import UserError


@dataclass(frozen=True)
class JudgeReward:
    """A language model as verifier: `reward.judge.Judge`."""

    model: str = ""
    """A folder or a name on the hub, run here; with `url` the name that the server knows it by."""
    url: str = ""
    """Where an OpenAI-compatible server's API begins, like http://127.0.0.1:8000/v1."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the server's key."""
    soft: bool = False
    renorm: bool = False
    prompt: str = ""
    """A file with {question}, {final_step} and {reference}; "": the built-in one."""
    batch_size: int = 64
    time_limit: float = 120.0
    """Seconds for one batch."""
    kind: Literal["judge"] = "judge"

    def __post_init__(self) -> None:
        if not self.model:
            raise UserError(
                "a judge needs a model: set reward.model to a folder, or to the name of one on the server "
                "at reward.url"
            )


@dataclass(frozen=True)
class PreferenceReward:
    """A preference model's score: `reward.preference.Preference`."""

    model: str = ""
    """A folder or a name on the hub with a scalar head."""
    mean: float = 0.0
    std: float = 1.0
    clip: float = 20.0
    missing_end: float = 0.0
    template: str = ""
    batch_size: int = 64
    time_limit: float = 600.0
    kind: Literal["preference"] = "preference"

    def __post_init__(self) -> None:
        if not self.model:
            raise UserError(
                "a preference reward needs reward.model: the folder of a model with a scalar head"
            )


ModelReward = JudgeReward | PreferenceReward
