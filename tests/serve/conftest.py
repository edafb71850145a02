import pytest

pytest.importorskip("starlette")

import torch

from helpers import tiny_model, tiny_tokenizer
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.serve.app import create
from menon.serve.model import Served
from menon.serve.sessions import Sessions
from menon.serve.writer import ALTERNATIVES, Writer
from workbench_page import served as listening

TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }};{% endfor %}"
    "{% if add_generation_prompt %}>{% endif %}"
)


class Whole:
    """A tiny random model behind the protocol, at `address`."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.model = tiny_model(seed=5, context=256)
        tokenizer = tiny_tokenizer().__class__(tokenizer_object=tiny_tokenizer().backend_tokenizer)
        tokenizer.add_special_tokens({"eos_token": "<|endoftext|>"})
        tokenizer.chat_template = TEMPLATE
        self.tokenizer = tokenizer
        sampler = TorchSampler(self.model, tokenizer, slots=8, alternatives=ALTERNATIVES)
        self.served = Served(("tiny", "gpt-tiny"), Writer(sampler), tokenizer)
        self.app = create(self.served, sessions=Sessions(folder), reload=True)
        self.address = ""


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    torch.set_num_threads(1)
    made = Whole(tmp_path_factory.mktemp("sessions"))
    with listening(made.app) as address:
        made.address = address
        yield made
    made.served.writer.close()
