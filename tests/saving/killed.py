"""Processes that are killed while they save or train. ``test_kills.py`` runs this file, which prints the results.

The process forks one process for each kill, because importing PyTorch takes seconds.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import torch as th
from stable_baselines3 import A2C
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecNormalize

from sb3_a2c_td import TDA2C, train_resumably
from sb3_a2c_td.engines import auto
from tests.saving.comparing import differences, everything

N_KILLS_OF_SAVES = 200
N_KILLS_OF_A2C = 20
N_KILLS_OF_TRAINING = 20
N_STEPS = 6_000


def killed(action: Callable[[], Any], seconds: float, signum: int = signal.SIGKILL) -> bool:
    """Run an action in another process, signal it, and return whether that ended it.

    :param action: the action
    :param seconds: the time before the signal
    :param signum: the signal
    """
    pid = os.fork()
    if pid == 0:
        try:
            action()
        except SystemExit as stopped:
            os._exit(stopped.code)
        os._exit(0)
    time.sleep(seconds)
    os.kill(pid, signum)
    _, status = os.waitpid(pid, 0)
    exit_code = os.waitstatus_to_exitcode(status)
    assert exit_code in (0, -signum, 128 + signum)
    return exit_code != 0


def saves(algorithm: type[BaseAlgorithm], n_kills: int) -> dict[str, int]:
    """Kill processes that do nothing but save, and count the states in which they leave the file."""
    models = [algorithm("MlpPolicy", "CartPole-v1", device="cpu") for _ in range(2)]
    for value, model in enumerate(models):
        model.num_timesteps = value
        for param in model.policy.parameters():
            param.data.fill_(value)
    counts = {"kills": 0, "whole": 0, "lost": 0, "unfinished files": 0, "most unfinished files": 0}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.zip"
        models[0].save(path)

        def save_forever() -> None:
            for model in cycle(models):
                model.save(path)

        for _ in range(n_kills):
            counts["kills"] += killed(save_forever, random.uniform(0.0, 0.05))
            counts["whole" if is_whole(path, algorithm) else "lost"] += 1
            leftovers = [each for each in path.parent.iterdir() if each != path]
            counts["unfinished files"] += len(leftovers)
            counts["most unfinished files"] = max(counts["most unfinished files"], len(leftovers))
    return counts


def is_whole(path: Path, algorithm: type[BaseAlgorithm]) -> bool:
    """Check whether a file holds one of the two models that :func:`saves` saves."""
    try:
        model = algorithm.load(path, device="cpu")
    except Exception:
        return False
    return all(bool((param == model.num_timesteps).all()) for param in model.policy.parameters())


def cartpole() -> TDA2C:
    return TDA2C("MlpPolicy", VecNormalize(make_vec_env("CartPole-v1", seed=0)), seed=0, device="cpu")


def pendulum() -> TDA2C:
    return TDA2C(
        "MlpPolicy",
        make_vec_env("Pendulum-v1", 3, seed=0),
        learning_rate=LinearSchedule(1e-3, 1e-4, 1.0),
        use_sde=True,
        sde_sample_freq=3,
        n_steps=7,
        seed=0,
        device="cpu",
    )


def training(make_model: Callable[[], TDA2C], n_kills: int, signum: int = signal.SIGKILL) -> dict[str, Any]:
    """Kill a training so many times, let it end, and compare the result with that of an undisturbed training."""
    # SIGTERM saves, so that more of the steps are kept
    save_freq, parts = (100, 15) if signum == signal.SIGKILL else (N_STEPS, 40)
    with tempfile.TemporaryDirectory() as folder:
        # the first training compiles the kernels, after 200 updates
        train_resumably(make_model, N_STEPS // 4, Path(folder) / "warm-up", save_freq=100)
        start = time.perf_counter()
        undisturbed = train_resumably(make_model, N_STEPS, Path(folder) / "undisturbed", save_freq=100)
        seconds = time.perf_counter() - start
        expected = everything(undisturbed)
        # a rerun first makes the model and loads the zip, however long that takes on this machine
        start = time.perf_counter()
        train_resumably(make_model, N_STEPS, Path(folder) / "undisturbed", save_freq=100)
        loading = time.perf_counter() - start
        counts: dict[str, Any] = {"kills": 0, "steps when killed": []}
        path = Path(folder) / "disturbed.zip"
        for _ in range(n_kills):
            counts["kills"] += killed(
                lambda: train_resumably(make_model, N_STEPS, path, save_freq),
                random.uniform(loading / 2, loading + seconds / parts),
                signum,
            )
            steps = TDA2C.load(path, device="cpu").num_timesteps if path.exists() else 0
            counts["steps when killed"].append(steps)
        found = everything(train_resumably(make_model, N_STEPS, path, save_freq=100))
        counts["differences"] = differences(found, expected)
    return counts


if __name__ == "__main__":
    th.set_num_threads(1)
    # trainings this short would not change to numba
    auto.MIN_STEPS_TO_COMPILE = N_STEPS // 4
    random.seed(int(sys.argv[2]))
    found = {
        "saves": lambda: saves(TDA2C, N_KILLS_OF_SAVES),
        "saves of A2C": lambda: saves(A2C, N_KILLS_OF_A2C),
        "cartpole": lambda: training(cartpole, N_KILLS_OF_TRAINING),
        "pendulum": lambda: training(pendulum, N_KILLS_OF_TRAINING),
        "cartpole, SIGTERM": lambda: training(cartpole, N_KILLS_OF_TRAINING, signal.SIGTERM),
    }[sys.argv[1]]()
    print(json.dumps(found))
