"""TDA2C in several processes, on one machine or many: ``torch.distributed`` averages their gradients.

A process of the group is a rank, as in ``torch.distributed``.
"""

import os
from collections import deque
from collections.abc import Iterable
from typing import Any, NoReturn, Self

import torch as th
import torch.distributed as dist
from gymnasium.vector import VectorEnv
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback

from sb3_a2c_td.algorithms.checkpointed import Path
from sb3_a2c_td.algorithms.gradient_reducer import ProcessGroupReducer, explain_lost_ranks
from sb3_a2c_td.algorithms.settings import fingerprint
from sb3_a2c_td.algorithms.tda2c import TDA2C
from sb3_a2c_td.arguments import checked_steps
from sb3_a2c_td.engines import Engine, make_engine
from sb3_a2c_td.saving.checkpoints import read_checkpoint
from sb3_a2c_td.saving.digest import digest
from sb3_a2c_td.vec_env.autoreset_steps import check_distributable


class DistributedTDA2C(TDA2C):
    """TDA2C in every process of a ``torch.distributed`` group: each steps its own environments, all train one policy.

    Every rank builds the model and calls :meth:`learn` with the same arguments. An update uses the transitions of all
    ranks, so that k ranks with n environments each learn what one process with k · n environments learns. If a
    callback stops one rank, all ranks stop at the end of the rollout. Rank 0 logs the episodes of all ranks and saves
    the model, which ``TDA2C.load`` can load, too.

    The parameters are those of :class:`~sb3_a2c_td.TDA2C`, which documents them. Engines that compile or record updates
    (``"numba"``, ``"cuda"``) are unsupported.
    """

    def _setup_model(self) -> None:
        self._launcher = os.getppid()
        self._reducer = ProcessGroupReducer()
        super()._setup_model()

    def _make_engine(self) -> Engine:
        self._engine_name = self.engine
        return make_engine(self.engine, self.policy, reducer=self._reducer)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_reducer", "_n_ranks", "_launcher"]

    # Training

    def learn(
        self,
        total_timesteps: int = 100_000,
        callback: MaybeCallback = None,
        log_interval: int | None = 100,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for ``total_timesteps`` steps of all ranks together. Every rank must call it.

        :param total_timesteps: the number of environment steps of all ranks together
        :param callback: callback(s) called at every step of this rank; ranks may have different ones
        :param log_interval: the number of rollouts between two logs
        :param tb_log_name: the name of the run for TensorBoard; ``None``: that of the algorithm
        :param reset_num_timesteps: whether to count (and log) from zero and to reset the environments
        :param progress_bar: whether rank 0 shows a progress bar
        :return: the model itself
        :raises ValueError: if settings or versions differ between ranks, for settings and environments that only one
            process can have, and as :meth:`TDA2C.learn` does
        :raises RuntimeError: if a rank has ended
        """
        total_timesteps = checked_steps("total_timesteps", total_timesteps)
        # the process group may be a new one, and flags of an earlier training must not stop this one
        self._reducer = ProcessGroupReducer()
        self._engine = self._make_engine()
        arguments = {
            "total_timesteps": total_timesteps,
            "log_interval": log_interval,
            "tb_log_name": tb_log_name,
            "reset_num_timesteps": reset_num_timesteps,
        }
        self._reducer.check_same({**fingerprint(self), **arguments})
        self._check_supported()
        self._broadcast_policy()
        self._set_up_rank()
        shows_progress = progress_bar and self._reducer.rank == 0
        super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, shows_progress)
        self._check_policies_match()
        return self

    def _check_supported(self) -> None:
        """Raise a ValueError for what would end rollouts at other steps, or scale observations otherwise, by rank."""
        if self._ends_with_episode:
            raise ValueError(
                f"update_on_episode_end={self.update_on_episode_end}: rollouts must have the same length on all ranks; "
                "use update_on_episode_end=False"
            )
        check_distributable(self.env)

    def _broadcast_policy(self) -> None:
        """Copy rank 0's weights to all ranks; the moments must match already."""
        for tensor in self.policy.state_dict().values():
            with explain_lost_ranks():
                dist.broadcast(tensor, src=0)
        self._check_policies_match()

    def _check_policies_match(self) -> None:
        self._reducer.check_same({"SHA-256 of weights and moments": digest(self.policy)})

    def _set_up_rank(self) -> None:
        """Count the steps of all ranks, seed this rank, and let rank 0 alone log."""
        self._n_ranks = self._reducer.n_ranks
        if self._last_obs is None:
            self._seed_rank()
        if self._reducer.rank != 0:
            self.set_logger(Logger(None, []))

    def _seed_rank(self) -> None:
        """Seed the environments of all ranks consecutively, and with new seeds where training continues."""
        if self.seed is not None:
            first_env = self._reducer.rank * self.n_envs
            self.set_random_seed((self.seed + self.num_timesteps + first_env) % 2**31)

    def _collect_step(self, *args: Any) -> bool:
        if self._reducer.flags_of_any.stop:
            return False
        if not super()._collect_step(*args):
            # this rank completes the rollout, since the others wait for its gradient
            self._reducer.flags.stop = True
        return True

    def train(self) -> None:
        """Take one update with the transitions of all ranks.

        :raises ValueError: if a rank saved the model since the last update, and weights or moments differ
        :raises RuntimeError: if a rank or torchrun has ended
        """
        self._check_launcher()
        super().train()
        if self._reducer.flags_of_any.saved:
            self._check_policies_match()

    def _check_launcher(self) -> None:
        """Raise a RuntimeError if torchrun has ended, which cannot end this rank if it was killed."""
        if dist.is_torchelastic_launched() and os.getppid() != self._launcher:
            raise RuntimeError(f"torchrun (process {self._launcher}) has ended, so this rank ends, too")

    def dump_logs(self, iteration: int = 0) -> None:
        """Write the log on rank 0, with the episodes of all ranks. Every rank must call it.

        :param iteration: the number of the rollout within this training
        """
        own_infos, own_successes = self.ep_info_buffer, self.ep_success_buffer
        assert own_infos is not None, "learn() has not been called"
        assert own_successes is not None, "learn() has not been called"
        buffers_of_ranks = self._reducer.gather((own_infos, own_successes))
        self.ep_info_buffer = deque(info for infos, _ in buffers_of_ranks for info in infos)
        self.ep_success_buffer = deque(success for _, successes in buffers_of_ranks for success in successes)
        try:
            super().dump_logs(iteration)
        finally:
            self.ep_info_buffer, self.ep_success_buffer = own_infos, own_successes

    # Saving and loading

    @property
    def _writes_files(self) -> bool:
        return self._reducer.rank == 0

    def save(self, path: Path, exclude: Iterable[str] | None = None, include: Iterable[str] | None = None) -> None:
        """Save the model on rank 0, as :meth:`TDA2C.save` does. Other ranks may call it, and write nothing.

        After the next update, all ranks compare their weights and moments.
        """
        self._reducer.flags.saved = True
        if self._writes_files:
            super().save(path, exclude, include)

    @classmethod
    def continue_from(
        cls,
        path: Path,
        env: GymEnv | VectorEnv | str,
        device: th.device | str = "auto",
        *,
        trusted: bool = False,
    ) -> Self:
        """Load the model that rank 0 saved, to continue training. Every rank must call it.

        ``learn(..., reset_num_timesteps=False)`` then continues with the saved steps, weights and moments, but starts
        new episodes on all ranks, and a rollout that was not complete is dropped. Continue only files that you saved
        yourself: ``learn`` writes its logs where the file says.

        :param path: the zip, which every rank can read
        :param env: the environments of this rank, or an environment's name
        :param device: the device of the model
        :param trusted: as in :meth:`TDA2C.load`
        :raises ValueError: as in :meth:`TDA2C.load`
        :raises RuntimeError: if a rank has ended
        """
        # rank 0 may still be saving
        with explain_lost_ranks():
            dist.barrier()
        model = cls._with_statistics(read_checkpoint(path, trusted=trusted, algorithm=cls), path, env, device)
        model.rollout_buffer.reset()
        return model

    @classmethod
    def _continue(cls, path: Path, env: GymEnv, device: th.device | str, trusted: bool) -> Self:
        return cls.continue_from(path, env, device, trusted=trusted)

    @classmethod
    def resume(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: several ranks cannot resume exactly. Use :meth:`continue_from`.

        :raises NotImplementedError: always
        """
        raise NotImplementedError(
            "DistributedTDA2C cannot resume training exactly, since the zip holds the environments and generators of "
            "rank 0 alone; use DistributedTDA2C.continue_from(path, env), which starts new episodes"
        )
