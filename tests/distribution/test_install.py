"""The packages that ``make dist`` builds work with the lowest and the newest versions of their requirements."""

import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sb3_a2c_td.version import __version__
from tests.test_types import PROGRAM

pytestmark = pytest.mark.dist

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = [ROOT / "dist" / f"sb3_a2c_td-{__version__}{ending}" for ending in ("-py3-none-any.whl", ".tar.gz")]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def lowest_version(specifiers: SpecifierSet) -> str:
    (version,) = [each.version for each in specifiers if each.operator == ">="]
    return version


REQUIREMENTS = [Requirement(text) for text in PROJECT["dependencies"]]
LOWEST = [f"{each.name}=={lowest_version(each.specifier)}" for each in REQUIREMENTS]


@pytest.fixture
def folder() -> Iterator[Path]:
    # pytest keeps the folders of its last runs, which would be gigabytes
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


@pytest.mark.parametrize(
    "constraints",
    [
        pytest.param(
            LOWEST,
            id="lowest",
            marks=pytest.mark.skipif(
                lowest_version(SpecifierSet(PROJECT["requires-python"])) != PYTHON,
                reason="newer Pythons need newer packages",
            ),
        ),
        pytest.param([], id="newest"),
    ],
)
def test_wheel_and_sdist_install_and_work(constraints: list[str], folder: Path) -> None:
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    (folder / "constraints.txt").write_text("\n".join(constraints))
    wheel, sdist = PACKAGES
    pip = [python, "-I", "-m", "pip", "--quiet"]
    run([*pip, "install", "--constraint", folder / "constraints.txt", f"{wheel}[cli,plots]"], folder)
    run([*pip, "check"], folder)
    smoke = [python, "-I", ROOT / "tests" / "distribution" / "smoke.py", __version__]
    run(smoke, folder)
    (folder / "program.py").write_text(PROGRAM)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file="]
    run([*mypy, "--python-executable", python, folder / "program.py"], folder)
    run([*pip, "install", "--no-deps", "--force-reinstall", sdist], folder)
    run(smoke, folder)


def run(command: list[str | Path], folder: Path) -> None:
    environment = {**os.environ, "MPLBACKEND": "agg"}
    subprocess.run(command, cwd=folder, env=environment, check=True)
