"""What a run began with, as fingerprints, so that a resumed run can tell whether its model or data have
changed."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from menon.errors import UserError
from menon.settings import setting
from menon.types import Prompt

Origin = Mapping[str, Any]
"""`weights`, `config` and `tokenizer` of the policy; the weights of the `teacher`; `questions` and `heldout`,
each with count, rows, texts and tokens; `reward_models` by name and `judge_prompt`; `read_by`, the versions
of the libraries that `config` and `tokenizer` depend on. {}: not known."""
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def digest(pieces: Iterable[str]) -> str:
    """32 hexadecimal digits of a sequence of strings."""
    found = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        data = piece.encode("utf-8", "surrogatepass")
        found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()


def origin_of_prompts(prompts: Sequence[Prompt]) -> dict[str, Any]:
    """Fingerprints of the questions: the rows as they are in the data, the prompts as text, and their tokens.
    The first that differs says whether rows, template or tokenizer have changed."""
    return {
        "count": len(prompts),
        "rows": digest(canonical((prompt.answer, prompt.columns)) for prompt in prompts),
        "texts": digest(prompt.text for prompt in prompts),
        "tokens": digest(" ".join(map(str, prompt.tokens.tolist())) for prompt in prompts),
    }


def canonical(value: Any) -> str:
    """A text that is the same for the same data in every process: tables and sets sorted, no addresses."""
    if isinstance(value, Mapping):
        return (
            f"{{{', '.join(sorted(f'{canonical(key)}: {canonical(item)}' for key, item in value.items()))}}}"
        )
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(canonical, value)))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(canonical, value))}]"
    return ADDRESS.sub("", repr(value))


def check_origin(then: Origin, now: Origin, settings: Mapping[str, Any], newest: object) -> None:
    """UserError if something that a run began with has changed; `newest` is the run's newest checkpoint. What
    one of them does not hold is not compared."""
    found = difference(then, now, settings)
    if found:
        raise UserError(
            f"{found} since the run began, so it would go on as another run; put the old one back, or start "
            f"a new run from this one's policy with model={newest}"
        )


def difference(then: Origin, now: Origin, settings: Mapping[str, Any]) -> str:
    """The first difference, as the beginning of a sentence; "" if there is none."""
    model = setting(settings, "model", "the model")
    same_readers = then.get("read_by") == now.get("read_by")
    for name, what in (
        ("weights", "the weights"),
        ("config", "the configuration"),
        ("tokenizer", "the tokenizer"),
    ):
        if (name == "weights" or same_readers) and differ(then, now, name):
            return f"{what} of {model} changed"
    if differ(then, now, "teacher"):
        name = setting(settings, "teacher")
        return f"the weights of {f'the teacher {name}' if name else 'one of the teachers'} changed"
    data = setting(settings, "data")
    where = f" of {data}" if data else ""
    for name, what in (("questions", f"the questions{where}"), ("heldout", "the held-out questions")):
        if differ(then, now, name):
            return changed_questions(then[name], now[name], what, model)
    for name, old in then.get("reward_models", {}).items():
        if now.get("reward_models", {}).get(name, old) != old:
            return f"the weights of the reward's model {name} changed"
    return "the prompt of the judge changed" if differ(then, now, "judge_prompt") else ""


def differ(then: Origin, now: Origin, name: str) -> bool:
    return None not in (then.get(name), now.get(name)) and then[name] != now[name]


def changed_questions(then: Origin, now: Origin, what: str, model: str) -> str:
    """How a set of questions differs."""
    if then["count"] != now["count"]:
        return f"{what} changed (they were {then['count']} and are {now['count']})"
    if then["rows"] != now["rows"]:
        return f"{what} changed (as many, with other contents)"
    if then["texts"] != now["texts"]:
        return f"the template of {what}, or the chat template of {model}, changed"
    return f"the tokens that the tokenizer of {model} makes of {what} changed"
