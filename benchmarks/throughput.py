"""``python -m benchmarks.throughput``: training steps per second, as a ratio to SB3's A2C in the same run.

The arms take turns, on one thread each, with Monitor, logger and a callback in place; medians over the rounds are
shown. Absolute speeds differ from machine to machine and from minute to minute: compare the ratios.
"""

import argparse
import statistics
import time

import numpy as np
import torch as th
from stable_baselines3 import A2C
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env

from benchmarks.demo import markdown_table
from sb3_a2c_td import TDA2C
from sb3_a2c_td.engines import ENGINES


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--env", default="CartPole-v1", help="the environment's name")
    parser.add_argument("--n-envs", type=int, default=1, help="environments to step side by side")
    parser.add_argument("--rounds", type=int, default=5, help="times that each arm is measured")
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long each measurement takes")
    args = parser.parse_args()

    th.set_num_threads(1)
    models: dict[str, BaseAlgorithm] = {"A2C": A2C("MlpPolicy", make_vec_env(args.env, args.n_envs), device="cpu")}
    for engine in ENGINES:
        env = make_vec_env(args.env, args.n_envs)
        models[f'TDA2C, engine="{engine}"'] = TDA2C("MlpPolicy", env, engine=engine, device="cpu")
    budgets = {name: warm_up(model, args.seconds) for name, model in models.items()}
    speeds: dict[str, list[float]] = {name: [] for name in (*models, "the environment alone")}
    for _ in range(args.rounds):
        for name, model in models.items():
            speeds[name].append(learning_speed(model, budgets[name]))
        speeds["the environment alone"].append(env_speed(args.env, args.n_envs, args.seconds))

    rows = []
    for name, values in speeds.items():
        ratio = statistics.median(mine / a2c for mine, a2c in zip(values, speeds["A2C"], strict=True))
        rows.append([name, f"{statistics.median(values):,.0f}", f"{ratio:.1f}"])
    print(f"{args.env}, {args.n_envs} environment(s), medians of {args.rounds} rounds\n")
    print(markdown_table(["arm", "steps/s", "ratio to A2C"], rows))


def learning_speed(model: BaseAlgorithm, timesteps: int) -> float:
    """Give the steps per second of ``learn``."""
    start = time.perf_counter()
    model.learn(timesteps, callback=lambda locals_, globals_: True, reset_num_timesteps=False)
    return timesteps / (time.perf_counter() - start)


def warm_up(model: BaseAlgorithm, seconds: float) -> int:
    """Pass the 200 updates before anything is compiled, and give the steps that take about so many seconds."""
    learning_speed(model, 1_500 * model.n_envs)
    return max(1_000, int(seconds * learning_speed(model, 500 * model.n_envs)))


def env_speed(env_id: str, n_envs: int, seconds: float) -> float:
    """Give the steps per second of the environments alone, with random actions drawn beforehand."""
    env = make_vec_env(env_id, n_envs)
    env.reset()
    actions = [np.array([env.action_space.sample() for _ in range(n_envs)]) for _ in range(1_000)]
    start = time.perf_counter()
    n_steps = 0
    while time.perf_counter() - start < seconds:
        for action in actions:
            env.step(action)
        n_steps += n_envs * len(actions)
    return n_steps / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
