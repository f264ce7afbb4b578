"""TDA2C: an actor and a critic that learn from one-step TD targets in short rollouts."""

import math
import reprlib
import warnings
from contextlib import nullcontext
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch as th
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td.algorithms.callbacks import with_progress_bar
from sb3_a2c_td.algorithms.collecting import CollectingAlgorithm, compiled_if_possible
from sb3_a2c_td.algorithms.compiled_training import (
    CompiledTraining,
    compiled_envs,
    have_compiled_functions,
    step_by_step_reason,
)
from sb3_a2c_td.algorithms.constructor_arguments import explain_errors
from sb3_a2c_td.algorithms.logs import record_progress
from sb3_a2c_td.algorithms.trained_on import recorded_env
from sb3_a2c_td.arguments import (
    check_at_least_one,
    check_number,
    checked_seed,
    checked_steps,
    checked_window,
    is_missing_gpu,
)
from sb3_a2c_td.engines import DivergenceError, Engine, LossConfig, Update, auto, make_engine
from sb3_a2c_td.engines.compilation import announced_compilation
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
from sb3_a2c_td.rollout.transitions import TransitionBuffer
from sb3_a2c_td.rollout.validation import STOPPED
from sb3_a2c_td.schedules import checked_learning_rate, scheduled_rate
from sb3_a2c_td.vec_env.autoreset_steps import dropping_autoreset_steps


class TDA2C(CollectingAlgorithm):
    r"""One-step temporal-difference advantage actor-critic (TDA2C).

    .. code-block:: text

        until total_timesteps are taken:
            collect a rollout of n_steps transitions (s, a, r, s') with a ~ π(·|s),
                with one environment ended early by the end of an episode
            y ← reward_scale · r + γ V(s')       without γ V(s') if the episode ended
            A ← y − V(s)
            take one step of the actor's optimizer  to decrease mean(−A log π(a|s)),  A held constant
            take one step of the critic's optimizer to decrease mean((y − V(s))²),    y held constant
            discard the rollout

    The defaults are the settings of the reference program. The update stands in
    :meth:`AutogradEngine.update <sb3_a2c_td.engines.autograd.AutogradEngine.update>`, its mathematics in
    :mod:`sb3_a2c_td.losses`.

    :param policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or a subclass of
        :class:`~sb3_a2c_td.SeparateActorCriticPolicy`
    :param env: an environment, its name, an SB3 ``VecEnv``, or a ``gymnasium.vector.VectorEnv``, see
        :class:`~sb3_a2c_td.GymnasiumVecEnv`
    :param learning_rate: the actor's learning rate: a number, a string such as ``"lin_1e-3"`` for one that falls
        linearly from 1e-3 to 0, or a function of the progress remaining (from 1 to 0)
    :param n_steps: the length of a rollout, in steps of each environment (the reference's ``update_interval``)
    :param gamma: discount factor :math:`\gamma`
    :param critic_learning_rate: the critic's learning rate, given like ``learning_rate``
    :param reward_scale: the factor of the rewards in the targets; the returns in the logs are not scaled
    :param update_on_episode_end: whether the end of an episode ends the rollout; ``None``: yes with one environment,
        as in the reference; no with several, where each end would cut the batch of the others. One-step targets never
        cross the end of an episode, so this changes only where batches are cut
    :param bootstrap_on_truncation: whether the target has :math:`\gamma V(s')` where a time limit truncated the
        episode. The reference, older than the distinction, treats truncation as termination
    :param double_softmax: whether the actor's loss uses the softmax of the policy's probabilities, as the reference
        program did in the first releases of TensorFlow 2, see :func:`~sb3_a2c_td.losses.double_softmax_log_prob`
        (``Discrete`` actions only)
    :param ent_coef: entropy coefficient of the loss
    :param max_grad_norm: the maximum norm of the gradient of all parameters together, as in SB3; ``None``: no clipping
    :param normalize_advantage: whether to normalize the advantages of a batch, see
        :func:`~sb3_a2c_td.losses.normalized`
    :param normalize_observations: whether the model normalizes observations by running statistics, as ``VecNormalize``
        does. The statistics are a part of the model: :meth:`save` saves them, and :meth:`predict` takes observations as
        the environment returns them. Images and discrete observations in a dict are not normalized
    :param normalize_rewards: whether the model scales rewards in training, as ``VecNormalize`` does with ``gamma``
    :param engine: what draws actions and takes updates, all with the same results up to rounding: ``"autograd"``, the
        reference, for any policy; ``"numpy"`` and ``"numba"`` (compiled) for plain MLP policies on the CPU;
        ``"cuda"``, experimental, recorded in CUDA graphs; ``"auto"``, the fastest of the first three that supports the
        policy, where ``"numba"`` is used on compiled environments, and on others if training is long enough for
        compiling to pay off
    :param use_sde: whether to use generalized State Dependent Exploration (gSDE) instead of action noise
    :param sde_sample_freq: sample a new noise matrix every n steps when using gSDE; -1: only at the start of a rollout
    :param stats_window_size: the number of episodes over which the rollout logging is averaged; ``None``: all
    :param tensorboard_log: the log location for TensorBoard (``None``: no logging)
    :param policy_kwargs: arguments of the policy, see :class:`~sb3_a2c_td.SeparateActorCriticPolicy`
    :param verbose: 0 no output, 1 info, 2 debug
    :param seed: seed of the pseudo-random generators
    :param device: ``"cpu"``, ``"cuda"``, ... or ``"auto"``
    :param _init_setup_model: whether to build the networks in the constructor
    :raises ValueError: for unsupported arguments, spaces and policies, naming them
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    policy_base: ClassVar[type[BasePolicy]] = SeparateActorCriticPolicy
    policy: SeparateActorCriticPolicy
    critic_learning_rate: float | Schedule

    @explain_errors
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
        normalize_observations: bool = False,
        normalize_rewards: bool = False,
        engine: str = "auto",
        use_sde: bool = False,
        sde_sample_freq: int = -1,
        stats_window_size: int | None = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            # SB3 would make a single environment from a name
            compiled_if_possible(env, verbose),
            learning_rate=learning_rate,  # type: ignore[arg-type]
            n_steps=n_steps,
            gamma=gamma,
            gae_lambda=0.0,
            ent_coef=ent_coef,
            vf_coef=1.0,
            max_grad_norm=max_grad_norm,  # type: ignore[arg-type]
            use_sde=use_sde,
            sde_sample_freq=sde_sample_freq,
            stats_window_size=stats_window_size,  # type: ignore[arg-type]
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            device=device,
            seed=seed,
            _init_setup_model=False,
        )
        if is_missing_gpu(device):
            warnings.warn(f"device={str(device)!r}: PyTorch finds no GPU, so the CPU is used", stacklevel=3)
        self.critic_learning_rate = critic_learning_rate  # type: ignore[assignment]
        self.reward_scale = reward_scale
        self.update_on_episode_end = update_on_episode_end
        self.bootstrap_on_truncation = bootstrap_on_truncation
        self.double_softmax = double_softmax
        self.normalize_advantage = normalize_advantage
        self.normalize_observations = normalize_observations
        self.normalize_rewards = normalize_rewards
        self.engine = engine
        self._engine: Engine | None = None
        self._interrupts = Interrupts()
        self.rollout_buffer = TransitionBuffer(capacity=0)

        if _init_setup_model:
            self._setup_model()

    # Setting up

    def _get_policy_from_name(self, policy_name: str) -> type[BasePolicy]:
        if policy_name in self.policy_aliases:
            return self.policy_aliases[policy_name]
        hint = "; LSTMs need RecurrentTDA2C" if policy_name.endswith("LstmPolicy") else ""
        raise ValueError(f"policy={policy_name!r} is unknown: use {self._describe_policies()}{hint}")

    def _describe_policies(self) -> str:
        return f"{', '.join(self.policy_aliases)} or a class derived from {self.policy_base.__name__}"

    def _check_arguments(self) -> None:
        # load() needs no environment
        if not hasattr(self, "observation_space"):
            raise ValueError("env=None: a new model needs an environment, or its name")
        self._check_policy_class()
        self.learning_rate = checked_learning_rate("learning_rate", self.learning_rate)
        self.critic_learning_rate = checked_learning_rate("critic_learning_rate", self.critic_learning_rate)
        if self.update_on_episode_end not in (None, True, False):
            raise ValueError(f"update_on_episode_end must be None, True or False, got {self.update_on_episode_end!r}")
        self.seed = checked_seed(self.seed)
        check_at_least_one("n_steps", self.n_steps)
        self._stats_window_size = checked_window(self._stats_window_size)  # type: ignore[assignment]
        check_number("gamma", self.gamma, low=0.0, high=1.0)
        check_number("reward_scale", self.reward_scale, low=0.0, low_is_valid=False)
        check_number("ent_coef", self.ent_coef)
        if self.max_grad_norm is not None:
            check_number("max_grad_norm", self.max_grad_norm, low=0.0, low_is_valid=False)
        if self.double_softmax and not isinstance(self.action_space, spaces.Discrete):
            raise ValueError(f"double_softmax=True needs a Discrete action_space, got {self.action_space}")

    def _check_policy_class(self) -> None:
        if not isinstance(self.policy_class, type):
            raise ValueError(f"policy={reprlib.repr(self.policy_class)} is no policy: use {self._describe_policies()}")
        if not issubclass(self.policy_class, self.policy_base):
            if issubclass(self.policy_class, SeparateNetworks):
                raise ValueError(
                    f"policy={self.policy_class.__name__} is for another algorithm: {type(self).__name__} takes "
                    f"{', '.join(policy.__name__ for policy in self.policy_aliases.values())}"
                )
            raise ValueError(
                f"policy={self.policy_class.__name__} may share layers between the actor and the critic: use one of "
                f"{', '.join(self.policy_aliases)}, or derive yours as "
                f"class Mine({self.policy_base.__name__}, {self.policy_class.__name__})"
            )
        if issubclass(self.policy_class, SeparateCombinedNetworks) != isinstance(self.observation_space, spaces.Dict):
            raise ValueError(
                f"policy={self.policy_class.__name__} does not fit observation_space={self.observation_space}: use a "
                "MultiInput policy for Dict observations, and another one for all others"
            )

    def _setup_model(self) -> None:
        self._check_arguments()
        # a trusted zip may hold the name of an environment
        if isinstance(self.env, VecEnv) and self.trained_on is None:
            self.trained_on = recorded_env(self.env)
        self._set_up_normalization()
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        # load() may have set a rollout here that was unfinished when the model was saved
        self.rollout_buffer.make_room(self.n_steps * self.n_envs)
        policy = self.policy_class(
            self.observation_space, self.action_space, self.lr_schedule, use_sde=self.use_sde, **self.policy_kwargs
        )
        self.policy = cast(SeparateActorCriticPolicy, policy.to(self.device))
        self.policy.split_groups()
        self._set_learning_rates()
        self._engine = self._make_engine()
        if self.verbose >= 1:
            print(f"Using the engine {self._engine}")
        self._maybe_recommend_cpu(MlpPolicy.__name__)

    def _make_engine(self) -> Engine:
        self._engine_name = self.engine
        return make_engine(self.engine, self.policy, n_numpy_updates=self._n_numpy_updates)

    def _n_numpy_updates(self) -> float:
        """Return after how many updates ``engine="auto"`` changes to numba; infinity: never."""
        if compiled_envs(self.env) is not None:
            return 0
        # the longest call of learn() in this training decides whether compiling pays off
        is_long = self._longest_learn // self.n_envs >= auto.MIN_STEPS_TO_COMPILE
        return auto.N_NUMPY_UPDATES if is_long else math.inf

    def _prepare_to_act(self) -> None:
        # train() does it for all later rollouts
        if self.num_timesteps == self._num_timesteps_at_start:
            self._refresh_engine()

    def _refresh_engine(self) -> None:
        """Let the engine adapt to structural changes; replace it if there is another policy or ``self.engine``.

        This happens once a rollout, before its update, and when ``learn`` begins. Before every action it would take
        longer than drawing it.
        """
        self.policy.split_groups()
        engine = self._engine
        if engine is None or engine.policy is not self.policy or self._engine_name != self.engine:
            self._engine = self._make_engine()
        else:
            engine.refresh()

    @property
    def _current_engine(self) -> Engine:
        if self._engine is None:
            self._engine = self._make_engine()
        return self._engine

    def _setup_lr_schedule(self) -> None:
        super()._setup_lr_schedule()
        self.critic_lr_schedule = FloatSchedule(self.critic_learning_rate)

    def _excluded_save_params(self) -> list[str]:
        # the buffer is saved, so that no transition of an unfinished rollout is lost
        excluded = [name for name in super()._excluded_save_params() if name != "rollout_buffer"]
        return [*excluded, "_engine", "_engine_name", "_interrupts", "_streams"]

    def __getstate__(self) -> dict[str, Any]:
        # a copy needs an engine for its own policy, and does not handle the original's signals
        return {**self.__dict__, "_engine": None, "_interrupts": Interrupts(), "_moves": None}

    def learn(
        self,
        total_timesteps: int = 100_000,
        callback: MaybeCallback = None,
        log_interval: int | None = 100,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for ``total_timesteps`` steps: exactly with one environment, rounded up to a multiple with several.

        Training may stop in the middle of a rollout, here or through a callback. Its transitions stay in the buffer
        (and in saved models), and the next call of ``learn`` continues with them.

        An exception in the environment or a callback, or a Ctrl-C, leaves the model as it was after its last update:
        it can be saved, and ``learn`` can continue. The exception gets a note that names the step and the place. A
        first Ctrl-C during an update takes effect after it; a second one takes effect at once. SIGTERM and SIGHUP are
        delayed in the same way if your program handles them. The environment:

        - Between two steps (in a callback, say), it is left alone, and the transition of the last step is kept:
          ``learn(..., reset_num_timesteps=False)`` continues after it.
        - During a step, its state is unknown: the next ``learn`` resets it, and the step counts without a transition.
        - If it runs in worker processes (``SubprocVecEnv``, ``AsyncVectorEnv``), and one of them ended or may still
          reply to a command, it cannot continue: all workers are terminated and it is closed. Call ``set_env`` with a
          new one, then ``learn(..., reset_num_timesteps=False)``.

        :param total_timesteps: the number of environment steps, including the autoreset steps of a vector environment,
            see :class:`~sb3_a2c_td.GymnasiumVecEnv`
        :param callback: callback(s) called at every step
        :param log_interval: the number of rollouts between two logs; ``None``: no logs
        :param tb_log_name: the name of the run for TensorBoard; ``None``: that of the algorithm
        :param reset_num_timesteps: whether to count (and log) from zero and to reset the environments
        :param progress_bar: whether to show a progress bar
        :return: the model itself
        :raises ValueError: if the model has no environment; if ``total_timesteps``, ``log_interval`` or ``callback`` is
            invalid; if the environment returns anything but finite numbers of its spaces' shapes; or if the loss, its
            gradient, or the parameters after an update are not finite. The weights are then those of the last update
        :raises RuntimeError: if a worker process of the environment ended
        """
        total_timesteps = checked_steps("total_timesteps", total_timesteps)
        if log_interval == 0:
            raise ValueError("log_interval=0: set 1 to log every rollout, or None to log nothing")
        if self.env is None:
            raise ValueError(
                "env=None: the model has no environment; pass one to load(path, env), or call set_env(env)"
            )
        with (
            dropping_autoreset_steps(self.env),
            self._interrupts.installed(),
            annotate_errors(self.env, lambda: self.num_timesteps, self._interrupts),
            announced_compilation() if self.verbose >= 1 else nullcontext(),
            with_progress_bar(callback, progress_bar, self._interrupts) as callbacks,
        ):
            tb_log_name = tb_log_name or type(self).__name__
            total_timesteps, callback = self._setup_learn(total_timesteps, callbacks, reset_num_timesteps, tb_log_name)
            callback.on_training_start(locals(), globals())
            self._learn_until(total_timesteps, callback, log_interval)
            callback.on_training_end()
        return self

    def _learn_until(self, total_timesteps: int, callback: BaseCallback, log_interval: int | None) -> None:
        """Collect rollouts, log and update, until ``total_timesteps`` are taken or a callback stops training."""
        iteration = 0
        compiled_training = self._compiled_training(callback)
        while self.num_timesteps < total_timesteps:
            if compiled_training is not None:
                iteration += compiled_training.run(max_updates=_rollouts_before_log(iteration, log_interval))
            assert self.env is not None
            if not self.collect_rollouts(self.env, callback, self.rollout_buffer, self.n_steps):
                break
            iteration += 1
            self._update_current_progress_remaining(self.num_timesteps, total_timesteps)
            if log_interval is not None and iteration % log_interval == 0:
                self.dump_logs(iteration)
            self.train()

    def _compiled_training(self, callback: BaseCallback) -> CompiledTraining | None:
        if not have_compiled_functions(self.env):
            return None
        self._refresh_engine()
        is_subclass = type(self) is not TDA2C
        reason = (
            f"{type(self).__name__} may do something in every step that TDA2C does not"
            if is_subclass
            else step_by_step_reason(self, callback)
        )
        if self.verbose >= 1:
            print("Training in compiled code" if reason is None else f"Training step by step, since {reason}")
        return None if is_subclass or compiled_envs(self.env) is None else CompiledTraining(self, callback)

    def sample_actions(self, observations: Observations) -> np.ndarray:
        r"""Draw an action from :math:`\pi(\cdot|s)` for every environment. A subclass may override this.

        :param observations: ``(n_envs, *observation_shape)``, or a dict of such arrays
        :return: actions as the policy draws them, before clipping or unscaling, ``(n_envs, *action_shape)``
        """
        try:
            return self._act(observations)
        except DivergenceError as error:
            raise self._divergence(error) from error

    def _act(self, observations: Observations) -> np.ndarray:
        return self._current_engine.act(observations, self._streams)

    # Learning from a rollout

    def train(self) -> None:
        """Take one step of each optimizer on all transitions of the rollout, then forget them."""
        if len(self.rollout_buffer) == 0:
            # a callback has called learn(), which trained on them
            return
        self._refresh_engine()
        self._update_learning_rate(self.policy.optimizer)
        # a signal finds model and rollout before an update or after it
        with self._interrupts:
            update = self._checked_update()
            self.rollout_buffer.reset()
            self._n_updates += 1
        self._log_update(update)

    def _checked_update(self) -> Update:
        try:
            update = self._current_engine.update(self.rollout_buffer, self._loss_config(), self._streams)
        except DivergenceError as error:
            raise self._divergence(error) from error
        loss = update.actor_loss + update.critic_loss + self.ent_coef * update.entropy_loss
        if not (math.isfinite(loss) and math.isfinite(update.grad_norm)):
            raise ValueError(
                f"the loss is {loss} and its gradient norm {update.grad_norm} at step {self.num_timesteps}, "
                f"update {self._n_updates + 1}: {STOPPED} "
                "Lower the learning rates or reward_scale, or set normalize_observations=True."
            )
        return update

    def _divergence(self, error: DivergenceError) -> ValueError:
        return ValueError(
            f"{error} at step {self.num_timesteps}: training diverged. Lower the learning rates, or set max_grad_norm. "
            "The weights are those of the last update."
        )

    def _loss_config(self) -> LossConfig:
        return LossConfig(
            self.gamma,
            self.reward_scale,
            self.bootstrap_on_truncation,
            self.double_softmax,
            self.ent_coef,
            self.max_grad_norm,
            self.normalize_advantage,
        )

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        # several environments overshoot the budget: schedules must not see a negative remainder
        super()._update_current_progress_remaining(min(num_timesteps, total_timesteps), total_timesteps)

    def _set_learning_rates(self) -> dict[str, float]:
        """Set the learning rate of each parameter group to the value of its schedule."""
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

        :param iteration: the number of the rollout within this training
        """
        record_progress(self, iteration)
        self.logger.dump(step=self.num_timesteps)

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


def _rollouts_before_log(iteration: int, log_interval: int | None) -> float:
    """Return how many rollouts come before the next one after which the log is written.

    :param iteration: rollouts so far
    :param log_interval: the number of rollouts between two logs; ``None``: no logs
    """
    return math.inf if log_interval is None else abs(log_interval) - 1 - iteration % abs(log_interval)
