"""RL Zoo's settings, compared with the files in which it publishes them."""

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

SUBSTITUTES = {"MinAtar/Breakout-v1": "atari", "Hopper-v5": "Hopper-v4"}
"""entries of RL Zoo used for environments that it does not have"""
OMITTED = {"n_timesteps"}
"""all arms have the benchmark's number of steps"""
OMITTED_ON_MINATAR = OMITTED | {"env_wrapper", "frame_stack"}
"""preprocessing of Atari's frames; MinAtar's images need none, and their channels show motion"""
NAMES = {"__builtins__": {}, "dict": dict, "RMSpropTFLike": "RMSpropTFLike", "nn": SimpleNamespace(ReLU="ReLU")}
"""names in RL Zoo's Python strings; a class is represented by its name, as in the benchmark's settings"""


@pytest.mark.parametrize("algorithm", ZOOS)
def test_settings_exist_where_rl_zoo_publishes_them(algorithm: str) -> None:
    published = {name for name in ENVIRONMENTS if SUBSTITUTES.get(name, name) in PUBLISHED[algorithm]}
    assert set(ZOOS[algorithm]) == published


@pytest.mark.parametrize(("algorithm", "environment"), [(name, env) for name, zoo in ZOOS.items() for env in zoo])
def test_settings_match_rl_zoo(algorithm: str, environment: str) -> None:
    settings, entry = ZOOS[algorithm][environment], published_entry(algorithm, environment)
    for name in OMITTED_ON_MINATAR if environment.startswith("MinAtar/") else OMITTED:
        del entry[name]
    assert settings.algorithm == algorithm
    assert ENVIRONMENTS[environment].policy == entry.pop("policy")
    assert settings.n_envs == entry.pop("n_envs", 1)
    assert settings.normalize == ({} if entry.pop("normalize", False) else None)
    assert settings.arguments == entry


def published_entry(algorithm: str, environment: str) -> dict[str, Any]:
    entry = dict(PUBLISHED[algorithm][SUBSTITUTES.get(environment, environment)])
    if "policy_kwargs" in entry:
        entry["policy_kwargs"] = eval(entry["policy_kwargs"], NAMES)
    return entry
