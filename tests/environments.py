"""Environments for tests."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array

from sb3_a2c_td.vec_env.action_masks import components


class ReplayEnv(gym.Env):
    """Replays recorded transitions for any actions."""

    def __init__(self, trace: dict[str, np.ndarray]) -> None:
        shape = trace["observations"].shape[1:]
        self.observation_space = spaces.Box(-np.inf, np.inf, shape, np.float32)
        self.action_space = spaces.Discrete(trace["probs"].shape[1])
        self.trace = trace
        self.t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        # the trace ends with a step; the observation of a reset after it is not used
        return self.trace["observations"][min(self.t, len(self.trace["observations"]) - 1)], {}

    def step(self, action):
        t, self.t = self.t, self.t + 1
        step = [self.trace[name][t] for name in ("next_observations", "rewards", "terminated", "truncated")]
        return step[0], float(step[1]), bool(step[2]), bool(step[3]), {}


class RandomEnv(gym.Env):
    """Returns random observations of any space; episodes terminate after ``episode_length`` steps."""

    def __init__(
        self, observation_space: spaces.Space, action_space: spaces.Space, episode_length: int = 7, seed: int = 0
    ) -> None:
        self.observation_space = observation_space
        self.action_space = action_space
        self.observation_space.seed(seed)
        self.episode_length = episode_length
        self.t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.t += 1
        reward = float(self.np_random.normal())
        return self.observation_space.sample(), reward, self.t >= self.episode_length, False, {}


class MaskedInfosEnv(RandomEnv):
    """Returns a random action mask in each info and rejects masked actions; truncates every other episode."""

    def __init__(self, *args: Any, takes_all: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.takes_all = takes_all
        self.n_choices = components(self.action_space)
        self.episode = 0

    def _draw_masks(self) -> None:
        masks = [self.np_random.random(n) < 0.5 for n in self.n_choices]
        for mask, n in zip(masks, self.n_choices, strict=True):
            mask[self.np_random.integers(n)] = True
        self.masks = np.concatenate(masks)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        observation, info = super().reset(seed=seed)
        self.episode += 1
        self._draw_masks()
        return observation, {**info, "action_mask": self.masks}

    def step(self, action):
        firsts = np.cumsum([0, *self.n_choices[:-1]])
        is_allowed = self.masks[firsts + np.atleast_1d(action)].all()
        assert is_allowed or self.takes_all, f"{action!r} is masked by {self.masks}"
        observation, reward, ended, _, info = super().step(action)
        self._draw_masks()
        truncates = bool(self.episode % 2)
        return observation, reward, ended and not truncates, ended and truncates, {**info, "action_mask": self.masks}


class MaskedEnv(MaskedInfosEnv):
    """Returns the mask from the method ``action_masks``; the masks in its infos are wrong."""

    def action_masks(self) -> np.ndarray:
        return self.masks

    def reset(self, **kwargs: Any):
        observation, _ = super().reset(**kwargs)
        return observation, {"action_mask": ~self.masks}

    def step(self, action):
        *others, _ = super().step(action)
        return *others, {"action_mask": ~self.masks}


class CountingEnv(gym.Env):
    """Returns the numbers of the episode and of the step, and the reward 1; episodes end after ``length`` steps."""

    observation_space = spaces.Box(0, np.inf, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, length: int | None = None, truncates: bool = False) -> None:
        self.length = length
        self.truncates = truncates
        self.episode = -1
        self.t = 0

    def _observation(self) -> np.ndarray:
        return np.array([self.episode, self.t], np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.episode += 1
        self.t = 0
        return self._observation(), {}

    def step(self, action):
        self.t += 1
        ended = self.t == self.length
        return self._observation(), 1.0, ended and not self.truncates, ended and self.truncates, {}


class DictCountingEnv(CountingEnv):
    """CountingEnv with dict observations."""

    observation_space = spaces.Dict(
        {"episode": spaces.Box(0, np.inf, (1,), np.float32), "step": spaces.Box(0, np.inf, (1,), np.float32)}
    )

    def _observation(self) -> dict[str, np.ndarray]:
        return {"episode": np.array([self.episode], np.float32), "step": np.array([self.t], np.float32)}


class ConstantEnv(gym.Env):
    """Returns constant observations and the reward 1; episodes are truncated after ``length`` steps, if at all."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, length: int | None = None) -> None:
        self.length = length
        self.t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.t = 0
        return np.ones(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.ones(1, np.float32), 1.0, False, self.t == self.length, {}


class FaultyEnv(CountingEnv):
    """Returns a wrong observation or reward at step ``fault_at``."""

    def __init__(self, fault_at: int, observation: float | None = None, reward: float | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.fault_at = fault_at
        self.observation = observation
        self.reward = reward
        self.n_steps = 0

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        self.n_steps += 1
        if self.n_steps == self.fault_at:
            observation[0] = observation[0] if self.observation is None else self.observation
            reward = reward if self.reward is None else self.reward
        return observation, reward, terminated, truncated, info


class RandomEpisodesEnv(gym.Env):
    """Returns random observations of any space and rewards that depend on the action; episodes end at random."""

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space, end_probability: float = 0.2):
        self.observation_space = deepcopy(observation_space)
        self.action_space = action_space
        self.end_probability = end_probability
        self.n_resets = 0
        self.options: dict[str, Any] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.n_resets += 1
        self.options = options
        return self.observation_space.sample(), {"n_resets": self.n_resets}

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        reward = float(self.np_random.normal()) + 0.1 * float(np.sum(action))
        terminated, truncated, is_success, has_score = self.np_random.random(4) < [
            *[self.end_probability] * 2,
            0.5,
            0.5,
        ]
        info = {"is_success": bool(is_success), "detail": {"reward": reward, "name": f"{reward:.1f}"}}
        if has_score:
            info["score"] = np.full(2, reward)
        return self.observation_space.sample(), reward, bool(terminated), bool(truncated), info


class NextStepVectorEnv(VectorEnv):
    """Resets each environment in the step after its end, as native vector environments do, and hides it.

    Every step overwrites the observations and rewards of the last one.
    """

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(self, env_fns: Sequence[Callable[[], gym.Env]]) -> None:
        self._hidden = [make_env() for make_env in env_fns]
        self.num_envs = len(self._hidden)
        self.single_observation_space = self._hidden[0].observation_space
        self.single_action_space = self._hidden[0].action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._buffer = create_empty_array(self.single_observation_space, self.num_envs)
        self._rewards = np.zeros(self.num_envs)
        self._ended = np.zeros(self.num_envs, dtype=bool)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        infos: dict[str, Any] = {}
        observations = []
        for i, env in enumerate(self._hidden):
            observation, info = env.reset(seed=None if seed is None else seed + i, options=options)
            observations.append(observation)
            infos = self._add_info(infos, info, i)
        self._ended[:] = False
        return concatenate(self.single_observation_space, observations, self._buffer), infos

    def step(self, actions):
        assert actions.dtype == self.single_action_space.dtype
        infos: dict[str, Any] = {}
        observations = []
        terminated, truncated = np.zeros((2, self.num_envs), dtype=bool)
        for i, env in enumerate(self._hidden):
            if self._ended[i]:
                observation, info = env.reset()
                self._rewards[i] = 0.0
            else:
                observation, self._rewards[i], terminated[i], truncated[i], info = env.step(actions[i])
            observations.append(observation)
            infos = self._add_info(infos, info, i)
        self._ended = terminated | truncated
        return (
            concatenate(self.single_observation_space, observations, self._buffer),
            self._rewards,
            terminated,
            truncated,
            infos,
        )
