"""KL estimators of eight libraries, each token's value and its gradient."""

from typing import Any

import torch

from golden.adapters.nemo import held
from golden.adapters.tools import NO_BOUND
from golden.records import Record
from menon import ragged
from menon.loss import KL
from menon.loss.kl import estimate
from menon.loss.ratio import LARGEST
from rows import column_of, rows_of

ESTIMATORS = {"kl": "k1", "mse": "k2", "low_var_kl": "k3", "control_variate": "k3"}
NAMES = ("kl_penalty", "kl_estimator", "kl_type", "kind")


def part_of(record: Record) -> KL:
    """OpenRLHF, and AReaL by default, hold every result to 10; NeMo-RL says where it clamps; SPO
    holds the log-ratio; ORZ and slime's k3 nothing; verl, SkyRL and slime's low_var_kl only k3."""
    settings = record.settings
    theirs = next((settings[name] for name in NAMES if name in settings), record.variant)
    base = theirs.removesuffix("+")
    kind: Any = ESTIMATORS.get(base, base)
    if theirs != base and kind != "k2":  # a + takes the gradient of k2, which k2 has
        kind += "+"
    peer = record.function.partition(".")[0]
    if peer == "nemo_rl":
        return held(kind, None, settings.get("input_clamp", 20.0), settings.get("output_clamp", 10.0))
    if peer == "openrlhf" or (peer == "areal" and settings.get("apply_clamp", True)):
        return KL(kind, limit=LARGEST, most=10.0)
    if peer == "spo":
        return KL(kind, limit=10.0, most=NO_BOUND)
    if peer in ("areal", "orz") or (peer, base) == ("slime", "k3"):
        return KL(kind, limit=LARGEST, most=NO_BOUND)
    return KL(kind, limit=LARGEST if peer == "slime" else 20.0)


def kl(record: Record) -> None:
    """A given ratio multiplies before the clamp, and has no gradient of its own."""
    part = part_of(record)
    batch = record.batch(ref_logp="ref_logprobs")
    now = {"logp": column_of(batch, record.inputs["logprobs"], record.dtype)}
    value = part(now, batch)
    if "importance_ratio" in record.inputs:
        ratio = record.batch(value="importance_ratio").value
        assert ratio is not None
        k = ragged.difference(now["logp"], batch.need("ref_logp", part), batch.trained)
        value = estimate(part.estimator, k, part.limit, part.most, torch.where(batch.trained, ratio, 0))
    record.check("kl", rows_of(batch, value, record.width))
    if record.gradient:
        (gradient,) = torch.autograd.grad(value.sum(), now["logp"])
        record.check_gradient("logprobs", rows_of(batch, gradient, record.width))


PEERS = ("areal", "nemo_rl", "openrlhf", "orz", "skyrl", "slime", "spo", "verl")
ADAPTERS = {f"{peer}.kl_penalty": kl for peer in PEERS}
