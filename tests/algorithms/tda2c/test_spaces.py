"""Every observation space with every action space, through training, saving and loading."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack, VecNormalize
from torch import nn

from sb3_a2c_td import TDA2C
from sb3_a2c_td.engines.autograd import AutogradEngine
from tests.environments import RandomEnv

VECTOR = spaces.Box(-1, 1, (2,), np.float32)
IMAGE = spaces.Box(0, 255, (36, 36, 3), np.uint8)
OBSERVATION_SPACES = {
    "float32": VECTOR,
    "float64": spaces.Box(-1, 1, (2,), np.float64),
    "matrix": spaces.Box(-1, 1, (2, 3), np.float32),
    "integers": spaces.Box(-5, 5, (2,), np.int64),
    "discrete": spaces.Discrete(4),
    "multidiscrete": spaces.MultiDiscrete([4, 3]),
    "multibinary": spaces.MultiBinary(8),
    "multibinary2d": spaces.MultiBinary((3, 2)),
    "image": IMAGE,
    "image_channels_first": spaces.Box(0, 255, (1, 40, 40), np.uint8),
    "dict": spaces.Dict({"image": IMAGE, "vector": VECTOR, "number": spaces.Discrete(3)}),
}
ACTION_SPACES = {
    "discrete": spaces.Discrete(3),
    "multidiscrete": spaces.MultiDiscrete([3, 2]),
    "multibinary": spaces.MultiBinary(3),
    "box": spaces.Box(-2, 2, (2,), np.float32),
    "box2d": spaces.Box(-1, 1, (2, 2), np.float32),
    "float64": spaces.Box(-1, 1, (1,), np.float64),
}


def policy_name(observation_space: spaces.Space) -> str:
    if isinstance(observation_space, spaces.Dict):
        return "MultiInputPolicy"
    return "CnnPolicy" if len(observation_space.shape) == 3 else "MlpPolicy"


def weights(model: TDA2C) -> th.Tensor:
    return th.nn.utils.parameters_to_vector(model.policy.parameters()).detach().clone()


def check_trains_saves_and_loads(model: TDA2C, path: Path, trusted: bool = False) -> None:
    before = weights(model)
    model.learn(40)
    after = weights(model)
    assert after.isfinite().all()
    assert not th.equal(after, before)

    model.save(path)
    loaded = type(model).load(path, env=model.get_env(), device="cpu", trusted=trusted)
    assert th.equal(weights(loaded), after)
    observation = model.get_env().reset()
    actions = model.predict(observation, deterministic=True)[0]
    np.testing.assert_array_equal(loaded.predict(observation, deterministic=True)[0], actions)
    assert all(model.action_space.contains(action) for action in actions.astype(model.action_space.dtype))
    loaded.learn(10, reset_num_timesteps=False)


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("action_space", ACTION_SPACES)
@pytest.mark.parametrize("observation_space", OBSERVATION_SPACES)
def test_every_pair_of_spaces(observation_space: str, action_space: str, n_envs: int, tmp_path: Path) -> None:
    observations, actions = OBSERVATION_SPACES[observation_space], ACTION_SPACES[action_space]
    env = DummyVecEnv([lambda: RandomEnv(observations, actions)] * n_envs)
    model = TDA2C(policy_name(observations), env, seed=0, device="cpu")
    check_trains_saves_and_loads(model, tmp_path / "model")


@pytest.mark.parametrize("squash_output", [False, True])
@pytest.mark.parametrize("sde_sample_freq", [-1, 2])
@pytest.mark.parametrize("n_envs", [1, 3])
def test_gsde(squash_output: bool, sde_sample_freq: int, n_envs: int, tmp_path: Path) -> None:
    env = DummyVecEnv([lambda: RandomEnv(VECTOR, ACTION_SPACES["box"])] * n_envs)
    model = TDA2C(
        "MlpPolicy",
        env,
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
    """It has no closed form; -log tau(a|s) estimates it, so the entropy's loss is the mean of log tau."""
    env = RandomEnv(VECTOR, ACTION_SPACES["box"], episode_length=1000)
    model = TDA2C("MlpPolicy", env, use_sde=True, policy_kwargs={"squash_output": True}, n_steps=9, device="cpu")
    model.learn(6)
    batch = model.rollout_buffer.tensors(model.device)
    log_prob = model.policy.evaluate_actions(batch.observations, batch.actions)[1]
    update = AutogradEngine(model.policy).update(model.rollout_buffer, model._loss_config())
    assert update.entropy_loss == pytest.approx(log_prob.mean().item())


def test_gsde_noise_of_a_loaded_model_is_each_environments_own(tmp_path: Path) -> None:
    env = DummyVecEnv([lambda: RandomEnv(VECTOR, ACTION_SPACES["box"])] * 3)
    model = TDA2C("MlpPolicy", env, use_sde=True, device="cpu").learn(6)
    assert len(model.policy.action_dist.exploration_matrices) == 3
    model.save(tmp_path / "model")
    loaded = TDA2C.load(tmp_path / "model", env=env, device="cpu").learn(3)
    assert len(loaded.policy.action_dist.exploration_matrices) == 3


@pytest.mark.parametrize(("sde_sample_freq", "expected"), [(-1, [0]), (2, [0, 2, 4])])
def test_gsde_samples_its_noise_when_due(sde_sample_freq: int, expected: list[int]) -> None:
    env = RandomEnv(VECTOR, ACTION_SPACES["box"], episode_length=1000)
    model = TDA2C("MlpPolicy", env, use_sde=True, sde_sample_freq=sde_sample_freq, device="cpu")
    sampled = []
    reset_noise = model.policy.reset_noise
    model.policy.reset_noise = lambda n: (sampled.append(model.num_timesteps), reset_noise(n))
    model.learn(5)
    assert sampled == expected


def test_vec_normalize_of_integers_keeps_the_fractions() -> None:
    """The wrapper returns floats, though its space goes on saying integers."""
    env = VecNormalize(DummyVecEnv([lambda: RandomEnv(OBSERVATION_SPACES["integers"], ACTION_SPACES["discrete"])]))
    model = TDA2C("MlpPolicy", env, device="cpu", n_steps=50, update_on_episode_end=False).learn(20)
    observations = model.rollout_buffer.transitions().observations
    assert observations.dtype == np.float32
    assert (observations % 1 != 0).any()


def test_set_env_may_bring_other_dtypes() -> None:
    env = RandomEnv(OBSERVATION_SPACES["integers"], ACTION_SPACES["discrete"])
    model = TDA2C("MlpPolicy", env, device="cpu").learn(5)
    model.set_env(VecNormalize(DummyVecEnv([lambda: env])))
    assert model.learn(20).num_timesteps == 20


@pytest.mark.parametrize("vec_env_class", [DummyVecEnv, SubprocVecEnv])
def test_wrapped_vec_envs(vec_env_class: type, tmp_path: Path) -> None:
    env = vec_env_class([lambda: RandomEnv(VECTOR, ACTION_SPACES["box"])] * 2)
    env = VecNormalize(VecFrameStack(env, n_stack=3))
    try:
        check_trains_saves_and_loads(TDA2C("MlpPolicy", env, seed=0, device="cpu"), tmp_path / "model")
    finally:
        env.close()


def test_stacked_frames(tmp_path: Path) -> None:
    space = spaces.Box(0, 255, (36, 36, 1), np.uint8)
    env = VecFrameStack(DummyVecEnv([lambda: RandomEnv(space, ACTION_SPACES["discrete"])] * 2), n_stack=4)
    model = TDA2C("CnnPolicy", env, seed=0, device="cpu")
    assert model.observation_space.shape == (4, 36, 36)
    check_trains_saves_and_loads(model, tmp_path / "model")


class BatchNormExtractor(BaseFeaturesExtractor):
    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, features_dim=8)
        self.layers = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.1))

    def forward(self, observations: th.Tensor) -> th.Tensor:
        return self.layers(observations)


@pytest.mark.parametrize("kwargs", [{}, {"normalize_advantage": True}])
def test_batches_of_one_pass_batch_norm(kwargs: dict[str, Any], tmp_path: Path) -> None:
    """Episodes of six steps: every second batch holds one transition."""
    env = RandomEnv(VECTOR, ACTION_SPACES["discrete"], episode_length=6)
    policy_kwargs = {"features_extractor_class": BatchNormExtractor}
    model = TDA2C("MlpPolicy", env, policy_kwargs=policy_kwargs, seed=0, device="cpu", **kwargs)
    batch_norm = model.policy.vf_features_extractor.layers[1]
    check_trains_saves_and_loads(model, tmp_path / "model", trusted=True)
    # in each of the six episodes, the batch of five has statistics and the batch of one has not
    assert batch_norm.num_batches_tracked == 6


def test_targets_are_computed_in_evaluation_mode() -> None:
    """Even if a callback left the policy in training mode: dropout must not blur them."""

    class Training(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_end(self) -> None:
            self.model.policy.set_training_mode(True)

    seen = []

    class Modes(AutogradEngine):
        def _values(self, *args):
            seen.append(("targets", self.policy.training))
            return super()._values(*args)

        def _log_prob_and_entropy(self, *args):
            seen.append(("losses", self.policy.training))
            return super()._log_prob_and_entropy(*args)

    env = RandomEnv(VECTOR, ACTION_SPACES["discrete"], episode_length=1000)
    policy_kwargs = {"features_extractor_class": BatchNormExtractor}
    model = TDA2C("MlpPolicy", env, engine="autograd", policy_kwargs=policy_kwargs, device="cpu")
    model._engine = Modes(model.policy)
    assert model.learn(20, Training())._n_updates == 4
    assert seen == [("targets", False), ("losses", True)] * 4


def test_collecting_leaves_batch_norm_alone() -> None:
    env = RandomEnv(VECTOR, ACTION_SPACES["discrete"])
    policy_kwargs = {"features_extractor_class": BatchNormExtractor}
    model = TDA2C("MlpPolicy", env, policy_kwargs=policy_kwargs, n_steps=100, update_on_episode_end=False, device="cpu")
    model.learn(99)
    assert model.policy.pi_features_extractor.layers[1].num_batches_tracked == 0
