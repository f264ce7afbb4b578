"""What the ranks of a group do, in processes of their own: ``python -m tests.algorithms.distributed.scenarios``."""

import os
import pickle
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import gymnasium as gym
import numpy as np
import torch as th
import torch.distributed as dist
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import nn

from sb3_a2c_td import TDA2C, MlpPolicy
from sb3_a2c_td.algorithms import distributed, resumable
from sb3_a2c_td.algorithms.distributed import DistributedTDA2C
from sb3_a2c_td.algorithms.resumable import SaveEvery, train_resumably
from sb3_a2c_td.rollout.observations import Observations

N_ENVS = 2
N_UPDATES = 200
SEED = 3
LEARNING: dict[str, tuple[str, dict[str, Any]]] = {
    "closed form": ("CartPole-v1", {}),
    "every objective": (
        "CartPole-v1",
        {"normalize_advantage": True, "max_grad_norm": 0.1, "ent_coef": 0.01, "learning_rate": "lin_1e-3"},
    ),
    "continuous": ("Pendulum-v1", {"bootstrap_on_truncation": True}),
    "continuous, every objective": (
        "Pendulum-v1",
        {"normalize_advantage": True, "max_grad_norm": 0.1, "ent_coef": 0.01},
    ),
    "autograd": ("CartPole-v1", {"policy_kwargs": {"activation_fn": nn.ELU}, "normalize_advantage": True}),
}
"""environment and settings of trainings that are compared with those of one process"""


class NoiseOfEachEnvironment(TDA2C):
    """Draws the actions of each environment with a generator of its own, however many environments there are.

    Continuous ones come from the noise alone: through the policy, rounding would come back in the next observations.
    """

    first = 0
    """the number of this process's first environment"""

    def sample_actions(self, observations: Observations) -> np.ndarray:
        if not hasattr(self, "_noise"):
            self._noise = [np.random.default_rng(100 + self.first + i) for i in range(self.n_envs)]
        if isinstance(self.action_space, spaces.Box):
            return np.stack([generator.standard_normal(self.action_space.shape) for generator in self._noise])
        with th.no_grad():
            logits = self.policy.get_distribution(th.as_tensor(observations)).distribution.logits.double().numpy()
        return (logits + [generator.gumbel(size=logits.shape[1]) for generator in self._noise]).argmax(axis=1)


class Distributed(NoiseOfEachEnvironment, DistributedTDA2C):
    def learn(self, *args: Any, **kwargs: Any) -> Self:
        self.first = dist.get_rank() * self.n_envs
        return super().learn(*args, **kwargs)


def cartpoles(n_envs: int = N_ENVS) -> VecEnv:
    # time limits too
    return make_vec_env("CartPole-v1", n_envs, env_kwargs={"max_episode_steps": 23})


def make_env(env_id: str, n_envs: int) -> VecEnv:
    return cartpoles(n_envs) if env_id == "CartPole-v1" else make_vec_env(env_id, n_envs)


def make(**kwargs: Any) -> DistributedTDA2C:
    return DistributedTDA2C("MlpPolicy", cartpoles(), seed=SEED, device="cpu", **kwargs)


def trained(kind: type[TDA2C], env: VecEnv, n_steps: int, **settings: Any) -> dict[str, Any]:
    """Train, and give what is compared: parameters after the updates, and what was logged."""
    model = kind("MlpPolicy", env, seed=SEED, device="cpu", engine="autograd", stats_window_size=10_000, **settings)
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


def learn(folder: Path) -> dict[str, Any]:
    n_steps = N_UPDATES * 5 * N_ENVS * dist.get_world_size()
    return {
        name: trained(Distributed, make_env(env_id, N_ENVS), n_steps, **settings)
        for name, (env_id, settings) in LEARNING.items()
    }


class Watch(BaseCallback):
    """Keeps the parameters as they are before every update, and may stop in a step."""

    def __init__(self, stops_at: int | None = None) -> None:
        super().__init__()
        self.stops_at = stops_at
        self.parameters: list[bytes] = []

    def _on_step(self) -> bool:
        return self.stops_at is None or self.n_calls < self.stops_at

    def _on_rollout_end(self) -> None:
        self.parameters.append(b"".join(param.detach().numpy().tobytes() for param in self.model.policy.parameters()))


def identical(folder: Path) -> Any:
    """Parameters before every update, without a seed, and the number of all-reduces."""
    watch = Watch()
    with patch.object(dist, "all_reduce", wraps=dist.all_reduce) as all_reduce:
        DistributedTDA2C("MlpPolicy", cartpoles(), device="cpu").learn(2_000, watch)
    return watch.parameters, all_reduce.call_count


def stopping(folder: Path) -> Any:
    """The last rank's callback stops in the 12th step, the 2nd of an interval of 5."""
    watch = Watch(12 if dist.get_rank() == dist.get_world_size() - 1 else None)
    model = make().learn(10_000, watch)
    stopped_at = model.num_timesteps, model._n_updates, watch.n_calls
    model.learn(100, reset_num_timesteps=False)
    return stopped_at, model.num_timesteps


def saving(folder: Path) -> Any:
    model = make().learn(1_010)
    path = folder / f"saved by {dist.get_rank()}"
    model.save(path)
    parameters = [param.detach().numpy().copy() for param in model.policy.parameters()]
    model.learn(1_000, reset_num_timesteps=False)
    resumed = DistributedTDA2C.resume(folder / "saved by 0", cartpoles(), device="cpu")
    begins = resumed.num_timesteps, len(resumed.rollout_buffer), resumed._n_updates
    resumed.learn(2_000 - resumed.num_timesteps, reset_num_timesteps=False)
    return parameters, begins, resumed.num_timesteps, resumed._last_obs


def resumably(folder: Path) -> Any:
    """As if the first training had been killed at its end."""
    found = []
    for n_steps in (1_000, 2_000, 2_000):
        model = train_resumably(make, n_steps, folder / "resumable", save_freq=200)
        found.append((model.num_timesteps, model._n_updates))
    return found


def logging(folder: Path) -> Any:
    os.chdir(folder)
    monitored = make_vec_env("CartPole-v1", N_ENVS, monitor_dir="monitored" if dist.get_rank() == 0 else None)
    tensorboard_log = f"board {dist.get_rank()}"
    model = DistributedTDA2C("MlpPolicy", monitored, verbose=1, tensorboard_log=tensorboard_log, device="cpu")
    model.learn(1_000, log_interval=10, progress_bar=True)
    return [type(output).__name__ for output in model.logger.output_formats], len(model.ep_info_buffer)


def message(fails: Callable[[], Any]) -> str:
    """Give what is raised."""
    try:
        fails()
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


class Change(BaseCallback):
    """Changes a weight of rank 1 in the 7th step; rank 0 may save in the 8th, both in the 2nd interval."""

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
    saves, does_not = make(), make()
    found = [message(lambda: saves.learn(1_000, Change(folder / "changed")))]
    found.append(message(lambda: does_not.learn(1_000, Change(None))))
    return found, saves._n_updates, does_not._n_updates


class Die(BaseCallback):
    def _on_step(self) -> bool:
        if self.n_calls == 52 and dist.get_rank() == dist.get_world_size() - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return True


def dying(folder: Path) -> Any:
    model = make()
    found = message(lambda: model.learn(10_000, [SaveEvery(40, folder / "saved"), Die()]))
    return found, model._n_updates


class Normed(FlattenExtractor):
    def __init__(self, observation_space: spaces.Space) -> None:
        super().__init__(observation_space)
        self.norm = nn.BatchNorm1d(self.features_dim)


class OwnPolicy(MlpPolicy):
    """A policy of the script that ranks run."""


def frozen_on_one(model: DistributedTDA2C) -> DistributedTDA2C:
    next(iter(model.policy.parameters())).requires_grad = dist.get_rank() == 0
    return model


def with_moments_on_one(model: DistributedTDA2C) -> DistributedTDA2C:
    if dist.get_rank() == 1:
        for state in model.policy.optimizer.state.values():
            state["exp_avg"] += 1.0
    return model


def refusing(folder: Path) -> Any:
    rank = dist.get_rank()
    native: VectorEnv = gym.make_vec("CartPole-v1", 3, vectorization_mode="vector_entry_point")
    one = make_vec_env("CartPole-v1", 1)

    def on(env: Any, policy: Any = "MlpPolicy", **kwargs: Any) -> str:
        return message(lambda: DistributedTDA2C(policy, env, device="cpu", **kwargs).learn(100))

    found = {
        "settings": message(lambda: make(gamma=0.9 + 0.01 * rank).learn(100)),
        "schedules": message(lambda: make(learning_rate=lambda left: left * 1e-3 * (1 + rank)).learn(100)),
        "networks": message(lambda: make(policy_kwargs={"net_arch": [8 + rank]}).learn(100)),
        "steps": message(lambda: make().learn(100 + rank)),
        "logs": message(lambda: make().learn(100, log_interval=10 + rank)),
        "resets": message(lambda: make().learn(100, reset_num_timesteps=rank == 0)),
        "frozen parameters": message(lambda: frozen_on_one(make()).learn(100)),
        "moments": message(lambda: with_moments_on_one(make().learn(100)).learn(100)),
        "environments": on(cartpoles(2 + rank)),
        "intervals": message(lambda: make(update_on_episode_end=True).learn(100)),
        "one environment": on(one),
        "dead steps": on(native),
        "VecNormalize": on(VecNormalize(cartpoles())),
        "engine": message(lambda: make(engine="numba")),
        "batch norm": on(cartpoles(), policy_kwargs={"features_extractor_class": Normed}),
    }
    versions = resumable.__version__
    resumable.__version__ = f"{versions}.{rank}"  # type: ignore[attr-defined]
    found["versions"] = message(lambda: make().learn(100))
    resumable.__version__ = versions  # type: ignore[attr-defined]
    # what raises must not do so on one rank alone: the group can still be used
    found["a schedule"] = message(lambda: make(learning_rate=lambda left: left * 1e-3).learn(100))
    found["a policy of one's own"] = on(cartpoles(), OwnPolicy, policy_kwargs={"activation_fn": lambda: nn.ReLU()})
    return found


class Part(nn.Module):
    """Parameters that have gradients, or do not, on one rank, on both, on none."""

    def __init__(self) -> None:
        super().__init__()
        rank = dist.get_rank()
        self.both, self.first, self.neither, self.frozen = (nn.Parameter(th.zeros(2, 3)) for _ in range(4))
        self.frozen.requires_grad = False
        self.both.grad = th.full((2, 3), 1.0 + rank)
        self.first.grad = th.full((2, 3), 8.0) if rank == 0 else None


def averaging(folder: Path) -> Any:
    """3 rows on rank 0, 1 row on rank 1."""
    ranks, part = distributed.Ranks(), Part()
    figures = th.tensor([4.0, 0.0]) if ranks.rank == 0 else th.tensor([0.0, 4.0])
    ranks.average(part.parameters(), figures, n_rows=3 - 2 * ranks.rank)
    grads = [None if param.grad is None else param.grad.numpy() for param in part.parameters()]
    advantages = th.tensor([1.0, 2.0, 6.0]) if ranks.rank == 0 else th.tensor([-1.0])
    return grads, figures.tolist(), ranks.normalized(advantages).tolist()


SCENARIOS: dict[str, Callable[[Path], Any]] = {
    scenario.__name__: scenario
    for scenario in (learn, identical, stopping, saving, resumably, logging, changing, dying, averaging, refusing)
}


def main(names: str, rank: str, size: str, folder: str) -> None:
    """Go through scenarios, and write what each gives."""
    th.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/group",
        rank=int(rank),
        world_size=int(size),
        timeout=timedelta(seconds=100),
    )
    found = {name: SCENARIOS[name](Path(folder)) for name in names.split(",")}
    (Path(folder) / f"rank{rank}.pkl").write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
