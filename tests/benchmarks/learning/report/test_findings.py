import pytest

from benchmarks.learning.report.findings import Comparison, Verdict
from benchmarks.learning.statistics import Estimate


@pytest.mark.parametrize(
    ("improvement", "is_complete", "verdict"),
    [
        ((0.75, 0.51, 0.9), True, Verdict.BETTER),
        ((0.74, 0.51, 0.9), True, Verdict.OPEN),
        ((0.80, 0.50, 0.9), True, Verdict.OPEN),
        ((0.30, 0.10, 0.49), True, Verdict.WORSE),
        ((0.30, 0.10, 0.50), True, Verdict.OPEN),
        ((1.00, 1.00, 1.0), False, Verdict.INCOMPLETE),
        ((0.00, 0.00, 0.0), False, Verdict.INCOMPLETE),
    ],
)
def test_verdicts_follow_the_rule(improvement: tuple[float, float, float], is_complete: bool, verdict: Verdict) -> None:
    probability, other = Estimate(*improvement), Estimate(0.5, 0.4, 0.6)
    zero = Estimate(0, 0, 0)
    assert Comparison("e", "x", "y", 9, 9, is_complete, probability, other, zero, 0.5).verdict == verdict
    assert Comparison("e", "x", "y", 9, 9, is_complete, other, probability, zero, 0.5).final_verdict == verdict
