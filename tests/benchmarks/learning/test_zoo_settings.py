"""RL Zoo's settings, held against the files in which it publishes them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from benchmarks.learning.environments import ENVIRONMENTS
from benchmarks.learning.zoo_settings import A2C_ZOO, PPO_ZOO

FOLDER = Path(__file__).parents[2] / "data" / "rl_zoo3"
ZOOS = {"A2C": A2C_ZOO, "PPO": PPO_ZOO}
PUBLISHED = {algorithm: yaml.safe_load((FOLDER / f"{algorithm.lower()}.yml").read_text()) for algorithm in ZOOS}

OTHER_NAMES = {"MinAtar/Breakout-v1": "atari", "Hopper-v5": "Hopper-v4"}
"""what stands in where RL Zoo has no settings: it knows neither MinAtar nor the newer Hopper"""
NOT_TAKEN = {"n_timesteps"}
"""every arm has the benchmark's own number of steps"""
NOT_TAKEN_BY_MINATAR = NOT_TAKEN | {"env_wrapper", "frame_stack"}
"""what makes Atari's screens into images; MinAtar gives images of its own, whose channels show what moves"""
NAMES = {"__builtins__": {}, "dict": dict, "RMSpropTFLike": "RMSpropTFLike", "nn": SimpleNamespace(ReLU="ReLU")}
"""those in RL Zoo's strings of Python: a class is its name, as in the benchmark's settings"""


def published(algorithm: str, environment: str) -> dict[str, Any]:
    entry = dict(PUBLISHED[algorithm][OTHER_NAMES.get(environment, environment)])
    if "policy_kwargs" in entry:
        entry["policy_kwargs"] = eval(entry["policy_kwargs"], NAMES)
    return entry


@pytest.mark.parametrize(
    ("algorithm", "environment"), [(algorithm, name) for algorithm in ZOOS for name in ENVIRONMENTS]
)
def test_settings_are_those_that_rl_zoo_publishes(algorithm: str, environment: str) -> None:
    if OTHER_NAMES.get(environment, environment) not in PUBLISHED[algorithm]:
        assert environment not in ZOOS[algorithm]
        return
    settings, entry = ZOOS[algorithm][environment], published(algorithm, environment)
    for name in NOT_TAKEN_BY_MINATAR if environment.startswith("MinAtar/") else NOT_TAKEN:
        del entry[name]
    assert settings.algorithm == algorithm
    assert ENVIRONMENTS[environment].policy == entry.pop("policy")
    assert settings.n_envs == entry.pop("n_envs", 1)
    assert settings.normalize == ({} if entry.pop("normalize", False) else None)
    assert settings.arguments == entry
