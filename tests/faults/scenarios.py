"""Environments that fail, in every kind of vector environment, and what must hold afterwards."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch as th
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from sb3_a2c_td import TDA2C, GymnasiumVecEnv
from tests.environments import CountingEnv

WORKER_WARNINGS = [
    # Gymnasium's message about an exception in a worker
    pytest.mark.filterwarnings("ignore:.*ERROR.*:UserWarning"),
    # of Python 3.12 and newer about forking with threads
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]
"""for tests with worker processes"""
VEC_ENVS: dict[str, Callable[[list[Callable[[], gym.Env]]], VecEnv]] = {
    "dummy": DummyVecEnv,
    "sync": lambda env_fns: GymnasiumVecEnv(SyncVectorEnv(env_fns)),
    "async": lambda env_fns: GymnasiumVecEnv(AsyncVectorEnv(env_fns)),
    "fork": lambda env_fns: SubprocVecEnv(env_fns, start_method="fork"),
    "forkserver": SubprocVecEnv,
}
# without "forkserver", which takes a second for each process
FAST_VEC_ENVS = ("dummy", "sync", "async", "fork")
Step = list[Any]
Fault = Callable[[Step], None]


class FaultyEnv(CountingEnv):
    """Applies a fault to what its ``fault_at``-th step returns. Its rewards depend on its actions."""

    def __init__(
        self, fault: Fault | None = None, fault_at: int = 7, length: int | None = None, truncates: bool = False
    ) -> None:
        super().__init__(length, truncates)
        self.fault, self.fault_at = fault, fault_at
        self.n_steps = 0

    def step(self, action):
        self.n_steps += 1
        step = list(super().step(action))
        step[1] += float(action)
        if self.n_steps == self.fault_at and self.fault is not None:
            self.fault(step)
        return tuple(step)


def boom(step: Step) -> None:
    raise LookupError("boom")


def die(step: Step) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def replaced(index: int, value: Any) -> Fault:
    def replace(step: Step) -> None:
        step[index] = value

    return replace


def make_vec_env(kind: str, fault: Fault | None, culprits: tuple[int, ...] = (1,), n_envs: int = 3, **kwargs) -> VecEnv:
    return VEC_ENVS[kind](
        [lambda i=i: FaultyEnv(fault if i in culprits else None, **kwargs) for i in range(n_envs)]  # type: ignore[misc]
    )


def make_model(env: VecEnv | gym.Env, engine: str = "autograd", **kwargs) -> TDA2C:
    return TDA2C("MlpPolicy", env, engine=engine, seed=0, device="cpu", **kwargs)


def weights_of(model: TDA2C) -> th.Tensor:
    return th.nn.utils.parameters_to_vector(model.policy.parameters()).detach().clone()


def weights_after(n_updates: int, n_envs: int = 3, policy: Any = "MlpPolicy") -> th.Tensor:
    model = TDA2C(policy, make_vec_env("dummy", None, n_envs=n_envs), engine="autograd", seed=0, device="cpu")
    return weights_of(model.learn(n_updates * 5 * n_envs))


def processes_of(env: VecEnv) -> list[Any]:
    return list((env.env if isinstance(env, GymnasiumVecEnv) else env).processes)


def assert_ended(processes: list[Any]) -> None:
    assert [process.exitcode is not None for process in processes] == [True] * len(processes)


def assert_training_continues(model: TDA2C, path: Path, env: VecEnv | None = None) -> None:
    """Save the model, load it, and train both; ``env`` replaces the model's environment."""
    model.save(path / "model")
    fresh, custom_objects = make_vec_env("dummy", None, n_envs=model.n_envs), {"policy_class": model.policy_class}
    loaded = TDA2C.load(path / "model", env=fresh, device="cpu", custom_objects=custom_objects)
    assert th.equal(weights_of(loaded), weights_of(model))
    if env is not None:
        model.set_env(env)
    for each in (loaded, model):
        n_updates = each._n_updates
        each.learn(10 * each.n_envs, reset_num_timesteps=False)
        assert each._n_updates > n_updates
        assert weights_of(each).isfinite().all()


class ActingCallback(BaseCallback):
    """Calls a function at a step."""

    def __init__(self, at: int, act: Callable[[], object]) -> None:
        super().__init__()
        self.at, self.act = at, act

    def _on_step(self) -> bool:
        if self.num_timesteps == self.at:
            self.act()
        return True


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)
