"""The processes that torchrun starts, which train one model together."""

import atexit
import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch as th
import torch.distributed as dist
from stable_baselines3.common.utils import get_device
from stable_baselines3.common.vec_env import VecEnv
from torch.distributed.rendezvous import rendezvous

from sb3_a2c_td.algorithms.distributed import DistributedTDA2C
from sb3_a2c_td.saving.archives import read_attributes

PATIENCE = timedelta(minutes=5)
"""how long a process waits for the others; of those that ended it learns at once"""


def join(device: str, save: Path | None) -> int:
    """Join the process group that torchrun has prepared.

    :param device: the model's
    :param save: the zip that was named
    :return: the rank of this process
    :raises ValueError: if processes may be restarted and would not know from which zip to go on
    """
    if save is None and os.environ["TORCHELASTIC_MAX_RESTARTS"] != "0":
        raise ValueError("--save: name a file, with which restarted processes can go on")
    on_gpu = get_device(device).type == "cuda"
    if on_gpu:
        th.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store, rank, size = next(rendezvous("env://"))
    if os.environ["GROUP_WORLD_SIZE"] == "1":
        # on one machine the store outlives restarts, and has the addresses of processes that are gone
        store = dist.PrefixStore(os.environ["TORCHELASTIC_RESTART_COUNT"], store)  # type: ignore[attr-defined]
    dist.init_process_group("nccl" if on_gpu else "gloo", store=store, rank=rank, world_size=size, timeout=PATIENCE)
    atexit.register(dist.destroy_process_group)
    return int(rank)


def made_or_resumed(save: Path | None, policy: str, env: VecEnv, **arguments: Any) -> DistributedTDA2C:
    """Make the model; or go on with what this launch of torchrun has saved before its processes were restarted.

    :param save: the zip; it tells which launch wrote it
    :param policy: the policy
    :param env: the environments of this process
    :param arguments: more arguments of :class:`~sb3_a2c_td.algorithms.distributed.DistributedTDA2C`
    """
    # rank 0's, as each machine has a torchrun of its own
    dist.broadcast_object_list(facts := [_launch(), save is not None and _launch_that_saved(save)], src=0)
    launch, last_launch = facts
    if save is not None and launch == last_launch:
        return DistributedTDA2C.resume(save, env, device=arguments["device"])
    model = DistributedTDA2C(policy, env, update_on_episode_end=False, **arguments)
    model.launch = launch  # type: ignore[attr-defined]
    return model


def _launch() -> str:
    """Name this launch: by torchrun's ``--rdzv-id``, or by its own process, which outlives those that it restarts."""
    run_id = os.environ["TORCHELASTIC_RUN_ID"]
    return run_id if run_id != "none" else f"{socket.gethostname()} {os.getppid()}"


def _launch_that_saved(path: Path) -> Any:
    try:
        return read_attributes(path, ["launch"]).get("launch")
    except (OSError, ValueError):
        # there is none, or it is another's
        return None
