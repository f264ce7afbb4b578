"""Scenarios that each rank of a process group runs: ``python -m tests.algorithms.distributed.scenarios``.

A scenario takes the folder that all ranks share and returns what the tests compare.
"""

import os
import pickle
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import numpy as np
import torch as th
import torch.distributed as dist
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from sb3_a2c_td import TDA2C, MlpPolicy
from sb3_a2c_td.algorithms.callbacks import SaveEvery
from sb3_a2c_td.algorithms.distributed import DistributedTDA2C
from sb3_a2c_td.algorithms.gradient_reducer import ProcessGroupReducer
from sb3_a2c_td.algorithms.resumable import train_resumably
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.version import __version__

N_ENVS = 2
N_UPDATES = 200
N_FAST_UPDATES = 50
SEED = 3
OPTIONS = {"normalize_advantage": True, "max_grad_norm": 0.1, "ent_coef": 0.01, "learning_rate": "lin_1e-3"}
LEARNING: dict[str, tuple[str, dict[str, Any]]] = {
    "numpy": ("CartPole-v1", {"engine": "numpy"}),
    "numpy, options": ("CartPole-v1", {"engine": "numpy", **OPTIONS}),
    "numpy, continuous": ("Pendulum-v1", {"engine": "numpy", "bootstrap_on_truncation": True}),
    "numpy, continuous, options": ("Pendulum-v1", {"engine": "numpy", **OPTIONS}),
    "autograd": ("CartPole-v1", {"engine": "autograd", "policy_kwargs": {"activation_fn": nn.ELU}}),
    "autograd, options": ("CartPole-v1", {"engine": "autograd", **OPTIONS}),
}
"""environment and settings of the trainings that are compared with one process"""
FAST_LEARNING = ("numpy, options", "autograd, options")
"""the trainings that the fast test compares"""


class NoiseByEnvironment(TDA2C):
    """Draws the actions of each environment with one generator, so that they do not depend on the number of ranks.

    Continuous actions are the noise alone: through the policy, rounding would return in the next observations.
    """

    first_env = 0
    """the number of this process's first environment"""

    def sample_actions(self, observations: Observations) -> np.ndarray:
        if not hasattr(self, "_noise"):
            self._noise = [np.random.default_rng(100 + self.first_env + i) for i in range(self.n_envs)]
        if isinstance(self.action_space, spaces.Box):
            return np.stack([generator.standard_normal(self.action_space.shape) for generator in self._noise])
        with th.no_grad():
            logits = self.policy.get_distribution(th.as_tensor(observations)).distribution.logits.double().numpy()
        return (logits + [generator.gumbel(size=logits.shape[1]) for generator in self._noise]).argmax(axis=1)


class DistributedNoiseByEnvironment(NoiseByEnvironment, DistributedTDA2C):
    def learn(self, *args: Any, **kwargs: Any) -> Self:
        self.first_env = dist.get_rank() * self.n_envs
        return super().learn(*args, **kwargs)


def cartpoles(n_envs: int = N_ENVS) -> VecEnv:
    # truncates episodes, too
    return make_vec_env("CartPole-v1", n_envs, env_kwargs={"max_episode_steps": 23})


def make_env(env_id: str, n_envs: int) -> VecEnv:
    return cartpoles(n_envs) if env_id == "CartPole-v1" else make_vec_env(env_id, n_envs)


def make(**kwargs: Any) -> DistributedTDA2C:
    return DistributedTDA2C("MlpPolicy", cartpoles(), seed=SEED, device="cpu", **kwargs)


def trained(kind: type[TDA2C], env: VecEnv, n_steps: int, **settings: Any) -> dict[str, Any]:
    """Train a model; return its parameters after the updates, and its logs."""
    model = kind("MlpPolicy", env, seed=SEED, device="cpu", stats_window_size=10_000, **settings)
    model.set_logger(configure(format_strings=[]))
    dumped = []
    model.logger.dump = lambda step=0: dumped.append(dict(model.logger.name_to_value))  # type: ignore[method-assign]
    model.learn(n_steps, log_interval=N_UPDATES)
    return {
        "parameters": [param.detach().numpy().copy() for param in model.policy.parameters()],
        "n_updates": model._n_updates,
        "num_timesteps": model.num_timesteps,
        "dumped": dumped,
    }


def trained_by_ranks(name: str, n_updates: int = N_UPDATES) -> dict[str, Any]:
    env_id, settings = LEARNING[name]
    n_steps = n_updates * 5 * N_ENVS * dist.get_world_size()
    return trained(DistributedNoiseByEnvironment, make_env(env_id, N_ENVS), n_steps, **settings)


def trained_alone(name: str, n_envs: int, n_updates: int = N_UPDATES) -> dict[str, Any]:
    env_id, settings = LEARNING[name]
    return trained(NoiseByEnvironment, make_env(env_id, n_envs), n_updates * 5 * n_envs, **settings)


def learn_fast(folder: Path) -> dict[str, Any]:
    return {name: trained_by_ranks(name, N_FAST_UPDATES) for name in FAST_LEARNING}


def learn(folder: Path) -> dict[str, Any]:
    return {name: trained_by_ranks(name) for name in LEARNING}


class RecordParameters(BaseCallback):
    """Records the parameters before every update, and may stop training in a step."""

    def __init__(self, stops_at: int | None = None) -> None:
        super().__init__()
        self.stops_at = stops_at
        self.parameters: list[bytes] = []

    def _on_step(self) -> bool:
        return self.stops_at is None or self.n_calls < self.stops_at

    def _on_rollout_end(self) -> None:
        self.parameters.append(b"".join(param.detach().numpy().tobytes() for param in self.model.policy.parameters()))


def identical(folder: Path) -> Any:
    """Return the parameters before every update, without a seed, and the number of all-reduces."""
    recorder = RecordParameters()
    with patch.object(dist, "all_reduce", wraps=dist.all_reduce) as all_reduce:
        DistributedTDA2C("MlpPolicy", cartpoles(), device="cpu").learn(2_000, recorder)
    return recorder.parameters, all_reduce.call_count


def stopping(folder: Path) -> Any:
    """Stop the last rank in the 12th step, the 2nd of a rollout of 5."""
    recorder = RecordParameters(12 if dist.get_rank() == dist.get_world_size() - 1 else None)
    model = make().learn(10_000, recorder)
    stopped_at = model.num_timesteps, model._n_updates, recorder.n_calls
    model.learn(100, reset_num_timesteps=False)
    return stopped_at, model.num_timesteps


def saving(folder: Path) -> Any:
    model = make().learn(1_010)
    path = folder / f"saved by {dist.get_rank()}"
    model.save(path)
    parameters = [param.detach().numpy().copy() for param in model.policy.parameters()]
    model.learn(1_000, reset_num_timesteps=False)
    continued = DistributedTDA2C.continue_from(folder / "saved by 0", cartpoles(), device="cpu")
    start = continued.num_timesteps, len(continued.rollout_buffer), continued._n_updates
    continued.learn(2_000 - continued.num_timesteps, reset_num_timesteps=False)
    return parameters, start, continued.num_timesteps, continued._last_obs


def resumably(folder: Path) -> Any:
    """Train in three calls, the last of which finds a complete training."""
    progress = []
    for n_steps in (1_000, 2_000, 2_000):
        model = train_resumably(make, n_steps, folder / "resumable", save_freq=200)
        progress.append((model.num_timesteps, model._n_updates))
    return progress


def logging(folder: Path) -> Any:
    os.chdir(folder)
    monitored = make_vec_env("CartPole-v1", N_ENVS, monitor_dir="monitored" if dist.get_rank() == 0 else None)
    tensorboard_log = f"board {dist.get_rank()}"
    model = DistributedTDA2C("MlpPolicy", monitored, verbose=1, tensorboard_log=tensorboard_log, device="cpu")
    model.learn(1_000, log_interval=10, progress_bar=True)
    return [type(output).__name__ for output in model.logger.output_formats], len(model.ep_info_buffer)


def message(call: Callable[[], Any]) -> str:
    """Return the error that a call raises, or "nothing"."""
    try:
        call()
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


class ChangeWeight(BaseCallback):
    """Changes a weight of rank 1 in the 7th step; rank 0 may save in the 8th, both in the 2nd rollout."""

    def __init__(self, path: Path | None) -> None:
        super().__init__()
        self.path = path

    def _on_step(self) -> bool:
        if self.n_calls == 7 and dist.get_rank() == 1:
            with th.no_grad():
                next(iter(self.model.policy.parameters())).view(-1)[0] += 1.0
        if self.n_calls == 8 and dist.get_rank() == 0 and self.path is not None:
            self.model.save(self.path)
        return True


def changing(folder: Path) -> Any:
    saving, not_saving = make(), make()
    messages = [
        message(lambda: saving.learn(1_000, ChangeWeight(folder / "changed"))),
        message(lambda: not_saving.learn(1_000, ChangeWeight(None))),
    ]
    return messages, saving._n_updates, not_saving._n_updates


class KillLastRank(BaseCallback):
    def _on_step(self) -> bool:
        if self.n_calls == 52 and dist.get_rank() == dist.get_world_size() - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return True


def dying(folder: Path) -> Any:
    model = make()
    error = message(lambda: model.learn(10_000, [SaveEvery(40, partial(model.save, folder / "saved")), KillLastRank()]))
    return error, model._n_updates


class OwnPolicy(MlpPolicy):
    """A policy that the script of the ranks defines."""


def frozen_on_one(model: DistributedTDA2C) -> DistributedTDA2C:
    next(iter(model.policy.parameters())).requires_grad = dist.get_rank() == 0
    return model


def with_moments_on_one(model: DistributedTDA2C) -> DistributedTDA2C:
    if dist.get_rank() == 1:
        for state in model.policy.optimizer.state.values():
            state["exp_avg"] += 1.0
    return model


def refusing(folder: Path) -> Any:
    """Try to train with arguments, weights or versions that differ between ranks."""
    rank = dist.get_rank()
    messages = {
        "settings": message(lambda: make(gamma=0.9 + 0.01 * rank).learn(100)),
        "schedules": message(lambda: make(learning_rate=lambda left: left * 1e-3 * (1 + rank)).learn(100)),
        "networks": message(lambda: make(policy_kwargs={"net_arch": [8 + rank]}).learn(100)),
        "steps": message(lambda: make().learn(100 + rank)),
        "logs": message(lambda: make().learn(100, log_interval=10 + rank)),
        "resets": message(lambda: make().learn(100, reset_num_timesteps=rank == 0)),
        "frozen parameters": message(lambda: frozen_on_one(make()).learn(100)),
        "moments": message(lambda: with_moments_on_one(make().learn(100)).learn(100)),
        "environments": message(lambda: DistributedTDA2C("MlpPolicy", cartpoles(2 + rank)).learn(100)),
    }
    with patch("sb3_a2c_td.algorithms.settings.__version__", f"{__version__}.{rank}"):
        messages["versions"] = message(lambda: make().learn(100))
    # these are the same on all ranks, although they are different objects; and the group still works
    own_policy = {"policy_kwargs": {"activation_fn": lambda: nn.ReLU()}, "device": "cpu"}
    messages["equal schedules"] = message(lambda: make(learning_rate=lambda left: left * 1e-3).learn(100))
    messages["equal policies"] = message(lambda: DistributedTDA2C(OwnPolicy, cartpoles(), **own_policy).learn(100))
    return messages


class Part(nn.Module):
    """Has parameters with a gradient on both ranks, on the first, on neither, and a frozen one."""

    def __init__(self) -> None:
        super().__init__()
        rank = dist.get_rank()
        self.both, self.first, self.neither, self.frozen = (nn.Parameter(th.zeros(2, 3)) for _ in range(4))
        self.frozen.requires_grad = False
        self.both.grad = th.full((2, 3), 1.0 + rank)
        self.first.grad = th.full((2, 3), 8.0) if rank == 0 else None


def reducing(folder: Path) -> Any:
    """Reduce 3 rows of rank 0, which reports a save, and 1 row of rank 1."""
    reducer, part = ProcessGroupReducer(), Part()
    is_first = reducer.rank == 0
    metrics = th.tensor([4.0, 0.0] if is_first else [0.0, 4.0])
    reducer.flags.saved = is_first
    reducer.reduce(part.parameters(), metrics, n_rows=3 if is_first else 1)
    gradients = [None if param.grad is None else param.grad.numpy() for param in part.parameters()]
    advantages = th.tensor([1.0, 2.0, 6.0] if is_first else [-1.0])
    flags = reducer.flags, reducer.flags_of_any
    return gradients, metrics.tolist(), reducer.normalize(advantages).tolist(), flags


SCENARIOS: dict[str, Callable[[Path], Any]] = {
    scenario.__name__: scenario
    for scenario in (
        learn_fast,
        learn,
        identical,
        stopping,
        saving,
        resumably,
        logging,
        changing,
        dying,
        reducing,
        refusing,
    )
}


def main(names: str, rank: str, size: str, folder: str) -> None:
    """Run scenarios in their order, and write their results to a file of this rank."""
    th.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/group",
        rank=int(rank),
        world_size=int(size),
        timeout=timedelta(seconds=100),
    )
    results = {name: SCENARIOS[name](Path(folder)) for name in names.split(",")}
    (Path(folder) / f"rank{rank}.pkl").write_bytes(pickle.dumps(results))
    # a rank that exits with a process group can be aborted: its threads still run
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
