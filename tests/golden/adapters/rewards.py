"""KL in the reward, its controller, penalties on long and on truncated answers, pass@k."""

from typing import Any

import numpy as np
import torch

from golden.adapters.token_advantages import penalty_of
from golden.adapters.tools import run
from golden.records import Record
from menon.adaptive_kl import steered
from menon.eval.metrics import pass_at_k
from menon.shaping import KLInReward, Overlong, TruncatedReward
from rows import batch_of, rows_of


def paid(record: Record, *first: Any, **columns: Any) -> None:
    batch = run(record.batch(**columns), *first, KLInReward(beta=max(record.settings["kl_coef"], 0.0)))
    record.check("token_level_rewards", rows_of(batch, batch.reward, record.width))


def verl(record: Record) -> None:
    """Any estimator of the KL can be the penalty."""
    names = {"kl": "k1", "mse": "k2", "low_var_kl": "k3"}
    kind = record.settings.get("kl", record.settings.get("kl_penalty", "k1"))
    penalty = penalty_of(record, names.get(kind, kind), 20.0, None)
    paid(record, reward="token_level_rewards", **penalty)


def openrlhf(record: Record) -> None:
    clip = record.settings.get("reward_clip_range") or [-np.inf, np.inf]
    outcome = np.clip(record.inputs["rewards"], *clip)
    paid(record, outcome=outcome, old_logp="kl", ref_logp=np.zeros_like(record.inputs["kl"]))


def realhf(record: Record) -> None:
    """The score is clipped, and 0 where the answer did not end."""
    bound = record.settings["clip_reward_value"]
    outcome = np.clip(record.inputs["rewards"], -bound, bound)
    finish = ["length" if cut else "stop" for cut in record.inputs["no_eos"]]
    columns = {"old_logp": "old_logprobs", "ref_logp": "ref_logprobs"}
    paid(record, TruncatedReward(factor=0), outcome=outcome, finish=finish, **columns)


def controller(record: Record) -> None:
    part = KLInReward(
        record.settings["init_kl_coef"], record.settings["target_kl"], record.settings["horizon"]
    )
    beta, found = part.beta, []
    for measured, count in zip(record.inputs["observed_kl"], record.inputs["n_steps"], strict=True):
        beta = steered(
            beta, float(measured), int(count), record.settings["target_kl"], record.settings["horizon"]
        )
        found.append(beta)
    record.check("coef_after_each_update", np.array(found))


def overlong(record: Record) -> None:
    """verl and AReaL do not cap the penalty. Answers of the recorded lengths, all with tokens."""
    settings = record.settings
    capped = record.function.startswith("openrlhf")
    part = Overlong(
        settings["max_response_length"], settings["overlong_buffer_len"], settings["penalty_factor"], capped
    )
    length = torch.as_tensor(record.inputs["response_length"]).to(record.dtype)
    record.check("reward", torch.as_tensor(record.inputs["score"]) + part.penalty(length))


def stop_properly(record: Record) -> None:
    coef, score = record.settings["coef"], record.inputs["score"]
    finish = ["length" if cut else "stop" for cut in record.inputs["truncated"]]
    batch = batch_of(np.ones((len(score), 1)), outcome=score, finish=finish)
    part = TruncatedReward(factor=coef) if coef >= 0 else TruncatedReward(value=coef)
    record.check("reward", run(batch, part).outcome)


def chance(record: Record) -> None:
    count = zip(record.inputs["num_samples"], record.inputs["num_correct"], strict=True)
    found = [pass_at_k(int(n), int(c), record.settings["k"]) for n, c in count]
    record.check("pass_at_k", np.array(found))


ADAPTERS = {
    "areal.reward.overlong": overlong,
    "human_eval.pass_at_k": chance,
    "openrlhf.reward.kl_in_reward": openrlhf,
    "openrlhf.reward.overlong": overlong,
    "openrlhf.reward.stop_properly": stop_properly,
    "realhf.reward.kl_in_reward": realhf,
    "verl.kl_controller.adaptive": controller,
    "verl.reward.kl_in_reward": verl,
    "verl.reward.overlong": overlong,
}
