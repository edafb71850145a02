from typing import Any

import torch

from helpers import tiny_model
from menon.engines.llama_family import decoder_of

V = 40


def test_other_networks_are_left_to_their_own_forward():
    assert decoder_of(tiny_model("gpt2", vocab=V)) is None
    assert decoder_of(tiny_model("llama", vocab=V, hidden_act="gelu")) is None
    assert (
        decoder_of(
            tiny_model(
                "llama", vocab=V, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
            )
        )
        is None
    )
    scaled = tiny_model("llama", vocab=V)
    scaled.model.layers[1].self_attn.q_proj.register_forward_hook(lambda module, inputs, output: output * 1.1)
    assert decoder_of(scaled) is None
    wrapped: Any = tiny_model("llama", vocab=V)
    wrapped.model.layers[0].mlp.up_proj = torch.nn.Sequential(wrapped.model.layers[0].mlp.up_proj)
    assert decoder_of(wrapped) is None
    broken = tiny_model("llama", vocab=V)
    with torch.no_grad():
        broken.get_input_embeddings().weight[:] = float("nan")
    assert decoder_of(broken) is None
