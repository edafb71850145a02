"""From logits to one token per row: temperature, top-k, top-p, inverse CDF."""

from typing import NamedTuple

import torch
from torch import Tensor

from menon.batch import sent
from menon.engines.decoding.draw_kernel import drawn_by_kernel, has_kernel


class Drawn(NamedTuple):
    """One entry per row, [n] each; the fields mean the same as in `Completion`."""

    token: Tensor
    logp: Tensor
    log_kept: Tensor
    entropy: Tensor
    mask: Tensor | None
    """[n, V] bool: the tokens that could be drawn; None: all of them."""


def draw(logits: Tensor, uniform: Tensor, temperature: Tensor, top_p: Tensor, top_k: Tensor) -> Drawn:
    """One token per row of `logits` [n, V] by one number in [0, 1) each (`uniform` [n], fp64).

    The token is the first whose cumulative probability exceeds the number, so it depends on its row alone.
    `temperature`, `top_p`, `top_k` are [n]; temperature 0 takes the most probable token (the first of equal
    ones) and gives log-probs at temperature 1. Keep the uniform numbers and the settings on the host, so that
    they can be read without waiting for the device of the logits.
    """
    truncated = (top_p < 1) | (top_k > 0)
    if not has_kernel(logits):
        return _drawn(logits.float(), uniform, temperature, top_p, top_k)
    token, numbers = drawn_by_kernel(logits, uniform, temperature)
    logp, log_kept, entropy = numbers.unbind(-1)
    whole = Drawn(token, logp, log_kept, entropy, None)
    if not truncated.any():
        return whole
    # A row takes the same way in any company, or its bits would depend on it.
    cut = _drawn(logits.float(), uniform, temperature, top_p, top_k)
    return Drawn(
        token=torch.where(truncated, cut.token, token),
        logp=torch.where(truncated, cut.logp, logp),
        log_kept=torch.where(truncated, cut.log_kept, log_kept),
        entropy=torch.where(truncated, cut.entropy, entropy),
        mask=cut.mask,
    )


def _drawn(logits: Tensor, uniform: Tensor, temperature: Tensor, top_p: Tensor, top_k: Tensor) -> Drawn:
    """The same by PyTorch's operations."""
    device, greedy = logits.device, temperature == 0
    warm, cold, truncated = (
        bool(asked.any()) for asked in (temperature != 1, greedy, (top_p < 1) | (top_k > 0))
    )
    if warm:
        greedy = sent(greedy, device)
        logits = logits / torch.where(greedy, 1, sent(temperature, device))[:, None]
    logp = torch.log_softmax(logits, dim=-1)
    p = logp.exp()
    entropy = _entropy(p, logp)
    kept, cut, mask = p, None, None
    if truncated:
        mask = kept_by(p, sent(top_p, device), sent(top_k, device))
        mask = mask | greedy[:, None] if cold else mask
        kept, cut = torch.where(mask, p, 0), ~mask.all(-1)
    cumulative = kept.cumsum(-1, dtype=torch.float64)
    mass = cumulative[:, -1:]
    # A number is at most 1 - 2^-53, so the product stays below the whole mass; only a row of NaN runs beyond
    # the last token.
    token = torch.searchsorted(cumulative, sent(uniform, device)[:, None] * mass, right=True)[:, 0]
    token = token.clamp_(max=logits.shape[-1] - 1)
    if cold:
        token = torch.where(greedy, logits.argmax(-1), token)
    log_kept = (
        torch.zeros_like(entropy) if cut is None else torch.where(cut, mass[:, 0].log(), 0).to(logp.dtype)
    )
    return Drawn(token, logp.gather(-1, token[:, None])[:, 0], log_kept, entropy, mask)


def kept_tokens(mask: Tensor, count: int) -> Tensor:
    """[n, V] bool -> [n, count] the tokens of each row in which it holds, then -1; only -1 where it holds in
    the whole row. No other row has more than `count`."""
    held, tokens = mask.float().topk(min(count, mask.shape[-1]), dim=-1)
    tokens = tokens.masked_fill((held == 0) | mask.all(-1, keepdim=True), -1)
    return torch.nn.functional.pad(tokens, (0, count - tokens.shape[-1]), value=-1)


def most_probable(logits: Tensor, temperature: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """[n, count] the most probable tokens of each row, the most probable one first, and their log-probs at
    the row's temperature (at 1 where it is 0); for the place of `temperature` [n] see `draw`."""
    warm = torch.where(temperature == 0, 1, temperature)
    logp = torch.log_softmax(logits.float() / sent(warm, logits.device)[:, None], dim=-1)
    found = logp.topk(min(count, logits.shape[-1]), dim=-1)
    return found.indices, found.values


def temperature_by_entropy(logits: Tensor, temperature: Tensor, forking: Tensor, threshold: Tensor) -> Tensor:
    """[n] `forking` where it is a number and the entropy at temperature 1 is above `threshold`, else
    `temperature`; for the place of the three see `draw`."""
    if bool(forking.isnan().all()):
        return temperature
    temperature, forking, threshold = (
        sent(setting, logits.device) for setting in (temperature, forking, threshold)
    )
    uncertain = entropy_of(torch.log_softmax(logits.float(), dim=-1)) > threshold
    return torch.where(uncertain & ~forking.isnan(), forking, temperature)


def entropy_of(logp: Tensor) -> Tensor:
    """[n, V] -> [n], in nats."""
    return _entropy(logp.exp(), logp)


def _entropy(p: Tensor, logp: Tensor) -> Tensor:
    return -(p * logp.clamp(min=torch.finfo(logp.dtype).min)).sum(-1)  # the clamp: 0 * -inf is NaN


def kept_by(p: Tensor, top_p: Tensor, top_k: Tensor) -> Tensor:
    """[n, V] bool: the `top_k` most probable tokens (0: all); of those, renormalised, the fewest whose mass
    reaches `top_p`.

    Equal probabilities are ordered as in the vocabulary, so exactly k tokens are left. The most probable
    token always stays.
    """
    ranked, order = p.double().sort(dim=-1, descending=True, stable=True)
    vocabulary = p.shape[-1]
    rank = torch.arange(vocabulary, device=p.device)
    among_k = rank < torch.where(top_k > 0, top_k, vocabulary)[:, None]
    ranked = torch.where(among_k, ranked, 0)
    before = ranked.cumsum(-1) - ranked
    in_nucleus = (before < top_p[:, None] * ranked.sum(-1, keepdim=True)) | (top_p >= 1)[:, None]
    return torch.zeros_like(p, dtype=torch.bool).scatter(-1, order, among_k & in_nucleus)
