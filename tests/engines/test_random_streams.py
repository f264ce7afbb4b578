"""A training and the global random generators leave each other alone."""

import pickle
import random
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from sb3_a2c_td import TDA2C, MaskableTDA2C, RecurrentTDA2C
from sb3_a2c_td.saving import generators
from tests.algorithms.comparing import assert_same_parameters
from tests.engines import CLOSED_FORM_ENGINES, CPU_ENGINES, MLP_ENGINES
from tests.environments import MaskedEnv, RandomEpisodesEnv

BOX = spaces.Box(-1, 1, (3,), np.float32)
DISCRETE, CONTINUOUS = spaces.Discrete(3), spaces.Box(-1, 1, (2,), np.float32)


class SeedsEverything(gym.Wrapper):
    """Seeds all global generators at every reset, and draws from them at every step."""

    def reset(self, **kwargs: Any):
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        th.manual_seed(0)
        return self.env.reset(**kwargs)

    def step(self, action: Any):
        random.random(), np.random.rand(), th.rand(1)  # noqa: NPY002
        return self.env.step(action)


class Drops(nn.Sequential):
    """An activation function with dropout."""

    def __init__(self) -> None:
        super().__init__(nn.ReLU(), nn.Dropout(0.5))


TRAININGS: dict[str, tuple[type[TDA2C], str, gym.Space, dict[str, Any]]] = {
    **{f"discrete, {engine}": (TDA2C, "MlpPolicy", DISCRETE, {"engine": engine}) for engine in MLP_ENGINES},
    **{f"continuous, {engine}": (TDA2C, "MlpPolicy", CONTINUOUS, {"engine": engine}) for engine in MLP_ENGINES},
    "multi-discrete": (TDA2C, "MlpPolicy", spaces.MultiDiscrete([2, 3]), {}),
    "multi-binary": (TDA2C, "MlpPolicy", spaces.MultiBinary(3), {}),
    "gSDE": (TDA2C, "MlpPolicy", CONTINUOUS, {"use_sde": True, "sde_sample_freq": 3}),
    "squashed gSDE": (TDA2C, "MlpPolicy", CONTINUOUS, {"use_sde": True, "policy_kwargs": {"squash_output": True}}),
    "dropout": (TDA2C, "MlpPolicy", DISCRETE, {"policy_kwargs": {"activation_fn": Drops}}),
    "masked": (MaskableTDA2C, "MlpPolicy", spaces.MultiDiscrete([2, 3]), {}),
    "recurrent": (
        RecurrentTDA2C,
        "MlpLstmPolicy",
        DISCRETE,
        {"policy_kwargs": {"lstm_hidden_size": 8, "n_lstm_layers": 2, "lstm_kwargs": {"dropout": 0.5}}},
    ),
}


def make(training: str, wrapper: type[gym.Wrapper] | None = None, n_envs: int = 2) -> TDA2C:
    algorithm, policy, action_space, arguments = TRAININGS[training]
    kind = MaskedEnv if algorithm is MaskableTDA2C else RandomEpisodesEnv

    def make_env() -> gym.Env:
        env = kind(BOX, action_space)
        return env if wrapper is None else wrapper(env)

    return algorithm(policy, DummyVecEnv([make_env] * n_envs), seed=0, **arguments)


@pytest.mark.parametrize("training", TRAININGS)
def test_global_generators_do_not_disturb_a_training(training: str) -> None:
    assert_same_parameters(make(training, SeedsEverything).learn(60), make(training).learn(60))


@pytest.mark.parametrize("training", TRAININGS)
def test_a_training_does_not_disturb_global_generators(training: str) -> None:
    model = make(training)
    before = pickle.dumps(generators.states())
    model.learn(60)
    assert pickle.dumps(generators.states()) == before


class SeedingBandit(gym.Env):
    """A two-armed bandit that seeds numpy's global generator before every step; arm 1 pays 1."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        np.random.seed(0)  # noqa: NPY002
        return np.ones(1, np.float32), {}

    def step(self, action):
        return np.ones(1, np.float32), float(action == 1), True, False, {}


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_both_arms_of_a_bandit_that_seeds_the_global_generator_are_taken(engine: str) -> None:
    taken = set()

    class Records(BaseCallback):
        def _on_step(self) -> bool:
            taken.update(self.locals["actions"].tolist())
            return len(taken) < 2

    TDA2C("MlpPolicy", SeedingBandit(), seed=0, engine=engine).learn(100, Records())
    assert taken == {0, 1}


def test_evaluation_with_another_environment_does_not_change_a_training() -> None:
    evaluated = make("discrete, numpy")
    eval_env = DummyVecEnv([lambda: SeedsEverything(RandomEpisodesEnv(BOX, DISCRETE))])
    evaluated.learn(60, EvalCallback(eval_env, eval_freq=5, deterministic=False, verbose=0, warn=False))
    assert_same_parameters(evaluated, make("discrete, numpy").learn(60))


def actions_of(model: TDA2C, n_steps: int) -> np.ndarray:
    """Train, and return the actions that were taken."""
    actions = []

    class Records(BaseCallback):
        def _on_step(self) -> bool:
            actions.append(self.locals["actions"])
            return True

    model.learn(n_steps, Records())
    return np.array(actions)


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_every_engine_draws_the_same_actions(kind: str) -> None:
    expected, *others = (actions_of(make(f"{kind}, {engine}"), 200) for engine in MLP_ENGINES)
    assert len(np.unique(expected)) > 2
    for actions in others:
        np.testing.assert_allclose(actions, expected, atol=1e-4)


@pytest.mark.parametrize("engine", CLOSED_FORM_ENGINES)
def test_masked_actions_are_the_same_in_every_engine(engine: str) -> None:
    def actions(name: str) -> np.ndarray:
        env = DummyVecEnv([lambda: MaskedEnv(BOX, spaces.Discrete(5))])
        return actions_of(MaskableTDA2C("MlpPolicy", env, seed=0, engine=name), 100)

    np.testing.assert_array_equal(actions(engine), actions("autograd"))


def test_a_dict_of_one_observation_trains_like_the_observation() -> None:
    class InADict(gym.ObservationWrapper):
        observation_space = spaces.Dict({"obs": BOX})

        def observation(self, observation: np.ndarray) -> dict[str, np.ndarray]:
            return {"obs": observation}

    def train(policy: str, wrapper: type[gym.Wrapper] | None = None, engine: str = "auto") -> TDA2C:
        env = RandomEpisodesEnv(BOX, DISCRETE)
        return TDA2C(policy, env if wrapper is None else wrapper(env), seed=0, engine=engine).learn(200)

    def weights(model: TDA2C) -> list[th.Tensor]:
        return [param.detach() for param in model.policy.parameters()]

    in_a_dict = weights(train("MultiInputPolicy", InADict))
    th.testing.assert_close(in_a_dict, weights(train("MlpPolicy", engine="autograd")), rtol=0, atol=0)
    th.testing.assert_close(in_a_dict, weights(train("MlpPolicy")), rtol=0, atol=1e-5)


def test_noise_differs_from_the_random_numbers_of_an_environment_with_the_same_seed() -> None:
    model = make("discrete, numpy")
    of_environments = np.random.default_rng(0).random(1000)
    of_actions = model._streams.actions.random(1000)
    assert not np.isin(of_actions, of_environments).any()
    assert abs(np.corrcoef(of_actions, of_environments)[0, 1]) < 5 / 1000**0.5


def test_models_without_a_seed_differ_unless_the_global_generator_is_seeded() -> None:
    def draws(seed: int | None) -> float:
        if seed is not None:
            th.manual_seed(seed)
        return TDA2C("MlpPolicy", "CartPole-v1")._streams.actions.random()

    assert draws(None) != draws(None)
    assert draws(5) == draws(5)


@pytest.mark.parametrize("training", ["discrete, autograd", "multi-binary", "gSDE", "masked"])
def test_policies_that_draw_nothing_by_themselves_leave_pytorchs_generator_to_other_threads(
    training: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It belongs to the whole process: restoring it would repeat what another thread drew meanwhile."""
    model = make(training)
    monkeypatch.setattr(th, "set_rng_state", None)
    model.learn(60)
