"""Loads the models of rewards that ask a model, and gives them to the rewards as callables."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from menon.assembly.chat_template import chat_with
from menon.assembly.origin import origin_of_weights
from menon.engines.completer import Completer, begins_of
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.hf_models import load_policy
from menon.engines.openai_client import OpenAIClient
from menon.engines.preference_model import PreferenceModel, load_preference_model
from menon.engines.tokens import continue_with, marker_for, tokenize_with
from menon.engines.torch_scorer import TorchScorer
from menon.errors import UserError, first_line
from menon.parts import Around
from menon.prompts.render import Chat
from menon.prompts.template import NONE, find_template
from menon.reward.preference import Score
from menon.thought import OPENING, opens_thought


def with_models(
    around: Around,
    device: Callable[[], torch.device],
    weights: dict[str, str] | None = None,
    template: str = NONE,
) -> Around:
    """`around` with the functions that load a judge or a preference model; a model is loaded when its reward
    is built. `weights` gets the fingerprint of each by name. `template` is that of the policy's prompts."""

    def judge(name: str, with_scorer: bool, max_new_tokens: int) -> Completer:
        completer = local_judge(name, device(), with_scorer, max_new_tokens)
        assert isinstance(completer.sampler, TorchSampler)
        note(name, completer.sampler.model)
        return completer

    def preference(name: str, of_prompts: bool) -> Score:
        turns = of_prompts and find_template(template).as_turn
        loaded = local_preference(name, device(), special=not turns)
        note(name, loaded.model)
        return loaded

    def note(name: str, model: torch.nn.Module) -> None:
        if weights is not None:
            weights[name] = origin_of_weights(model)

    return replace(around, load_judge=judge, connect_judge=OpenAIClient, load_preference=preference)


def local_judge(name: str, device: torch.device, with_scorer: bool, max_new_tokens: int) -> Completer:
    """A judge model in this process, beside the policy; prompts are put into its chat template if it has
    one, which may open a thought. What spells a special token in a prompt is text."""
    model, tokenizer = load_policy(name, torch.float32 if device.type == "cpu" else torch.bfloat16, device)
    whole, chat, mark = tokenize_with(tokenizer), chat_with(tokenizer), marker_for(tokenizer)

    def tokenize(text: str) -> Sequence[int]:
        text = mark(text)
        if chat is None:
            return whole(text)
        try:
            asked = chat([{"role": "user", "content": text}], None)
        except Exception as error:  # a template is a program that raises what it likes
            raise UserError(
                f"the chat template of the judge {name} refuses its prompt ({first_line(error)}); take "
                "another judge, or remove its chat template"
            ) from error
        return whole(asked, special=False)

    def decode(tokens: Sequence[int]) -> str:
        return str(
            tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )

    go_on = continue_with(tokenizer)

    def reply(text: str) -> Sequence[int]:
        return go_on(text, whole("?\n"))

    scorer = TorchScorer(model, device=device) if with_scorer else None
    begins = begins_of(reply) if with_scorer else ()
    opened = "" if chat is None else opened_by(chat)
    sampler = TorchSampler(model, tokenizer)
    return Completer(sampler, tokenize, decode, begins, scorer, max_new_tokens, opened)


def opened_by(chat: Chat) -> str:
    """The tag of the thought that a chat template opens for every reply; "" where it opens none."""
    try:
        return OPENING if opens_thought(chat([{"role": "user", "content": "?"}], None)) else ""
    except Exception:  # it refuses the judge's prompts too, which ends with a sentence
        return ""


def local_preference(name: str, device: torch.device, special: bool) -> PreferenceModel:
    """A preference model in this process."""
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    return load_preference_model(name, device, dtype, special)
