"""Teacher's logits [2, 1, 0], student's [1, 1, .5]: the numbers of docs/numerics.md, 19.5.

At T = 1 p = (.665241, .244728, .090031) and q = (.383652, .383652, .232697).
"""

import pytest
import torch

from menon.errors import UserError
from menon.loss import Distill
from menon.loss.aggregation import TokenMean
from menon.update.terms import Term
from rows import batch_of, loss_and_metrics

STUDENT = torch.tensor([[1.0, 1.0, 0.5], [0.3, -2.0, 1.0]], dtype=torch.float64)
TEACHER = torch.tensor([[2.0, 1.0, 0.0], [0.3, -2.0, 1.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Distill("forward"), 0.170640),
        (Distill("reverse"), 0.182282),
        (Distill("jsd", beta=0.5), 0.043200),
        (Distill("forward", temperature=2), 0.048409),
        (Distill("reverse", temperature=2), 0.048383),
        (Distill("jsd", temperature=2), 0.012035),
        (Distill("jsd", beta=0), 0.170640),
        (Distill("jsd", beta=1), 0.182282),
    ],
)
def test_values(part, expected):
    assert part.between(STUDENT, TEACHER).tolist() == pytest.approx([expected, 0], abs=1e-6)


def test_the_two_ends_of_jsd():
    """D / b -> forward for b -> 0, D / (1 - b) -> reverse for b -> 1."""
    for beta, size, expected in ((1e-6, 1e-6, 0.170640), (1 - 1e-6, 1e-6, 0.182282)):
        assert float(Distill("jsd", beta).between(STUDENT, TEACHER)[0]) / size == pytest.approx(
            expected, abs=1e-5
        )


def test_gradients():
    """forward: q - p; reverse: q (log q / p - D); jsd with b = 1/2: q (log q / m - KL(q || m)) / 2."""
    p, q = TEACHER.softmax(-1), STUDENT.softmax(-1)
    m = (p + q) / 2

    def centred(gap: torch.Tensor) -> torch.Tensor:
        return q * (gap - (q * gap).sum(-1, keepdim=True))

    expected = {"forward": q - p, "reverse": centred((q / p).log()), "jsd": centred((q / m).log()) / 2}
    for divergence, gradient in expected.items():
        logits = STUDENT.clone().requires_grad_()
        Distill(divergence).between(logits, TEACHER).sum().backward()
        assert torch.allclose(logits.grad, gradient, atol=1e-12), divergence
        assert float(gradient.abs().max()) > 0.05


def test_t2_scale_keeps_the_gradient_s_size():
    """T^2 times 0.048409; for T -> infinity T^2 times the gradient is that of half the squared distance of
    centred logits, over their number: (z - z_teacher - mean) / V."""
    batch = batch_of([[1]])
    part = Distill(temperature=2, t2_scale=True)
    now = {repr(part): torch.tensor([9, 0.048409], dtype=torch.float64)}
    assert part(now, batch).tolist() == pytest.approx([0, 0.193636])
    logits = STUDENT.clone().requires_grad_()
    (1000**2 * Distill(temperature=1000).between(logits, TEACHER)).sum().backward()
    gap = STUDENT - TEACHER
    assert torch.allclose(logits.grad, (gap - gap.mean(-1, keepdim=True)) / 3, atol=2e-3)


@pytest.mark.parametrize(("rest", "expected"), [("bucket", 0.161821), ("renormalise", 0), ("zero", 0.958019)])
def test_top_1_by_hand(rest, expected):
    """The likeliest token of the teacher alone, p = .665241 and q = .383652.

    bucket: .665241 log(.665241 / .383652) + .334759 log(.334759 / .616348) = .366150 - .204330 = .161820.
    renormalise: both are 1, so 0. zero: -log .383652 = .958019.
    """
    got = Distill("forward", top_k=1, rest=rest).between(STUDENT, TEACHER)
    assert float(got[0]) == pytest.approx(expected, abs=2e-6)


def test_top_2_renormalised_and_in_a_bucket():
    """p over two = (.731059, .268941), q = (.5, .5): KL(q || p) = .5 log(.25 / (.731059 x .268941)), that is
    .120115. With a bucket of one token nothing is lost."""
    part = Distill("reverse", top_k=2, rest="renormalise")
    assert float(part.between(STUDENT, TEACHER)[0]) == pytest.approx(0.120115, abs=1e-6)
    bucket = Distill("reverse", top_k=2)
    assert torch.allclose(bucket.between(STUDENT, TEACHER), Distill("reverse").between(STUDENT, TEACHER))
    for many in (3, 50):
        whole = Distill("jsd", top_k=many, rest="renormalise").between(STUDENT, TEACHER)
        assert torch.equal(whole, Distill("jsd").between(STUDENT, TEACHER))


def test_zero_is_the_limit_of_a_teacher_without_the_rest():
    cut = TEACHER.clone()
    cut[0, 2] = cut[1, 1] = -60  # the unlikeliest ones
    for part in (Distill("forward", top_k=2, rest="zero"), Distill("jsd", 0.3, top_k=2, rest="zero")):
        whole = Distill(part.divergence, part.beta).between(STUDENT, cut)
        assert torch.allclose(part.between(STUDENT, TEACHER), whole, atol=1e-12)


def test_padding_of_either_model_does_not_count():
    padded = torch.cat([TEACHER, torch.full((2, 5), 7.0, dtype=torch.float64)], -1)
    whole = Distill().between(STUDENT, TEACHER)
    assert torch.equal(Distill().between(STUDENT, padded), whole)
    logits = torch.cat([STUDENT, torch.full((2, 2), 7.0, dtype=torch.float64)], -1).requires_grad_()
    Distill("reverse").between(logits, TEACHER).sum().backward()
    assert logits.grad[:, 3:].abs().max() == 0
    assert logits.grad[:, :3].abs().max() > 0.05


@pytest.mark.parametrize(
    "part",
    [
        Distill("forward"),
        Distill("jsd"),
        Distill("forward", top_k=2),
        Distill("jsd", top_k=2, rest="zero"),
        Distill("reverse", top_k=1),
    ],
    ids=repr,
)
def test_tokens_that_a_model_excludes_give_no_nan(part):
    logits = torch.tensor([[0.0, -torch.inf, 3e4, 1.0]], requires_grad=True)
    part.between(logits, torch.tensor([[0.0, -1e4, -torch.inf, 30.0]])).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_as_a_term():
    batch = batch_of([[1, 1], [1, 0]])
    part = Distill("jsd", temperature=2, t2_scale=True)
    now = {repr(part): torch.tensor([9, 0.1, 0.2, 9, 0.6], dtype=torch.float64)}
    loss, metrics = loss_and_metrics(Term(part, TokenMean()), batch, now)
    assert float(loss) == pytest.approx(1.2)
    assert float(metrics["distill/divergence"]) == pytest.approx(0.3)


def test_asks_for_the_teacher_s_logits():
    (need,) = Distill().needs
    assert need.other == "teacher"
    assert need.name != Distill("reverse").needs[0].name
    with pytest.raises(ValueError, match="of a teacher"):
        need.reduce(STUDENT, None)


def test_what_cannot_be_is_refused():
    for wrong in ({"temperature": 0}, {"beta": 1.5}, {"top_k": -1}):
        with pytest.raises(UserError, match="must be positive, beta"):
            Distill(**wrong)
    for wrong in (Distill("forward", top_k=2), Distill("jsd", top_k=2)):
        assert wrong.rest == "bucket"
    for wrong in ({"divergence": "reverse"}, {"divergence": "jsd", "beta": 1}):
        with pytest.raises(UserError, match="the reverse KL is infinite; set rest=bucket"):
            Distill(top_k=2, rest="zero", **wrong)
