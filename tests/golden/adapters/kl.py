"""KL estimators of eight libraries, each token's value and its gradient."""

import torch

from golden.records import Record
from menon.loss import KL
from rows import column_of, rows_of

ESTIMATORS = {"kl": "k1", "mse": "k2", "low_var_kl": "k3", "control_variate": "k3"}


def kl(record: Record) -> None:
    estimator = KL(ESTIMATORS.get(record.variant, record.variant))  # type: ignore[arg-type]
    batch = record.batch(ref_logp="ref_logprobs")
    now = {"logp": column_of(batch, record.inputs["logprobs"], record.dtype)}
    value = estimator(now, batch)
    record.check("kl", rows_of(batch, value, record.width))
    if record.gradient:
        (gradient,) = torch.autograd.grad(value.sum(), now["logp"])
        record.check_gradient("logprobs", rows_of(batch, gradient, record.width))


PEERS = ("areal", "nemo_rl", "openrlhf", "orz", "skyrl", "slime", "spo", "verl")
ADAPTERS = {f"{peer}.kl_penalty": kl for peer in PEERS}
