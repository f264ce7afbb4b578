"""The tests and files that the pages name exist, and the table of spaces in "Can I use it?" is true."""

import functools
import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from sb3_a2c_td import TDA2C
from tests.docs import DOCS, PAGES, ROOT, name_of
from tests.environments import RandomEnv

TESTS = ROOT / "tests"
IN_CODE = re.compile(r"`([^`\n]+)`")
SPACES = {
    "Discrete": spaces.Discrete(3),
    "Box": spaces.Box(-1, 1, (2,), np.float32),
    "MultiDiscrete": spaces.MultiDiscrete([3, 2]),
    "MultiBinary": spaces.MultiBinary(3),
    "Dict": spaces.Dict({"number": spaces.Discrete(3), "vector": spaces.Box(-1, 1, (2,), np.float32)}),
    "Tuple": spaces.Tuple([spaces.Discrete(3)]),
    "Text": spaces.Text(5),
}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_tests_exist(page: Path) -> None:
    functions = function_names()
    for name in IN_CODE.findall(page.read_text()):
        if re.fullmatch(r"[\w/.]*test_\w+\.py", name):
            assert list(TESTS.rglob(name.removeprefix("tests/").removeprefix("../"))), name
        elif re.fullmatch(r"test_\w+", name):
            assert name in functions, name


@functools.cache
def function_names() -> frozenset[str]:
    texts = [path.read_text() for path in TESTS.rglob("test_*.py")]
    return frozenset(name for text in texts for name in re.findall(r"^def (test_\w+)", text, re.M))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_linked_files_exist(page: Path) -> None:
    """Links are relative to the page, as on a code host."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path = target.partition("#")[0]
        assert re.match(r"https?:", target) or not path or (page.parent / path).exists(), target


def test_pages_have_no_conflict_markers() -> None:
    for page in PAGES:
        assert not re.search(r"^(<{7}|>{7})", page.read_text(), re.MULTILINE), page


def rows() -> list[tuple[str, bool, bool]]:
    found = re.findall(r"^\| `(\w+)` \| ([✔✘]) \| ([✔✘]) \|", (DOCS / "can_i_use_it.md").read_text(), re.M)
    return [(name, action == "✔", observation == "✔") for name, action, observation in found]


def test_table_has_every_space() -> None:
    assert [name for name, _, _ in rows()] == list(SPACES)


@pytest.mark.parametrize(("name", "as_action", "as_observation"), rows())
def test_table_of_spaces_is_true(name: str, as_action: bool, as_observation: bool) -> None:
    assert learns(SPACES["Box"], SPACES[name]) == as_action
    assert learns(SPACES[name], SPACES["Discrete"]) == as_observation


def learns(observation_space: gym.Space, action_space: gym.Space) -> bool:
    policy = "MultiInputPolicy" if isinstance(observation_space, spaces.Dict) else "MlpPolicy"
    try:
        TDA2C(policy, RandomEnv(observation_space, action_space), device="cpu").learn(20)
    except ValueError as error:
        if "is not supported" not in str(error):
            raise
        return False
    return True


def test_contributing_map_has_every_part() -> None:
    """Its table names every folder and no file that does not exist."""
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("| to change | open |")[2].partition("\n## ")[0]
    paths = re.findall(r"`(\w+/|[\w/]+\.py)`", table)
    package = ROOT / "sb3_a2c_td"
    assert all(list(package.rglob(path.rstrip("/"))) for path in paths)
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    assert folders == {path.partition("/")[0] for path in paths if "/" in path}
