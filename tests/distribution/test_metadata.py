"""What the files around the package say of it agrees with each other."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from sb3_a2c_td.version import __version__

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHON = "Programming Language :: Python :: "
PYTHONS = [
    Version(name.removeprefix(PYTHON)) for name in PROJECT["classifiers"] if re.fullmatch(rf"{PYTHON}3\.\d+", name)
]


def test_the_version_is_a_release() -> None:
    version = Version(__version__)
    assert (str(version), len(version.release), version.is_prerelease) == (__version__, 3, False)


def test_the_pythons_are_those_from_the_lowest_on() -> None:
    lowest = min(PYTHONS)
    assert SpecifierSet(f">={lowest}") == SpecifierSet(PROJECT["requires-python"])
    assert [python.minor for python in PYTHONS] == list(range(lowest.minor, lowest.minor + len(PYTHONS)))


def test_the_workflow_runs_the_same_with_each_python() -> None:
    (job,) = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"].values()
    assert [Version(python) for python in job["strategy"]["matrix"]["python"]] == PYTHONS
    setup, *_ = [step["with"] for step in job["steps"] if "setup-python" in step.get("uses", "")]
    assert setup["python-version"] == "${{ matrix.python }}"
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation.keys() >= {"cff-version", "message", "title", "authors"}  # what the format requires
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["version"] == __version__
    assert citation["license"] == PROJECT["license"]
    assert citation["title"].startswith(f"{PROJECT['name']}: ")
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]
