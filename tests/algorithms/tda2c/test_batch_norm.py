"""Layers that differ between training and evaluation: batch norm and dropout."""

from pathlib import Path
from typing import Any

import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from sb3_a2c_td import TDA2C
from sb3_a2c_td.engines.autograd import AutogradEngine
from tests.algorithms.tda2c.test_spaces import VECTOR, check_trains_saves_and_loads
from tests.environments import RandomEnv

DISCRETE = spaces.Discrete(3)


class BatchNormExtractor(BaseFeaturesExtractor):
    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, features_dim=8)
        self.layers = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.1))

    def forward(self, observations: th.Tensor) -> th.Tensor:
        return self.layers(observations)


BATCH_NORM = {"features_extractor_class": BatchNormExtractor}


@pytest.mark.parametrize("normalize_advantage", [False, True])
def test_batches_of_one_use_the_running_statistics(normalize_advantage: bool, tmp_path: Path) -> None:
    """Episodes have six steps: every second batch holds one transition."""
    env = RandomEnv(VECTOR, DISCRETE, episode_length=6)
    kwargs: dict[str, Any] = {"policy_kwargs": BATCH_NORM, "normalize_advantage": normalize_advantage}
    model = TDA2C("MlpPolicy", env, seed=0, device="cpu", **kwargs)
    batch_norm = model.policy.vf_features_extractor.layers[1]
    check_trains_saves_and_loads(model, tmp_path / "model", trusted=True)
    # in each of the six episodes, the batch of five updates the statistics and the batch of one does not
    assert batch_norm.num_batches_tracked == 6


def test_targets_are_computed_in_evaluation_mode() -> None:
    """Even if a callback left the policy in training mode: dropout would make the targets noisy."""

    class TrainingMode(BaseCallback):
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

    env = RandomEnv(VECTOR, DISCRETE, episode_length=1000)
    model = TDA2C("MlpPolicy", env, engine="autograd", policy_kwargs=BATCH_NORM, device="cpu")
    model._engine = Modes(model.policy)
    assert model.learn(20, TrainingMode())._n_updates == 4
    assert seen == [("targets", False), ("losses", True)] * 4


def test_collecting_does_not_update_the_statistics() -> None:
    env = RandomEnv(VECTOR, DISCRETE)
    model = TDA2C("MlpPolicy", env, policy_kwargs=BATCH_NORM, n_steps=100, update_on_episode_end=False, device="cpu")
    model.learn(99)
    assert model.policy.pi_features_extractor.layers[1].num_batches_tracked == 0
