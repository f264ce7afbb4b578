"""Settings of the speed benchmarks: environments, their number, a policy, and the arms to compare."""

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from sb3_contrib import MaskablePPO, RecurrentPPO
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3 import A2C
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import nn

from sb3_a2c_td import TDA2C, MaskableTDA2C, RecurrentTDA2C, recommended
from sb3_a2c_td.compiled import CompiledVecEnv, make_compiled_vec_env
from sb3_a2c_td.engines.auto import N_NUMPY_UPDATES
from sb3_a2c_td.engines.cuda_graph import CudaEngine, without_recording
from sb3_a2c_td.hyperparams.tda2c import hyperparams

BASELINE = "A2C"
COMPILED = "TDA2C, compiled"
"""the arm that trains on compiled environments"""
AS_A2C = " as A2C"
"""suffix of arms that are PPO with the settings of A2C"""


class Images(gym.Env[np.ndarray, np.int64]):
    """A fast environment with pre-generated images of 84 x 84 x 4 and episodes of 100 steps."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 255, (84, 84, 4), np.uint8)
        self.action_space = spaces.Discrete(4)
        self._frames = np.random.default_rng(0).integers(0, 256, (64, 84, 84, 4), dtype=np.uint8)
        self._n_steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode.

        :param seed: see Gymnasium
        :param options: not used
        """
        super().reset(seed=seed)
        self._n_steps = 0
        return self._frame(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take a step. One of the four actions is rewarded.

        :param action: the action
        """
        self._n_steps += 1
        return self._frame(), float(action == self._n_steps % 4), self._n_steps >= 100, False, {}

    def _frame(self) -> np.ndarray:
        return self._frames[self._n_steps % len(self._frames)]  # type: ignore[no-any-return]


def make_native(env: Any, n_envs: int) -> VectorEnv[Any, Any, Any]:
    """Make the vector environment that Gymnasium registers with an id, with all environments in one.

    :param env: the id
    :param n_envs: number of environments
    """
    return gym.make_vec(env, n_envs, vectorization_mode="vector_entry_point")


@dataclass(frozen=True)
class Setting:
    """An environment and a policy to train with each algorithm's defaults.

    :param name: name on the command line
    :param env: id of the environment, or its constructor
    :param n_envs: number of environments
    :param policy: the policy
    :param compiled_env: id of the same environment in compiled code; ``None``: there is none
    """

    name: str
    env: str | Callable[[], gym.Env[Any, Any]]
    n_envs: int
    policy: str = "MlpPolicy"
    compiled_env: str | None = None

    def make_env(self) -> VecEnv | VectorEnv[Any, Any, Any]:
        """Make a DummyVecEnv with a Monitor around each environment."""
        return self._make_vec_env(self.n_envs)

    def _make_vec_env(self, n_envs: int) -> VecEnv:
        return make_vec_env(self.env, n_envs)

    def make_compiled_env(self) -> CompiledVecEnv | None:
        """Make the compiled environments, if there are any."""
        return None if self.compiled_env is None else make_compiled_vec_env(self.compiled_env, self.n_envs)

    def make_models(self, device: str) -> dict[str, BaseAlgorithm]:
        """Make a model of each arm that steps environments in Python.

        :param device: device of the policies
        :return: models by arm
        """
        models: dict[str, BaseAlgorithm] = {BASELINE: A2C(self.policy, self._make_vec_env(self.n_envs), device=device)}
        plain = "numpy" if self.policy == "MlpPolicy" and device == "cpu" else "autograd"
        for engine in (plain, "auto") if device == "cpu" else (plain,):
            models[f'TDA2C, engine="{engine}"'] = self._tda2c(self.make_env(), engine=engine, device=device)
        return models

    def _tda2c(self, env: VecEnv | VectorEnv[Any, Any, Any], **arguments: Any) -> TDA2C:
        return TDA2C(self.policy, env, **arguments)

    def make_compiled_models(self) -> dict[str, TDA2C]:
        """Make the model of :data:`COMPILED`, on the CPU.

        :return: models by arm; none if there is no compiled environment
        """
        env = self.make_compiled_env()
        return {} if env is None else {COMPILED: self._tda2c(env, device="cpu")}

    def warm_up_steps(self, model: BaseAlgorithm) -> int:
        """Return the number of environment steps after which everything is compiled.

        :param model: the model to warm up
        """
        n_updates = 2
        if self.policy == "MlpPolicy":
            n_updates = 20 + (N_NUMPY_UPDATES if isinstance(model, TDA2C) else 0)
        return n_updates * 5 * model.n_envs


@dataclass(frozen=True)
class GeneralSetting(Setting):
    """TDA2C's general setting, compared with A2C's defaults."""

    def _tda2c(self, env: VecEnv | VectorEnv[Any, Any, Any], **arguments: Any) -> TDA2C:
        return TDA2C(env=env, **recommended(), **arguments)


@dataclass(frozen=True)
class NativeSetting(Setting):
    """A native vector environment of Gymnasium, compared with A2C on several numbers of environments.

    :param a2c_n_envs: numbers of environments for A2C
    """

    a2c_n_envs: tuple[int, ...] = (16, 64, 256, 1024)

    def make_env(self) -> VectorEnv[Any, Any, Any]:
        """Make the native vector environment."""
        return make_native(self.env, self.n_envs)

    def make_models(self, device: str) -> dict[str, BaseAlgorithm]:
        """Make A2C for each number of environments in a DummyVecEnv, and TDA2C for the native environment.

        :param device: device of the policies
        :return: models by arm
        """
        models: dict[str, BaseAlgorithm] = {
            f"{BASELINE}, {n_envs} environments": A2C(self.policy, self._make_vec_env(n_envs), device=device)
            for n_envs in self.a2c_n_envs
        }
        models['TDA2C, engine="auto"'] = TDA2C(self.policy, self.make_env(), device=device)
        return models


@dataclass(frozen=True)
class GpuSetting(Setting):
    """Both engines of a GPU, compared with A2C there. On the CPU, for a rehearsal, ``engine="cuda"`` records nothing.

    :param native: whether TDA2C steps the native vector environment, which A2C does not support
    """

    native: bool = False

    def make_env(self) -> VecEnv | VectorEnv[Any, Any, Any]:
        """Make the environments that TDA2C steps."""
        return make_native(self.env, self.n_envs) if self.native else super().make_env()

    def make_models(self, device: str) -> dict[str, BaseAlgorithm]:
        """Make A2C and a model of each engine.

        :param device: device of the policies
        :return: models by arm
        """
        models: dict[str, BaseAlgorithm] = {BASELINE: A2C(self.policy, self._make_vec_env(self.n_envs), device=device)}
        models['TDA2C, engine="autograd"'] = TDA2C(self.policy, self.make_env(), engine="autograd", device=device)
        models['TDA2C, engine="cuda"'] = self._with_graphs(device)
        return models

    def _with_graphs(self, device: str) -> TDA2C:
        if device != "cpu":
            return TDA2C(self.policy, self.make_env(), engine="cuda", device=device)
        model = TDA2C(self.policy, self.make_env(), engine="autograd", device=device)
        model._engine = CudaEngine(model.policy, without_recording)
        return model

    def warm_up_steps(self, model: BaseAlgorithm) -> int:
        """Return the steps of a few updates, in which graphs are recorded.

        :param model: the model to warm up
        """
        return 4 * 5 * model.n_envs


@dataclass(frozen=True)
class TunedSetting(Setting):
    """TDA2C's tuned settings with ``VecNormalize``, compared with A2C with ``VecNormalize``.

    A2C takes part with its defaults, and with the tuned settings as far as it has them.
    """

    @property
    def _tuned(self) -> dict[str, Any]:
        assert isinstance(self.env, str)
        # A2C writes its optimizer into policy_kwargs
        return deepcopy(hyperparams[self.env])

    def _normalized(self, env: VecEnv) -> VecNormalize:
        return VecNormalize(env, gamma=self._tuned["gamma"], **self._tuned["normalize"])

    def make_env(self) -> VecEnv:
        """Make a DummyVecEnv with a Monitor around each environment, in VecNormalize."""
        return self._normalized(self._make_vec_env(self.n_envs))

    def make_models(self, device: str) -> dict[str, BaseAlgorithm]:
        """Make two models of A2C and one of TDA2C.

        :param device: device of the policies
        :return: models by arm
        """
        shared = {name: self._tuned[name] for name in ("n_steps", "gamma", "ent_coef", "policy_kwargs")}
        rate = LinearSchedule(float(self._tuned["learning_rate"].removeprefix("lin_")), 0.0, 1.0)
        return {
            BASELINE: A2C(self.policy, self.make_env(), device=device),
            f"{BASELINE}, tuned settings": A2C(
                self.policy, self.make_env(), learning_rate=rate, device=device, **shared
            ),
            'TDA2C, engine="auto"': TDA2C(self.policy, self.make_env(), device=device, **self._arguments()),
        }

    def make_compiled_models(self) -> dict[str, TDA2C]:
        """Make the model of :data:`COMPILED`, on the CPU.

        :return: models by arm
        """
        env = self.make_compiled_env()
        assert env is not None
        return {COMPILED: TDA2C(self.policy, self._normalized(env), device="cpu", **self._arguments())}

    def _arguments(self) -> dict[str, Any]:
        others = ("n_timesteps", "policy", "n_envs", "normalize")
        return {name: value for name, value in self._tuned.items() if name not in others}


@dataclass(frozen=True)
class ContribSetting(Setting):
    """Masked or recurrent TDA2C, compared with sb3-contrib's PPO with the settings of A2C: one epoch of one batch.

    Both have the same networks.

    :param ours: the algorithm of this package
    :param theirs: the algorithm of sb3-contrib
    """

    ours: type[TDA2C] = TDA2C
    theirs: type[OnPolicyAlgorithm] = MaskablePPO

    def make_models(self, device: str) -> dict[str, BaseAlgorithm]:
        """Make a model of each algorithm.

        :param device: device of the policies
        :return: models by arm
        """
        as_a2c: dict[str, Any] = {"n_steps": 5, "batch_size": 5 * self.n_envs, "n_epochs": 1}
        networks = {"net_arch": [64, 64], "activation_fn": nn.Tanh, "ortho_init": True}
        return {
            f"{self.theirs.__name__}{AS_A2C}": self.theirs(
                self.policy, self._make_vec_env(self.n_envs), device=device, policy_kwargs=networks, **as_a2c
            ),
            self.ours.__name__: self.ours(self.policy, self.make_env(), device=device, policy_kwargs=networks),
        }


def masked_cartpole() -> gym.Env[Any, Any]:
    """Make CartPole with a mask that allows all actions."""
    mask = np.ones(2, bool)
    return ActionMasker(gym.make("CartPole-v1"), lambda _: mask)


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting("cartpole-1", "CartPole-v1", n_envs=1, compiled_env="sb3_a2c_td/CartPole-v1"),
        Setting("cartpole-16", "CartPole-v1", n_envs=16, compiled_env="sb3_a2c_td/CartPole-v1"),
        NativeSetting("cartpole-1024", "CartPole-v1", n_envs=1024, compiled_env="sb3_a2c_td/CartPole-v1"),
        GeneralSetting("cartpole-general-1", "CartPole-v1", n_envs=1, compiled_env="sb3_a2c_td/CartPole-v1"),
        TunedSetting("cartpole-tuned-1", "CartPole-v1", n_envs=1, compiled_env="sb3_a2c_td/CartPole-v1"),
        Setting("pendulum-1", "Pendulum-v1", n_envs=1, compiled_env="sb3_a2c_td/Pendulum-v1"),
        Setting("pendulum-16", "Pendulum-v1", n_envs=16, compiled_env="sb3_a2c_td/Pendulum-v1"),
        Setting("images-8", Images, n_envs=8, policy="CnnPolicy"),
        GpuSetting("gpu-mlp-16", "CartPole-v1", n_envs=16, native=True),
        GpuSetting("gpu-mlp-256", "CartPole-v1", n_envs=256, native=True),
        GpuSetting("gpu-mlp-4096", "CartPole-v1", n_envs=4096, native=True),
        GpuSetting("gpu-images-8", Images, n_envs=8, policy="CnnPolicy"),
        GpuSetting("gpu-images-64", Images, n_envs=64, policy="CnnPolicy"),
        GpuSetting("gpu-images-256", Images, n_envs=256, policy="CnnPolicy"),
        ContribSetting("masked-8", masked_cartpole, n_envs=8, ours=MaskableTDA2C, theirs=MaskablePPO),
        ContribSetting(
            "recurrent-8", "CartPole-v1", n_envs=8, policy="MlpLstmPolicy", ours=RecurrentTDA2C, theirs=RecurrentPPO
        ),
    )
}
DEFAULTS = {
    "cpu": [
        "cartpole-1",
        "cartpole-16",
        "cartpole-1024",
        "cartpole-general-1",
        "cartpole-tuned-1",
        "pendulum-1",
        "pendulum-16",
        "images-8",
    ],
    "cuda": [name for name, setting in SETTINGS.items() if isinstance(setting, GpuSetting)],
}
"""default settings by device"""


LONG_TRAINING = 10**9
"""steps of a training in which engine="auto" compiles"""


def start_long_training(model: BaseAlgorithm, n_steps: int) -> None:
    """Take the first steps of a long training, step by step. Later calls of :func:`learn` continue it.

    :param model: the model
    :param n_steps: environment steps
    """
    model.learn(LONG_TRAINING, callback=lambda locals_, globals_: model.num_timesteps < n_steps)


def learn(model: BaseAlgorithm, n_steps: int) -> int:
    """Continue the training of a model, without callbacks.

    :param model: the model
    :param n_steps: environment steps; A2C and PPO round them up to whole rollouts
    :return: the environment steps that were taken
    """
    n_before = model.num_timesteps
    model.learn(n_steps, reset_num_timesteps=False)
    return model.num_timesteps - n_before


def learning_speed(model: BaseAlgorithm, n_steps: int) -> float:
    """Continue the training of a model, see :func:`learn`, and return the steps per second.

    :param model: the model
    :param n_steps: environment steps
    """
    start = time.perf_counter()
    n_taken = learn(model, n_steps)
    return n_taken / (time.perf_counter() - start)
