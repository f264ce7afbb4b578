"""Notices when something else steps or resets the training environments."""

from collections.abc import Callable

from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from sb3_a2c_td.vec_env.cheap_copies import ArrayDict
from sb3_a2c_td.vec_env.gymnasium_vec_env import GymnasiumVecEnv


class MoveDetector:
    """Tells whether environments were stepped or reset since the last :meth:`accept`, in any of their wrappers.

    It supports :class:`~sb3_a2c_td.GymnasiumVecEnv`, ``SubprocVecEnv``, and ``DummyVecEnv`` with cheap copies. Other
    base classes give no sign, and count as unmoved.

    :param env: the environments, in wrappers or not
    """

    def __init__(self, env: VecEnv) -> None:
        self.env = env
        self._read = _reader(env.unwrapped)
        self.accept()

    def accept(self) -> None:
        """Take the current state of the environments as the one that belongs to their last observations."""
        self._accepted = self._read()

    def has_moved(self) -> bool:
        """Check whether the environments were stepped or reset since the last :meth:`accept`."""
        return self._read() is not self._accepted


def _reader(base: VecEnv) -> Callable[[], object]:
    """Return a function that returns another object after every step and reset, and the same one in between."""
    if isinstance(base, GymnasiumVecEnv):
        return lambda: base.n_moves
    if isinstance(base, DummyVecEnv):
        arrays = base.buf_obs
        if isinstance(arrays, ArrayDict):
            return lambda: arrays.n_copies
    if isinstance(base, SubprocVecEnv):
        # a new tuple comes from the workers
        return lambda: base.reset_infos
    return lambda: None
