"""Returns and lengths of episodes, as SB3's ``Monitor`` writes them into infos."""

import time

import numpy as np

from sb3_a2c_td.vec_env.infos import Info


class EpisodeStatistics:
    """Counts the rewards and steps of the running episode of each environment.

    :param n_envs: the number of environments
    """

    def __init__(self, n_envs: int) -> None:
        self._start_time = time.time()
        self._n_steps = 0
        self._first_steps = np.zeros(n_envs, dtype=np.int64)
        self.returns = np.zeros(n_envs)
        """returns of the running episodes, ``(n_envs,)`` float64"""

    def reset(self) -> None:
        """Start a new episode in every environment; the clock runs on."""
        self._n_steps = 0
        self._first_steps[:] = 0
        self.returns[:] = 0.0

    def add(self, rewards: np.ndarray) -> None:
        """Count one step of every environment.

        :param rewards: ``(n_envs,)``
        """
        self._n_steps += 1
        self.returns += rewards

    def restart(self, envs: np.ndarray) -> None:
        """Start new episodes.

        :param envs: which environments: their indices, or a mask
        """
        self.returns[envs] = 0.0
        self._first_steps[envs] = self._n_steps

    def finish(self, envs: np.ndarray) -> list[Info]:
        """Return the statistics of ended episodes, and start new ones.

        :param envs: the indices of their environments
        :return: for each the key ``episode`` with its return ``r``, length ``l`` and time ``t`` in seconds
            since this object was made
        """
        seconds = self.seconds(time.time())
        returns = self.returns[envs].tolist()
        lengths = (self._n_steps - self._first_steps[envs]).tolist()
        self.restart(envs)
        return [
            {"episode": {"r": round(value, 6), "l": length, "t": seconds}}
            for value, length in zip(returns, lengths, strict=True)
        ]

    def skip(self, n_steps: int, lengths: np.ndarray) -> None:
        """Count steps that compiled code took; it keeps :attr:`returns` itself.

        :param n_steps: steps of every environment
        :param lengths: steps of the running episodes, int64 ``(n_envs,)``
        """
        self._n_steps += n_steps
        self._first_steps[:] = self._n_steps - lengths

    def seconds(self, moment: float) -> float:
        """Return the seconds from when this object was made.

        :param moment: when, in seconds as ``time.time`` returns them
        """
        return round(moment - self._start_time, 6)
