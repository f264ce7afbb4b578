"""Training of one arm on one environment, with a record of all episodes."""

import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from threadpoolctl import threadpool_limits
from torch import nn
from torch.nn import functional

from benchmarks.conditions import conditions
from benchmarks.learning.environments import Environment
from benchmarks.learning.records import Record
from benchmarks.learning.settings import Settings
from benchmarks.learning.suites import Job
from sb3_a2c_td import TDA2C, MaskableTDA2C, RecurrentTDA2C
from sb3_a2c_td.algorithms.callbacks import Episode, EpisodeCallback
from sb3_a2c_td.policies.minatar import MinAtarCnn
from sb3_a2c_td.schedules import LINEAR_PREFIX, linear_schedule, robbins_monro_schedule


class LayerNormTanh(nn.Tanh):
    """Layer normalization without weights, as in streaming reinforcement learning, and tanh."""

    def forward(self, x: th.Tensor) -> th.Tensor:
        """Normalize each row, ``(..., n_units)``, and take tanh."""
        return super().forward(functional.layer_norm(x, x.shape[-1:]))


ALGORITHMS: dict[str, type[BaseAlgorithm]] = {
    algorithm.__name__: algorithm
    for algorithm in (TDA2C, MaskableTDA2C, RecurrentTDA2C, A2C, PPO, MaskablePPO, RecurrentPPO)
}
RECURRENT_ALGORITHMS = ("RecurrentTDA2C", "RecurrentPPO")
CLASSES: dict[str, type] = {
    "ReLU": nn.ReLU,
    "Tanh": nn.Tanh,
    "LayerNormTanh": LayerNormTanh,
    "Adam": th.optim.Adam,
    "RMSpropTFLike": RMSpropTFLike,
    "MinAtarCnn": MinAtarCnn,
}
SEED_STRIDE = 1_000
"""difference between the seeds of two runs; an algorithm seeds its environments with the seeds after its own"""
_TRAINING_LOCK = threading.Lock()


class EpisodeRecorder(EpisodeCallback):
    """Records the end, return and length of every training episode."""

    def __init__(self) -> None:
        super().__init__()
        self.episodes: list[Episode] = []

    def on_episodes(self, episodes: list[Episode]) -> None:
        """Record the next episodes."""
        self.episodes += episodes


def train(job: Job, first_seed: int = 0) -> Record:
    """Train one arm on one environment, on one CPU thread.

    Only episodes that end within the job's steps are recorded: to complete its rollout, an algorithm may take more.

    :param job: the job
    :param first_seed: seed of run 0; run k has the seed ``first_seed + 1000 k``
    :return: its record
    """
    th.set_num_threads(1)
    facts = {**_conditions(), "commit": _commit()}
    environment, seed = job.environment, first_seed + SEED_STRIDE * job.seed
    # one job at a time per process, since threads share the random generators that SB3 seeds
    with _TRAINING_LOCK, threadpool_limits(1):
        start = time.perf_counter()
        episodes = np.array(_episodes(environment, job.settings, seed), dtype=np.float64).reshape(-1, 3)
        seconds = time.perf_counter() - start
    ends, returns, lengths = episodes[episodes[:, 0] <= environment.n_steps].T
    return Record(
        environment=environment.name,
        arm=job.arm,
        seed=job.seed,
        n_steps=environment.n_steps,
        settings=asdict(job.settings),
        episode_ends=ends.astype(np.int64),
        episode_returns=returns,
        episode_lengths=lengths.astype(np.int64),
        seconds=seconds,
        conditions=facts,
        policy=environment.policy,
        policy_kwargs=dict(environment.policy_kwargs),
    )


def _episodes(environment: Environment, settings: Settings, seed: int) -> list[Episode]:
    env = make_env(environment, settings, seed)
    try:
        if settings.algorithm == "random":
            return _random_episodes(env, environment.n_steps, seed)
        recorder = EpisodeRecorder()
        make_model(environment, settings, env, seed).learn(environment.n_steps, recorder)
        return recorder.episodes
    finally:
        env.close()


def make_env(environment: Environment, settings: Settings, seed: int) -> VecEnv:
    """Make the environments of a run, which record unnormalised returns.

    :param environment: the environment
    :param settings: settings of the run
    :param seed: seed of the first environment
    """
    env = environment.make_vec(settings.n_envs, seed)
    if settings.normalize is not None:
        # RL Zoo passes the discount factor to VecNormalize too
        env = VecNormalize(env, **{"gamma": settings.arguments.get("gamma", 0.99), **settings.normalize})
    return env


def make_model(environment: Environment, settings: Settings, env: VecEnv, seed: int) -> BaseAlgorithm:
    """Make the model of a run.

    :param environment: the environment
    :param settings: settings of the run
    :param env: what :func:`make_env` returned
    :param seed: seed of the model
    """
    policy_kwargs = {**environment.policy_kwargs, **settings.arguments.get("policy_kwargs", {})}
    arguments = _resolved({**settings.arguments, "policy_kwargs": policy_kwargs}, environment.n_steps)
    policy = environment.policy
    if settings.algorithm in RECURRENT_ALGORITHMS:
        policy = policy.replace("Policy", "LstmPolicy")
    return ALGORITHMS[settings.algorithm](policy, env, seed=seed, device="cpu", **arguments)


def _resolved(value: Any, n_steps: int) -> Any:
    """Replace the names of schedules and classes by these."""
    if isinstance(value, str) and value.startswith(LINEAR_PREFIX):
        return linear_schedule(float(value.removeprefix(LINEAR_PREFIX)))
    if isinstance(value, str):
        return CLASSES.get(value, value)
    if isinstance(value, Mapping) and value.keys() == {"robbins_monro"}:
        return robbins_monro_schedule(**value["robbins_monro"], total_timesteps=n_steps)
    if isinstance(value, Mapping):
        return {name: _resolved(inner, n_steps) for name, inner in value.items()}
    return value


def _random_episodes(env: VecEnv, n_steps: int, seed: int) -> list[Episode]:
    env.action_space.seed(seed)
    env.reset()
    episodes = []
    for step in range(1, n_steps + 1):
        _, _, _, infos = env.step(np.array([env.action_space.sample()]))
        if "episode" in infos[0]:
            episodes.append(Episode(step, infos[0]["episode"]["r"], infos[0]["episode"]["l"]))
    return episodes


@cache
def _conditions() -> dict[str, Any]:
    facts = conditions()
    del facts["command"]
    return facts


@cache
def _commit() -> str | None:
    """Return the commit of the source, with the suffix ``-dirty`` if files have changed; ``None`` without Git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--match="]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.removesuffix("\n")
