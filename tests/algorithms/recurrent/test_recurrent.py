"""RecurrentTDA2C through its public API: spaces, saving and resuming, evaluation, and errors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, VecNormalize

from sb3_a2c_td import TDA2C, RecurrentTDA2C
from sb3_a2c_td.policies.recurrent import MlpLstmPolicy
from tests.algorithms.comparing import assert_same_parameters
from tests.algorithms.recurrent.models import SMALL, make_cartpoles, make_model, make_native_cartpoles
from tests.environments import RandomEnv
from tests.saving.comparing import differences, everything

VECTOR = spaces.Box(-1, 1, (3,), np.float32)
ACTION_SPACES = {
    "discrete": spaces.Discrete(4),
    "multi_discrete": spaces.MultiDiscrete([3, 2]),
    "multi_binary": spaces.MultiBinary(3),
    "box": spaces.Box(-1, 1, (2,), np.float32),
}
OBSERVATION_SPACES = {
    "box": VECTOR,
    "discrete": spaces.Discrete(4),
    "multi_discrete": spaces.MultiDiscrete([3, 2]),
    "multi_binary": spaces.MultiBinary(3),
    "image": spaces.Box(0, 255, (36, 36, 1), np.uint8),
    "dict": spaces.Dict({"a": VECTOR, "b": spaces.Discrete(3)}),
}
POLICIES = {"image": "CnnLstmPolicy", "dict": "MultiInputLstmPolicy"}


@pytest.mark.parametrize(
    ("observation_space", "action_space"),
    [
        *((name, "discrete") for name in OBSERVATION_SPACES),
        *(("box", name) for name in ACTION_SPACES if name != "discrete"),
    ],
)
def test_spaces(observation_space: str, action_space: str, tmp_path: Path) -> None:
    actions_space = ACTION_SPACES[action_space]

    def make_env() -> VecEnv:
        return make_vec_env(lambda: RandomEnv(OBSERVATION_SPACES[observation_space], actions_space), 2, seed=0)

    model = make_model(make_env(), POLICIES.get(observation_space, "MlpLstmPolicy"), n_steps=4).learn(41)
    assert model.num_timesteps == 42
    model.save(tmp_path / "model")
    loaded = RecurrentTDA2C.load(tmp_path / "model", make_env(), device="cpu")
    observations = make_env().reset()
    actions, states = loaded.predict(observations, deterministic=True)
    assert all(actions_space.contains(action) for action in actions.astype(actions_space.dtype))
    np.testing.assert_array_equal(actions, model.predict(observations, deterministic=True)[0])
    # the start of an episode resets the states
    again, _ = loaded.predict(observations, states, np.ones(2, bool), deterministic=True)
    np.testing.assert_array_equal(actions, again)
    assert loaded.learn(10, reset_num_timesteps=False).num_timesteps == 52


@pytest.mark.parametrize(
    ("make_env", "kwargs"),
    [
        (make_cartpoles, {}),
        (lambda: make_cartpoles(1), {"policy_kwargs": SMALL | {"n_lstm_layers": 2, "lstm_kwargs": {"dropout": 0.1}}}),
        (lambda: VecNormalize(make_cartpoles(2)), {"policy_kwargs": SMALL | {"enable_critic_lstm": False}}),
        (make_native_cartpoles, {}),
        (lambda: make_vec_env("Pendulum-v1", 2, seed=0), {"use_sde": True, "sde_sample_freq": 3}),
    ],
    ids=["several", "one, dropout", "VecNormalize, no critic LSTM", "native", "gSDE"],
)
def test_a_resumed_training_is_the_uninterrupted_one(make_env: Any, kwargs: dict[str, Any], tmp_path: Path) -> None:
    """Bit for bit, from the middle of a rollout and of episodes, whose recurrent states are saved."""
    expected = everything(make_model(make_env(), n_steps=7, **kwargs).learn(420))
    make_model(make_env(), n_steps=7, **kwargs).learn(214).save(tmp_path / "model")
    model = RecurrentTDA2C.resume(tmp_path / "model", make_model(make_env(), seed=1, **kwargs).env, device="cpu")
    assert len(model.rollout_buffer) > 0
    found = everything(model.learn(420 - model.num_timesteps, reset_num_timesteps=False))
    assert differences(found, expected) == []


def test_equal_seeds_give_equal_trainings() -> None:
    first, second = (everything(make_model(make_cartpoles()).learn(300)) for _ in range(2))
    assert differences(first, second) == []


@pytest.mark.slow
def test_subproc_vec_env_gives_the_weights_of_dummy_vec_env() -> None:
    env = make_cartpoles(2, vec_env_cls=SubprocVecEnv)
    model, other = make_model(make_cartpoles(2)).learn(200), make_model(env).learn(200)
    env.close()
    assert_same_parameters(model, other)


def test_loading_with_another_number_of_environments(tmp_path: Path) -> None:
    make_model(make_cartpoles(3)).learn(100).save(tmp_path / "model")
    model = RecurrentTDA2C.load(tmp_path / "model", make_cartpoles(2), device="cpu")
    assert model.learn(100).num_timesteps == 100
    assert model._last_lstm_states.shape == (2, 4, 8)


def test_evaluation_and_log_folder(tmp_path: Path) -> None:
    callback = EvalCallback(make_cartpoles(2), eval_freq=50, n_eval_episodes=3, verbose=0)
    model = make_model(make_cartpoles(2), tensorboard_log=str(tmp_path)).learn(300, callback)
    assert (tmp_path / "RecurrentTDA2C_1").is_dir()
    assert 8 < callback.last_mean_reward <= 23
    assert 8 < evaluate_policy(model, make_cartpoles(2), n_eval_episodes=3)[0] <= 23


@pytest.mark.parametrize("engine", ["auto", "autograd"])
def test_verbose_prints_the_engine(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    make_model("CartPole-v1", engine=engine, verbose=1)
    assert "Using the engine autograd (the policy is recurrent)" in capsys.readouterr().out


def test_a_diverged_policy_is_an_error() -> None:
    model = make_model(make_cartpoles()).learn(30)
    with th.no_grad():
        model.policy.action_net.bias.fill_(th.nan)
    with pytest.raises(ValueError, match="action distribution is not finite at step 30: training diverged"):
        model.learn(30, reset_num_timesteps=False)


def test_unsupported_engines_are_errors() -> None:
    with pytest.raises(ValueError, match="engine='numba'.*: its policy is recurrent"):
        make_model("CartPole-v1", engine="numba")


def test_policies_of_other_algorithms_are_errors() -> None:
    with pytest.raises(ValueError, match="policy=MlpLstmPolicy is for another algorithm: TDA2C takes MlpPolicy"):
        TDA2C(MlpLstmPolicy, "CartPole-v1")
    with pytest.raises(ValueError, match="policy='MlpPolicy' is unknown: use MlpLstmPolicy"):
        make_model("CartPole-v1", "MlpPolicy")
    with pytest.raises(ValueError, match=r"class \w+\(SeparateRecurrentPolicy, RecurrentActorCriticPolicy\)"):
        make_model("CartPole-v1", RecurrentPPO.policy_aliases["MlpLstmPolicy"])  # type: ignore[arg-type]
