"""Training under torchrun: join its process group, and continue after it restarts the processes."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch as th
import torch.distributed as dist
from stable_baselines3.common.utils import get_device
from stable_baselines3.common.vec_env import VecEnv
from torch.distributed.rendezvous import rendezvous

from sb3_a2c_td.algorithms.distributed import DistributedTDA2C
from sb3_a2c_td.algorithms.gradient_reducer import explain_lost_ranks
from sb3_a2c_td.saving.checkpoints import read_attributes

TIMEOUT = timedelta(minutes=5)
"""how long a rank waits for a rank that hangs; it notices at once if a rank ends"""


@contextmanager
def process_group(device: str, save: Path | None) -> Iterator[int]:
    """Join the process group that torchrun has prepared, and destroy it at the end.

    :param device: the device of the model
    :param save: the zip that ``--save`` names
    :return: yields the rank of this process
    :raises ValueError: if torchrun may restart the processes, and no zip is named from which they can continue
    """
    if save is None and os.environ["TORCHELASTIC_MAX_RESTARTS"] != "0":
        raise ValueError("--save is missing: --max-restarts needs a file from which restarted processes can continue")
    on_gpu = get_device(device).type == "cuda"
    if on_gpu:
        th.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store, rank, size = next(rendezvous("env://"))
    if os.environ["GROUP_WORLD_SIZE"] == "1":
        # on one machine the store outlives restarts, and holds the addresses of processes that have ended
        store = dist.PrefixStore(os.environ["TORCHELASTIC_RESTART_COUNT"], store)  # type: ignore[attr-defined]
    backend = "nccl" if on_gpu else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    try:
        yield int(rank)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def leave_together() -> None:
    """Wait until all ranks have trained, and destroy the process group."""
    with explain_lost_ranks():
        dist.barrier()
    dist.destroy_process_group()


def make_or_continue(save: Path | None, policy: str, env: VecEnv, **arguments: Any) -> DistributedTDA2C:
    """Build the model, or load what this launch of torchrun saved before it restarted its processes.

    Zips of earlier launches are ignored: training starts again and replaces them.

    :param save: the zip that ``--save`` names; the model in it records the launch
    :param policy: the policy
    :param env: the environments of this rank
    :param arguments: more arguments of :class:`~sb3_a2c_td.algorithms.distributed.DistributedTDA2C`
    :return: the model of this rank
    """
    launches = [_current_launch(), None if save is None else _launch_that_saved(save)]
    # each machine has its own torchrun: all ranks take what rank 0 found
    dist.broadcast_object_list(launches, src=0)
    launch, launch_of_zip = launches
    if save is not None and launch == launch_of_zip:
        return DistributedTDA2C.continue_from(save, env, device=arguments["device"])
    model = DistributedTDA2C(policy, env, update_on_episode_end=False, **arguments)
    model.launch = launch  # type: ignore[attr-defined]
    return model


def _current_launch() -> str:
    """Return torchrun's ``--rdzv-id``, or else its process, which outlives the processes that it restarts."""
    run_id = os.environ["TORCHELASTIC_RUN_ID"]
    return run_id if run_id != "none" else f"{socket.gethostname()} {os.getppid()}"


def _launch_that_saved(path: Path) -> Any:
    """Return the launch that a zip records, or ``None``."""
    try:
        return read_attributes(path, ["launch"]).get("launch")
    except (OSError, ValueError):
        # no file, or no saved model
        return None
