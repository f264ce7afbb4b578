"""Gymnasium environments that sample a finite MDP: a single one, and a vectorized one."""

from collections.abc import Callable
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from sb3_a2c_td.arguments import check_at_least_one
from sb3_a2c_td.envs import tabular_rendering
from sb3_a2c_td.tabular import problems
from sb3_a2c_td.tabular.mdp import FloatArray, TabularMDP
from sb3_a2c_td.tabular.sampling import Distributions, IntArray, rewards_of
from sb3_a2c_td.vec_env.infos import final_infos

Observation = Literal["discrete", "one_hot"]
RenderMode = Literal["ansi", "rgb_array"]
RenderFrame = str | npt.NDArray[np.uint8]

RENDER_MODES = ["ansi", "rgb_array"]
PROBLEMS: dict[str, Callable[..., TabularMDP]] = {
    "random_walk": problems.random_walk,
    "garnet": problems.garnet,
    "chain": problems.chain,
}


def make_env(
    problem: str, observation: Observation = "discrete", render_mode: RenderMode | None = None, **parameters: Any
) -> "TabularEnv":
    """Make the environment of a problem from the literature. This is the entry point of the registered ids.

    :param problem: name of a function in :mod:`sb3_a2c_td.tabular.problems`
    :param observation: see :class:`TabularEnv`
    :param render_mode: see :class:`TabularEnv`
    :param parameters: arguments of that function
    """
    return TabularEnv(PROBLEMS[problem](**parameters), observation, render_mode)


def make_vector_env(
    problem: str,
    num_envs: int = 1,
    max_episode_steps: int | None = None,
    observation: Observation = "discrete",
    render_mode: RenderMode | None = None,
    **parameters: Any,
) -> "TabularVectorEnv":
    """Make the vector environment of a problem from the literature. This is the vector entry point of the ids.

    :param problem: name of a function in :mod:`sb3_a2c_td.tabular.problems`
    :param num_envs: see :class:`TabularVectorEnv`
    :param max_episode_steps: see :class:`TabularVectorEnv`; Gymnasium passes -1 for no limit
    :param observation: see :class:`TabularEnv`
    :param render_mode: see :class:`TabularEnv`
    :param parameters: arguments of that function
    """
    limit = None if max_episode_steps == -1 else max_episode_steps
    return TabularVectorEnv(PROBLEMS[problem](**parameters), num_envs, limit, observation, render_mode)


class TabularEnv(gym.Env[Any, np.integer[Any] | int]):
    """Samples a finite MDP with the action space ``Discrete(A)``.

    Wrap it in ``TimeLimit`` if episodes may never terminate.

    :param mdp: the MDP; the rewards are its ``transition_rewards`` if it has any, otherwise the expected rewards
    :param observation: ``"discrete"``, the index of the state, or ``"one_hot"``, float32 ``(S,)``
    :param render_mode: ``"ansi"``, a line of text, or ``"rgb_array"``, a picture of all states
    :raises ValueError: if the observation or the render mode is unknown
    """

    metadata = {"render_modes": RENDER_MODES, "render_fps": 4}  # noqa: RUF012

    def __init__(
        self, mdp: TabularMDP, observation: Observation = "discrete", render_mode: RenderMode | None = None
    ) -> None:
        _check_choice("observation", observation, ["discrete", "one_hot"])
        _check_choice("render_mode", render_mode, [None, *RENDER_MODES])
        self.mdp = mdp
        self.render_mode = render_mode
        self.observation_space = _observation_space(mdp, observation)
        self.action_space = spaces.Discrete(mdp.n_actions)
        self._one_hot = observation == "one_hot"
        self._sampler = _Sampler(mdp)
        self._state = self._sampler.first_states(np.array([0.0]))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode in a state drawn from the initial distribution.

        :param seed: seed of the random generator
        :param options: not used
        """
        super().reset(seed=seed)
        self._state = self._sampler.first_states(self.np_random.random(1))
        return self._observation(), {}

    def step(self, action: np.integer[Any] | int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Draw the next state. A terminal state ends the episode.

        :param action: the action
        :raises ValueError: if the action is not in the action space
        """
        actions = _checked_actions(action, (), self.mdp.n_actions).reshape(1)
        self._state, rewards = self._sampler.next_states(self._state, actions, self.np_random.random(1))
        return self._observation(), float(rewards[0]), bool(self.mdp.terminal[self._state[0]]), False, {}

    def render(self) -> RenderFrame | None:
        """Render the current state.

        :return: text or a picture, according to ``render_mode``; ``None`` without a ``render_mode``
        """
        return None if self.render_mode is None else _frame(self.mdp, int(self._state[0]), self.render_mode)

    def _observation(self) -> Any:
        return _one_hot(self._state, self.mdp.n_states)[0] if self._one_hot else int(self._state[0])


class TabularVectorEnv(gym.vector.VectorEnv[Any, IntArray, Any]):
    """Samples many copies of a finite MDP at once.

    A copy whose episode ends is reset in the same step (``AutoresetMode.SAME_STEP``), so every step is a transition of
    the MDP. As in ``SyncVectorEnv``, ``final_obs`` has the last observation of the episode.

    :param mdp: see :class:`TabularEnv`
    :param num_envs: number of copies
    :param max_episode_steps: steps until an episode is truncated; ``None`` for no limit
    :param observation: see :class:`TabularEnv`
    :param render_mode: see :class:`TabularEnv`; one frame per copy
    :raises ValueError: if an argument is out of range
    """

    metadata = {  # noqa: RUF012
        "render_modes": RENDER_MODES,
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        mdp: TabularMDP,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        observation: Observation = "discrete",
        render_mode: RenderMode | None = None,
    ) -> None:
        check_at_least_one("num_envs", num_envs)
        if max_episode_steps is not None:
            check_at_least_one("max_episode_steps", max_episode_steps)
        _check_choice("observation", observation, ["discrete", "one_hot"])
        _check_choice("render_mode", render_mode, [None, *RENDER_MODES])
        self.mdp = mdp
        self.num_envs = num_envs
        self.max_episode_steps = max_episode_steps
        self.render_mode = render_mode
        self.single_observation_space = _observation_space(mdp, observation)
        self.single_action_space = spaces.Discrete(mdp.n_actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._one_hot = observation == "one_hot"
        self._sampler = _Sampler(mdp)
        self._states: IntArray | None = None
        self._steps = np.zeros(num_envs, np.int64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every copy.

        :param seed: seed of the random generator that all copies share
        :param options: not used
        """
        super().reset(seed=seed)
        self._states = self._sampler.first_states(self.np_random.random(self.num_envs))
        self._steps[:] = 0
        return self._observations(self._states), {}

    def step(
        self, actions: IntArray
    ) -> tuple[Any, FloatArray, npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """Draw the next state of every copy, and reset the copies whose episode ended.

        :param actions: integers, ``(num_envs,)``
        :raises ValueError: if an action is not in the action space
        """
        if self._states is None:
            raise gym.error.ResetNeeded("Cannot call step() before reset()")
        actions = _checked_actions(actions, (self.num_envs,), self.mdp.n_actions)
        states, rewards = self._sampler.next_states(self._states, actions, self.np_random.random(self.num_envs))
        terminated = self.mdp.terminal[states]
        self._steps += 1
        truncated = (
            np.zeros(self.num_envs, bool) if self.max_episode_steps is None else self._steps >= self.max_episode_steps
        )
        ended = terminated | truncated
        infos = {}
        if ended.any():
            infos = final_infos(self._observations(states[ended]), ended)
            states[ended] = self._sampler.first_states(self.np_random.random(int(ended.sum())))
            self._steps[ended] = 0
        self._states = states
        return self._observations(states), rewards, terminated, truncated, infos

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return an attribute that all copies share, such as ``mdp``, once per copy as ``SyncVectorEnv`` does.

        :param name: name of the attribute
        :raises AttributeError: if there is no such attribute
        """
        return (getattr(self, name),) * self.num_envs

    def render(self) -> tuple[RenderFrame, ...] | None:
        """Render the current state of every copy.

        :return: a frame per copy, see :class:`TabularEnv`; ``None`` without a ``render_mode`` or before a reset
        """
        if self.render_mode is None or self._states is None:
            return None
        return tuple(_frame(self.mdp, state, self.render_mode) for state in self._states.tolist())

    def _observations(self, states: IntArray) -> Any:
        return _one_hot(states, self.mdp.n_states) if self._one_hot else states.copy()


class _Sampler:
    """Maps uniform numbers in [0, 1) to first and next states of an MDP."""

    def __init__(self, mdp: TabularMDP) -> None:
        self._n_actions = mdp.n_actions
        self._first = Distributions(mdp.initial[None])
        # state s and action a are row s * A + a
        self._next = Distributions(mdp.transitions.reshape(-1, mdp.n_states))
        self._rewards = rewards_of(mdp)[self._next.rows, self._next.values]

    def first_states(self, uniform: FloatArray) -> IntArray:
        return self._first.values[self._first.draw(np.zeros(len(uniform), np.int64), uniform)]

    def next_states(self, states: IntArray, actions: IntArray, uniform: FloatArray) -> tuple[IntArray, FloatArray]:
        """Return next states and rewards, both ``(N,)``."""
        drawn = self._next.draw(states * self._n_actions + actions, uniform)
        return self._next.values[drawn], self._rewards[drawn]


def _observation_space(mdp: TabularMDP, observation: Observation) -> spaces.Space[Any]:
    if observation == "one_hot":
        return spaces.Box(0.0, 1.0, (mdp.n_states,), np.float32)
    return spaces.Discrete(mdp.n_states)


def _one_hot(states: IntArray, n_states: int) -> npt.NDArray[np.float32]:
    observations = np.zeros((len(states), n_states), np.float32)
    observations[np.arange(len(states)), states] = 1.0
    return observations


def _frame(mdp: TabularMDP, state: int, render_mode: str) -> RenderFrame:
    return tabular_rendering.text(mdp, state) if render_mode == "ansi" else tabular_rendering.picture(mdp, state)


def _checked_actions(actions: Any, shape: tuple[int, ...], n_actions: int) -> IntArray:
    array = np.asarray(actions)
    if array.shape != shape or array.dtype.kind not in "iu":
        raise ValueError(f"actions must be integers of shape {shape}, got {actions!r}")
    # an action that is too large would index the row of another state
    if array.min() < 0 or array.max() >= n_actions:
        raise ValueError(f"actions must lie in 0 to {n_actions - 1}, got {array.min()} to {array.max()}")
    checked: IntArray = array.astype(np.int64, copy=False)
    return checked


def _check_choice(name: str, value: str | None, choices: list[Any]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
