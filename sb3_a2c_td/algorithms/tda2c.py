"""TDA2C: an actor and a critic, trained on one-step TD targets in short intervals."""

import io
import math
import pathlib
from collections.abc import Iterable
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch as th
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.save_util import open_path
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td.algorithms.logs import excluding_nothing
from sb3_a2c_td.arguments import check_at_least_one, check_number
from sb3_a2c_td.engines import DivergenceError, Engine, Objective, Update, make_engine
from sb3_a2c_td.faults.error_notes import annotate_errors
from sb3_a2c_td.faults.interrupts import Interrupts
from sb3_a2c_td.policies.separate import (
    CnnPolicy,
    MlpPolicy,
    MultiInputPolicy,
    SeparateActorCriticPolicy,
    SeparateCombinedNetworks,
    SeparateNetworks,
)
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.rollout.transitions import TransitionBuffer, Transitions, selected
from sb3_a2c_td.rollout.validation import STOPPED, check_finite, check_shapes, check_spaces
from sb3_a2c_td.saving import atomic, generators, training_state
from sb3_a2c_td.saving.archives import Checkpoint, add_entries, loading, read_checkpoint, zip_path
from sb3_a2c_td.saving.errors import UnreadableCheckpointError
from sb3_a2c_td.saving.tensors import check_moments
from sb3_a2c_td.schedules import checked_learning_rate, scheduled_rate
from sb3_a2c_td.vec_env.cheap_copies import with_cheap_copies
from sb3_a2c_td.vec_env.gymnasium_vec_env import RUNNING, GymnasiumVecEnv, dropping_autoreset_steps, transition_rows


class TDA2C(OnPolicyAlgorithm):
    r"""One-step temporal-difference advantage actor-critic (TDA2C).

    At every step the critic gives the target :math:`y = \tilde r + \gamma V(s')`, or :math:`y = \tilde r` where the
    episode ended, with :math:`\tilde r` the scaled reward, and the advantage :math:`A = y - V(s)`. Every ``n_steps``
    steps, or when the episode ends, the actor descends :math:`\operatorname{mean}(-A \log \tau(a|s))` and the critic
    :math:`\operatorname{mean}((y - V(s))^2)`, one step each on all transitions of the interval, which is then
    forgotten. The defaults are those of the seed, the document that this package restores.

    :param policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or a subclass of
        :class:`~sb3_a2c_td.SeparateActorCriticPolicy`
    :param env: an environment, its name, an SB3 ``VecEnv``, or a ``gymnasium.vector.VectorEnv``, see
        :class:`~sb3_a2c_td.GymnasiumVecEnv`
    :param learning_rate: the actor's learning rate: a number, a string such as ``"lin_1e-3"`` for one that falls
        linearly from 1e-3 to 0, or a function of the progress remaining (from 1 to 0)
    :param n_steps: the length of an interval, in steps of each environment (the seed's ``update_interval``)
    :param gamma: discount factor :math:`\gamma`
    :param critic_learning_rate: the critic's learning rate, like ``learning_rate``
    :param reward_scale: :math:`\tilde r` = ``reward_scale`` · r; the returns in the logs are not scaled
    :param update_on_episode_end: whether the end of an episode ends the interval too. ``None``: with one environment
        as in the seed, with several not, since each one's end would cut the others' batch. One-step targets never
        cross an episode's end, so this moves only where batches are cut
    :param bootstrap_on_truncation: whether :math:`y = \tilde r + \gamma V(s')` where a time limit cut the episode.
        The seed, older than the distinction, takes truncation for an end
    :param double_softmax: whether the actor's loss takes the softmax of the policy's probabilities, as the first
        TensorFlow 2 releases made of the seed's code, see :func:`~sb3_a2c_td.losses.double_softmax_log_prob`
        (``Discrete`` actions only)
    :param ent_coef: entropy coefficient of the loss
    :param max_grad_norm: the maximum norm of the gradient, of all parameters together as in SB3; ``None``: no clipping
    :param normalize_advantage: whether to normalise the advantages of a batch, see
        :func:`~sb3_a2c_td.losses.normalized`
    :param engine: what draws actions and takes updates, the same ones up to rounding: ``"torch"``, the reference;
        ``"numba"``, compiled, for plain MLP policies on the CPU; ``"cuda"``, recorded in CUDA graphs; ``"auto"``,
        the fastest of the first two that can serve the policy
    :param use_sde: whether to use generalized State Dependent Exploration (gSDE) instead of action noise
    :param sde_sample_freq: sample a new noise matrix every so many steps when using gSDE; -1: only when an interval
        begins
    :param stats_window_size: over how many episodes ``rollout/ep_rew_mean`` and its like are averaged
    :param tensorboard_log: folder for TensorBoard (``None``: no logging)
    :param policy_kwargs: arguments of the policy, see :class:`~sb3_a2c_td.SeparateActorCriticPolicy`
    :param verbose: 0 no output, 1 info, 2 debug
    :param seed: seed of the pseudo-random generators
    :param device: ``"cpu"``, ``"cuda"``, ... or ``"auto"``
    :param _init_setup_model: whether to build the networks at once
    :raises ValueError: for arguments, spaces and policies that cannot be served, naming them
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    policy_base: ClassVar[type[BasePolicy]] = SeparateActorCriticPolicy
    """what makes a policy one of this algorithm's"""
    policy: SeparateActorCriticPolicy
    _n_ranks: int = 1
    """processes that step as many environments, and count their steps together"""
    critic_learning_rate: float | Schedule
    rollout_buffer: TransitionBuffer  # type: ignore[assignment]

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | VectorEnv | str,
        learning_rate: float | str | Schedule = 5e-4,
        n_steps: int = 5,
        gamma: float = 0.99,
        *,
        critic_learning_rate: float | str | Schedule = 1e-3,
        reward_scale: float = 0.01,
        update_on_episode_end: bool | None = None,
        bootstrap_on_truncation: bool = False,
        double_softmax: bool = False,
        ent_coef: float = 0.0,
        max_grad_norm: float | None = None,
        normalize_advantage: bool = False,
        engine: str = "auto",
        use_sde: bool = False,
        sde_sample_freq: int = -1,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            env,  # type: ignore[arg-type]
            learning_rate=learning_rate,  # type: ignore[arg-type]
            n_steps=n_steps,
            gamma=gamma,
            gae_lambda=0.0,
            ent_coef=ent_coef,
            vf_coef=1.0,
            max_grad_norm=max_grad_norm,  # type: ignore[arg-type]
            use_sde=use_sde,
            sde_sample_freq=sde_sample_freq,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            device=device,
            seed=seed,
            _init_setup_model=False,
        )
        self.critic_learning_rate = critic_learning_rate  # type: ignore[assignment]
        self.reward_scale = reward_scale
        self.update_on_episode_end = update_on_episode_end
        self.bootstrap_on_truncation = bootstrap_on_truncation
        self.double_softmax = double_softmax
        self.normalize_advantage = normalize_advantage
        self.engine = engine
        self._engine: Engine | None = None
        self._interrupts = Interrupts()
        self.rollout_buffer = TransitionBuffer(capacity=0)

        if _init_setup_model:
            self._setup_model()

    # Setting up

    @staticmethod
    def _wrap_env(env: GymEnv | VectorEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        env = GymnasiumVecEnv(env) if isinstance(env, VectorEnv) else env
        check_spaces(env.observation_space, env.action_space)
        return with_cheap_copies(OnPolicyAlgorithm._wrap_env(env, verbose, monitor_wrapper))

    def _check_arguments(self) -> None:
        if not issubclass(self.policy_class, self.policy_base):
            if issubclass(self.policy_class, SeparateNetworks):
                raise ValueError(
                    f"policy={self.policy_class.__name__} is for another algorithm: {type(self).__name__} has "
                    f"{', '.join(policy.__name__ for policy in self.policy_aliases.values())}"
                )
            raise ValueError(
                f"policy={self.policy_class.__name__} may share layers between the actor and the critic: use one of "
                f"{', '.join(self.policy_aliases)}, or derive yours as "
                f"class Mine({self.policy_base.__name__}, {self.policy_class.__name__})"
            )
        if issubclass(self.policy_class, SeparateCombinedNetworks) != isinstance(self.observation_space, spaces.Dict):
            raise ValueError(
                f"policy={self.policy_class.__name__} does not go with observation_space={self.observation_space}: "
                "those named MultiInput are for Dict observations, the others are for all but these"
            )
        self.learning_rate = checked_learning_rate("learning_rate", self.learning_rate)
        self.critic_learning_rate = checked_learning_rate("critic_learning_rate", self.critic_learning_rate)
        if self.update_on_episode_end not in (None, True, False):
            raise ValueError(f"update_on_episode_end must be None, True or False, got {self.update_on_episode_end!r}")
        check_at_least_one("n_steps", self.n_steps)
        check_number("gamma", self.gamma, low=0.0, high=1.0)
        check_number("reward_scale", self.reward_scale, low=0.0, low_is_valid=False)
        check_number("ent_coef", self.ent_coef)
        if self.max_grad_norm is not None:
            check_number("max_grad_norm", self.max_grad_norm, low=0.0, low_is_valid=False)
        if self.double_softmax and not isinstance(self.action_space, spaces.Discrete):
            raise ValueError(f"double_softmax=True needs a Discrete action_space, got {self.action_space}")

    def _setup_model(self) -> None:
        self._check_arguments()
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        # load() may have put an interval here that was not finished when the model was saved
        self.rollout_buffer = self.rollout_buffer.continued(capacity=self.n_steps * self.n_envs)
        policy = self.policy_class(
            self.observation_space, self.action_space, self.lr_schedule, use_sde=self.use_sde, **self.policy_kwargs
        )
        self.policy = cast(SeparateActorCriticPolicy, policy.to(self.device))
        self._set_learning_rates()
        engine = self._engine_of_policy()
        if self.verbose >= 1:
            print(f"Using the engine {engine}")
        self._maybe_recommend_cpu(MlpPolicy.__name__)

    def _engine_of_policy(self) -> Engine:
        """Give the engine, anew where the policy or the engine's name was replaced."""
        if self._engine is None or self._engine.policy is not self.policy or self._engine.name != self.engine:
            self._engine = self._make_engine()
        return self._engine

    def _make_engine(self) -> Engine:
        return make_engine(self.engine, self.policy)

    def _setup_lr_schedule(self) -> None:
        super()._setup_lr_schedule()
        self.critic_lr_schedule = FloatSchedule(self.critic_learning_rate)

    def _excluded_save_params(self) -> list[str]:
        # what an unfinished interval holds is saved, so that no transition is lost
        return [name for name in super()._excluded_save_params() if name != "rollout_buffer"] + [
            "_engine",
            "_interrupts",
        ]

    def __getstate__(self) -> dict[str, Any]:
        # a copy's engine works on the copy's policy, and Ctrl-C is not the copy's
        return {**self.__dict__, "_engine": None, "_interrupts": Interrupts()}

    # Saving and loading

    def save(
        self,
        path: str | pathlib.Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Save the model, with what :meth:`resume` needs, to a zip, which appears whole or not at all.

        :param path: the zip, its name with or without ``.zip``, or an open file. A file of that name stays as it is
            until the new one is complete
        :param exclude: attributes to leave out
        :param include: attributes to keep that are usually left out
        :raises OSError: if the file cannot be written; what was there before is then untouched
        """
        archive = io.BytesIO()
        super().save(archive, exclude, include)
        add_entries(archive, training_state.dumps(self))
        if isinstance(path, str | pathlib.Path):
            atomic.write(archive.getbuffer(), zip_path(path))
        else:
            open_path(path, "w").write(archive.getbuffer())

    @classmethod
    def load(
        cls,
        path: str | pathlib.Path | io.BufferedIOBase,
        env: GymEnv | VectorEnv | None = None,
        device: th.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        *,
        trusted: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Load a saved model, without running code that the file holds.

        Global generators of random numbers stay as they are; :meth:`resume` restores them.

        :param path: the zip, its name with or without ``.zip``, or an open file
        :param env: environments for the model, which it will reset; none are needed to predict
        :param device: where to put it
        :param custom_objects: values to take in the place of attributes in the file, which are then not unpickled
        :param print_system_info: whether to print the systems that it was saved on and is loaded on
        :param force_reset: whether training begins with a reset of the environments
        :param trusted: whether to unpickle whatever the file holds, such as your own classes and functions. That can
            run any code: only for files that you made
        :param kwargs: attributes to change
        :raises UntrustedCheckpointError: if the file holds what could run code, naming it
        :raises UnreadableCheckpointError: if the file is damaged, of another algorithm, or of a newer version of this
            package
        :raises ValueError: if the environments have other spaces
        """
        checkpoint = read_checkpoint(path, custom_objects, trusted, cls)
        return cls._from_checkpoint(checkpoint, path, env, device, print_system_info, force_reset, **kwargs)

    @classmethod
    def resume(
        cls,
        path: str | pathlib.Path | io.BufferedIOBase,
        env: GymEnv | VectorEnv,
        device: th.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        *,
        trusted: bool = False,
    ) -> Self:
        """Load a saved model to go on with its training exactly where it was.

        ``learn(..., reset_num_timesteps=False)`` then does what it would have done without the stop, bit for bit. The
        global generators of random numbers, the environments and the statistics of ``VecNormalize`` are put into the
        state in which they were saved. Environments whose state lies outside of Python objects (in a physics engine,
        in worker processes) cannot be: a warning says so, and they begin a new episode. Resume only what you saved
        yourself: what the file says is written into the attributes of the environments.

        :param path: the zip, its name with or without ``.zip``, or an open file
        :param env: environments made like those that it was saved with
        :param device: where to put it
        :param custom_objects: as in :meth:`load`
        :param trusted: as in :meth:`load`
        :raises ValueError: if there are other environments now: more or fewer, or in other wrappers of SB3's; and
            as in :meth:`load`
        """
        if env is None:
            raise ValueError("env=None: resume() needs environments made like those that the model was saved with")
        checkpoint = read_checkpoint(path, custom_objects, trusted, cls)
        model = cls._from_checkpoint(checkpoint, path, env, device, force_reset=False)
        training_state.restore(model, checkpoint.training_state)
        return model

    @classmethod
    def _from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        path: str | pathlib.Path | io.BufferedIOBase,
        env: GymEnv | VectorEnv | None,
        device: th.device | str,
        print_system_info: bool = False,
        force_reset: bool = True,
        **kwargs: Any,
    ) -> Self:
        _check_algorithm(cls, checkpoint, path)
        with generators.untouched(), loading(path, checkpoint):
            model = super().load(
                checkpoint.file,
                env,  # type: ignore[arg-type]
                device,
                # in whose place SB3 unpickles nothing
                checkpoint.data,
                print_system_info,
                force_reset,
                **kwargs,
            )
            check_moments(model.policy.optimizer)
        return model

    # Collecting an interval

    def learn(
        self,
        total_timesteps: int = 100_000,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for ``total_timesteps`` steps: with one environment exactly, with several rounded up to all of them.

        Training may stop within an interval, here or through a callback. Its transitions stay in the buffer (and in
        saved models), and the next call of ``learn`` goes on with them.

        Whatever raises, in the environment, a callback, or as Ctrl-C anywhere, passes with a note that names the step
        and where it came from, and leaves the model as it was after its last update: it can be saved, and ``learn``
        goes on with it. Ctrl-C waits for the end of an update, a second one does not. What becomes of the environment:

        - Between two steps (a callback raised, or Ctrl-C came there), it is left alone. The transition of the step is
          kept, and ``learn(..., reset_num_timesteps=False)`` goes on after it.
        - Within a step, where the environment stands is not known: the next ``learn`` resets it, and the step counts
          without a transition.
        - If its environments are in processes (``SubprocVecEnv``, ``AsyncVectorEnv``), and one of these ended or may
          still reply to a command, nothing can go on. All the processes are ended and the environment is closed;
          ``set_env`` with a new one, then ``learn(..., reset_num_timesteps=False)`` goes on.

        :param total_timesteps: the number of environment steps; the dead ones of a vector environment count, see
            :class:`~sb3_a2c_td.GymnasiumVecEnv`
        :param callback: callback(s) called at every step
        :param log_interval: the number of intervals between two logs
        :param tb_log_name: the name of the run for TensorBoard, that of the algorithm by default
        :param reset_num_timesteps: whether to count (and to log) from zero and to reset the environments
        :param progress_bar: whether to show a progress bar
        :return: the model itself
        :raises ValueError: if the environment returns anything else than finite numbers of its spaces' shapes, or the
            loss, its gradient, or the parameters that an update would give are not finite; the weights are then those
            of the last update
        :raises RuntimeError: if a process of the environment ended
        """
        with (
            dropping_autoreset_steps(self.env),
            self._interrupts.installed(),
            annotate_errors(self.env, lambda: self.num_timesteps, self._interrupts),
        ):
            return super().learn(
                total_timesteps,
                callback,
                log_interval,
                tb_log_name or type(self).__name__,
                reset_num_timesteps,
                progress_bar,
            )

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        try:
            total_timesteps, callback = super()._setup_learn(*args, **kwargs)
            check_shapes(self.num_timesteps, self.n_envs, self.observation_space, self._last_observations)
            check_finite(self.num_timesteps, observation=self._last_observations)
        except BaseException:
            # it may be left over from before a reset that failed
            self._last_obs = None
            # SB3 makes both of these where the first is missing
            if self.ep_success_buffer is None:
                self.ep_info_buffer = None
            raise
        # anew, since set_env() may have brought in other shapes and dtypes
        self.rollout_buffer = self.rollout_buffer.continued(capacity=self.n_steps * self.n_envs)
        self.rollout_buffer.check = self._check_shapes
        return total_timesteps, callback

    def collect_rollouts(  # type: ignore[override]
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: TransitionBuffer, n_rollout_steps: int
    ) -> bool:
        """Step the environments until the interval is complete.

        :param env: the training environments
        :param callback: called at every step, and when the interval begins and is complete
        :param rollout_buffer: receives the transitions
        :param n_rollout_steps: the interval's length in steps of each environment
        :return: whether the interval is complete; otherwise the callback stopped training, or its budget is used up
        """
        if self.policy.training:
            self.policy.set_training_mode(False)
        callback.on_rollout_start()
        while not self._rollout_is_complete(rollout_buffer, n_rollout_steps):
            if self.num_timesteps >= self._total_timesteps:
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
        """Take one step in each environment, keep its transition, and ask the callback.

        The local variables have the names that callbacks know from SB3. The transition is kept before the callback is
        asked, so that a model saved or stopped there is whole.

        :return: whether to go on, as the callback says
        """
        if self.use_sde:
            self._sample_noise_if_due(env.num_envs, rollout_buffer.n_steps)
        actions = self.sample_actions(self._last_observations)
        clipped_actions = self._to_env_actions(actions)
        # a step that fails counts too, so that errors agree on its number
        self.num_timesteps += env.num_envs * self._n_ranks
        try:
            new_obs, rewards, dones, infos = env.step(clipped_actions)
            check_finite(self.num_timesteps, reward=rewards, observation=new_obs)
            dones = dones.astype(bool, copy=False)
            self._add(rollout_buffer, self._transitions(actions, new_obs, rewards, dones, infos), transition_rows(env))
            self._store_last_obs(new_obs, dones)
        except BaseException:
            # where the environments are now is not known: the next learn() resets them
            self._last_obs = None
            raise
        self._update_info_buffer(infos, dones)

        callback.update_locals(locals())
        return callback.on_step()

    def _store_last_obs(self, new_obs: Any, dones: np.ndarray) -> None:
        self._last_obs = new_obs
        self._last_episode_starts = dones

    def _sample_noise_if_due(self, n_envs: int, n_steps: int) -> None:
        assert isinstance(self.policy.action_dist, StateDependentNoiseDistribution)
        # load() leaves the noise of one environment
        has_noise = len(self.policy.action_dist.exploration_matrices) == n_envs
        if n_steps == 0 or not has_noise or (self.sde_sample_freq > 0 and n_steps % self.sde_sample_freq == 0):
            self.policy.reset_noise(n_envs)

    def sample_actions(self, observations: Observations) -> np.ndarray:
        r"""Draw an action from :math:`\tau(\cdot|s)` for every environment. A subclass may draw them otherwise.

        :param observations: ``(n_envs, *observation_shape)``, or a dict of such arrays
        :return: actions as the policy draws them, before clipping or unscaling, ``(n_envs, *action_shape)``
        """
        try:
            return self._act(observations)
        except DivergenceError as error:
            raise self._explained(error) from error

    def _act(self, observations: Observations) -> np.ndarray:
        return self._engine_of_policy().act(observations)

    def _to_env_actions(self, actions: np.ndarray) -> np.ndarray:
        if not isinstance(self.action_space, spaces.Box):
            return actions
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
        """Put together what one step gives to the buffer: one row for each environment."""
        rewards = rewards.astype(np.float32, copy=False)
        if not np.count_nonzero(dones):
            return Transitions(self._last_observations, actions, rewards, new_obs, dones, dones)
        ended: list[int] = np.flatnonzero(dones).tolist()
        truncated = dones.copy()
        for env in ended:
            truncated[env] = infos[env].get("TimeLimit.truncated", False)
        next_obs = self._with_terminal_observations(new_obs, ended, truncated, infos)
        return Transitions(self._last_observations, actions, rewards, next_obs, dones ^ truncated, truncated)

    def _with_terminal_observations(
        self, new_obs: Any, ended: list[int], truncated: np.ndarray, infos: list[dict[str, Any]]
    ) -> Observations:
        """Replace what an ended episode's environment shows after its reset by what it showed at the end."""
        next_obs = {key: rows.copy() for key, rows in new_obs.items()} if isinstance(new_obs, dict) else new_obs.copy()
        for env in ended:
            terminal_obs = infos[env].get("terminal_observation")
            if terminal_obs is None:
                if truncated[env]:
                    raise ValueError(
                        f"infos[{env}] of step {self.num_timesteps} has 'TimeLimit.truncated' but no "
                        "'terminal_observation': the environment must give the last observation of an episode"
                    )
            elif isinstance(next_obs, dict):
                for key, rows in next_obs.items():
                    self._overwrite(rows, env, terminal_obs[key])
            else:
                self._overwrite(next_obs, env, terminal_obs)
        check_finite(self.num_timesteps, terminal_observation=next_obs)
        return next_obs

    def _overwrite(self, rows: np.ndarray, env: int, terminal_obs: Any) -> None:
        # numpy would broadcast it
        if np.shape(terminal_obs) != rows.shape[1:]:
            raise ValueError(
                f"terminal_observation of environment {env} at step {self.num_timesteps}: expected shape "
                f"{rows.shape[1:]}, got shape {np.shape(terminal_obs)}; {STOPPED} Mend the environment."
            )
        rows[env] = terminal_obs

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: np.ndarray | None = None) -> None:
        # what running episodes share has nothing to tell
        if infos[0] is RUNNING or infos[-1] is RUNNING:
            told = [env for env, info in enumerate(infos) if info is not RUNNING]
            infos, dones = [infos[env] for env in told], None if dones is None else dones[told]
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

    @staticmethod
    def _add(buffer: TransitionBuffer, transitions: Transitions[np.ndarray], live: np.ndarray | None) -> None:
        """Keep the rows that are transitions; a step without any does not count in the interval."""
        if live is None:
            buffer.add(transitions)
        elif len(live) > 0:
            buffer.add(selected(transitions, live))

    @property
    def _last_observations(self) -> Observations:
        assert self._last_obs is not None, "no observation yet: the environments were not reset"
        return self._last_obs

    # Learning from it

    def train(self) -> None:
        """Take one step of each optimiser on all transitions of the interval, then forget them."""
        self._update_learning_rate(self.policy.optimizer)
        # Ctrl-C finds the model before or after an update, and the interval with it
        with self._interrupts:
            update = self._checked_update()
            self.rollout_buffer.reset()
            self._n_updates += 1
        self._log_update(update)

    def _checked_update(self) -> Update:
        try:
            update = self._engine_of_policy().update(self.rollout_buffer, self._objective())
        except DivergenceError as error:
            raise self._explained(error) from error
        loss = update.actor_loss + update.critic_loss + self.ent_coef * update.entropy_loss
        if not (math.isfinite(loss) and math.isfinite(update.grad_norm)):
            raise ValueError(
                f"the loss is {loss} and its gradient's norm {update.grad_norm} at step {self.num_timesteps}, "
                f"update {self._n_updates + 1}: {STOPPED} "
                "Lower the learning rates or reward_scale, or scale the observations (VecNormalize)."
            )
        return update

    def _explained(self, error: DivergenceError) -> ValueError:
        return ValueError(
            f"{error} at step {self.num_timesteps}: training diverged. Lower the learning rates, or set max_grad_norm. "
            "The weights are those of the last update."
        )

    def _objective(self) -> Objective:
        return Objective(
            self.gamma,
            self.reward_scale,
            self.bootstrap_on_truncation,
            self.double_softmax,
            self.ent_coef,
            self.max_grad_norm,
            self.normalize_advantage,
        )

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        # several environments overshoot the budget: schedules must not see less than nothing
        super()._update_current_progress_remaining(min(num_timesteps, total_timesteps), total_timesteps)

    def _set_learning_rates(self) -> dict[str, float]:
        """Give each group of parameters the learning rate that its schedule says."""
        progress_remaining = self._current_progress_remaining
        rates = {
            "actor": scheduled_rate("learning_rate", self.lr_schedule, progress_remaining),
            "critic": scheduled_rate("critic_learning_rate", self.critic_lr_schedule, progress_remaining),
        }
        for group in self.policy.optimizer.param_groups:
            group["lr"] = rates[group["name"]]
        return rates

    def _update_learning_rate(self, optimizers: list[th.optim.Optimizer] | th.optim.Optimizer) -> None:
        rates = self._set_learning_rates()
        self.logger.record("train/learning_rate", rates["actor"])
        self.logger.record("train/critic_learning_rate", rates["critic"])

    def dump_logs(self, iteration: int = 0) -> None:
        """Write the log. Every format gets the same keys: SB3 itself keeps the numbers of steps from TensorBoard.

        :param iteration: the number of the interval within this training
        """
        with excluding_nothing(self.logger):
            super().dump_logs(iteration)

    def _log_update(self, update: Update) -> None:
        self.logger.record("train/n_updates", self._n_updates)
        if len(update.targets) > 1:
            self.logger.record("train/explained_variance", update.explained_variance)
        self.logger.record("train/td_error", update.td_error)
        self.logger.record("train/td_error_std", update.td_error_std)
        self.logger.record("train/entropy_loss", update.entropy_loss)
        self.logger.record("train/policy_loss", update.actor_loss)
        self.logger.record("train/value_loss", update.critic_loss)
        if isinstance(self.action_space, spaces.Box):
            log_std = getattr(self.policy, "log_std", None)
            if log_std is not None:
                self.logger.record("train/std", float(np.exp(log_std.numpy(force=True)).mean()))


def _check_algorithm(
    algorithm: type[TDA2C], checkpoint: Checkpoint, path: str | pathlib.Path | io.BufferedIOBase
) -> None:
    """Check that a saved model's policy is not that of one of the package's other algorithms."""
    policy = checkpoint.data.get("policy_class")
    if (
        isinstance(policy, type)
        and issubclass(policy, SeparateNetworks)
        and not issubclass(policy, algorithm.policy_base)
    ):
        raise UnreadableCheckpointError(
            f"{path}: its policy is a {policy.__name__}, so another algorithm than {algorithm.__name__} saved it: load "
            "it with that one"
        )
