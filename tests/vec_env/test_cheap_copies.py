"""A DummyVecEnv that copies less gives what SB3's gives, and keeps no hold on it."""

import pickle
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecNormalize

from sb3_a2c_td import TDA2C
from sb3_a2c_td.vec_env.cheap_copies import with_cheap_copies

BOX = spaces.Box(-1, 1, (3,), np.float32)
OBSERVATION_SPACES = [BOX, spaces.Discrete(4), spaces.Dict({"vector": BOX, "number": spaces.Discrete(3)})]
FLAT_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.floats().map(np.float64), st.integers(0, 9)
)
VALUES = st.recursive(FLAT_VALUES, lambda values: st.lists(values) | st.dictionaries(st.text(), values), max_leaves=4)
INFOS = st.dictionaries(st.text(), VALUES | st.just(np.zeros(2)), max_size=3)


class WritingEnv(gym.Env):
    """Goes on writing into what it gave: one observation and one info, overwritten at every step."""

    action_space = spaces.Discrete(2)

    def __init__(self, observation_space: spaces.Space, infos: list[dict[str, Any]]) -> None:
        self.observation_space = observation_space
        self.observation_space.seed(0)
        self._infos = deepcopy(infos)
        self._info: dict[str, Any] = {}
        self.t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        self._spoil(self._info)
        self._info.clear()
        self._info.update(deepcopy(self._infos[self.t % len(self._infos)]))
        self.t += 1
        return self.observation_space.sample(), 1.0, self.t % 5 == 0, self.t % 3 == 0, self._info

    @staticmethod
    def _spoil(info: dict[str, Any]) -> None:
        for value in info.values():
            if isinstance(value, list):
                value.append("written later")
            elif isinstance(value, dict):
                value["written"] = "later"
            elif isinstance(value, np.ndarray):
                value += 1


def made(observation_space: spaces.Space, infos: list[dict[str, Any]], n_envs: int = 2) -> DummyVecEnv:
    env = DummyVecEnv([lambda: WritingEnv(deepcopy(observation_space), infos) for _ in range(n_envs)])
    env.reset()
    return env


def played(env: VecEnv, n_steps: int = 12) -> list[Any]:
    """Keep what every step gave, and look at it when all is over."""
    return [env.step(np.zeros(env.num_envs, np.int64)) for _ in range(n_steps)]


@pytest.mark.parametrize("space", OBSERVATION_SPACES)
@given(infos=st.lists(INFOS, min_size=1, max_size=4))
def test_gives_what_sb3_gives(space: spaces.Space, infos: list[dict[str, Any]]) -> None:
    usual, less = played(made(space, infos)), played(with_cheap_copies(made(space, infos)))
    # pickles of equal objects of equal types; NaN is not equal to itself
    assert [pickle.dumps(step) for step in map(deepcopy, less)] == [pickle.dumps(step) for step in map(deepcopy, usual)]


def test_what_was_given_may_be_written_into() -> None:
    env = with_cheap_copies(made(BOX, [{"number": 1.0, "list": [1]}, {"number": 1.0}]))
    for _ in range(4):
        observations, rewards, dones, infos = env.step(np.zeros(2, np.int64))
        assert [info["number"] for info in infos] == [1.0, 1.0]
        assert all(info.get("list", [1]) == [1] for info in infos)
        observations[:], rewards[:], dones[:] = np.nan, np.nan, True
        for info in infos:
            info["number"] = "written by a callback"
            info.get("list", []).append("written by a callback")
    assert all(np.isfinite(array).all() for array in env.buf_obs.values())


def test_flat_infos_and_arrays_are_not_deep_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    env = with_cheap_copies(made(BOX, [{"number": np.float64(1.0), "name": "a"}]))

    def refuse(*_: Any) -> None:
        raise AssertionError("a deep copy was made")

    monkeypatch.setattr("sb3_a2c_td.vec_env.cheap_copies.deepcopy", refuse)
    env.step(np.zeros(2, np.int64))
    with pytest.raises(AssertionError, match="a deep copy was made"):  # of the last observation of an episode
        played(env)


def test_a_model_lets_its_environments_copy_less() -> None:
    usual = VecNormalize(made(BOX, [{}]))
    model = TDA2C("MlpPolicy", usual)
    assert model.get_env() is usual
    others = [TDA2C("MlpPolicy", WritingEnv(BOX, [{}])).get_env(), usual.venv]
    model.set_env(made(BOX, [{}]))
    assert {type(env.buf_infos).__name__ for env in [*others, model.get_env()]} == {"Infos"}


def test_leaves_others_alone() -> None:
    env = SubprocVecEnv([lambda: WritingEnv(BOX, [{}])])
    before = dict(vars(env))
    assert with_cheap_copies(env) is env
    assert vars(env) == before
    env.close()
