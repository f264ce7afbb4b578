"""Compares the times that two checkouts of this package take to load the same models.

``python -m tests.saving.load_times OLD NEW`` prints medians in milliseconds. Both load in turn, in one process each.
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from sb3_a2c_td import TDA2C

N_LOADS = 30
NETWORKS = ([64, 64], [1024, 1024])
WORKER = """
import sys, time
import torch
from sb3_a2c_td import TDA2C
torch.set_num_threads(1)
for path in map(str.strip, sys.stdin):
    begin = time.perf_counter()
    TDA2C.load(path, device="cpu")
    print(time.perf_counter() - begin, flush=True)
"""


def main(checkouts: list[str]) -> None:
    """Print the medians of all checkouts for each network, and the ratio to the first."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER], cwd=checkout, env={"PYTHONPATH": checkout}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for checkout in checkouts
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for net_arch in NETWORKS:
            path = Path(folder, "model.zip")
            TDA2C("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": net_arch}, device="cpu").learn(103).save(path)
            # the first loads fill caches
            times = [[_timed(worker, path) for worker in workers] for _ in range(N_LOADS + 5)][5:]
            medians = [1000 * statistics.median(column) for column in zip(*times, strict=True)]
            print(net_arch, *(f"{median:.1f} ms ({median / medians[0]:.2f})" for median in medians))


def _timed(worker: subprocess.Popen[str], path: Path) -> float:
    assert worker.stdin is not None
    assert worker.stdout is not None
    print(path, file=worker.stdin, flush=True)
    return float(worker.stdout.readline())


if __name__ == "__main__":
    main(sys.argv[1:])
