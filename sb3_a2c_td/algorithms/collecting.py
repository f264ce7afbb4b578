"""Collecting rollouts, as TDA2C and its variants share it."""

from abc import abstractmethod
from typing import Any, ClassVar, cast

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import maybe_make_env
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td.algorithms.checkpointed import CheckpointedAlgorithm
from sb3_a2c_td.algorithms.trained_on import recorded_env
from sb3_a2c_td.compiled.env import CompiledEnv
from sb3_a2c_td.compiled.making import is_compiled, make_compiled_vec_env
from sb3_a2c_td.compiled.vec_env import CompiledVecEnv
from sb3_a2c_td.compiled.vector_env import CompiledVectorEnv
from sb3_a2c_td.engines.action_sampling import draw_noise_matrices
from sb3_a2c_td.policies.separate import SeparateActorCriticPolicy
from sb3_a2c_td.rollout.observations import Observations, copied
from sb3_a2c_td.rollout.steps import step_transitions
from sb3_a2c_td.rollout.transitions import TransitionBuffer, Transitions, selected
from sb3_a2c_td.rollout.validation import (
    RowFormat,
    action_format,
    check_finite,
    check_shapes,
    check_spaces,
    row_mismatch,
)
from sb3_a2c_td.vec_env.autoreset_steps import transition_rows
from sb3_a2c_td.vec_env.cheap_copies import with_cheap_copies
from sb3_a2c_td.vec_env.env_argument import check_env
from sb3_a2c_td.vec_env.gymnasium_vec_env import GymnasiumVecEnv
from sb3_a2c_td.vec_env.infos import RUNNING_INFO
from sb3_a2c_td.vec_env.moves import MoveDetector
from sb3_a2c_td.vec_env.normalization import ModelVecNormalize


class CollectingAlgorithm(CheckpointedAlgorithm):
    """Steps the environments and fills a :class:`~sb3_a2c_td.rollout.transitions.TransitionBuffer`."""

    policy: SeparateActorCriticPolicy
    rollout_buffer: TransitionBuffer  # type: ignore[assignment]
    update_on_episode_end: bool | None
    bootstrap_on_truncation: bool
    rows_class: ClassVar[type[Any]] = Transitions
    """the class of the transitions that it collects"""
    _n_ranks: int = 1
    """processes that train the model together, and count their steps together"""
    _moves: MoveDetector | None = None
    """notices when something else steps or resets the environments"""
    trained_on: dict[str, Any] | None = None
    """id and arguments of the environment of the last training, see :mod:`sb3_a2c_td.algorithms.trained_on`"""
    _longest_learn: int = 0
    """steps of the longest call of ``learn`` in this training, whether it was interrupted or not"""

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_moves"]

    @abstractmethod
    def sample_actions(self, observations: Observations) -> np.ndarray:
        r"""Draw an action from :math:`\pi(\cdot|s)` for every environment.

        :param observations: ``(n_envs, *observation_shape)``, or a dict of such arrays
        :return: actions as the policy draws them, before clipping or unscaling, ``(n_envs, *action_shape)``
        """

    @abstractmethod
    def _prepare_to_act(self) -> None:
        """Prepare for :meth:`sample_actions`; called at the start of every rollout."""

    @staticmethod
    def _wrap_env(env: GymEnv | VectorEnv | str, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        if isinstance(env, ModelVecNormalize):
            # the wrapper of another model
            env = env.venv
        env = compiled_if_possible(env, verbose)
        env = GymnasiumVecEnv(env) if isinstance(env, VectorEnv) else maybe_make_env(env, verbose)
        check_env(env)
        check_spaces(env.observation_space, env.action_space)
        if isinstance(env, VecEnv) and env.num_envs < 1:
            raise ValueError(f"env={type(env).__name__} has no environments: create it with at least one")
        return with_cheap_copies(OnPolicyAlgorithm._wrap_env(env, verbose, monitor_wrapper))

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        last_obs = self._last_obs
        try:
            self._prepare_normalization()
            with self._normalizing():
                total_timesteps, callback = super()._setup_learn(*args, **kwargs)
            self._longest_learn = max(
                total_timesteps - self.num_timesteps, self._longest_learn if self.num_timesteps else 0
            )
            assert self.env is not None
            self.trained_on = recorded_env(self.env)
            was_reset = self._last_obs is not last_obs
            if was_reset or self._moves is None or self._moves.env is not self.env:
                self._detect_moves()
            self._store_first_obs(self._last_observations)
        except BaseException:
            # this observation may be from before a reset that failed
            self._last_obs = None
            # SB3 creates both of these if the first is missing
            if self.ep_success_buffer is None:
                self.ep_info_buffer = None
            raise
        # the same buffer, which callbacks may have stored; set_env() may have brought other shapes and dtypes
        self.rollout_buffer.make_room(self.n_steps * self.n_envs)
        self.rollout_buffer.check = self._check_shapes
        return total_timesteps, callback

    def _detect_moves(self) -> None:
        assert self.env is not None
        # a copied environment has no cheap copies yet
        self._moves = MoveDetector(with_cheap_copies(self.env))

    def _store_first_obs(self, observations: Observations) -> None:
        """Check and store the observations after a reset."""
        check_shapes(self.num_timesteps, self.n_envs, self.observation_space, observations)
        check_finite(self.num_timesteps, observation=observations)
        self._last_obs = copied(observations)

    def _reset_if_moved(self, env: VecEnv) -> None:
        """Reset the environments if something else moved them: their state no longer follows the last observations.

        An evaluation does that, or a callback that trains another model on them.
        """
        assert self._moves is not None
        if self._moves.has_moved():
            self._last_obs = None
            with self._normalizing():
                self._store_first_obs(cast(Observations, env.reset()))
            self._last_episode_starts = np.ones(env.num_envs, dtype=bool)
            self._moves.accept()

    def collect_rollouts(  # type: ignore[override]
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: TransitionBuffer, n_rollout_steps: int
    ) -> bool:
        """Step the environments until the rollout is complete.

        :param env: the training environments
        :param callback: called at every step, and at the start and the end of the rollout
        :param rollout_buffer: ``self.rollout_buffer``, which receives the transitions
        :param n_rollout_steps: the length of the rollout in steps of each environment
        :return: whether the rollout is complete; otherwise the callback stopped training, or the budget is used up
        """
        total_timesteps = self._total_timesteps
        try:
            return self._collect_until(total_timesteps, env, callback, rollout_buffer, n_rollout_steps)
        finally:
            # a callback that calls learn() changes it
            self._total_timesteps = total_timesteps

    def _collect_until(
        self,
        total_timesteps: int,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: TransitionBuffer,
        n_rollout_steps: int,
    ) -> bool:
        if self.policy.training:
            self.policy.set_training_mode(False)
        callback.on_rollout_start()
        self._prepare_to_act()
        while not self._rollout_is_complete(rollout_buffer, n_rollout_steps):
            if self.num_timesteps >= total_timesteps:
                return False
            if not self._collect_step(env, callback, rollout_buffer):
                return False
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _rollout_is_complete(self, rollout_buffer: TransitionBuffer, n_rollout_steps: int) -> bool:
        is_due = rollout_buffer.n_steps >= n_rollout_steps or (
            self._ends_with_episode and np.count_nonzero(self._last_episode_starts) > 0  # type: ignore[arg-type]
        )
        return bool(is_due) and len(rollout_buffer) > 0

    @property
    def _ends_with_episode(self) -> bool:
        return self.n_envs == 1 if self.update_on_episode_end is None else self.update_on_episode_end

    def _collect_step(self, env: VecEnv, callback: BaseCallback, rollout_buffer: TransitionBuffer) -> bool:
        """Take one step in each environment, store the transitions, and call the callback.

        The local variables have the names that callbacks know from SB3. The transitions are stored before the callback
        is called, so that a model saved or stopped there is complete; if it changes ``rewards`` in place, they are
        stored again.

        :return: whether to continue, as the callback says
        """
        self._reset_if_moved(env)
        if self.use_sde:
            self._sample_noise_if_due(env.num_envs, rollout_buffer.n_steps)
        actions = self.sample_actions(self._last_observations)
        clipped_actions = self._to_env_actions(actions)
        # before the step, so that all errors in it name the same number
        self.num_timesteps += env.num_envs * self._n_ranks
        try:
            with self._normalizing():
                new_obs, rewards, dones, infos = env.step(clipped_actions)
            self._moves.accept()  # type: ignore[union-attr]
            # a copy, which callbacks may change: some environments write every step into the same array
            rewards = np.array(rewards)
            check_finite(self.num_timesteps, reward=rewards, observation=new_obs)
            dones = dones.astype(bool)
            rows = transition_rows(env)
            self._add(rollout_buffer, self._transitions(actions, new_obs, rewards, dones, infos), rows)
            self._store_last_obs(new_obs, dones)
        except BaseException:
            # the state of the environments is unknown: the next learn() resets them
            self._last_obs = None
            raise
        self._update_info_buffer(infos, dones)

        last_obs, unchanged = self._last_obs, rewards.tobytes()
        callback.update_locals(locals())
        continues = callback.on_step()
        # not if the callback has called learn()
        if rewards.tobytes() != unchanged and self._last_obs is last_obs:
            self._replace_rewards(rewards if rows is None else rewards[rows], rollout_buffer)
        return continues

    def _replace_rewards(self, rewards: np.ndarray, rollout_buffer: TransitionBuffer) -> None:
        """Store the rewards of the last step again, as a callback has changed them."""
        rewards = rewards.astype(np.float32)
        if not np.isfinite(rewards).all():
            raise ValueError(
                f"locals['rewards']={rewards} at step {self.num_timesteps}: a callback has changed them to what is not "
                "finite in float32; fix the callback"
            )
        rollout_buffer.replace_last_rewards(rewards)

    def _store_last_obs(self, new_obs: Any, dones: np.ndarray) -> None:
        # a copy, since some environments write every step into the same arrays
        self._last_obs = copied(new_obs)
        self._last_episode_starts = dones

    def _sample_noise_if_due(self, n_envs: int, n_steps: int) -> None:
        assert isinstance(self.policy.action_dist, StateDependentNoiseDistribution)
        # after load() there is noise for one environment only
        has_noise = len(self.policy.action_dist.exploration_matrices) == n_envs
        if n_steps == 0 or not has_noise or (self.sde_sample_freq > 0 and n_steps % self.sde_sample_freq == 0):
            draw_noise_matrices(self.policy, n_envs, self._streams)

    def _to_env_actions(self, actions: np.ndarray) -> np.ndarray:
        """Return the actions for the environments, which may change them: never the array that is learned from."""
        if not isinstance(self.action_space, spaces.Box):
            return actions.copy()
        if self.policy.squash_output:
            return self.policy.unscale_action(actions)
        return actions.clip(self.action_space.low, self.action_space.high)

    def _transitions(
        self,
        actions: np.ndarray,
        new_obs: Any,
        rewards: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> Transitions[np.ndarray]:
        """Put together the rows that one step adds to the buffer."""
        return step_transitions(
            self._last_observations,
            actions,
            new_obs,
            rewards,
            dones,
            infos,
            self.num_timesteps,
            self.bootstrap_on_truncation,
        )

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: np.ndarray | None = None) -> None:
        # the info that running episodes share reports no episode
        if infos[0] is RUNNING_INFO or infos[-1] is RUNNING_INFO:
            ended = [env for env, info in enumerate(infos) if info is not RUNNING_INFO]
            infos, dones = [infos[env] for env in ended], None if dones is None else dones[ended]
        super()._update_info_buffer(infos, dones)

    def _check_shapes(self, rows: Transitions[np.ndarray]) -> None:
        check_shapes(
            self.num_timesteps,
            len(rows.rewards),
            self.observation_space,
            rows.next_observations,
            rewards=rows.rewards,
            terminated=rows.terminated,
            truncated=rows.truncated,
        )

    def _row_formats(self) -> dict[str, RowFormat]:
        """Return the formats of the transitions' fields, other than observations."""
        flags = RowFormat((), "b")
        return {
            "actions": action_format(self.action_space),
            "rewards": RowFormat((), "f"),
            "terminated": flags,
            "truncated": flags,
        }

    def _rollout_mismatch(self) -> str | None:
        if len(self.rollout_buffer) == 0:
            return None
        rows = self.rollout_buffer.transitions()
        if type(rows) is not self.rows_class:
            return f"it has {type(rows).__name__} in place of {self.rows_class.__name__}"
        return row_mismatch(rows, self.observation_space, self._row_formats())

    @staticmethod
    def _add(buffer: TransitionBuffer, transitions: Transitions[np.ndarray], rows: np.ndarray | None) -> None:
        """Store the rows that are transitions (``None``: all); a step without any is no step of the rollout."""
        if rows is None:
            buffer.add(transitions)
        elif len(rows) > 0:
            buffer.add(selected(transitions, rows))

    @property
    def _last_observations(self) -> Observations:
        assert self._last_obs is not None, "no observation yet: the environments were not reset"
        return self._last_obs


def compiled_if_possible(env: Any, verbose: int) -> Any:
    """Return a compiled environment that is named, or a native vector environment, as a ``VecEnv``.

    :param env: the argument ``env`` of a model
    :param verbose: from 1 on, say that a name makes an environment, as SB3 does
    :return: a :class:`~sb3_a2c_td.compiled.CompiledVecEnv`, or the argument if it is something else
    """
    if isinstance(env, str) and is_compiled(env):
        if verbose >= 1:
            print(f"Creating environment from the given name '{env}'")
        return make_compiled_vec_env(env)
    if isinstance(env, CompiledEnv):
        raise ValueError(
            "env is a CompiledEnv, of which copies have to be made: pass make_compiled_vec_env(env, n_envs)"
        )
    # a subclass may do something in every step
    return CompiledVecEnv.sharing(env) if type(env) is CompiledVectorEnv else env
