"""Diagnostics of TDA2C on a tabular MDP: its values and gradients compared with the exact ones during training."""

import math
from dataclasses import fields
from typing import NamedTuple, cast

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from torch.nn.utils import parameters_to_vector

from sb3_a2c_td.algorithms.tda2c import TDA2C
from sb3_a2c_td.arguments import check_at_least_one
from sb3_a2c_td.policies.recurrent import SeparateRecurrentPolicy
from sb3_a2c_td.policies.separate import SeparateActorCriticPolicy
from sb3_a2c_td.tabular.exact import TIE_TOLERANCE, action_values, objective, state_values, visitation
from sb3_a2c_td.tabular.mdp import FloatArray, TabularMDP


class TabularDiagnosticsCallback(BaseCallback):
    r"""Logs how far TDA2C's critic and gradients are from the exact ones, on an environment with an ``mdp``.

    Every ``log_freq`` updates it writes to the model's logger (TensorBoard, CSV, ...). All metrics are of the policy
    :math:`\pi` just before the last of these updates:

    ``tabular/value_rmse``
        :math:`\sqrt{\sum_s \mu(s) (\hat V(s) - V^\pi(s))^2}`, weighted by the discounted visits,
        :math:`\mu = \eta / \sum_s \eta(s)` (:func:`~sb3_a2c_td.tabular.exact.visitation`; Sutton & Barto, eq. 9.1).
        :math:`\hat V` is the critic's output divided by ``reward_scale``, so the error has the units of the
        environment's rewards
    ``tabular/objective``
        :math:`J(\pi)`, the expected discounted return of an episode
    ``tabular/gradient_cosine``
        cosine between the sum of the actor's gradients since the last log and the exact :math:`\nabla J` of the policy
        gradient theorem, :math:`\sum_s \eta(s) \sum_a \nabla\pi(a|s) Q^\pi(s, a)`, with respect to the actor's
        parameters
    ``tabular/gradient_cosine_visited``
        the same, with the number of visits in the batches instead of :math:`\eta`

    The gradients are those of the updates themselves: the mean over each batch times its number of transitions. The
    gradient of a single batch is too noisy to compare, so ``log_freq`` of them are summed and compared with the exact
    gradient at the last update.

    As long as the parameters hardly change between two logs and the critic is exact, the sum differs from the gradient
    of ``gradient_cosine_visited`` only by noise of mean zero. That metric therefore shows the critic's error.
    ``gradient_cosine`` also shows an approximation that actor-critic methods commonly make: they weight a visit at time
    k with 1 instead of :math:`\gamma^k`. With :math:`\gamma < 1`, even an exact critic's mean gradient is in general
    not parallel to :math:`\nabla J`.

    Cosines do not depend on ``reward_scale``. Gradient clipping and ``normalize_advantage`` change the weights of the
    batches in the sum. ``ent_coef`` and ``double_softmax`` change the direction of the gradient, away from
    :math:`\nabla J`. If a gradient is zero, for example because all actions have the same effect, the cosine is NaN.

    The exact values are those of the MDP. The callback cannot notice wrappers that change rewards or actions. Nor does
    the MDP have time limits: with the default ``bootstrap_on_truncation=False`` the critic learns other values if
    episodes are truncated, so set it to ``True``.

    :param log_freq: number of updates between two logs
    :param verbose: 0 no output, 1 info, 2 debug
    :raises ValueError: at the start of training, if the model is not a TDA2C; if its environments have no ``mdp``,
        different ones, or one with another ``gamma``; if rewards are normalized; or if observations are neither the
        state's index nor its one-hot vector
    """

    model: TDA2C

    def __init__(self, log_freq: int = 100, verbose: int = 0) -> None:
        super().__init__(verbose)
        check_at_least_one("log_freq", log_freq)
        self.log_freq = log_freq

    def _init_callback(self) -> None:
        if not isinstance(self.model, TDA2C) or isinstance(self.model.policy, SeparateRecurrentPolicy):
            raise ValueError(
                f"model={type(self.model).__name__}: TabularDiagnosticsCallback needs a TDA2C, whose gradients it "
                "reads and whose policy sees the state only"
            )
        self.mdp = _mdp_of(self.training_env)
        if self.model.gamma != self.mdp.gamma:
            raise ValueError(
                f"gamma={self.model.gamma} of the model differs from gamma={self.mdp.gamma} of its environment's mdp; "
                "use the same discount factor for both"
            )
        normalized = self.model.get_vec_normalize_env()
        if self.model.normalize_rewards or (normalized is not None and normalized.norm_reward):
            raise ValueError(
                "env: VecNormalize scales the rewards, and with them the critic's values, by a changing factor; use "
                "normalize_rewards=False, or VecNormalize(norm_reward=False), and reward_scale"
            )
        if self.model.normalize_observations:
            raise ValueError(
                "normalize_observations=True: the policy does not see the states' indices or one-hot vectors that "
                "TabularDiagnosticsCallback needs; use normalize_observations=False"
            )
        self.observations = _observations(self.mdp, self.training_env)
        self._begin_window()

    def _begin_window(self) -> None:
        self._n_updates = self.model._n_updates
        self._n_in_window = 0
        self._gradient = np.zeros(sum(param.numel() for param in _trained(self.model.policy)))
        self._visits = np.zeros(self.mdp.n_states)
        self._exact: ExactMetrics | None = None

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._batch_visits = self._visits_of_batch()
        if self._n_in_window + 1 == self.log_freq:
            # before the update changes the policy
            self._exact = exact_metrics(self.model, self.mdp, self.observations, self._visits + self._batch_visits)

    def _on_rollout_start(self) -> None:
        self._count_update()

    def _on_training_end(self) -> None:
        self._count_update()

    def _visits_of_batch(self) -> FloatArray:
        observations = cast(np.ndarray, self.model.rollout_buffer.transitions().observations)
        observations = observations.reshape(len(observations), *self.observations.shape[1:])
        states = observations if observations.ndim == 1 else observations.argmax(axis=1)
        if not np.array_equal(self.observations[states], observations):
            raise ValueError(f"observations={observations}: expected the states' indices or their one-hot vectors")
        return np.bincount(states, minlength=self.mdp.n_states).astype(np.float64)

    def _count_update(self) -> None:
        """Add the gradient of the last update, if there was a new one, and log at the end of a window."""
        if self.model._n_updates == self._n_updates:
            return
        self._n_updates = self.model._n_updates
        self._n_in_window += 1
        self._visits += self._batch_visits
        grads = [cast(th.Tensor, param.grad) for param in _trained(self.model.policy)]
        # the actor's loss is -J, averaged over the batch
        self._gradient -= self._batch_visits.sum() * parameters_to_vector(grads).numpy(force=True)
        if self._exact is not None:
            self._log(self._exact)
            self._begin_window()

    def _log(self, exact: "ExactMetrics") -> None:
        self.logger.record("tabular/value_rmse", exact.value_rmse)
        self.logger.record("tabular/objective", exact.objective)
        self.logger.record("tabular/gradient_cosine", cosine(self._gradient, exact.gradient))
        self.logger.record("tabular/gradient_cosine_visited", cosine(self._gradient, exact.visited_gradient))
        self.logger.dump(self.num_timesteps)


class ExactMetrics(NamedTuple):
    """Exact metrics of an actor and a critic on an MDP."""

    value_rmse: float
    objective: float
    gradient: FloatArray
    r""":math:`\nabla J` with respect to the actor's parameters, flat, in the order of the optimizer's group"""
    visited_gradient: FloatArray
    r"""the same with counted visits instead of :math:`\eta`"""


def exact_metrics(model: TDA2C, mdp: TabularMDP, observations: np.ndarray, visits: FloatArray) -> ExactMetrics:
    """Compare a model with the exact solution for its policy.

    :param model: the model
    :param mdp: the MDP, with the model's gamma
    :param observations: observations of all states in order, ``(S, *observation_shape)``
    :param visits: counted visits, ``(S,)``
    :return: the metrics
    """
    policy = action_probabilities(model.policy, observations)
    values, discounted_visits = state_values(mdp, policy), visitation(mdp, policy)
    q = action_values(mdp, policy)
    advantages = q - values[:, None]
    # the gradient of equally good actions is zero; rounding must not give it a direction
    advantages[np.abs(advantages) <= TIE_TOLERANCE * np.abs(values).max()] = 0.0
    with th.no_grad():
        learned = model.policy.predict_values(model.policy.obs_to_tensor(observations)[0])
    return ExactMetrics(
        value_rmse(learned.squeeze(1).numpy(force=True) / model.reward_scale, values, discounted_visits),
        objective(mdp, policy),
        parameter_gradient(model.policy, observations, discounted_visits[:, None] * advantages),
        parameter_gradient(model.policy, observations, visits[:, None] * advantages),
    )


def action_probabilities(policy: SeparateActorCriticPolicy, observations: np.ndarray) -> FloatArray:
    r"""Compute :math:`\pi(a|s)` for discrete actions, ``(S, A)``.

    :param policy: the policy
    :param observations: ``(S, *observation_shape)``
    :return: ``(S, A)``, rows sum to one in float64
    """
    with th.no_grad():
        probabilities = _probabilities(policy, observations).double().numpy(force=True)
    # in float32 the sums are only close to one
    return probabilities / probabilities.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def parameter_gradient(policy: SeparateActorCriticPolicy, observations: np.ndarray, weights: FloatArray) -> FloatArray:
    r"""Compute :math:`\sum_{s,a} w(s, a) \nabla \pi(a|s)` with respect to the actor's parameters.

    With :math:`w = \eta(s) (Q(s, a) - V(s))`, this is :math:`\nabla J`.

    :param policy: a policy with discrete actions
    :param observations: ``(S, *observation_shape)``
    :param weights: :math:`w`, ``(S, A)``
    :return: one vector, in the order of the optimizer's group
    """
    probabilities = _probabilities(policy, observations)
    weights_of_outputs = th.as_tensor(weights, dtype=probabilities.dtype, device=probabilities.device)
    grads = th.autograd.grad(probabilities, _trained(policy), weights_of_outputs)
    with th.no_grad():
        # SB3 keeps the last distribution; one with an autograd graph could not be deep-copied
        _probabilities(policy, observations)
    return parameters_to_vector(grads).double().numpy(force=True)


def value_rmse(values: FloatArray, exact: FloatArray, weights: FloatArray) -> float:
    r"""Compute :math:`\sqrt{\sum_s w(s) (\hat V(s) - V(s))^2 / \sum_s w(s)}`.

    :param values: :math:`\hat V`, ``(S,)``
    :param exact: :math:`V`, ``(S,)``
    :param weights: :math:`w`, ``(S,)``
    :return: the weighted root mean squared error
    """
    return math.sqrt(np.average((values - exact) ** 2, weights=weights))


def cosine(x: FloatArray, y: FloatArray) -> float:
    """Compute the cosine between two vectors; NaN if one is zero."""
    norms = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / norms if norms > 0.0 else math.nan


def _probabilities(policy: SeparateActorCriticPolicy, observations: np.ndarray) -> th.Tensor:
    distribution = policy.get_distribution(policy.obs_to_tensor(observations)[0])
    return cast(th.distributions.Categorical, distribution.distribution).probs


def _trained(policy: SeparateActorCriticPolicy) -> list[th.nn.Parameter]:
    return [param for param in policy.actor_parameters() if param.requires_grad]


def _mdp_of(env: VecEnv) -> TabularMDP:
    try:
        mdps: list[TabularMDP] = env.get_attr("mdp")
    except AttributeError as error:
        raise ValueError(
            f"env={env} has no attribute 'mdp': use a tabular environment such as 'sb3_a2c_td/Chain-v0', or remove "
            "TabularDiagnosticsCallback"
        ) from error
    for name in (field.name for field in fields(TabularMDP)):
        values = [getattr(mdp, name) for mdp in mdps]
        if not all(np.array_equal(value, values[0]) for value in values):
            raise ValueError(f"env={env}: the environments' mdps differ in {name!r}; use the same mdp for all of them")
    return mdps[0]


def _observations(mdp: TabularMDP, env: VecEnv) -> np.ndarray:
    """Return the observations of all states in order."""
    space = env.observation_space
    if isinstance(space, spaces.Discrete) and space.n == mdp.n_states:
        return np.arange(mdp.n_states)
    if isinstance(space, spaces.Box) and space.shape == (mdp.n_states,):
        return np.eye(mdp.n_states, dtype=space.dtype)
    raise ValueError(
        f"observation_space={space}: expected the indices of {mdp.n_states} states (Discrete), or their one-hot "
        "vectors; remove the wrapper that changes observations"
    )
