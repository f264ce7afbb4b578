"""``python -m sb3_a2c_td``: train TDA2C from the command line, with the flags of the seed."""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import gymnasium as gym
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.preprocessing import is_image_space

from sb3_a2c_td import TDA2C
from sb3_a2c_td.validation import check_at_least_one, check_number

Number = TypeVar("Number", int, float)
N_EVAL_EPISODES = 20


def main(argv: Sequence[str] | None = None) -> None:
    """Train, evaluate and save a model.

    :param argv: the arguments, those of the process by default
    """
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        path = _path_to_save(args.save, args.env)
        env = make_vec_env(args.env, n_envs=args.n_envs, seed=args.seed)
        model = TDA2C(
            _policy_for(env.observation_space),
            env,
            learning_rate=args.actor_lr,
            critic_learning_rate=args.critic_lr,
            n_steps=args.update_interval,
            gamma=args.gamma,
            seed=args.seed,
            device=args.device,
        )
        eval_env = make_vec_env(args.env, seed=args.seed)
    except (gym.error.Error, ImportError, OSError, RuntimeError, ValueError) as error:
        parser.error(str(error))
    model.learn(args.timesteps, callback=None if args.quiet else PrintEpisodes(), progress_bar=not args.quiet)
    model.save(path)
    mean, std = evaluate_policy(model, eval_env, n_eval_episodes=N_EVAL_EPISODES)
    print(f"Mean return of {N_EVAL_EPISODES} evaluation episodes: {mean:.2f} ± {std:.2f}")
    print(f"Saved to {path}")


class PrintEpisodes(BaseCallback):
    """Prints each finished episode's number and raw return, in the words of the seed."""

    def _on_training_start(self) -> None:
        self.n_episodes = 0

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                print(f"EP{self.n_episodes} EpisodeReward={info['episode']['r']}")
                self.n_episodes += 1
        return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sb3_a2c_td",
        description="Train TDA2C on a Gymnasium environment, evaluate it and save it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--env", default="CartPole-v1", help="the environment's name")
    parser.add_argument("--gamma", type=_fraction, default=0.99, help="discount factor")
    parser.add_argument("--update_interval", "--update-interval", type=_count, default=5, help="steps of an interval")
    parser.add_argument("--actor_lr", "--actor-lr", type=_rate, default=0.0005, help="the actor's learning rate")
    parser.add_argument("--critic_lr", "--critic-lr", type=_rate, default=0.001, help="the critic's learning rate")
    parser.add_argument("--timesteps", type=_count, default=100_000, help="environment steps to train for")
    parser.add_argument("--n_envs", "--n-envs", type=_count, default=1, help="environments to step side by side")
    parser.add_argument("--seed", type=int, help="seed of all generators")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--save", type=Path, help="the zip to write; None: a new file tda2c_ENV.zip here")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no line for each episode")
    return parser


def _count(text: str) -> int:
    return _checked(int(text), check_at_least_one)


def _rate(text: str) -> float:
    return _checked(float(text), check_number, low=0.0)


def _fraction(text: str) -> float:
    return _checked(float(text), check_number, low=0.0, high=1.0)


def _checked(value: Number, check: Callable[..., None], **bounds: float) -> Number:
    try:
        check("the value", value, **bounds)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return value


def _path_to_save(wanted: Path | None, env_id: str) -> Path:
    """Give the zip to write: the wanted one, or one that is not there yet, so that no earlier model is lost."""
    if wanted is not None:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        if wanted.is_dir() or not os.access(wanted.parent, os.W_OK):
            raise ValueError(f"--save {wanted}: no file can be written there; name another one")
        return wanted if wanted.suffix == ".zip" else wanted.with_name(f"{wanted.name}.zip")
    stem = f"tda2c_{env_id.replace('/', '-').replace(':', '-')}"
    path, n = Path(f"{stem}.zip"), 1
    while path.exists():
        n += 1
        path = Path(f"{stem}_{n}.zip")
    return path


def _policy_for(observation_space: spaces.Space[object]) -> str:
    if isinstance(observation_space, spaces.Dict):
        return "MultiInputPolicy"
    return "CnnPolicy" if is_image_space(observation_space) else "MlpPolicy"


if __name__ == "__main__":
    main()
