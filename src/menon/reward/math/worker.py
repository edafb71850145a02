"""The functions that a worker of the math verifier calls. Importing this module loads everything that they
need, before workers are forked."""

from menon.reward.math import symbolic as math_symbolic
from menon.reward.math.compare import compare_answers

for text in (
    r"\int_{0}^{1} x^2 dx",
    r"\sum_{k=1}^{n} \frac{k}{2}",
    r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
):
    # The parser learns its grammar while it reads; what it learns here, all workers know.
    math_symbolic.parse(text)
math_symbolic.verify()

__all__ = ["compare_answers"]
