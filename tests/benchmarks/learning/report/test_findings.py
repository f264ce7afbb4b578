import pytest

from benchmarks.learning.report.findings import Comparison, Difference, Verdict
from benchmarks.learning.statistics import Estimate


@pytest.mark.parametrize(
    ("improvement", "low", "high", "corrected_p", "verdict"),
    [
        (0.75, 0.1, 9.0, 0.049, Verdict.BETTER),
        (0.74, 0.1, 9.0, 0.049, Verdict.OPEN),
        (0.75, 0.0, 9.0, 0.049, Verdict.OPEN),
        (0.75, 0.1, 9.0, 0.050, Verdict.OPEN),
        (0.40, -9.0, -0.1, 0.049, Verdict.WORSE),
        (0.40, -9.0, 0.0, 0.049, Verdict.OPEN),
        (0.40, -9.0, -0.1, 0.050, Verdict.OPEN),
    ],
)
def test_verdicts_follow_the_rule(
    improvement: float, low: float, high: float, corrected_p: float, verdict: Verdict
) -> None:
    probability, iqm = Estimate(improvement, 0.3, 0.9), Estimate((low + high) / 2, low, high)
    decisive = Difference(probability, iqm, p_value=0.001, corrected_p=corrected_p)
    other = Difference(Estimate(0.5, 0.4, 0.6), Estimate(0, -1, 1), p_value=0.5)
    comparison = Comparison("e", "x", "y", 9, 9, True, {"area": decisive, "final score": other})
    assert comparison.verdict == verdict
    assert comparison.verdict_by("final score") == Verdict.OPEN
    incomplete = Comparison("e", "x", "y", 9, 9, False, {"area": decisive})
    assert incomplete.verdict == Verdict.INCOMPLETE
