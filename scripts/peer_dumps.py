"""Makes the small dumps of other libraries in tests/data/peers, each by that library's own writer.

    PYTHON scripts/peer_dumps.py NAME [SOURCE]

PYTHON is one in which the library is installed. For verl, prime-rl, slime and Miles, whose packages need a
cluster's libraries to be imported, SOURCE is a checkout (or an unpacked wheel), and the writing functions are
taken from its files as they stand. Made with: verl 0.9.1; TRL 1.16.0; verifiers 0.4.0; prime-rl 559b4477;
slime 624b824a; Miles 31f1ca96; harbor 0.25.0 (ATIF); trackio 0.43.0; wandb 0.31.0; tensorboard 2.21.0 through
torch 2.13.0.
"""

import ast
import json
import math
import os
import shutil
import sys
import types
from pathlib import Path
from typing import Any

OUT = Path(__file__).resolve().parents[1] / "tests" / "data" / "peers"
QUESTIONS = (("3+4=", "7"), ("5*2=", "10"))
ANSWERS = (("7", 1.0), ("8", 0.0), ("10", 1.0), ("1é<b>0", 0.0))


def parts_of(file: Path, *names: str, **given: Any) -> types.SimpleNamespace:
    """Functions and classes of a file, without its imports, which are in `given`."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    wanted = [node for node in ast.walk(tree) if getattr(node, "name", None) in names]
    for node in wanted:
        node.decorator_list = [one for one in node.decorator_list if "staticmethod" not in ast.unparse(one)]
    space = dict(given)
    future = ast.parse("from __future__ import annotations").body
    exec(compile(ast.Module([*future, *wanted], []), str(file), "exec"), space)
    return types.SimpleNamespace(**space)


def verl(out: Path, source: Path) -> None:
    file = source / "verl" / "trainer" / "ppo" / "ray_trainer.py"
    write = parts_of(file, "_write_generations", os=os, json=json)._write_generations
    prompts = [QUESTIONS[i // 2][0] for i in range(4)]
    golds = [QUESTIONS[i // 2][1] for i in range(4)]
    for step in (1, 2):
        extra = {"acc": [score for _, score in ANSWERS], "pred": [text for text, _ in ANSWERS]}
        texts, scores = [text for text, _ in ANSWERS], [score * step / 2 for _, score in ANSWERS]
        write(prompts, texts, golds, scores, extra, str(out), step)


def trl(out: Path) -> None:
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    letters = {letter: i for i, letter in enumerate("0123456789+*= ~")}
    core = Tokenizer(models.WordLevel(letters, unk_token=" "))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="~", pad_token="~", unk_token=" ")
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(letters),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        eos_token_id=14,
        pad_token_id=14,
    )

    def length_reward(completions: list[str], **_: Any) -> list[float]:
        return [len(text) / 8 for text in completions]

    work = out.with_name("trl-work")
    arguments = GRPOConfig(
        output_dir=str(work),
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=8,
        max_steps=2,
        logging_steps=1,
        log_completions=True,
        report_to="none",
        use_cpu=True,
        save_strategy="no",
    )
    rows = Dataset.from_list([{"prompt": question} for question, _ in QUESTIONS] * 4)
    trainer = GRPOTrainer(
        Qwen2ForCausalLM(config), length_reward, arguments, rows, processing_class=tokenizer
    )
    trainer.train()
    shutil.copytree(work / "completions", out / "completions")
    shutil.rmtree(work)


def verifiers(out: Path) -> None:
    from verifiers.v1.agent import AgentConfig
    from verifiers.v1.episode import EnvInfo, Episode
    from verifiers.v1.graph import MessageNode
    from verifiers.v1.task import TaskData
    from verifiers.v1.trace import AgentInfo, Reward, Trace, TraceTask
    from verifiers.v1.types import AssistantMessage, UserMessage
    from verifiers.v1.utils.trace_store import write_episode

    out.mkdir(parents=True, exist_ok=True)
    for place, (text, score) in enumerate(ANSWERS):
        question, _ = QUESTIONS[place // 2]
        task = TraceTask(type="Sum", data=TaskData(idx=place // 2, prompt=question), key=question)
        given, said = list(question.encode()), list(text.encode())
        nodes = [
            MessageNode(message=UserMessage(content=question), token_ids=given, mask=[False] * len(given)),
            MessageNode(
                parent=0,
                sampled=True,
                message=AssistantMessage(content=text),
                token_ids=[62, *said],
                mask=[False] + [True] * len(said),
                logprobs=[-0.25 * (i + 1) for i in range(len(said))],
            ),
        ]
        trace = Trace(
            task=task,
            agent=AgentInfo(config=AgentConfig()),
            nodes=nodes,
            ok=True,
            is_completed=True,
            rewards={"right": Reward(score=score, weight=2.0)},
            metrics={"length": float(len(said))},
        )
        write_episode(out, Episode(env=EnvInfo(id="sums"), task=task, traces=[trace], ok=True))


def prime_rl(out: Path, source: Path) -> None:
    import atexit

    import torch

    trainer = source / "src" / "prime_rl" / "trainer" / "rl"

    class DefaultLossConfig:
        dppo_mask_high = dppo_mask_low = 0.2

    loss = parts_of(trainer / "loss.py", "compute_importance_ratio_and_mismatch_kl", torch=torch)
    text = (trainer / "token_export.py").read_text(encoding="utf-8")
    names = [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    given = {
        "SCHEMA_VERSION": 1,
        "atexit": atexit,
        "json": json,
        "math": math,
        "torch": torch,
        "Path": Path,
        "DefaultLossConfig": DefaultLossConfig,
        "compute_importance_ratio_and_mismatch_kl": loss.compute_importance_ratio_and_mismatch_kl,
    }
    exporter = parts_of(trainer / "token_export.py", *names, **given).TokenExporter(out, 0)
    prompt, answers = list(b"3+4="), (list(b"7"), list(b"18"))
    ids = [token for answer in answers for token in [*prompt, *answer]]
    lengths = [len(prompt) + len(answer) for answer in answers]
    mask = [flag for answer in answers for flag in [False] * len(prompt) + [True] * len(answer)]
    wrote = torch.tensor(mask, dtype=torch.float32)
    batch = {
        "input_ids": torch.tensor(ids),
        "position_ids": torch.arange(len(ids)),
        "loss_mask": torch.tensor(mask),
        "advantages": wrote * torch.tensor([0.5] * lengths[0] + [-0.5] * lengths[1]),
        "inference_logprobs": -0.5 * wrote,
        "env_names": ["sums"] * len(ids),
    }
    output = {"logprobs": -0.75 * wrote, "entropy": 1.5 * wrote}
    for step in (1, 2):
        exporter.export(step, 0, batch, output, lengths, DefaultLossConfig())
    exporter.mark_stable()


def samples(Sample: Any) -> list[Any]:
    found = []
    for place, (text, score) in enumerate(ANSWERS):
        question, gold = QUESTIONS[place // 2]
        said = list(text.encode())
        found.append(
            Sample(
                group_index=place // 2,
                index=place,
                prompt=question,
                tokens=[*question.encode(), *said],
                response=text,
                response_length=len(said),
                label=gold,
                reward=score,
                loss_mask=[1] * len(said),
                rollout_log_probs=[-0.25 * (i + 1) for i in range(len(said))],
                status=Sample.Status.COMPLETED,
            )
        )
    found[-1].status = Sample.Status.TRUNCATED
    return found


def sample_class(file: Path) -> Any:
    """The class `Sample` of slime or Miles, with what its file defines beside it."""
    import dataclasses
    import enum

    import torch

    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    given = {
        "dataclass": dataclasses.dataclass,
        "field": dataclasses.field,
        "Enum": enum.Enum,
        "torch": torch,
        "dataclasses": dataclasses,
        "Any": Any,
        "__name__": "peer",
    }
    sys.modules.setdefault("peer", types.ModuleType("peer"))
    return parts_of(file, *names, **given).Sample


def slime(out: Path, source: Path) -> None:
    import logging

    import torch

    Sample = sample_class(source / "slime" / "utils" / "types.py")
    file = source / "slime" / "observability" / "rollout_data_utils.py"
    save = parts_of(file, "save_debug_rollout_data", torch=torch, Path=Path, logger=logging.getLogger())
    template = str(out / "rollout_data" / "{rollout_id}.pt")
    save.save_debug_rollout_data(template, samples(Sample), rollout_id=0, evaluation=False)


def miles(out: Path, source: Path) -> None:
    import logging

    import torch

    class Sample:  # save_dashboard_columns reads these fields
        class Status:
            COMPLETED = TRUNCATED = None

        def __init__(self, **fields: Any) -> None:
            vars(self).update(fields)

    file = source / "miles" / "ray" / "rollout" / "debug_data.py"
    given = {"torch": torch, "Path": Path, "logger": logging.getLogger(), "_warned_no_polars": False}
    save = parts_of(file, "save_dashboard_columns", **given).save_dashboard_columns
    save(samples(Sample), out / "dashboard_columns" / "rollout_3.parquet")


def atif(out: Path) -> None:
    from harbor.models.trajectories import Agent, Metrics, Step, Trajectory

    for place, (text, _) in enumerate(ANSWERS[:2]):
        question, said = QUESTIONS[0][0], list(text.encode())
        metrics = Metrics(
            prompt_token_ids=list(question.encode()), completion_token_ids=said, logprobs=[-0.5] * len(said)
        )
        steps = [
            Step(step_id=1, source="user", message=question),
            Step(step_id=2, source="agent", message=text, reasoning_content="3 and 4", metrics=metrics),
        ]
        agent = Agent(name="sums", version="1", model_name="tiny")
        one = Trajectory(schema_version="ATIF-v1.7", session_id=f"s{place}", agent=agent, steps=steps)
        out.mkdir(parents=True, exist_ok=True)
        (out / f"trajectory_{place}.json").write_text(json.dumps(one.to_json_dict()))


def trackio(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    os.environ["TRACKIO_DIR"] = str(out)
    import trackio as tracker

    tracker.init(project="sums", name="one", config={"learning_rate": 1e-6})
    for step in (1, 2, 3):
        tracker.log({"train/reward": 0.25 * step, "train/kl": 0.5, "note": "x"}, step=step)
    tracker.finish()
    (out / "sums.lock").unlink()


def wandb(out: Path) -> None:
    import tempfile

    import wandb as tracker

    quiet = tracker.Settings(
        silent=True,
        console="off",
        disable_git=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_disable_stats=True,
        host="host",
        username="user",
        program="train.py",
    )
    with tempfile.TemporaryDirectory(prefix="sums") as folder:
        os.chdir(folder)
        run = tracker.init(project="sums", mode="offline", config={"lr": 1e-6}, dir=".", settings=quiet)
        for step in (1, 2, 3):
            run.log({"critic/score/mean": 0.25 * step, "nested": {"a": step}, "note": "x"}, step=step)
        run.finish()
        (made,) = Path(folder).glob("wandb/offline-run-*/run-*.wandb")
        there = out / "wandb" / made.parent.name
        there.mkdir(parents=True)
        shutil.copy(made, there)


def tensorboard(out: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(out))
    for step in (1, 2, 3):
        writer.add_scalar("train/reward", 0.25 * step, step)
        writer.add_scalar("train/kl", 0.5, step, new_style=True)
    writer.close()


if __name__ == "__main__":
    name, *source = sys.argv[1:]
    folder = OUT / name.replace("_", "-")
    shutil.rmtree(folder, ignore_errors=True)
    globals()[name](folder, *map(Path, source))
