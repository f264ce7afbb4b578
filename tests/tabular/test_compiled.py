"""A compiled MDP takes the steps that ``TabularEnv`` takes from the same seeds."""

from typing import Literal

import gymnasium as gym
import numpy as np
import pytest

from sb3_a2c_td.compiled import check_compiled_env, make_compiled_vec_env
from sb3_a2c_td.envs import TabularEnv
from sb3_a2c_td.tabular import TabularMDP, problems
from sb3_a2c_td.tabular.compiled import compiled_mdp
from tests.vec_env.traces import assert_same_traces, monitored, random_actions

MDPS = {
    "random walk": problems.random_walk(),
    "chain": problems.chain(),
    "Garnet": problems.garnet(),
    "FrozenLake": TabularMDP.from_toy_text(gym.make("FrozenLake-v1")),
    "CliffWalking": TabularMDP.from_toy_text(gym.make("CliffWalking-v1")),
    "Taxi": TabularMDP.from_toy_text(gym.make("Taxi-v4")),
}


@pytest.mark.parametrize(
    ("name", "observation"), [*((name, "discrete") for name in MDPS), ("Garnet", "one_hot"), ("random walk", "one_hot")]
)
def test_trace_equals_the_uncompiled_environment(name: str, observation: Literal["discrete", "one_hot"]) -> None:
    mdp = MDPS[name]
    theirs = monitored([lambda: gym.wrappers.TimeLimit(TabularEnv(mdp, observation), 20)] * 3)
    ours = make_compiled_vec_env(compiled_mdp(mdp, observation, max_episode_steps=20), 3)
    assert assert_same_traces(ours, theirs, random_actions(ours.action_space, 120, 3)) >= 15


@pytest.mark.parametrize("name", ["FrozenLake", "Taxi"])
def test_it_passes_the_check(name: str) -> None:
    check_compiled_env(compiled_mdp(MDPS[name], max_episode_steps=30))


def test_two_mdps_do_not_share_tables() -> None:
    """They have the same code, and numba caches compiled code on disk."""
    one, other = play(problems.garnet(seed=0)), play(problems.garnet(seed=1))
    assert (one != other).any()


def play(mdp: TabularMDP) -> np.ndarray:
    """Return the states of 50 copies after one step."""
    env = make_compiled_vec_env(compiled_mdp(mdp), 50, seed=0)
    env.reset()
    return env.step(np.zeros(50, np.int64))[0]


def test_unknown_observations_are_rejected() -> None:
    with pytest.raises(ValueError, match="observation must be one of 'discrete', 'one_hot', got 'binary'"):
        compiled_mdp(problems.chain(), "binary")
