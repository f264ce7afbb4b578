"""Environments may reuse the arrays that they return, and change those that they get."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecNormalize

from sb3_a2c_td import TDA2C, GymnasiumVecEnv, RecurrentTDA2C
from tests.algorithms.recurrent.models import SMALL
from tests.environments import CountingEnv, DictCountingEnv, NextStepVectorEnv, RandomEnv

VECTOR = spaces.Box(-1, 1, (3,), np.float32)
LONG_ROLLOUT: dict[str, Any] = {"n_steps": 100, "update_on_episode_end": False, "seed": 0, "device": "cpu"}


def last_rows(model: TDA2C) -> list[Any]:
    """Return what the rollout of a model has collected."""
    return list(model.rollout_buffer.transitions())


def assert_same_rows(first: TDA2C, second: TDA2C) -> None:
    for ours, theirs in zip(last_rows(first), last_rows(second), strict=True):
        np.testing.assert_equal(ours, theirs)


# Observations that a single environment reuses


class Reusing(CountingEnv):
    """Writes all observations into the same array."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.buffer = np.zeros(2, np.float32)

    def _observation(self) -> np.ndarray:
        self.buffer[:] = super()._observation()
        return self.buffer


class DictReusing(DictCountingEnv):
    """Writes all observations into the same arrays."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.buffers = {"episode": np.zeros(1, np.float32), "step": np.zeros(1, np.float32)}

    def _observation(self) -> dict[str, np.ndarray]:
        for key, value in super()._observation().items():
            self.buffers[key][:] = value
        return self.buffers


@pytest.mark.parametrize(("kind", "fresh"), [(Reusing, CountingEnv), (DictReusing, DictCountingEnv)])
@pytest.mark.parametrize(
    "make_env",
    [
        lambda make_env: make_env(),
        lambda make_env: DummyVecEnv([make_env] * 2),
        lambda make_env: VecNormalize(DummyVecEnv([make_env] * 2), norm_obs=False, norm_reward=False),
        lambda make_env: SyncVectorEnv([make_env] * 2),
        lambda make_env: SyncVectorEnv([make_env] * 2, copy=False, autoreset_mode=AutoresetMode.DISABLED),
        lambda make_env: NextStepVectorEnv([make_env] * 2),
    ],
    ids=["Env", "DummyVecEnv", "VecNormalize", "NEXT_STEP", "DISABLED", "native"],
)
def test_a_reused_observation_keeps_its_value_at_truncation(
    make_env: Callable[..., Any], kind: Any, fresh: Any
) -> None:
    policy = "MultiInputPolicy" if kind is DictReusing else "MlpPolicy"
    models = [TDA2C(policy, make_env(lambda cls=cls: cls(5, True)), **LONG_ROLLOUT).learn(36) for cls in (kind, fresh)]
    assert_same_rows(*models)
    rows = models[0].rollout_buffer.transitions()
    assert rows.truncated.sum() >= 6
    last = rows.next_observations["step"][:, 0] if kind is DictReusing else rows.next_observations[:, 1]
    assert last[rows.truncated].tolist() == [5] * rows.truncated.sum()


def test_a_reused_observation_is_refused_where_it_is_lost() -> None:
    """SyncVectorEnv keeps the array, and resets the environment before it returns it."""
    env = SyncVectorEnv(
        [lambda: CountingEnv(5, True), lambda: Reusing(5, True)], autoreset_mode=AutoresetMode.SAME_STEP
    )
    with pytest.raises(ValueError, match=r"environment 1 of SyncVectorEnv.*: return a copy.*NEXT_STEP"):
        TDA2C("MlpPolicy", env, **LONG_ROLLOUT).learn(36)


# Arrays that a vector environment reuses


class OwnBuffers(VecEnvWrapper):
    """Returns the same arrays at every step."""

    def reset(self):
        self.observations = self.venv.reset()
        self.rewards, self.dones = np.zeros(self.num_envs, np.float32), np.zeros(self.num_envs, bool)
        return self.observations

    def step_wait(self):
        observations, self.rewards[:], self.dones[:], infos = self.venv.step_wait()
        if isinstance(observations, dict):
            for key, values in observations.items():
                self.observations[key][:] = values
        else:
            self.observations[:] = observations
        return self.observations, self.rewards, self.dones, infos


@pytest.mark.parametrize("env", [CountingEnv, DictCountingEnv])
@pytest.mark.parametrize(
    "wrap", [OwnBuffers, lambda env: VecNormalize(OwnBuffers(env), norm_obs=False, norm_reward=False)]
)
def test_a_vector_environment_may_reuse_its_arrays(wrap: Callable[[VecEnv], VecEnv], env: type[CountingEnv]) -> None:
    policy = "MultiInputPolicy" if env is DictCountingEnv else "MlpPolicy"
    models = []
    for wrapper in (wrap, lambda env: env):
        vec_env = wrapper(DummyVecEnv([lambda n=n: env(n, True) for n in (3, 7)]))
        model = TDA2C(policy, vec_env, **LONG_ROLLOUT)
        # a second call continues from the observation of the first one
        models.append(model.learn(21).learn(15, reset_num_timesteps=False))
    assert_same_rows(*models)
    observations = models[0].rollout_buffer.transitions().observations
    assert len(np.unique(observations if policy == "MlpPolicy" else observations["step"], axis=0)) > 5


def test_a_vector_environment_may_reuse_its_arrays_with_a_recurrent_policy() -> None:
    """The row after an end is the first of an episode."""
    models = [
        RecurrentTDA2C(
            "MlpLstmPolicy", wrapper(DummyVecEnv([lambda: CountingEnv(4)] * 2)), policy_kwargs=SMALL, **LONG_ROLLOUT
        ).learn(24)
        for wrapper in (OwnBuffers, lambda env: env)
    ]
    assert_same_rows(*models)
    assert models[0].rollout_buffer.transitions().episode_starts[::2].tolist() == [t % 4 == 0 for t in range(12)]


class TerminalViews(VecEnvWrapper):
    """Writes the first observations of the next episodes over the last ones, of which the infos have views."""

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        for env in np.flatnonzero(dones):
            infos[env]["terminal_observation"] = observations[env]
        return observations, rewards, dones, infos


def test_a_terminal_observation_that_is_overwritten_is_refused() -> None:
    env = TerminalViews(DummyVecEnv([lambda: CountingEnv(5, True)] * 2))
    with pytest.warns(UserWarning, match="Nothing is learned from them"):
        TDA2C("MlpPolicy", env, **LONG_ROLLOUT).learn(20)
    model = TDA2C("MlpPolicy", env, bootstrap_on_truncation=True, **LONG_ROLLOUT)
    with pytest.raises(ValueError, match=r"terminal_observation of environment 0 at step 10 shares memory.*copy"):
        model.learn(20)
    assert len(model.rollout_buffer) == 8


# Actions that an environment changes


class ChangesActions(RandomEnv):
    """Changes its action in place; its info has the action that it got."""

    def step(self, action):
        *rest, info = super().step(action)
        info = {"action": np.array(action)}
        if isinstance(action, np.ndarray):
            action[...] = 0
        return *rest, info


class NativeChangesActions(NextStepVectorEnv):
    def step(self, actions):
        *rest, infos = super().step(actions)
        infos = {"action": np.array(actions)}
        actions[...] = 0
        return *rest, infos


class ActionRecorder(TDA2C):
    """Records the actions that it draws."""

    def sample_actions(self, observations):
        actions = super().sample_actions(observations)
        self.drawn.append(np.array(actions))
        return actions


@pytest.mark.parametrize(
    "action_space",
    [spaces.MultiDiscrete([3, 4]), spaces.MultiBinary(3), spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(4)],
)
@pytest.mark.parametrize(
    "make_env",
    [
        lambda make_env: DummyVecEnv([make_env] * 2),
        lambda make_env: GymnasiumVecEnv(SyncVectorEnv([make_env] * 2)),
        lambda make_env: NativeChangesActions([lambda: RandomEnv(*make_env.args)] * 2),
    ],
    ids=["DummyVecEnv", "SyncVectorEnv", "native"],
)
def test_an_environment_may_change_its_actions(make_env: Callable[..., Any], action_space: spaces.Space) -> None:
    """The model learns from the actions that it drew."""

    def make_single() -> gym.Env:
        return ChangesActions(VECTOR, action_space, 100)

    make_single.args = (VECTOR, action_space, 100)
    model = ActionRecorder("MlpPolicy", make_env(make_single), **LONG_ROLLOUT)
    model.drawn = []
    model.learn(60)
    actions = model.rollout_buffer.transitions().actions
    np.testing.assert_array_equal(actions, np.concatenate(model.drawn))
    assert (actions != 0).any(axis=0).all()
