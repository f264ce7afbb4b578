"""Equal seeds give equal models, and saved models load with their weights, optimizers and settings."""

import copy
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import LinearSchedule

from sb3_a2c_td import TDA2C
from tests.algorithms.comparing import assert_same_parameters
from tests.engines import MLP_ENGINES
from tests.environments import CountingEnv


def make(env_id: str = "CartPole-v1", n_envs: int = 1, **kwargs) -> TDA2C:
    env = make_vec_env(env_id, n_envs=n_envs, seed=0)
    return TDA2C("MlpPolicy", env, **({"seed": 0, "device": "cpu"} | kwargs))


def assert_same_optimizer(first: TDA2C, second: TDA2C) -> None:
    a, b = first.policy.optimizer.state_dict(), second.policy.optimizer.state_dict()
    assert a["param_groups"] == b["param_groups"]
    for i, state in a["state"].items():
        for name, value in state.items():
            assert th.equal(th.as_tensor(value), th.as_tensor(b["state"][i][name])), name


# in runs as short as these "auto" is one of the others
@pytest.mark.parametrize("engine", MLP_ENGINES)
@pytest.mark.parametrize(("env_id", "n_envs"), [("CartPole-v1", 1), ("Pendulum-v1", 2)])
def test_equal_seeds_give_equal_weights(env_id: str, n_envs: int, engine: str) -> None:
    first = make(env_id, n_envs, engine=engine).learn(300)
    second = make(env_id, n_envs, engine=engine).learn(300)
    assert_same_parameters(first, second)
    assert_same_optimizer(first, second)
    other = make(env_id, n_envs, engine=engine, seed=1).learn(300)
    assert not th.equal(other.policy.action_net.weight, first.policy.action_net.weight)


@pytest.mark.parametrize(
    ("env_id", "optimizer_class", "engine"),
    [
        *(
            ("CartPole-v1", optimizer_class, engine)
            for optimizer_class in (None, th.optim.Adam)
            for engine in MLP_ENGINES
        ),
        ("CartPole-v1", th.optim.RMSprop, "autograd"),
        ("Pendulum-v1", None, "numpy"),
    ],
)
def test_a_loaded_model_has_the_weights_moments_and_predictions(
    env_id: str, optimizer_class: type[th.optim.Optimizer] | None, engine: str, tmp_path: Path
) -> None:
    policy_kwargs = {} if optimizer_class is None else {"optimizer_class": optimizer_class}
    model = make(env_id, policy_kwargs=policy_kwargs, engine=engine).learn(100)
    model.save(tmp_path / "model")
    loaded = TDA2C.load(tmp_path / "model", device="cpu")

    assert_same_parameters(model, loaded)
    assert_same_optimizer(model, loaded)
    observations = np.stack([model.observation_space.sample() for _ in range(50)])
    np.testing.assert_array_equal(
        model.predict(observations, deterministic=True)[0], loaded.predict(observations, deterministic=True)[0]
    )


@pytest.mark.parametrize("engine", MLP_ENGINES)
@pytest.mark.parametrize(("n_envs", "n_first"), [(1, 103), (3, 102)])
def test_a_loaded_model_trains_like_the_saved_one(n_envs: int, n_first: int, engine: str, tmp_path: Path) -> None:
    """Update for update, also from the middle of a rollout."""

    class Recorder(TDA2C):
        def train(self) -> None:
            super().train()
            parameters = th.nn.utils.parameters_to_vector(self.policy.parameters())
            self.history = [*getattr(self, "history", []), parameters.detach().clone()]

    kwargs = {"learning_rate": LinearSchedule(1e-3, 1e-4, 1.0), "n_steps": 4, "engine": engine}
    kwargs |= {"update_on_episode_end": False, "seed": 0, "device": "cpu"}
    model = Recorder("MlpPolicy", make_vec_env("CartPole-v1", n_envs=n_envs, seed=0), **kwargs).learn(n_first)
    model.save(tmp_path / "model")
    loaded = Recorder.load(tmp_path / "model", make_vec_env("CartPole-v1", n_envs=n_envs), device="cpu")
    assert len(loaded.rollout_buffer) == len(model.rollout_buffer) > 0

    for continued in (model, loaded):
        continued.history = []
        continued.set_random_seed(7)
        continued.learn(200)
    assert len(model.history) > 10
    assert th.equal(th.stack(loaded.history), th.stack(model.history))
    assert_same_optimizer(model, loaded)


def test_a_seed_may_be_an_integer_of_numpy(tmp_path: Path) -> None:
    model = make(seed=np.int64(3))
    assert (model.seed, type(model.seed)) == (3, int)
    assert_same_parameters(model, make(seed=3))
    model.save(tmp_path / "model")
    assert TDA2C.load(tmp_path / "model", device="cpu").seed == 3


def test_a_model_saved_by_a_callback_has_every_transition(tmp_path: Path) -> None:
    """Each step that it counts is in its buffer or was trained on."""
    model = TDA2C("MlpPolicy", CountingEnv(7), seed=0, device="cpu")
    model.learn(14, CheckpointCallback(save_freq=1, save_path=str(tmp_path)))
    trained = [0, 0, 0, 0, 0, 5, 5, 7, 7, 7, 7, 7, 12, 12]
    for step in range(1, 15):
        saved = TDA2C.load(tmp_path / f"rl_model_{step}_steps", device="cpu")
        assert saved.num_timesteps == step
        assert len(saved.rollout_buffer) == step - trained[step - 1]
        assert saved._last_obs.tolist() == [[1 if step >= 7 else 0, step % 7] if step < 14 else [2, 0]]


@pytest.mark.parametrize("engine", MLP_ENGINES)
@pytest.mark.parametrize("n_steps", [0, 13])
def test_a_copy_trains_like_the_original(n_steps: int, engine: str) -> None:
    model = make(engine=engine).learn(n_steps)
    twin = copy.deepcopy(model)
    for each in (model, twin):
        each.set_random_seed(3)
        each.learn(50)
    assert_same_parameters(model, twin)


def test_a_loaded_model_has_the_settings(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "learning_rate": 2e-3,
        "critic_learning_rate": LinearSchedule(3e-3, 1e-3, 1.0),
        "n_steps": 6,
        "gamma": 0.9,
        "reward_scale": 0.5,
        "update_on_episode_end": False,
        "bootstrap_on_truncation": True,
        "double_softmax": True,
        "ent_coef": 0.01,
        "max_grad_norm": 0.5,
        "normalize_advantage": True,
        "policy_kwargs": {"net_arch": [8]},
    }
    model = make(**settings).learn(50)
    model.save(tmp_path / "model")
    loaded = TDA2C.load(tmp_path / "model", make_vec_env("CartPole-v1"), device="cpu")
    for name, setting in settings.items():
        if not callable(setting):
            assert getattr(loaded, name) == setting
    assert loaded.critic_lr_schedule(0.5) == pytest.approx(2e-3)
    assert [group["lr"] for group in loaded.policy.optimizer.param_groups] == pytest.approx(
        [group["lr"] for group in model.policy.optimizer.param_groups]
    )
    assert loaded.learn(50, reset_num_timesteps=False).num_timesteps == 100


def test_load_changes_settings(tmp_path: Path) -> None:
    make(n_envs=4, n_steps=8).learn(20).save(tmp_path / "model")
    fewer = TDA2C.load(tmp_path / "model", make_vec_env("CartPole-v1"), device="cpu", n_steps=3, gamma=0.5)
    assert (fewer.n_envs, fewer.n_steps, fewer.gamma) == (1, 3, 0.5)
    assert len(fewer.rollout_buffer) == 20
    assert fewer.learn(30).num_timesteps == 30
    with pytest.raises(ValueError, match="gamma"):
        TDA2C.load(tmp_path / "model", device="cpu", gamma=2.0)


def test_a_model_loaded_without_an_environment_can_be_given_one(tmp_path: Path) -> None:
    make().learn(33).save(tmp_path / "model")
    loaded = TDA2C.load(tmp_path / "model", device="cpu")
    loaded.set_env(make_vec_env("CartPole-v1"))
    assert loaded.learn(20, reset_num_timesteps=False).num_timesteps == 53


def test_set_parameters_copies_weights(tmp_path: Path) -> None:
    model, other = make().learn(50), make(seed=1)
    other.set_parameters(model.get_parameters())
    assert_same_parameters(model, other)
    model.save(tmp_path / "model")
    third = make(seed=2)
    third.set_parameters(tmp_path / "model.zip", device="cpu")
    assert_same_parameters(model, third)


# Saves that fail


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """The system refuses to write files beyond a size, as it does when the disk is full."""
    model = make().learn(20)
    model.save(tmp_path / "model")
    before = (tmp_path / "model.zip").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="nothing was saved"):
            model.save(tmp_path / "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "model.zip").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]


def test_an_attribute_without_a_pickle_leaves_the_old_file(tmp_path: Path) -> None:
    model = make().learn(20)
    model.save(tmp_path / "model.zip")
    before = (tmp_path / "model.zip").read_bytes()

    class Unpicklable:
        def __reduce__(self) -> Any:
            raise RuntimeError("no pickle of this")

    model.attribute = Unpicklable()
    with pytest.raises(RuntimeError, match="no pickle of this"):
        model.save(tmp_path / "model.zip")
    assert (tmp_path / "model.zip").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]
