"""Train with two ranks many times, and count their exit codes: ``python -m tests.algorithms.distributed.exits 300``.

This process takes torchrun's place: it sets the environment variables of the ranks, and starts a process that holds
their store. It forks the ranks, so that the imports are paid once; they exit as every Python process does.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter

import torch as th

from sb3_a2c_td.cli import main

N_RANKS = 2
HOLD_STORE = """
import signal
import torch.distributed as dist
store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
print(store.port, flush=True)
signal.pause()
"""


def start_rank(rank: int, run: int, port: str, folder: str) -> int:
    """Fork a rank that trains for 40 steps.

    :param rank: the number of the rank
    :param run: the number of the training
    :param port: the port of the store
    :param folder: the folder of the model
    :return: the rank's process
    """
    if pid := os.fork():
        return pid
    os.chdir(folder)
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(N_RANKS),
        GROUP_WORLD_SIZE="1",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=port,
        TORCHELASTIC_RUN_ID="none",
        TORCHELASTIC_RESTART_COUNT=str(run),
        TORCHELASTIC_MAX_RESTARTS="0",
        TORCHELASTIC_USE_AGENT_STORE="True",
    )
    main(["--timesteps", "40", "--device", "cpu", "--save", "model", "--quiet"])
    raise AssertionError("main() exits")


def count(n_runs: int) -> Counter[int]:
    """Train ``n_runs`` times.

    No context manager is open where a rank is forked, since the rank would leave it, too.

    :param n_runs: the number of trainings
    :return: the number of ranks by exit code; a negative code is the signal that ended the rank
    """
    th.set_num_threads(1)
    folder = tempfile.mkdtemp()
    store = subprocess.Popen([sys.executable, "-c", HOLD_STORE], stdout=subprocess.PIPE, text=True)
    assert store.stdout is not None
    port = store.stdout.readline().strip()
    codes: Counter[int] = Counter()
    for run in range(n_runs):
        pids = [start_rank(rank, run, port, folder) for rank in range(N_RANKS)]
        codes.update(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids)
    store.terminate()
    shutil.rmtree(folder)
    return codes


if __name__ == "__main__":
    codes = count(int(sys.argv[1]))
    print(f"ranks by exit code: {dict(codes)}")
    sys.exit(set(codes) != {0})
