"""Notices when something else steps or resets the training environments."""

from collections.abc import Callable, Iterable
from operator import is_not, ne
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from sb3_a2c_td.vec_env.cheap_copies import ArrayDict
from sb3_a2c_td.vec_env.gymnasium_vec_env import GymnasiumVecEnv


@runtime_checkable
class CountsMoves(Protocol):
    """Environments that count how many times they were stepped or reset."""

    @property
    def n_moves(self) -> int:
        """How many times."""


class MoveDetector:
    """Tells whether environments were stepped or reset since the last :meth:`accept`, in any of their wrappers.

    It supports environments that count their moves (:class:`~sb3_a2c_td.GymnasiumVecEnv`,
    :class:`~sb3_a2c_td.compiled.CompiledVecEnv`), ``SubprocVecEnv``, and ``DummyVecEnv`` with cheap copies. In
    ``DummyVecEnv`` and ``SyncVectorEnv``, it also reads the steps that ``TimeLimit`` counts: someone may step a single
    environment or the ``SyncVectorEnv`` directly. Other base classes give no sign, and count as unmoved.

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
        vector_env = base.env.unwrapped
        limits = _time_limits(vector_env.envs if isinstance(vector_env, SyncVectorEnv) else ())
        return lambda: (base.n_moves, *[limit._elapsed_steps for limit in limits]), ne
    if isinstance(base, CountsMoves):
        return lambda: base.n_moves, ne
    if isinstance(base, DummyVecEnv):
        arrays = base.buf_obs
        if isinstance(arrays, ArrayDict):
            limits = _time_limits(base.envs)
            return lambda: (arrays.n_copies, *[limit._elapsed_steps for limit in limits]), ne
    if isinstance(base, SubprocVecEnv):
        # a new tuple comes from the workers
        return lambda: base.reset_infos, is_not
    return lambda: None, ne


def _time_limits(envs: Iterable[gym.Env[Any, Any]]) -> list[TimeLimit[Any, Any]]:
    limits = []
    for env in envs:
        while isinstance(env, gym.Wrapper):
            if isinstance(env, TimeLimit):
                limits.append(env)
            env = env.env
    return limits
