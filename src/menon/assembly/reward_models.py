"""Rewards that ask a model, from their settings: the models are loaded here and given to the reward as
callables."""

from collections.abc import Callable, Sequence

import torch

from menon.engines.completer import Completer, begins_of
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.hf_models import load_policy
from menon.engines.openai_client import OpenAIClient
from menon.engines.preference_model import load_preference_model
from menon.engines.torch_learner import TorchScorer
from menon.reward.judge import Complete, Judge, own_prompt, read_prompt
from menon.reward.models import JudgeReward, ModelReward, PreferenceReward
from menon.reward.preference import Preference
from menon.reward.protocols import Reward


def model_reward(settings: ModelReward, device: torch.device) -> Reward:
    return (
        preference_of(settings, device)
        if isinstance(settings, PreferenceReward)
        else judge_of(settings, device)
    )


def judge_of(settings: JudgeReward, device: torch.device) -> Judge:
    prompt = read_prompt(settings.prompt) if settings.prompt else own_prompt()
    complete: Complete
    if settings.url:
        complete = OpenAIClient(settings.url, settings.model, settings.key_variable)
    else:
        complete = local_judge(settings.model, device, with_scorer=settings.renorm)
    return Judge(complete, prompt, settings.soft, settings.renorm, settings.batch_size, settings.time_limit)


def local_judge(name: str, device: torch.device, with_scorer: bool) -> Completer:
    """A model of its own in this process; the prompt is put into its chat template if it has one."""
    from menon.assembly.questions import chat_with, tokenize_with

    model, tokenizer = load_policy(name, torch.float32 if device.type == "cpu" else torch.bfloat16, device)
    whole, chat = tokenize_with(tokenizer), chat_with(tokenizer)

    def tokenize(text: str) -> Sequence[int]:
        return whole(text if chat is None else chat([{"role": "user", "content": text}]))

    def decode(tokens: Sequence[int]) -> str:
        return str(
            tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )

    bare: Callable[[str], Sequence[int]] = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    scorer = TorchScorer(model, device=device) if with_scorer else None
    return Completer(
        TorchSampler(model, tokenizer), tokenize, decode, begins_of(bare) if with_scorer else (), scorer
    )


def preference_of(settings: PreferenceReward, device: torch.device) -> Preference:
    model = load_preference_model(
        settings.model, device, torch.float32 if device.type == "cpu" else torch.bfloat16
    )
    return Preference(
        model,
        settings.mean,
        settings.std,
        settings.clip,
        settings.missing_end,
        settings.template,
        settings.batch_size,
        settings.time_limit,
    )
