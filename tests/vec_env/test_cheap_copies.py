"""A DummyVecEnv with cheap copies returns what SB3's returns, and shares nothing mutable with the caller."""

import pickle
from copy import copy, deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from sb3_a2c_td import TDA2C, GymnasiumVecEnv
from sb3_a2c_td.vec_env.cheap_copies import ArrayDict, InfoList, with_cheap_copies

BOX = spaces.Box(-1, 1, (3,), np.float32)
OBSERVATION_SPACES = [BOX, spaces.Discrete(4), spaces.Dict({"vector": BOX, "number": spaces.Discrete(3)})]
FLAT_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.floats().map(np.float64), st.integers(0, 9)
)
VALUES = st.recursive(FLAT_VALUES, lambda values: st.lists(values) | st.dictionaries(st.text(), values), max_leaves=4)
INFOS = st.dictionaries(st.text(), VALUES | st.just(np.zeros(2)), max_size=3)


class WritingEnv(gym.Env):
    """Returns the same info at every step, and overwrites what it holds."""

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
        self._change(self._info)
        self._info.clear()
        self._info.update(deepcopy(self._infos[self.t % len(self._infos)]))
        self.t += 1
        return self.observation_space.sample(), 1.0, self.t % 5 == 0, self.t % 3 == 0, self._info

    @staticmethod
    def _change(info: dict[str, Any]) -> None:
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
    """Return what every step returned, after the last one."""
    return [env.step(np.zeros(env.num_envs, np.int64)) for _ in range(n_steps)]


@pytest.mark.parametrize("space", OBSERVATION_SPACES)
@given(infos=st.lists(INFOS, min_size=1, max_size=4))
def test_steps_return_the_same(space: spaces.Space, infos: list[dict[str, Any]]) -> None:
    ours, theirs = played(with_cheap_copies(made(space, infos))), played(made(space, infos))
    # pickles compare types too, and NaN with itself
    assert [pickle.dumps(deepcopy(step)) for step in ours] == [pickle.dumps(deepcopy(step)) for step in theirs]


def test_observations_can_be_pickled_and_copied() -> None:
    arrays = ArrayDict({"x": np.ones(2)})
    for twin in (pickle.loads(pickle.dumps(arrays)), copy(arrays)):
        assert type(twin) is ArrayDict
        np.testing.assert_array_equal(twin["x"], np.ones(2))


def test_callers_may_change_what_steps_return() -> None:
    env = with_cheap_copies(made(BOX, [{"number": 1.0, "list": [1]}, {"number": 1.0}]))
    for _ in range(4):
        observations, rewards, dones, infos = env.step(np.zeros(2, np.int64))
        assert [info["number"] for info in infos] == [1.0, 1.0]
        assert all(info.get("list", [1]) == [1] for info in infos)
        observations[:], rewards[:], dones[:] = np.nan, np.nan, True
        for info in infos:
            info["number"] = "changed by a callback"
            info.get("list", []).append("changed by a callback")
    assert all(np.isfinite(array).all() for array in env.buf_obs.values())
    # what DummyVecEnv keeps is saved with a model
    assert {type(info) for info in list(env.buf_infos)} == {dict}


def test_flat_infos_and_arrays_are_not_deep_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    env = with_cheap_copies(made(BOX, [{"number": np.float64(1.0), "name": "a"}]))

    def refuse(*_: Any) -> None:
        raise AssertionError("a deep copy was made")

    monkeypatch.setattr("sb3_a2c_td.vec_env.cheap_copies.deepcopy", refuse)
    env.step(np.zeros(2, np.int64))
    # SB3 puts an array into the info at the end of an episode
    with pytest.raises(AssertionError, match="a deep copy was made"):
        played(env)


def test_models_use_cheap_copies() -> None:
    wrapped = VecNormalize(made(BOX, [{}]))
    model = TDA2C("MlpPolicy", wrapped, device="cpu")
    assert model.get_env() is wrapped
    model = TDA2C("MlpPolicy", WritingEnv(BOX, [{}]), device="cpu")
    envs = [model.get_env(), wrapped.venv]
    model.set_env(made(BOX, [{}], n_envs=1))
    assert {type(env.buf_infos) for env in [*envs, model.get_env()]} == {InfoList}


def test_other_vector_environments_stay_as_they_are() -> None:
    env = GymnasiumVecEnv(SyncVectorEnv([lambda: WritingEnv(BOX, [{}])]))
    before = dict(vars(env))
    assert with_cheap_copies(env) is env
    assert vars(env) == before
