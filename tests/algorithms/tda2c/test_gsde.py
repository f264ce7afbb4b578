"""Generalized State Dependent Exploration (gSDE), and actions that are squashed to their bounds."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_a2c_td import TDA2C
from sb3_a2c_td.engines.autograd import AutogradEngine
from tests.algorithms.tda2c.test_spaces import ACTION_SPACES, VECTOR, check_trains_saves_and_loads
from tests.environments import RandomEnv

BOX = ACTION_SPACES["box"]


@pytest.mark.parametrize(("squash_output", "sde_sample_freq", "n_envs"), [(False, -1, 1), (False, 2, 3), (True, 2, 1)])
def test_gsde(squash_output: bool, sde_sample_freq: int, n_envs: int, tmp_path: Path) -> None:
    model = TDA2C(
        "MlpPolicy",
        DummyVecEnv([lambda: RandomEnv(VECTOR, BOX)] * n_envs),
        use_sde=True,
        sde_sample_freq=sde_sample_freq,
        ent_coef=0.01,
        policy_kwargs={"squash_output": squash_output},
        seed=0,
        device="cpu",
    )
    check_trains_saves_and_loads(model, tmp_path / "model")


def test_squashed_actions_are_scaled_to_the_bounds() -> None:
    class Recording(RandomEnv):
        actions: ClassVar[list[np.ndarray]] = []

        def step(self, action):
            self.actions.append(action)
            return super().step(action)

    env = Recording(VECTOR, spaces.Box(np.float32([3, -30]), np.float32([5, -10])))
    model = TDA2C("MlpPolicy", env, use_sde=True, policy_kwargs={"squash_output": True}, seed=0, device="cpu")
    model.learn(200)
    taken = np.array(env.actions)
    assert (taken.min(axis=0) >= [3, -30]).all()
    assert (taken.max(axis=0) <= [5, -10]).all()
    assert (np.ptp(taken, axis=0) > [0.5, 5]).all()
    kept = model.rollout_buffer.transitions().actions
    np.testing.assert_allclose(taken[-len(kept) :], [4, -20] + kept * [1, 10], rtol=1e-4)


def test_the_entropy_of_squashed_actions_is_estimated() -> None:
    """It has no closed form. -log π(a|s) estimates it, so the entropy loss is the mean of log π(a|s)."""
    env = RandomEnv(VECTOR, BOX, episode_length=1000)
    model = TDA2C("MlpPolicy", env, use_sde=True, policy_kwargs={"squash_output": True}, n_steps=9, device="cpu")
    model.learn(6)
    batch = model.rollout_buffer.tensors(model.device)
    log_prob = model.policy.evaluate_actions(batch.observations, batch.actions)[1]
    update = AutogradEngine(model.policy).update(model.rollout_buffer, model._loss_config(), model._streams)
    assert update.entropy_loss == pytest.approx(log_prob.mean().item())


def test_a_loaded_model_has_noise_for_each_environment(tmp_path: Path) -> None:
    env = DummyVecEnv([lambda: RandomEnv(VECTOR, BOX)] * 3)
    model = TDA2C("MlpPolicy", env, use_sde=True, device="cpu").learn(6)
    assert len(model.policy.action_dist.exploration_matrices) == 3
    model.save(tmp_path / "model")
    loaded = TDA2C.load(tmp_path / "model", env=env, device="cpu").learn(3)
    assert len(loaded.policy.action_dist.exploration_matrices) == 3


@pytest.mark.parametrize(("sde_sample_freq", "expected"), [(-1, [0]), (2, [0, 2, 4])])
def test_noise_is_sampled_when_due(sde_sample_freq: int, expected: list[int]) -> None:
    env = RandomEnv(VECTOR, BOX, episode_length=1000)
    model = TDA2C("MlpPolicy", env, use_sde=True, sde_sample_freq=sde_sample_freq, device="cpu")
    sampled = []
    reset_noise = model.policy.reset_noise
    model.policy.reset_noise = lambda n: (sampled.append(model.num_timesteps), reset_noise(n))
    model.learn(5)
    assert sampled == expected
