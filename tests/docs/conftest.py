import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tests.docs import ROOT

COMMAND = ["-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "--builder", "html"]
"""the command of ``make docs``"""


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Build the site once for all workers.

    :return: a folder with the site and ``sphinx.txt``, the output of Sphinx
    """
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "docs"
    folder.mkdir(exist_ok=True)
    output = folder / "sphinx.txt"
    with FileLock(folder / "lock"):
        if not output.exists():
            done = subprocess.run(
                [sys.executable, *COMMAND, ROOT / "docs", folder / "site"], capture_output=True, text=True, cwd=ROOT
            )
            output.write_text(f"{done.stdout}{done.stderr}exit code {done.returncode}\n")
    return folder


@pytest.fixture(scope="session")
def site(build: Path) -> Path:
    return build / "site"
