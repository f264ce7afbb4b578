"""Runs one of the JAX programs for another process: ``python -m benchmarks.speed.jax_programs.server PROGRAM [CORE]``.

It writes a line with versions when it is ready. Then it reads requests, one JSON object on a line, such as
``{"n_envs": 16, "n_steps": 100000, "seed": 0}``, and answers each with the results of one training.
"""

import importlib
import json
import os
import sys
import time
from functools import cache
from importlib import metadata
from typing import Any

from benchmarks.speed.jax_programs.training import Training

PACKAGES = {"a2c": ("jax", "jaxlib"), "rejax_ppo": ("jax", "jaxlib", "rejax", "gymnax")}
"""packages of each program"""


def main(program: str, core: str | None = None) -> None:
    """Answer requests until there are no more.

    :param program: the name of a module in this folder
    :param core: the only core to use; ``None``: all
    """
    if core is not None:
        # before JAX starts its threads
        os.sched_setaffinity(0, {int(core)})
    module = importlib.import_module(f"benchmarks.speed.jax_programs.{program}")
    make_training = cache(module.make_training)
    _answer({package: metadata.version(package) for package in PACKAGES[program]})
    for line in sys.stdin:
        request = json.loads(line)
        _answer(_train(make_training(request["n_envs"], request["n_steps"]), request["seed"]))


def _train(training: Training, seed: int) -> dict[str, float]:
    start, processor_start = time.perf_counter(), time.process_time()
    result = training.run(seed)
    seconds, processor_seconds = time.perf_counter() - start, time.process_time() - processor_start
    return {
        "n_steps": training.n_steps,
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "mean_return": training.mean_return(result),
    }


def _answer(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
