"""Loads the models of rewards that ask a model, and gives them to the rewards as callables."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from menon.assembly.origin import origin_of_weights
from menon.engines.completer import Completer, begins_of
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.hf_models import load_policy
from menon.engines.openai_client import OpenAIClient
from menon.engines.preference_model import PreferenceModel, load_preference_model
from menon.engines.torch_learner import TorchScorer
from menon.parts import Around
from menon.reward.preference import Score


def with_models(
    around: Around, device: Callable[[], torch.device], weights: dict[str, str] | None = None
) -> Around:
    """`around` with the functions that load a judge or a preference model; a model is loaded when its reward
    is built. `weights` gets the fingerprint of each by name."""

    def judge(name: str, with_scorer: bool) -> Completer:
        completer, model = local_judge(name, device(), with_scorer)
        note(name, model)
        return completer

    def preference(name: str) -> Score:
        loaded = local_preference(name, device())
        note(name, loaded.model)
        return loaded

    def note(name: str, model: torch.nn.Module) -> None:
        if weights is not None:
            weights[name] = origin_of_weights(model)

    return replace(around, load_judge=judge, connect_judge=OpenAIClient, load_preference=preference)


def local_judge(name: str, device: torch.device, with_scorer: bool) -> tuple[Completer, torch.nn.Module]:
    """A judge model in this process, beside the policy, and its network; prompts are put into its chat
    template if it has one."""
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
    begins = begins_of(bare) if with_scorer else ()
    return Completer(TorchSampler(model, tokenizer), tokenize, decode, begins, scorer), model


def local_preference(name: str, device: torch.device) -> PreferenceModel:
    """A preference model in this process."""
    return load_preference_model(name, device, torch.float32 if device.type == "cpu" else torch.bfloat16)
