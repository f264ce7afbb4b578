"""RL Zoo's MaskableTDA2C takes the masks of the environment that a script shows."""

import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env

import sb3_a2c_td
from sb3_a2c_td.zoo import masks
from tests.zoo.masked_cartpole import MaskedCartPole


def test_predict_takes_the_masks_of_the_shown_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    env = make_vec_env(MaskedCartPole, n_envs=2, seed=0)
    model = masks.MaskableTDA2C("MlpPolicy", env, seed=0, device="cpu")
    observations = env.reset()
    monkeypatch.setattr(masks.MaskableTDA2C, "shown_env", env)
    for _ in range(30):
        # the environment raises if an action is not allowed
        observations, *_ = env.step(model.predict(observations)[0])


def test_given_masks_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    env = make_vec_env(MaskedCartPole, n_envs=1, seed=0)
    model = masks.MaskableTDA2C("MlpPolicy", env, seed=0, device="cpu")
    monkeypatch.setattr(masks.MaskableTDA2C, "shown_env", env)
    env.reset()
    # the environment itself allows action 0 only
    actions = [model.predict(np.zeros(4), action_masks=np.array([False, True]))[0].item() for _ in range(10)]
    assert actions == [1] * 10


def test_the_packages_own_class_takes_no_masks_of_the_shown_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    env = make_vec_env(MaskedCartPole, n_envs=1, seed=0)
    model = sb3_a2c_td.MaskableTDA2C("MlpPolicy", env, seed=0, device="cpu")
    monkeypatch.setattr(masks.MaskableTDA2C, "shown_env", env)
    env.reset()
    assert {model.predict(np.zeros(4))[0].item() for _ in range(50)} == {0, 1}


def test_logs_show_the_same_name() -> None:
    assert masks.MaskableTDA2C.__name__ == sb3_a2c_td.MaskableTDA2C.__name__
