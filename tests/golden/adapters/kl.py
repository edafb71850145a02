"""KL estimators of eight libraries, each token's value and its gradient."""

from typing import Any

import torch

from golden.adapters.tools import NO_BOUND
from golden.records import Record
from menon.loss import KL
from menon.loss.ratio import LARGEST, LIMIT
from rows import column_of, rows_of

ESTIMATORS = {"kl": "k1", "mse": "k2", "low_var_kl": "k3", "control_variate": "k3"}


def kl(record: Record) -> None:
    """AReaL, NeMo-RL and OpenRLHF hold every result to 10, SPO the log-ratio; ORZ and slime's k3 nothing."""
    name: Any = ESTIMATORS.get(record.variant, record.variant)
    peer = record.function.partition(".")[0]
    loose = peer in ("orz", "spo") or (peer, record.variant) == ("slime", "k3")
    most = 10.0 if peer in ("areal", "nemo_rl", "openrlhf") else NO_BOUND if loose else None
    estimator = KL(name, limit=10.0 if peer == "spo" else LARGEST if loose else LIMIT, most=most)
    batch = record.batch(ref_logp="ref_logprobs")
    now = {"logp": column_of(batch, record.inputs["logprobs"], record.dtype)}
    value = estimator(now, batch)
    record.check("kl", rows_of(batch, value, record.width))
    if record.gradient:
        (gradient,) = torch.autograd.grad(value.sum(), now["logp"])
        record.check_gradient("logprobs", rows_of(batch, gradient, record.width))


PEERS = ("areal", "nemo_rl", "openrlhf", "orz", "skyrl", "slime", "spo", "verl")
ADAPTERS = {f"{peer}.kl_penalty": kl for peer in PEERS}
