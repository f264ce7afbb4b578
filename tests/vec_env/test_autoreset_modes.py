"""Autoreset modes: valid metadata, partial resets, and environments that contradict their mode."""

from typing import Any

import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector as vector_wrappers

from sb3_a2c_td import GymnasiumVecEnv
from sb3_a2c_td.vec_env.autoreset_steps import dropping_autoreset_steps
from tests.environments import CountingEnv, DictCountingEnv, NextStepVectorEnv
from tests.vec_env.traces import ACTION_SPACES, OBSERVATION_SPACES, random_envs


@pytest.mark.parametrize("metadata", [{}, {"autoreset_mode": None}, {"autoreset_mode": "sometimes"}])
def test_a_missing_autoreset_mode_is_refused(metadata: dict[str, Any]) -> None:
    vector_env = NextStepVectorEnv([CountingEnv])
    vector_env.metadata = metadata
    with pytest.raises(ValueError, match=r"autoreset_mode.*Set env\.metadata = .*NEXT_STEP"):
        GymnasiumVecEnv(vector_env)
    vector_env.metadata = {"autoreset_mode": "NextStep"}
    assert GymnasiumVecEnv(vector_env).has_autoreset_steps


@pytest.mark.parametrize("wrong", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_wrong_autoreset_mode_raises(wrong: AutoresetMode) -> None:
    class SameStep(NextStepVectorEnv):
        metadata = {"autoreset_mode": wrong}  # noqa: RUF012

        def step(self, actions):
            self._ended[:] = False
            return super().step(actions)

    env = GymnasiumVecEnv(SameStep(random_envs(OBSERVATION_SPACES[0], ACTION_SPACES[0], 1, 1.0)))
    env.reset()
    message = rf"not {wrong}.*correct metadata\['autoreset_mode'\]"
    with dropping_autoreset_steps(env), pytest.raises(RuntimeError, match=message):
        env.step(np.zeros(1, int)), env.step(np.zeros(1, int))


@pytest.mark.parametrize("kind", [CountingEnv, DictCountingEnv])
def test_a_partial_reset_that_resets_every_environment_raises(kind: type) -> None:
    class ResetsAll(NextStepVectorEnv):
        metadata = {"autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012

    env = GymnasiumVecEnv(ResetsAll([lambda: kind(2), lambda: kind(5)]))
    env.reset()
    env.step(np.zeros(2, int))
    with pytest.raises(RuntimeError, match="changed the observations of running environments"):
        env.step(np.zeros(2, int))


@pytest.mark.parametrize("name", ["NormalizeObservation", "NormalizeReward", "RecordEpisodeStatistics"])
def test_vector_wrappers_without_partial_resets_are_refused(name: str) -> None:
    wrap = getattr(vector_wrappers, name)
    with pytest.raises(ValueError, match=rf"{name} overrides reset\(\).*VecNormalize.*SAME_STEP"):
        GymnasiumVecEnv(wrap(SyncVectorEnv([CountingEnv])))
    assert GymnasiumVecEnv(wrap(CartPoleVectorEnv(2))).has_autoreset_steps


def test_workers_that_would_reset_twice_are_refused() -> None:
    vector_env = AsyncVectorEnv([CountingEnv], shared_memory=False)
    try:
        with pytest.raises(ValueError, match=r"shared_memory=False.*SAME_STEP"):
            GymnasiumVecEnv(vector_env)
    finally:
        vector_env.close()
