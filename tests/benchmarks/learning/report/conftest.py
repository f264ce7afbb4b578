import json
from pathlib import Path

import pytest

from benchmarks.learning.report import pages
from benchmarks.learning.report.findings import Findings
from tests.benchmarks.learning.report.made_up_runs import THROUGHPUT, all_records, analyse_runs


@pytest.fixture(scope="session")
def findings() -> Findings:
    return analyse_runs(all_records(), throughput=json.loads(THROUGHPUT.read_text()))


@pytest.fixture(scope="session")
def report(findings: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    pages.write(findings, folder)
    return folder
