"""The studies that tuned the arms: their budgets, and how good fewer trials would have been."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learning.report.findings import StudyFindings
from benchmarks.learning.report.overview import GENERAL, TUNED, TUNED_A2C
from benchmarks.learning.statistics import expected_best

ARM_OF_FOLDER = {".": TUNED, "a2c": TUNED_A2C, "first": "tda2c-tuned-first"}
"""arm whose settings the studies of one environment found, by their folder"""


def load_studies(folder: Path) -> list[StudyFindings]:
    """Read the studies, sorted by path: those of TDA2C, the general one, those of A2C.

    :param folder: folder of the studies
    """
    studies = []
    for path in sorted(folder.rglob("*.json"), key=lambda path: (path.parent, path)):
        arm = GENERAL if path.stem == "general" else ARM_OF_FOLDER[path.parent.relative_to(folder).as_posix()]
        studies.append(_study(arm, json.loads(path.read_text())))
    return studies


def _study(arm: str, result: dict[str, Any]) -> StudyFindings:
    # one that was running when the study ended does not count
    trials = [trial["running_means"] for trial in result["trials"] if trial["state"] in ("COMPLETE", "PRUNED")]
    scores = np.array([means[-1] for means in trials])
    # a diverged run counts as the worst one
    worst = scores[np.isfinite(scores)].min()
    return StudyFindings(
        arm=arm,
        environments=tuple(result["environments"]),
        n_trials=len(trials),
        n_runs=sum(map(len, trials)) + sum(len(finalist["scores"]) for finalist in result["finalists"]),
        core_hours=result.get("core_hours"),
        score=float(np.mean(result["best"]["scores"])),
        best_of=expected_best(np.maximum(scores, worst)),
    )
