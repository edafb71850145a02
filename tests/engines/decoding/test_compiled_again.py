"""Kernels that were just compiled, and those that another process finds on disk, give the same bits.

A compiled function that another one calls is compiled twice, alone and with its caller, and which of the two
runs depends on where it comes from; sums that the compiler may reorder differ between them.
"""

import os
import subprocess
import sys

CODE = """
import hashlib, sys
import torch
sys.path[:0] = {paths!r}
from helpers import prompt, tiny_model, tiny_tokenizer
from menon.engines.decoding.draw_kernel import drawn_by_kernel
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.types import Request, Sampling
from scripted import written_by

torch.set_num_threads(1)
torch.manual_seed(0)
found = []
for width in (33, 300, 1000):
    logits, uniform = 3 * torch.randn(64, width), torch.rand(64, dtype=torch.float64)
    found.append(drawn_by_kernel(logits, uniform, torch.ones(64))[1])
sampler = TorchSampler(tiny_model(vocab=40), tiny_tokenizer(40), seed=3, slots=7)
asked = [Request(prompt(index, [1, 2, 3], vocab=40), Sampling(20)) for index in range(12)]
done = {{one.request.prompt.index: one for one in written_by(sampler, asked)}}
found += [torch.from_numpy(done[index].logp) for index in range(12)]
print(hashlib.sha256(b"".join(one.numpy().tobytes() for one in found)).hexdigest())
"""


def test_a_kernel_from_disk_gives_the_bits_of_the_one_that_was_compiled(tmp_path):
    code = CODE.format(paths=[path for path in sys.path if path])
    surroundings = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    def bits():
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=surroundings, capture_output=True, text=True, check=True).stdout

    first = bits()
    assert list(tmp_path.rglob("*.nbc"))
    assert bits() == first
