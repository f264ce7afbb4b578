r"""Partially observed environments, which need a recurrent policy.

A one-step method profits from a recurrent state only if the very next observation or reward depends on the action. The
actor learns from :math:`\mathbb E[A \mid h, a]` with :math:`A = r + \gamma V(s', h') - V(s, h)`. If neither :math:`r`
nor :math:`s'` depends on the action, this expectation is the same for all actions, and the actor learns nothing,
regardless of later steps. CartPole without velocities is such a case: an action changes a velocity, and the velocity
changes a position one step later. With the last action in the observation (:class:`LastAction`), the critic can predict
that change.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

FORWARD, LEFT, RIGHT = range(3)
CELL_SIZE = 24
"""pixels per side of a cell in rendered pictures"""
WALL_COLOR, CORRIDOR_COLOR, GOAL_COLOR = (255, 255, 255), (214, 220, 228), (64, 148, 96)
AGENT_COLOR = (226, 112, 32)


class TMaze(gym.Env[np.ndarray, np.int64]):
    """A corridor that ends in a junction. A sign at its start tells the agent where to turn there.

    The observation is ``[sign left, sign right, junction]``, and all zeros in between. The actions are forward, left
    and right. A turn at the junction ends the episode, with reward 1 for the right direction and -1 for the other. Any
    other action that does not advance the agent costs 0.1 and leaves it in place. Without a recurrent state the turn
    cannot depend on the sign, so the mean return is at most 0; with one it can be 1.

    Source: Bakker, *Reinforcement Learning with Long Short-Term Memory* (NIPS 2001).

    :param length: number of steps from the sign to the junction
    :param render_mode: ``"rgb_array"`` for pictures of the maze that show the goal
    :raises ValueError: if the length is below 1, or the render mode is unknown
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012, as in Gymnasium

    def __init__(self, length: int = 10, render_mode: str | None = None) -> None:
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        self.length = length
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0.0, 1.0, (3,), np.float32)
        self.action_space = spaces.Discrete(3)
        self._position = 0
        self._sign = LEFT

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return to the start, where the sign is left or right with equal probability.

        :param seed: seed of the random generator
        :param options: not used
        """
        super().reset(seed=seed)
        self._position = 0
        self._sign = LEFT if self.np_random.random() < 0.5 else RIGHT
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move forward, or turn.

        :param action: 0 forward, 1 left, 2 right
        """
        at_junction = self._position == self.length
        if at_junction and action != FORWARD:
            return self._observation(), 1.0 if action == self._sign else -1.0, True, False, {}
        if at_junction or action != FORWARD:
            return self._observation(), -0.1, False, False, {}
        self._position += 1
        return self._observation(), 0.0, False, False, {}

    def render(self) -> np.ndarray | None:
        """Draw the corridor from left to right, the junction (left is up), the goal and the agent.

        :return: RGB, ``(height, width, 3)``; ``None`` without a ``render_mode``
        """
        if self.render_mode is None:
            return None
        cells = np.full((3, self.length + 1, 3), WALL_COLOR, np.uint8)
        cells[1] = CORRIDOR_COLOR
        cells[:, -1] = CORRIDOR_COLOR
        cells[0 if self._sign == LEFT else 2, -1] = GOAL_COLOR
        cells[1, self._position] = AGENT_COLOR
        return cells.repeat(CELL_SIZE, axis=0).repeat(CELL_SIZE, axis=1)

    def _observation(self) -> np.ndarray:
        at_sign = self._position == 0
        shows_left = at_sign and self._sign == LEFT
        shows_right = at_sign and self._sign == RIGHT
        return np.array([shows_left, shows_right, self._position == self.length], np.float32)


class LastAction(gym.Wrapper[np.ndarray, np.int64, np.ndarray, np.int64]):
    """Appends the one-hot last action to the observation; zeros at the start of an episode.

    :param env: an environment with vector observations and ``Discrete`` actions
    :raises ValueError: for other spaces
    """

    def __init__(self, env: gym.Env[np.ndarray, np.int64]) -> None:
        super().__init__(env)
        space, actions = env.observation_space, env.action_space
        if not isinstance(space, spaces.Box) or len(space.shape) != 1 or not isinstance(actions, spaces.Discrete):
            raise ValueError(
                f"env has {space} and {actions}: LastAction needs vector observations and Discrete actions"
            )
        self._n_actions = int(actions.n)
        low = np.append(space.low, np.zeros(self._n_actions))
        high = np.append(space.high, np.ones(self._n_actions))
        dtype = space.dtype.type
        self.observation_space = spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode. The appended action is all zeros.

        :param seed: see Gymnasium
        :param options: see Gymnasium
        """
        observation, info = self.env.reset(seed=seed, options=options)
        return self._append_action(observation, None), info

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take a step and append its action to the next observation.

        :param action: the action
        """
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._append_action(observation, action), float(reward), terminated, truncated, info

    def _append_action(self, observation: np.ndarray, action: np.int64 | None) -> np.ndarray:
        one_hot = np.zeros(self._n_actions, observation.dtype)
        if action is not None:
            one_hot[action] = 1.0
        return np.append(observation, one_hot)


class Positions(gym.ObservationWrapper[np.ndarray, np.int64, np.ndarray]):
    """Reduces CartPole's observation to the position and the angle, without velocities.

    :param env: CartPole
    """

    INDICES = [0, 2]  # noqa: RUF012

    def __init__(self, env: gym.Env[np.ndarray, np.int64]) -> None:
        super().__init__(env)
        space = env.observation_space
        assert isinstance(space, spaces.Box)
        self.observation_space = spaces.Box(space.low[self.INDICES], space.high[self.INDICES])

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Drop the velocities.

        :param observation: position, velocity, angle, angular velocity
        :return: position, angle
        """
        return observation[self.INDICES]


def cartpole_without_velocities(**kwargs: Any) -> gym.Env[np.ndarray, np.int64]:
    """Make a CartPole whose observation is the positions and the last action.

    :param kwargs: arguments of ``gymnasium.make("CartPole-v1")``
    """
    return LastAction(Positions(gym.make("CartPole-v1", **kwargs)))
