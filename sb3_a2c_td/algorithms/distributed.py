"""TDA2C in several processes, on one machine or many: gradients averaged by ``torch.distributed``."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Self

import torch as th
import torch.distributed as dist
from stable_baselines3.common.logger import Logger

from sb3_a2c_td.algorithms.logs import ProgressBar
from sb3_a2c_td.algorithms.resumable import callback_list, description
from sb3_a2c_td.algorithms.tda2c import TDA2C
from sb3_a2c_td.engines import Engine, make_engine
from sb3_a2c_td.saving.tensors import digest
from sb3_a2c_td.vec_env.gymnasium_vec_env import check_distributable


class Ranks:
    """The processes of the default group; see :class:`~sb3_a2c_td.engines.interface.Others`."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.wants_stop = self.has_saved = self.any_stops = self.any_saved = False  # since, and at, the last update

    def reduce(self, parameters: Iterable[th.Tensor], figures: th.Tensor, n_rows: int) -> None:
        """Average gradients and figures, each rank's weighted by its rows, by one all-reduce, which brings news too."""
        params = [param for param in parameters if param.requires_grad]
        grads = [th.zeros_like(param) if param.grad is None else param.grad for param in params]
        news = [n_rows, self.wants_stop, self.has_saved, *(param.grad is not None for param in params)]
        parts = [*(n_rows * part.flatten() for part in (*grads, figures)), figures.new_tensor(news)]
        _meet(dist.all_reduce, flat := th.cat(parts))
        *sums, news_of_all = flat.split(list(map(len, parts)))
        n_rows_of_all, n_stop, n_saved, *n_grads = news_of_all.tolist()
        for param, grad, grad_sum, n in zip(params, grads, sums, n_grads, strict=False):
            param.grad = grad.copy_((grad_sum / n_rows_of_all).view_as(grad)) if n else None  # as on every rank
        figures.copy_(sums[-1] / n_rows_of_all)
        self.wants_stop, self.has_saved, self.any_stops, self.any_saved = False, False, n_stop > 0, n_saved > 0

    def normalize(self, advantages: Any) -> Any:
        """Normalise advantages by the mean and the deviation of all ranks'."""
        rows = th.as_tensor(advantages).double()
        _meet(dist.all_reduce, sums := th.stack([th.ones_like(rows), rows, rows**2]).sum(dim=1))
        n, total, squares = sums.tolist()
        std = (max(squares - total**2 / n, 0.0) / max(n - 1, 1)) ** 0.5
        return (advantages - total / n) / (std + 1e-8) if n > 1 else advantages

    def gather(self, own: Any) -> list[Any]:
        """Give what each rank has."""
        _meet(dist.all_gather_object, of_all := [None] * self.size, own)
        return of_all

    def check_same(self, own: dict[str, Any]) -> None:
        """Raise a ValueError on all ranks if one has something else than rank 0."""
        first, *others = self.gather(own)
        for rank, facts in enumerate(others, start=1):
            for name in (name for name in first | facts if facts.get(name) != first.get(name)):
                raise ValueError(f"rank {rank} has {name}={facts.get(name)}, rank 0 {first.get(name)}: make them alike")


class DistributedTDA2C(TDA2C):
    """TDA2C in every process of a group, each with environments of its own, and all with the same parameters.

    Each rank makes the model and calls :meth:`learn`, with the same arguments. An update is one of all transitions:
    k ranks of n environments learn what one process of k * n with the same seeds does. A callback that stops one rank
    stops all, at the interval's end. Rank 0 logs the episodes of all, and saves; ``TDA2C`` loads what it saved.
    """

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_ranks", "_n_ranks"]

    def _make_engine(self) -> Engine:
        self._ranks = Ranks()
        self._engine_name = self.engine
        return make_engine(self.engine, self.policy, self._ranks)

    def learn(  # type: ignore[override]
        self, total_timesteps: int = 100_000, callback: Any = None, log_interval: int = 100, **kwargs: Any
    ) -> Self:
        """Train as :meth:`TDA2C.learn` does, for ``total_timesteps`` of all ranks together.

        :raises ValueError: if a rank has other settings or versions than rank 0, or what only one process can have
        :raises RuntimeError: if a rank is lost
        """
        bar = [ProgressBar()] if kwargs.pop("progress_bar", False) and self._ranks.rank == 0 else []
        self._begin(total_timesteps=total_timesteps, log_interval=log_interval, **kwargs)
        super().learn(total_timesteps, [*callback_list(callback), *bar], log_interval, **kwargs)
        self._check_weights()
        return self

    def _begin(self, **arguments: Any) -> None:
        self._engine = self._make_engine()  # and forget old news
        self._ranks.check_same({**description(self), **arguments})
        if self._ends_with_episode:
            raise ValueError(f"update_on_episode_end={self.update_on_episode_end}: must be False, for fixed intervals")
        check_distributable(self.env)
        for tensor in self.policy.state_dict().values():
            _meet(dist.broadcast, tensor, 0)
        self._check_weights()
        self._n_ranks, rank = self._ranks.size, self._ranks.rank
        if self.seed is not None and self._last_obs is None:
            self.set_random_seed((self.seed + self.num_timesteps + rank * self.n_envs) % 2**31)
        if rank != 0:
            self.set_logger(Logger(None, []))

    def _collect_step(self, *args: Any) -> bool:
        if self._ranks.any_stops:
            return False
        self._ranks.wants_stop = not super()._collect_step(*args) or self._ranks.wants_stop
        return True

    def train(self) -> None:
        """Take an update with all ranks; if one saved the model before it, compare weights and moments."""
        super().train()
        if self._ranks.any_saved:
            self._check_weights()

    def _check_weights(self) -> None:
        self._ranks.check_same({"SHA-256 of weights and moments": digest(self.policy)})

    def dump_logs(self, iteration: int = 0) -> None:
        """Write the log on rank 0, with the episodes of all; every rank must call it."""
        own = self.ep_info_buffer, self.ep_success_buffer
        of_all = zip(*self._ranks.gather(own), strict=True)
        self.ep_info_buffer, self.ep_success_buffer = (deque(one for rank in ranks for one in rank) for ranks in of_all)
        super().dump_logs(iteration)
        self.ep_info_buffer, self.ep_success_buffer = own

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the model on rank 0; all compare weights and moments when they meet next."""
        self._ranks.has_saved = True
        if self._ranks.rank == 0:
            super().save(*args, **kwargs)

    @classmethod
    def resume(cls, *args: Any, **kwargs: Any) -> Self:
        """Go on with the steps, weights and moments that rank 0 saved, and, unlike TDA2C, with new episodes."""
        _meet(dist.barrier)  # rank 0 may still be saving
        model = cls.load(*args, **kwargs)
        model.rollout_buffer.reset()
        return model


def _meet(collective: Callable[..., Any], *args: Any) -> None:
    try:
        collective(*args)
    except RuntimeError as error:
        raise RuntimeError(f"the ranks cannot meet any more; one may have ended: {error}") from error
