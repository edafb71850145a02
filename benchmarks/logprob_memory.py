"""Peak memory of log-probs and their gradient over a large vocabulary: the whole table against chunks that
are computed again.

    python benchmarks/logprob_memory.py

Each side is a process of its own that makes hidden states [4096, 128] and a head [152000, 128] in fp32, takes
the log-probs of 4,096 tokens and runs the backward pass. Counted is the most memory that the process ever
held (ru_maxrss) less what it held before and less the gradients of states and head. The plain side is
log_softmax and gather on the whole table, as autograd keeps it. Both sides also print the norm of the head's
gradient, which must agree. The last line is `ratio=R`, plain over chunked.
"""

import json
import resource
import subprocess
import sys

import torch

TOKENS, VOCABULARY, HIDDEN = 4096, 152_000, 128
TEMPERATURE = 0.9


def held() -> int:
    """Bytes that this process holds now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def measure(side: str) -> dict[str, float]:
    torch.manual_seed(0)
    rows = torch.randn(TOKENS, HIDDEN, requires_grad=True)
    weight = torch.randn(VOCABULARY, HIDDEN).div_(HIDDEN**0.5).requires_grad_()
    target = torch.randint(VOCABULARY, (TOKENS,))
    (rows[:8] @ weight[:8].T).sum()  # what the first product of a process sets up is not counted
    before = held()
    if side == "chunked":
        from menon.engines.log_probs import log_probs

        logp = log_probs(rows, target, weight=weight, temperature=TEMPERATURE)[0]
    else:
        logp = ((rows @ weight.T) / TEMPERATURE).log_softmax(-1).gather(-1, target[:, None])[:, 0]
    logp.mean().backward()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert weight.grad is not None
    return {"bytes": peak - before - rows.nbytes - weight.nbytes, "norm": float(weight.grad.norm())}


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
        return
    found = {}
    for side in ("plain", "chunked"):
        done = subprocess.run([sys.executable, __file__, side], check=True, capture_output=True, text=True)
        found[side] = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{side:8s} {found[side]['bytes'] / 2**30:6.2f} GiB above weights and gradients, |gradient| "
            f"{found[side]['norm']:.6g}"
        )
    if abs(found["plain"]["norm"] / found["chunked"]["norm"] - 1) > 1e-4:
        raise SystemExit("the two sides computed different gradients")
    print(f"ratio={found['plain']['bytes'] / found['chunked']['bytes']:.2f}")


if __name__ == "__main__":
    main()
