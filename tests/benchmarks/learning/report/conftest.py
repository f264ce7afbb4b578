import json
from pathlib import Path

import pytest

from benchmarks.learning.report import pages
from benchmarks.learning.report.findings import Findings
from tests.benchmarks.learning.report.made_up_runs import (
    HELD_OUT_PLAN,
    STUDIES,
    THROUGHPUT,
    all_records,
    analyse_runs,
    held_out_records,
)


@pytest.fixture(scope="session")
def findings() -> Findings:
    """Analyse all runs once, since that takes long."""
    return analyse_runs(all_records(), throughput=json.loads(THROUGHPUT.read_text()), studies=STUDIES)


@pytest.fixture(scope="session")
def held_out_findings() -> Findings:
    """Analyse runs on the held-out environments alone, of which none is missing."""
    return analyse_runs(held_out_records(), HELD_OUT_PLAN)


@pytest.fixture(scope="session")
def findings_without_a_run() -> Findings:
    """Analyse the same runs, but for one."""
    return analyse_runs(held_out_records()[:-1], HELD_OUT_PLAN)


@pytest.fixture(scope="session")
def report(findings: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    pages.write(findings, folder)
    return folder
