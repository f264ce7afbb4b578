"""Every kind of observation and action space, through training, saving and loading."""

from pathlib import Path

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack, VecNormalize

from sb3_a2c_td import TDA2C
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
    """Check that training moves the weights and that a loaded model acts as the saved one and trains further."""
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
    n_updates = loaded._n_updates
    loaded.learn(20, reset_num_timesteps=False)
    assert loaded._n_updates > n_updates
    assert not th.equal(weights(loaded), after)


@pytest.mark.parametrize(
    ("observation_space", "action_space", "n_envs"),
    [
        *((name, "discrete", 1) for name in OBSERVATION_SPACES),
        *(("float32", name, 1) for name in ACTION_SPACES if name != "discrete"),
        ("float32", "box", 3),
        ("image", "discrete", 3),
        ("dict", "multidiscrete", 3),
    ],
)
def test_spaces(observation_space: str, action_space: str, n_envs: int, tmp_path: Path) -> None:
    observations, actions = OBSERVATION_SPACES[observation_space], ACTION_SPACES[action_space]
    env = DummyVecEnv([lambda: RandomEnv(observations, actions)] * n_envs)
    model = TDA2C(policy_name(observations), env, seed=0, device="cpu")
    check_trains_saves_and_loads(model, tmp_path / "model")


def test_vec_normalize_of_integers_keeps_the_fractions() -> None:
    """The wrapper returns floats, although its space still has integers."""
    env = VecNormalize(DummyVecEnv([lambda: RandomEnv(OBSERVATION_SPACES["integers"], ACTION_SPACES["discrete"])]))
    model = TDA2C("MlpPolicy", env, device="cpu", n_steps=50, update_on_episode_end=False).learn(20)
    observations = model.rollout_buffer.transitions().observations
    assert observations.dtype == np.float32
    assert (observations % 1 != 0).any()


def test_set_env_may_change_the_dtype() -> None:
    env = RandomEnv(OBSERVATION_SPACES["integers"], ACTION_SPACES["discrete"])
    model = TDA2C("MlpPolicy", env, device="cpu").learn(5)
    model.set_env(VecNormalize(DummyVecEnv([lambda: env])))
    model.learn(19)
    assert model.num_timesteps == 19
    assert model.rollout_buffer.transitions().observations.dtype == np.float32


@pytest.mark.parametrize("vec_env_class", [DummyVecEnv, pytest.param(SubprocVecEnv, marks=pytest.mark.slow)])
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
