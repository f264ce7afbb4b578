r"""Environments that do not show everything, for algorithms with a memory.

A memory is of use to a one-step method where what an action does shows in the very next observation. The actor learns
from :math:`\mathbb E[A \mid h, a]` with :math:`A = r + \gamma V(s', h') - V(s, h)`, and if neither the reward nor
:math:`s'` depends on the action, this is the same for every action: there is nothing to learn from, whatever comes
later. CartPole without its velocities is such a case, since an action changes a velocity, and the velocity a position
one step later. With the last action in the observation (:class:`LastAction`) the critic can foresee what it will do.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

FORWARD, LEFT, RIGHT = range(3)
CELL = 24
"""pixels of a square in a picture"""
WALL, WAY, GOAL, HERE = (255, 255, 255), (214, 220, 228), (64, 148, 96), (226, 112, 32)


class TMaze(gym.Env[np.ndarray, np.int64]):
    """A corridor with a junction at its end; a sign at its beginning says which way to turn there.

    The observation is ``[sign left, sign right, junction]``, all 0 between the two. Actions are forward, left and
    right. Whatever does not lead on costs 0.1 and leaves one where one is; a turn at the junction ends the episode,
    with 1 for the right one and -1 for the other. Without a memory the turn cannot depend on the sign, so that no
    policy has a mean return above 0; with one it can be 1. After Bakker, *Reinforcement Learning with Long Short-Term
    Memory* (2001).

    :param length: steps from the sign to the junction
    :param render_mode: ``"rgb_array"``: pictures of the maze, with what lies behind the right turn
    :raises ValueError: for a length below 1, or another kind of rendering
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012, as gymnasium has it

    def __init__(self, length: int = 10, render_mode: str | None = None) -> None:
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        self.length, self.render_mode = length, render_mode
        self.observation_space = spaces.Box(0.0, 1.0, (3,), np.float32)
        self.action_space = spaces.Discrete(3)
        self._place = 0
        self._sign = LEFT

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Put up a sign, left or right with equal probability."""
        super().reset(seed=seed)
        self._place = 0
        self._sign = LEFT if self.np_random.random() < 0.5 else RIGHT
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Go on, or turn."""
        at_junction = self._place == self.length
        if at_junction and action != FORWARD:
            return self._observation(), 1.0 if action == self._sign else -1.0, True, False, {}
        if at_junction or action != FORWARD:
            return self._observation(), -0.1, False, False, {}
        self._place += 1
        return self._observation(), 0.0, False, False, {}

    def render(self) -> np.ndarray | None:
        """Draw the corridor, the junction at its right end (left is up), the goal and where one is.

        :return: RGB, ``(height, width, 3)``; ``None`` without a ``render_mode``
        """
        if self.render_mode is None:
            return None
        squares = np.full((3, self.length + 1, 3), WALL, np.uint8)
        squares[1], squares[:, -1] = WAY, WAY
        squares[0 if self._sign == LEFT else 2, -1] = GOAL
        squares[1, self._place] = HERE
        return squares.repeat(CELL, axis=0).repeat(CELL, axis=1)

    def _observation(self) -> np.ndarray:
        at_sign = self._place == 0
        shown = [at_sign and self._sign == LEFT, at_sign and self._sign == RIGHT, self._place == self.length]
        return np.array(shown, np.float32)


class LastAction(gym.Wrapper[np.ndarray, np.int64, np.ndarray, np.int64]):
    """Adds the last action to an observation, one-hot; zeros when an episode begins.

    :param env: observations are vectors, actions ``Discrete``
    :raises ValueError: for other spaces
    """

    def __init__(self, env: gym.Env[np.ndarray, np.int64]) -> None:
        super().__init__(env)
        space, actions = env.observation_space, env.action_space
        if not isinstance(space, spaces.Box) or len(space.shape) != 1 or not isinstance(actions, spaces.Discrete):
            raise ValueError(f"env has {space} and {actions}: LastAction is for vectors and Discrete actions")
        self._n_actions = int(actions.n)
        low, high = np.append(space.low, [0] * self._n_actions), np.append(space.high, [1] * self._n_actions)
        dtype = space.dtype.type
        self.observation_space = spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode, without a last action."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with(observation, None), info

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take a step, and show the action with what follows."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with(observation, action), float(reward), terminated, truncated, info

    def _with(self, observation: np.ndarray, action: np.int64 | None) -> np.ndarray:
        shown = np.zeros(self._n_actions, observation.dtype)
        if action is not None:
            shown[action] = 1.0
        return np.append(observation, shown)


class Positions(gym.ObservationWrapper[np.ndarray, np.int64, np.ndarray]):
    """CartPole's position and angle, without the velocities."""

    SHOWN = (0, 2)

    def __init__(self, env: gym.Env[np.ndarray, np.int64]) -> None:
        super().__init__(env)
        space = env.observation_space
        assert isinstance(space, spaces.Box)
        self.observation_space = spaces.Box(space.low[[*self.SHOWN]], space.high[[*self.SHOWN]])

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Leave the velocities out."""
        return observation[[*self.SHOWN]]


def cartpole_without_velocities(**kwargs: Any) -> gym.Env[np.ndarray, np.int64]:
    """Make CartPole that shows its positions and the last action.

    :param kwargs: arguments of ``gymnasium.make("CartPole-v1")``
    """
    return LastAction(Positions(gym.make("CartPole-v1", **kwargs)))
