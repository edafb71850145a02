"""Loads the tokenizer of a model folder, as its `tokenizer.json` describes it."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import tokenizers
import transformers

from menon.engines.decoding.stop_strings import text_of
from menon.errors import UserError, first_line

TEXTS = (
    "We need to add 9 and 16;  the sum is 25.\n\nIt's (3.5 + x_1)/2 = -7%?\n",
    " a leading space, a tab\there and a trailing space ",
    "def f(x):\n    return {'camelCase': x[1:]}  # naïve Ünïcode cafe\u0301\r\n",
    "\\boxed{\\frac{1}{2}} <think>1,234</think> http://example.org/~a?b=c&d",
    "日本語、中文 한국어 العربية русский 𝔸 🙂👍🏽 ½ ² № …",
)
"""Texts that tokenizers read differently: spaces, line ends, digits, accents, other scripts, markup."""
SPREAD = 64
"""How many tokens of the vocabulary are decoded in a row for the comparison."""


def load_tokenizer(folder: Path, name: str) -> transformers.PreTrainedTokenizerBase:
    """The tokenizer of a folder. `name` is what the user calls it.

    `transformers` chooses a class by the type of the model, and some classes rebuild the tokenizer from its
    vocabulary by rules of their own. If the result encodes or decodes a few texts otherwise than
    `tokenizer.json` does, the file is loaded as it stands. UserError: no tokenizer, one that cannot be read,
    or one that differs from its file even then.
    """
    remedy = "put the tokenizer's files (tokenizer.json) beside the weights"
    file = folder / "tokenizer.json"
    try:
        tokenizer = as_in_file(folder, name) if file.is_file() else by_type(folder)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the tokenizer of {name} cannot be read ({first_line(error)}); {remedy}") from error
    # Without files the library makes an empty tokenizer of the model's kind, special tokens only.
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise UserError(f"{name} has no tokenizer; {remedy}")
    return tokenizer


def by_type(folder: Path) -> transformers.PreTrainedTokenizerBase:
    """The tokenizer of the class that `transformers` chooses. Code of the folder is never run."""
    return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def as_in_file(folder: Path, name: str) -> transformers.PreTrainedTokenizerBase:
    """The tokenizer of the chosen class if it agrees with the file, else the file's."""
    core = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    core.no_truncation()
    core.no_padding()
    with suppress(Exception):  # a class that cannot take this file, or code of the folder that is not run
        tokenizer = by_type(folder)
        if tokenizer.init_kwargs.get("fix_mistral_regex"):
            return tokenizer  # the folder asks for another pre-tokenizer than its file has
        marked = "".join(f"a{token} b" for token in tokenizer.special_tokens_map.values())
        if not any(differences(tokenizer, core, (*TEXTS, marked))):
            return tokenizer
    plain = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    # How special tokens are cut out may be settled in tokenizer_config.json, so `marked` may differ here.
    for text in differences(plain, core, TEXTS):
        raise UserError(
            f"transformers {transformers.__version__} reads {text[:20]!r} otherwise than the tokenizer.json "
            f"of {name} does; save the tokenizer again with this version, or install the one that made it"
        )
    return plain


def differences(
    tokenizer: transformers.PreTrainedTokenizerBase, core: tokenizers.Tokenizer, texts: tuple[str, ...]
) -> Iterator[str]:
    """The texts that the two encode or decode differently."""
    decode = text_of(tokenizer, skip_special=False)
    for text in texts:
        try:
            ids = core.encode(text, add_special_tokens=False).ids
        except Exception:  # it knows few characters, and has no token for others
            continue
        same = list(tokenizer(text, add_special_tokens=False)["input_ids"]) == ids
        if not same or decode(ids) != core.decode(ids, skip_special_tokens=False):
            yield text
    size = core.get_vocab_size()
    spread = list(range(0, size, max(1, size // SPREAD)))
    if decode(spread) != (text := core.decode(spread, skip_special_tokens=False)):
        yield text
