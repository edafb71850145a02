"""Methods that draw from the optimum: numbers worked out by hand, what they refuse, where they fall short."""

import math
from dataclasses import replace

import numpy as np
import pytest

from helpers import ALPHABET, prompt, tiny_model, tiny_tokenizer
from menon.batch import pack
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.torch_scorer import TorchScorer
from menon.errors import UserError
from menon.rollout.posterior import RSO, SIR, BestOfN, IndependentMH, Power, Rejection, SuffixMH
from menon.rollout.posterior.acceptance import log_lengths, within_target
from menon.rollout.posterior.mixing import of_values
from menon.rollout.posterior.target import Target
from menon.rollout.posterior.weights import bound_on_kl, effective_size, log_mean_exp, normalised
from menon.rollout.posterior.writer import Ending, Writer
from menon.types import Graded, Request, Rollout, Sampling, Verdict
from scripted import ScriptedSampler, complete, question

SAMPLING = Sampling(max_new_tokens=30)


def graded(text, score=0.0, finish="stop"):
    rollout = Rollout.of(complete(Request(question(0), SAMPLING), text), group=0)
    return Graded(replace(rollout, finish=finish), Verdict(score, math.nan))


def target_of(script=lambda request: "x", score=lambda text: 0.0, **settings):
    return Target(
        ScriptedSampler(script), lambda rollout: Verdict(score(rollout.text), math.nan), SAMPLING, **settings
    )


def test_the_optimum_of_a_binary_reward():
    """One right answer in ten, or one in two: P*(right), and beta log Z."""
    for rate, beta, right, value in [
        (1, 1.0, 0.231969, 0.158565),
        (1, 0.5, 0.450853, 0.247014),
        (1, 0.1, 0.999592, 0.769782),
        (5, 1.0, 0.731059, None),
        (5, 0.5, 0.880797, None),
        (5, 0.1, 0.999955, None),
    ]:
        logs = [1 / beta] * rate + [0.0] * (10 - rate)
        weights = normalised(logs)
        assert weights[:rate].sum() == pytest.approx(right, abs=1e-6)
        if value is not None:
            assert beta * log_mean_exp(logs) == pytest.approx(value, abs=1e-6)


def test_weights_and_their_effective_size():
    weights = normalised([2.0, 0.0, 0.0])
    assert weights.tolist() == pytest.approx([0.786986, 0.106507, 0.106507], abs=1e-6)
    assert effective_size(weights) == pytest.approx(1.557549, abs=1e-6)
    assert normalised([-math.inf, -math.inf]) is None
    assert normalised([-math.inf, 3.0]).tolist() == [0, 1]
    assert [bound_on_kl(n) for n in (2, 4, 16, 64)] == pytest.approx(
        [0.193147, 0.636294, 1.835089, 3.174508], abs=1e-6
    )


def test_acceptance_of_new_endings():
    """Beta .5: from 0 to 1 with twice the length is 2 - log 2 > 0; the way back is 2 e^-2 = .270671."""
    target = target_of(beta=0.5)
    short, long = graded("x" * 9, 0.0), graded("x" * 19, 1.0)  # with their end tokens 10 and 20
    up = within_target(target, short, long, log_lengths(short, long))
    assert up == pytest.approx(2 - math.log(2))
    assert min(1, math.exp(up)) == 1
    down = within_target(target, long, short, log_lengths(long, short))
    assert math.exp(down) == pytest.approx(0.270671, abs=1e-6)


def test_the_log_of_an_acceptance_is_bounded_and_the_target_is_never_left():
    target = target_of(beta=0.01)
    low, high, cut, failed = (
        graded("x", 0.0),
        graded("y", 1.0),
        graded("z", 1.0, "length"),
        graded("w", math.nan),
    )
    assert within_target(target, low, high) == 20
    assert within_target(target, high, low) == -20
    for outside in (cut, failed):
        assert within_target(target, low, outside) == -math.inf
        assert within_target(target, outside, low) == 0
        assert within_target(target, outside, outside) == 0
    assert within_target(replace(target, truncated="score"), low, cut) == 20


def test_a_new_ending_is_a_whole_answer_of_the_policy():
    target = target_of(lambda request: "7" if len(request.prefix) else "3+4=8")
    with target.open() as writer:
        [[first]] = writer.groups([question(0)], 1)
        [new] = writer.endings([Ending(first, 4, (1,))])
    assert new.rollout.text == "3+4=7"
    assert new.rollout.answer_tokens.tolist() == [*map(ord, "3+4=7"), 0]
    assert new.rollout.num_actions == 6
    assert len(new.rollout.logp) == len(new.rollout.tokens)
    assert new.rollout.logp[: len(first.rollout.prompt.tokens)].tolist() == [0] * len(question(0).tokens)
    assert new.rollout.logp[-6:-2].tolist() == first.rollout.logp[-6:-2].tolist()
    [request] = [request for request in target.sampler.asked if len(request.prefix)]
    assert request.sampling.max_new_tokens == 26


def test_chains_count_the_tokens_that_were_written():
    """Two chains of one first answer "ab" and 3 proposals each: cuts are random, new text is "c"."""
    target = target_of(lambda request: "c" if len(request.prefix) else "ab")
    (found,) = SuffixMH(chains=2, burn_in=1, thin=2)([question(0)], target, 2)
    asked = target.sampler.asked
    assert len(asked) == 8
    written = sum(2 if len(request.prefix) else 3 for request in asked)
    assert float(found.metrics["tokens"]) == written
    assert [(draw.chain, draw.step, draw.weight) for draw in found.draws] == [(0, 3, 0.5), (1, 3, 0.5)]
    assert len(found.prior) == 2


def test_rejection_says_that_nothing_was_accepted():
    target = target_of(score=lambda text: 0.0, beta=0.01)
    (found,) = Rejection(max_tries=50)([question(0)], target, 4)
    assert found.draws == ()
    assert found.note == "0 of 4 draws were accepted among 50 answers; raise beta or method.max_tries"
    assert float(found.metrics["acceptance"]) == 0
    assert float(found.metrics["tokens"]) == 100
    assert len(found.prior) == 4  # the first round, whose size does not depend on what was accepted


def test_rejection_needs_a_bound_of_the_reward():
    with pytest.raises(UserError) as error:
        Rejection()([question(0)], target_of(score=lambda text: 2.5), 1)
    assert str(error.value) == (
        "rejection takes rewards for at most 1, and an answer got 2.5; set method.max_reward to the largest "
        "reward there is"
    )
    (found,) = Rejection(max_reward=2.5)([question(0)], target_of(score=lambda text: 2.5), 3)
    assert len(found.draws) == 3


def test_a_chain_that_never_ends_by_itself_gives_no_draw():
    target = target_of(lambda request: "x" * 30)
    target = replace(target, sampler=Endless())
    for method in (SuffixMH(chains=2, burn_in=1, thin=1), IndependentMH(chains=2, burn_in=1, thin=1)):
        (found,) = method([question(0)], target, 2)
        assert found.draws == ()
        assert found.note == (
            "0 of 2 draws have a state that the target can give; raise method.burn_in or max_new_tokens"
        )
    for method in (SIR(4), BestOfN(2), RSO(4)):
        (found,) = method([question(0)], target, 2)
        assert found.draws == ()
        assert found.note.startswith("0 of 2 draws were possible")
    (found,) = SuffixMH(chains=2, burn_in=1, thin=1)([question(0)], replace(target, truncated="score"), 2)
    assert len(found.draws) == 2


class Endless(ScriptedSampler):
    """Every answer is cut at the limit."""

    def __init__(self) -> None:
        super().__init__(lambda request: "x")

    def write(self, requests):
        for completion in super().write(requests):
            count = completion.request.sampling.max_new_tokens
            yield replace(
                completion,
                tokens=np.full(count, 120, dtype=np.int32),
                logp=np.full(count, -1, dtype=np.float32),
                log_kept=None,
                entropy=None,
                version=np.zeros(count, dtype=np.int32),
                finish="length",
            )


def test_equal_best_answers_are_drawn_alike():
    """Of four answers two have the highest reward; each has half of 400 draws, within 4 deviations of 10."""
    target = target_of(
        lambda request: "abcd"[request.sample % 4], lambda text: {"b": 1.0, "c": 1.0}.get(text, 0.0)
    )
    (found,) = BestOfN(candidates=4)([question(0)], target, 400)
    texts = [draw.graded.rollout.text for draw in found.draws]
    assert set(texts) == {"b", "c"}
    assert abs(texts.count("b") - 200) < 40


def test_rso_never_draws_a_candidate_twice_and_refuses_too_many():
    target = target_of(lambda request: "abcd"[request.sample], lambda text: float(text == "a"), beta=0.1)
    (found,) = RSO(candidates=4)([question(0)], target, 4)
    assert sorted(draw.graded.rollout.text for draw in found.draws) == list("abcd")
    assert found.draws[0].graded.rollout.text == "a"  # the best is always accepted
    with pytest.raises(UserError) as error:
        RSO(candidates=4)([question(0)], target, 5)
    assert "5 of 4 candidates; lower draws, or raise method.candidates" in str(error.value)


def test_autocorrelation_and_effective_size():
    """0, 0, 1, 1 of one chain: covariances .25 (4, 1, -2, -1), so the time is -1 + 2 (1 + .25) = 1.5 by the
    first pair, and the next pair is negative."""
    found = of_values(np.array([[0.0], [0.0], [1.0], [1.0]]), draws=4)
    assert float(found["autocorrelation"]) == pytest.approx(0.25)
    assert float(found["ess"]) == pytest.approx(4 / 1.5)
    assert float(of_values(np.array([[0.0], [1.0], [0.0], [1.0]]), draws=2)["ess"]) == 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"beta": 0.0}, "beta is 0.0; it weighs the model against the reward and is positive"),
        ({"sampling": Sampling(temperature=0)}, "at temperature 0 there is one answer only"),
    ],
)
def test_targets_that_are_refused(settings, words):
    with pytest.raises(UserError) as error:
        replace(target_of(), **settings)
    assert words in str(error.value)


def test_power_sampling_refuses_another_prior():
    with pytest.raises(UserError, match=r"set temperature=1 and top_p=1"):
        Power()([question(0)], replace(target_of(), sampling=Sampling(temperature=0.7)), 1)
    with pytest.raises(UserError, match=r"alpha is 0\.5; power sampling sharpens"):
        Power(alpha=0.5)
    with pytest.raises(UserError, match="needs the log-probs of a model in this process"):
        Power(chains=1)([question(0)], target_of(), 1)


@pytest.fixture(scope="module")
def sampler():
    size = len(ALPHABET) + 1
    return TorchSampler(tiny_model("qwen3", vocab=size), tiny_tokenizer(size), seed=3)


def test_draws_do_not_depend_on_other_prompts(sampler):
    """Also with a cache of earlier answers, and with chains of different lengths beside them."""
    target = Target(sampler, lambda rollout: Verdict(len(rollout.text) % 3 / 2, math.nan), Sampling(12), 0.5)
    one, other = prompt(0, [1, 10, 1, 14]), prompt(1, [20, 21, 22])
    target = replace(target, truncated="score")
    for method in (SuffixMH(2, 3, 1), IndependentMH(2, 3, 1), SIR(6), Rejection(max_tries=200), RSO(6)):
        (alone,) = method([one], target, 4)
        beside, _ = method([one, other], target, 4)
        assert [draw.graded.rollout.tokens.tolist() for draw in alone.draws] == [
            draw.graded.rollout.tokens.tolist() for draw in beside.draws
        ]
        assert [draw.step for draw in alone.draws] == [draw.step for draw in beside.draws]
        assert len(alone.draws) == 4


def test_log_probs_of_a_joined_answer_are_those_of_the_model(sampler):
    """An answer made of pieces has the log-probs that the model gives to it as a whole."""
    asked = prompt(0, [1, 10, 1, 14])
    target = Target(sampler, lambda rollout: Verdict(0.0, math.nan), Sampling(12), truncated="score")
    with target.open() as writer:
        [[first]] = writer.groups([asked], 1)
        [second] = writer.endings([Ending(first, 5, (1,))])
        [third] = writer.endings([Ending(second, 3, (2,))])
        [same] = Writer(writer.stream, writer.grade, writer.sampling).endings([Ending(third, 0, (3,))])
    assert (
        third.rollout.tokens[: len(asked.tokens) + 3].tolist()
        == second.rollout.tokens[: len(asked.tokens) + 3].tolist()
    )
    scored = TorchScorer(sampler.model).score(pack([second, third, same]), ("logp",))["logp"].numpy()
    written = np.concatenate([one.rollout.logp for one in (second, third, same)])
    assert np.abs(scored - written).max() < 1e-4
