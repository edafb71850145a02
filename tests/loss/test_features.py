"""Distances between the layers of two models, by hand."""

from math import log, sqrt

import pytest
import torch

from menon.errors import UserError
from menon.loss import AttentionMaps, Features
from menon.loss.layer_map import pairs_of

OWN = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 2.0]])
OTHER = torch.tensor([[1.0, 0.0, 2.0], [0.0, 3.0, 2.0]])


class TestStates:
    def test_mse_is_divided_by_the_width(self):
        assert Features().between([(OWN, OTHER)]).tolist() == pytest.approx([5 / 3, 3.0])

    def test_cosine(self):
        """7 / sqrt(14 * 5), and 4 / (2 * sqrt(13))."""
        expected = [1 - 7 / sqrt(70), 1 - 4 / (2 * sqrt(13))]
        assert Features("cosine").between([(OWN, OTHER)]).tolist() == pytest.approx(expected, rel=1e-5)

    def test_normalised_is_two_minus_two_correlations(self):
        """With mean 0 and variance 1 each, the mean square of the difference is 2 - 2 r. Of (1, 2, 3) and
        (1, 0, 2), r = 1 / sqrt(2 * 2) = .5."""
        found = Features("normalised").between([(OWN[:1], OTHER[:1])])
        assert found.tolist() == pytest.approx([1.0], rel=1e-4)

    @pytest.mark.parametrize("distance", ["cosine", "normalised"])
    def test_the_size_of_states_does_not_count(self, distance):
        part = Features(distance)
        apart = part.between([(7 * OWN, OTHER)])
        assert apart.tolist() == pytest.approx(part.between([(OWN, OTHER)]).tolist(), rel=1e-3)

    def test_pairs_are_summed_with_their_weights(self):
        part = Features(layers=((1, 1), (2, 2)), weights=(2.0, 0.5))
        assert part.between([(OWN, OTHER), (OTHER, OTHER + 1)]).tolist() == pytest.approx([10 / 3 + 0.5, 6.5])


class TestAttention:
    P = torch.tensor([[[0.5, 0.5, 0.0], [0.25, 0.75, 0.0]]])
    """[1, 2 heads, 3]; the third token comes later."""
    Q = torch.tensor([[[0.25, 0.75, 0.0], [0.5, 0.5, 0.0]]])

    def test_head_by_head(self):
        first = 0.5 * log(0.5 / 0.25) + 0.5 * log(0.5 / 0.75)
        second = 0.25 * log(0.25 / 0.5) + 0.75 * log(0.75 / 0.5)
        found = AttentionMaps().between([(self.Q, self.P)])
        assert found.tolist() == pytest.approx([(first + second) / 2], rel=1e-6)

    def test_other_numbers_of_heads_compare_their_means(self):
        """The mean of the teacher's heads is (.375, .625)."""
        one = torch.tensor([[[0.5, 0.5, 0.0]]])
        expected = 0.375 * log(0.375 / 0.5) + 0.625 * log(0.625 / 0.5)
        assert AttentionMaps().between([(one, self.P)]).tolist() == pytest.approx([expected], rel=1e-6)

    def test_later_tokens_have_no_gradient(self):
        q = self.Q.clone().requires_grad_()
        AttentionMaps().between([(q, self.P)]).sum().backward()
        assert q.grad is not None
        assert torch.isfinite(q.grad).all()
        assert torch.equal(q.grad[..., 2], torch.zeros(1, 2))


class TestMap:
    def test_uniform(self):
        """Layer j of N and layer j M / N of M, halves rounded up."""
        assert pairs_of("uniform", 4, 6, 0) == ((1, 2), (2, 3), (3, 5), (4, 6))
        assert pairs_of("uniform", 4, 2, 0) == ((1, 1), (2, 1), (3, 2), (4, 2))
        assert pairs_of("uniform", 6, 1, 0) == tuple((j, 1) for j in range(1, 7))

    def test_named_pairs(self):
        assert Features(layers=((0, 0), (2, 5))).pairs(2, 5) == ((0, 0), (2, 5))

    @pytest.mark.parametrize(
        ("part", "sentence"),
        [
            (Features(layers=((1, 7),)), "layers names layer 7 of the teacher, which has 0 to 6"),
            (Features(layers=((4, 1),)), "layers names layer 4 of the policy, which has 0 to 3"),
            (AttentionMaps(layers=((0, 1),)), "layers names layer 0 of the policy, which has 1 to 3"),
        ],
    )
    def test_layers_that_are_not_there(self, part, sentence):
        with pytest.raises(UserError, match=sentence):
            part.pairs(3, 6)

    def test_a_model_that_does_not_say_how_deep_it_is(self):
        with pytest.raises(UserError, match="does not say how many layers it has"):
            Features().pairs(0, 6)

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            ({"layers": ()}, "layers of features names no pair"),
            ({"weights": (1.0,)}, "weights of features belong to the pairs of layers"),
            ({"layers": ((1, 1), (2, 2)), "weights": (1.0,)}, "2 pairs of layers and 1 weights"),
        ],
    )
    def test_maps_that_fit_no_models(self, given, sentence):
        with pytest.raises(UserError, match=sentence):
            Features(**given)
