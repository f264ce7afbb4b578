"""Models as RL Zoo's scripts show them: in environments with the statistics of ``VecNormalize`` from another file."""

from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecNormalize, unwrap_vec_normalize

from sb3_a2c_td.zoo import shown
from tests.environments import RandomEpisodesEnv

FAR = spaces.Box(np.array([100, -0.1], np.float32), np.array([120, 0.1], np.float32))


def normalizing(seed: int, n_frames: int) -> VecEnv:
    env = VecNormalize(make_vec_env(lambda: RandomEpisodesEnv(FAR, spaces.Discrete(3)), seed=seed))
    return VecFrameStack(env, n_frames) if n_frames > 1 else env


@pytest.mark.parametrize("gives_env", [False, True], ids=["enjoy", "record"])
@pytest.mark.parametrize("n_frames", [1, 2])
def test_models_are_shown_with_the_statistics_in_their_zips(
    gives_env: bool, n_frames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """RL Zoo shows the best model with the statistics at the end of training."""
    model = shown.TDA2C("MlpPolicy", normalizing(0, n_frames), seed=0, device="cpu").learn(100)
    model.save(tmp_path / "best_model")
    env = normalizing(1, n_frames)
    env.reset()
    normalize = unwrap_vec_normalize(env)
    monkeypatch.setattr(shown.ShownModel, "shown_normalize", normalize)
    loaded = shown.TDA2C.load(tmp_path / "best_model", device="cpu", **({"env": env} if gives_env else {}))
    assert f"normalized by the statistics in {tmp_path / 'best_model'}" in capsys.readouterr().out
    np.testing.assert_array_equal(normalize.obs_rms.mean, model.get_vec_normalize_env().obs_rms.mean)
    observations = np.random.default_rng(0).standard_normal((50, 2 * n_frames)).astype(np.float32)
    expected, _ = model.predict(observations, deterministic=True)
    np.testing.assert_array_equal(loaded.predict(observations, deterministic=True)[0], expected)


def test_models_that_normalize_are_shown_in_plain_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = make_vec_env("CartPole-v1")
    model = shown.TDA2C("MlpPolicy", env, seed=0, device="cpu", normalize_observations=True).learn(100)
    model.save(tmp_path / "model")
    monkeypatch.setattr(shown.ShownModel, "shown_normalize", None)
    assert shown.TDA2C.load(tmp_path / "model", device="cpu").normalize_observations
