"""A judge as it is held against labels."""

from collections.abc import Mapping
from typing import Any

from menon.assembly.models import device_of
from menon.assembly.reward_models import with_models
from menon.parts import Around
from menon.reward.code.signatures import Asked
from menon.reward.judge import Judge


def judge_of(
    model: str,
    url: str = "",
    prompt: str = "",
    max_new_tokens: int = 16,
    soft: bool = True,
    device: str = "auto",
) -> Judge:
    """A judge, loaded; its soft reward is the probability of yes among yes and no."""
    part = Judge(model, url, soft=soft, renorm=soft, prompt=prompt, max_new_tokens=max_new_tokens)
    return part.build(with_models(Around(), lambda: device_of("auto")))


def asked_of(case: Mapping[str, Any]) -> Asked:
    """What the judge is asked about a labelled answer."""
    question = str(case.get("question") or "")
    return Asked(question, case["response"], case["gold"], {"question": question})
