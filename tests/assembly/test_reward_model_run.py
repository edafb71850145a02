"""A reward model as a run: what it learns, how others read it, and what is refused."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from tokenizers import processors

from helpers import END, Kind, tiny_model, tiny_tokenizer
from menon.assembly.chat_template import chat_with
from menon.assembly.given import build_given
from menon.assembly.reward_models import with_models
from menon.assembly.run import resume
from menon.config import changed
from menon.engines.added_tokens import PAD
from menon.engines.hf_models import export, load_policy
from menon.engines.preference_model import load_preference_model
from menon.engines.reward_model import check_classifier
from menon.errors import UserError
from menon.parts import Around
from menon.python import train
from menon.recipes import recipe
from menon.report.terminal import terminal
from menon.reward.preference import Preference
from menon.update.host import Ask
from menon.update.protocols import Head


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Forty questions with two pairs each: the next number is right."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [
        {"prompt": f"{i}+1=", "chosen": f" {i + 1}", "rejected": wrong}
        for i in range(40)
        for wrong in (f" {i}?", " no")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def folder_of(path: Path, kind: Kind = "qwen3", **more) -> Path:
    export(tiny_model(kind, **more), tiny_tokenizer(), path)
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return folder_of(tmp_path_factory.mktemp("model"))


def settings(folder: Path, data: Path, **more) -> dict:
    own = {"model": str(folder), "data": str(data), "rows_per_step": 8, "learning_rate": 1e-2}
    return {**own, "device": "cpu", "save_every": 1, **more}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "latest" / "model.safetensors")


@pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_others_read_the_scores_that_were_learned(kind, tied, data, tmp_path):
    """transformers in a padded batch and `reward=preference` give the learner's own scores."""
    start = folder_of(tmp_path / "model", kind, tied=tied)
    run = tmp_path / "run"
    report = train("reward_model", steps=3, out=str(run), **settings(start, data))
    assert report["before"]["pairs/accuracy"] == 0.5
    assert report["before"]["pairs/expected_accuracy"] == 0.5
    assert report["after"]["pairs/accuracy"] > 0.8
    checkpoint = run / "checkpoints" / "latest"
    texts = ["3+1= 4", "12+1= no, not at all", "1+1= 1?"]
    with build_given(changed(recipe("reward_model"), settings(start, data))) as built:
        built.host.load(checkpoint)
        batch = built.measure.args[0]
        asked = [bytes(t for t in row.tolist() if t < 256).decode() for row in rows_of(batch)]
        score = built.host.score(batch, [Ask("policy", Head("reward", "after"))])["reward_after"]
        own = score[batch.offset[1:] - 1].tolist()
    scores = load_preference_model(str(checkpoint))
    assert scores(asked) == pytest.approx(own, abs=1e-5)
    assert min(abs(score) for score in own) > 1e-3
    model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint, padding_side="right")
    padded = tokenizer([text + END for text in texts], padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(input_ids=padded["input_ids"], attention_mask=padded["attention_mask"]).logits
    assert logits.shape == (3, 1)
    assert logits[:, 0].tolist() == pytest.approx(scores(texts), abs=1e-5)


CHAT = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def test_a_chat_model_scores_a_turn_as_it_was_learned(data, tmp_path):
    """`reward=preference` reads the policy's prompt, with the markup of its chat template, and the answer up
    to the token that ends its turn: the very tokens that were learned, so the score is the learner's own. The
    tokenizer would put a token in front of a text; the template writes none there."""
    tokenizer = copy.deepcopy(tiny_tokenizer())
    front = processors.TemplateProcessing(f"{END} $A", special_tokens=[(END, 256)])
    tokenizer.backend_tokenizer.post_processor = front
    tokenizer.chat_template = CHAT
    export(tiny_model(), tokenizer, tmp_path / "model")
    own = settings(tmp_path / "model", data, template="chat", max_tokens=64)
    report = train("reward_model", steps=3, out=str(tmp_path / "run"), **own)
    assert report["after"]["pairs/accuracy"] > 0.8
    checkpoint = tmp_path / "run" / "checkpoints" / "latest"
    raw = Preference(str(checkpoint), mean=0.25, std=2.0)
    reward, of_texts = (
        raw.build(with_models(Around(), lambda: torch.device("cpu"), template=template))
        for template in ("chat", "none")
    )
    chat = chat_with(tokenizer)
    assert chat is not None
    with build_given(changed(recipe("reward_model"), own)) as built:
        built.host.load(checkpoint)
        batch = built.measure.args[0]
        score = built.host.score(batch, [Ask("policy", Head("reward", "after"))])["reward_after"]
        learned = score[batch.offset[1:] - 1].tolist()
    for row, expected in zip(rows_of(batch), learned, strict=True):
        text = bytes(t for t in row.tolist() if t < 256).decode()
        question, answer = text.removeprefix("<user>").split("<assistant>")
        prompt = chat([{"role": "user", "content": question}], None)
        assert tokenizer(prompt + answer)["input_ids"] == [256, *row.tolist()[:-1]]
        verdict = reward(prompt, answer, "")
        assert verdict.parts["raw"] == pytest.approx(expected, abs=1e-5)
        assert verdict.score == pytest.approx((expected - 0.25) / 2, abs=1e-5)
    assert reward(prompt, answer, "", finish="length").score == 0
    assert abs(of_texts(prompt, answer, "").parts["raw"] - expected) > 1e-3
    formatted = replace(raw, template="{question}{response}")
    own_text = formatted.build(with_models(Around(), lambda: torch.device("cpu"), template="chat"))
    assert own_text("3+1=", " 4", "") == of_texts("3+1=", " 4", "")


def rows_of(batch) -> tuple[torch.Tensor, ...]:
    return torch.tensor_split(batch.token, batch.offset[1:-1])


def test_a_stopped_run_goes_on_bit_for_bit(folder, data, tmp_path):
    whole = train("reward_model", steps=4, out=str(tmp_path / "whole"), **settings(folder, data))
    train("reward_model", steps=2, out=str(tmp_path / "cut"), **settings(folder, data))
    again = resume(tmp_path / "cut", {"steps": 4}, terminal)
    assert again["after"] == whole["after"]
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert one["score.weight"].abs().max() > 0


def test_a_padding_token_that_ends_texts_is_replaced(data, tmp_path):
    """transformers would take the end of a text for padding, and score the token before it."""
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizer().backend_tokenizer, eos_token=END, pad_token=END
    )
    export(tiny_model(), tokenizer, tmp_path / "model")
    train("reward_model", steps=1, out=str(tmp_path / "run"), **settings(tmp_path / "model", data))
    about = json.loads((tmp_path / "run/checkpoints/latest/config.json").read_text())
    kept = transformers.AutoTokenizer.from_pretrained(tmp_path / "run/checkpoints/latest")
    assert (kept.pad_token, kept.eos_token) == (PAD, END)
    assert about["pad_token_id"] == kept.pad_token_id == 257
    assert about["vocab_size"] == 258


def test_pairs_of_a_prompt_come_together_and_share_its_weight(folder, data):
    with build_given(changed(recipe("reward_model"), settings(folder, data))) as run:
        batch = run.source.next().batch
        weight = run.plan.updates[0].terms["policy"].share(batch, batch.trained)
    groups = batch.group[::2].tolist()
    assert groups == [group for group in groups[::2] for _ in range(2)]
    assert len(set(groups)) == 4
    assert weight[batch.offset[1:] - 1].tolist() == pytest.approx([1 / 8] * 16)


def test_what_is_refused(folder, data, tmp_path):
    def refused(sentence: str, name: str = "reward_model", **more) -> None:
        with pytest.raises(UserError, match=sentence):
            changed(recipe(name), more)

    refused("reads the head 'reward', which the policy does not have; set head=reward", head="none")
    refused("head=reward gives the policy a head that no loss of this run reads", "dpo", head="reward")
    refused("a head that no loss of this run reads", "grpo", head="reward")
    refused("scores texts and is asked no questions; start from the recipe", task="chain_sum")
    refused("a natural step measures the KL of a policy", **{"natural.max_kl": 0.01})


def test_models_that_cannot_be_reward_models(folder, data, tmp_path):
    train("reward_model", steps=1, out=str(tmp_path / "run"), **settings(folder, data))
    checkpoint = tmp_path / "run" / "checkpoints" / "latest"
    with pytest.raises(UserError, match=r"is a classifier \(Qwen3ForSequenceClassification\), which scores"):
        load_policy(checkpoint)
    with pytest.raises(UserError, match=r"it lacks the weights score\.weight; a language model alone has no"):
        load_preference_model(str(folder))
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokens = {"vocab_size": 257, "eos_token_id": 256, "pad_token_id": None, "bos_token_id": None}
    other = transformers.GraniteForCausalLM(transformers.GraniteConfig(**tokens, **sizes))
    with pytest.raises(
        UserError, match="is of type 'granite', for which transformers has no sequence classifier"
    ):
        check_classifier(other, "it")
