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


@pytest.mark.parametrize(
    ("improvement", "verdict"),
    [
        (Estimate(0.75, 0.51, 1.0), Verdict.BETTER),
        (Estimate(0.74, 0.51, 1.0), Verdict.OPEN),
        (Estimate(0.75, 0.50, 1.0), Verdict.OPEN),
        (Estimate(0.40, 0.20, 0.49), Verdict.WORSE),
        (Estimate(0.40, 0.20, 0.50), Verdict.OPEN),
    ],
)
def test_the_first_rule_looked_at_the_improvement_only(improvement: Estimate, verdict: Verdict) -> None:
    assert Difference(improvement, Estimate(0, -1, 1), p_value=0.5).first_verdict == verdict
