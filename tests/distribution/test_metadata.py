"""The files around the package agree on its versions, Pythons and commands."""

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


def test_version_is_a_release() -> None:
    version = Version(__version__)
    assert (str(version), len(version.release), version.is_prerelease) == (__version__, 3, False)


def test_classifiers_list_each_supported_python() -> None:
    lowest = min(PYTHONS)
    assert SpecifierSet(f">={lowest}") == SpecifierSet(PROJECT["requires-python"])
    assert [python.minor for python in PYTHONS] == list(range(lowest.minor, lowest.minor + len(PYTHONS)))


def test_workflow_runs_the_fast_tests_on_each_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    job = workflow["jobs"]["fast"]
    assert [Version(python) for python in job["strategy"]["matrix"]["python"]] == PYTHONS
    _, setup, test = job["steps"]
    assert setup["with"]["python-version"] == "${{ matrix.python }}"
    assert test["run"] == "make test-fast"


def test_workflow_runs_existing_commands() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    commands = [each["command"] for each in jobs["slow"]["strategy"]["matrix"]["include"]]
    commands += [step["run"] for name in ("lint", "fast") for step in jobs[name]["steps"] if "run" in step]
    makefile = (ROOT / "Makefile").read_text()
    for program, *arguments in map(str.split, commands):
        if program == "make":
            assert re.search(rf"^{arguments[0]}:", makefile, re.MULTILINE)
        else:
            assert (ROOT / program).stat().st_mode & 0o111


def test_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation.keys() >= {"cff-version", "message", "title", "authors"}  # required by the format
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["version"] == __version__
    assert citation["license"] == PROJECT["license"]
    assert citation["title"].startswith(f"{PROJECT['name']}: ")
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]
