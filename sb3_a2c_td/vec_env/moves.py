"""Notices when something else steps or resets the training environments."""

from collections.abc import Callable, Iterator
from operator import is_not, ne
from typing import Any

import gymnasium as gym
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from sb3_a2c_td.vec_env.cheap_copies import ArrayDict
from sb3_a2c_td.vec_env.gymnasium_vec_env import GymnasiumVecEnv


class MoveDetector:
    """Tells whether environments were stepped or reset since the last :meth:`accept`, in any of their wrappers.

    It supports :class:`~sb3_a2c_td.GymnasiumVecEnv`, ``SubprocVecEnv``, and ``DummyVecEnv`` with cheap copies, where it
    also reads the steps that ``TimeLimit`` counts: someone may step a single environment directly. Other base classes
    give no sign, and count as unmoved.

    :param env: the environments, in wrappers or not
    """

    def __init__(self, env: VecEnv) -> None:
        self.env = env
        self._read, self._differ = _sign_of(env.unwrapped)
        self.accept()

    def accept(self) -> None:
        """Take the current state of the environments as the one that belongs to their last observations."""
        self._accepted = self._read()

    def has_moved(self) -> bool:
        """Check whether the environments were stepped or reset since the last :meth:`accept`."""
        return self._differ(self._read(), self._accepted)


def _sign_of(base: VecEnv) -> tuple[Callable[[], object], Callable[[object, object], bool]]:
    """Return how to read a sign that changes with every step and reset, and how to compare two of them."""
    if isinstance(base, GymnasiumVecEnv):
        return lambda: base.n_moves, ne
    if isinstance(base, DummyVecEnv):
        arrays = base.buf_obs
        if isinstance(arrays, ArrayDict):
            time_limits = [limit for env in base.envs for limit in _time_limits(env)]
            return lambda: (arrays.n_copies, *[limit._elapsed_steps for limit in time_limits]), ne
    if isinstance(base, SubprocVecEnv):
        # a new tuple comes from the workers
        return lambda: base.reset_infos, is_not
    return lambda: None, ne


def _time_limits(env: gym.Env[Any, Any]) -> Iterator[TimeLimit[Any, Any]]:
    while isinstance(env, gym.Wrapper):
        if isinstance(env, TimeLimit):
            yield env
        env = env.env
