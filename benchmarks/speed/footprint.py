"""Costs of the package apart from training speed: importing, compiling, memory."""

import os
import statistics
import subprocess
import sys
import tempfile

import psutil

from benchmarks.speed.settings import SETTINGS, learn, start_long_training

IMPORTS = """
import time
start = time.perf_counter()
import stable_baselines3
middle = time.perf_counter()
from sb3_a2c_td import TDA2C
print(middle - start, time.perf_counter() - middle)
"""
FIRST_UPDATE = """
import time
from sb3_a2c_td import TDA2C
model = TDA2C("MlpPolicy", "CartPole-v1", engine="autograd", device="cpu").learn(5)
model.engine = "numba"
start = time.perf_counter()
model.learn(5, reset_num_timesteps=False)
print(time.perf_counter() - start)
"""
MEGABYTE = 2**20


def import_seconds(rounds: int) -> tuple[float, float]:
    """Measure the seconds that importing takes.

    :param rounds: number of measurements
    :return: medians for SB3, and for the package after it
    """
    times = [_run(IMPORTS) for _ in range(rounds)]
    return statistics.median(t[0] for t in times), statistics.median(t[1] for t in times)


def first_rollout_seconds(rounds: int) -> tuple[float, float]:
    """Measure the seconds of the first rollout and update of the compiled engine.

    :param rounds: number of measurements
    :return: medians without and with numba's cache on disk
    """
    cold, warm = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            cold += _run(FIRST_UPDATE, NUMBA_CACHE_DIR=folder)
            warm += _run(FIRST_UPDATE, NUMBA_CACHE_DIR=folder)
    return statistics.median(cold), statistics.median(warm)


def _run(code: str, **variables: str) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, check=True, capture_output=True, text=True
    )
    return [float(word) for word in done.stdout.split()]


def resident_megabytes(n_steps: int, every: int) -> list[tuple[int, float]]:
    """Measure the resident size during a training run on CartPole-v1 with one environment.

    :param n_steps: environment steps of the run
    :param every: steps between two measurements
    :return: pairs of steps and resident size in MiB
    """
    model = SETTINGS["cartpole-1"].make_models("cpu")['TDA2C, engine="auto"']
    start_long_training(model, 1)
    sizes = []
    while model.num_timesteps < n_steps:
        learn(model, every)
        sizes.append((model.num_timesteps, psutil.Process().memory_info().rss / MEGABYTE))
    return sizes
