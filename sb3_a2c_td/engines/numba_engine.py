"""Compiled kernels for plain MLP policies on the CPU, working in place on the policy's and optimiser's own memory."""

from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from sb3_a2c_td.buffers import Observations, TransitionBuffer
from sb3_a2c_td.engines import kernels
from sb3_a2c_td.engines.interface import Objective, Update
from sb3_a2c_td.optimizers import AdamTFLike, step_size
from sb3_a2c_td.policies import MlpPolicy, SeparateActorCriticPolicy


def why_not_numba(policy: SeparateActorCriticPolicy) -> str | None:
    """Say why the numba engine cannot serve a policy; ``None`` if it can."""
    group = policy.optimizer.param_groups[0]
    is_adam = type(policy.optimizer) is th.optim.Adam
    checks = {
        f"the device is {policy.device}, not the CPU": policy.device.type == "cpu",
        f"the policy is a {type(policy).__name__}, not a MlpPolicy": type(policy) is MlpPolicy,
        f"the observations are {policy.observation_space}, not a Box of numbers": isinstance(
            policy.observation_space, spaces.Box
        )
        and not is_image_space(policy.observation_space),
        "the features extractor is not FlattenExtractor": type(policy.features_extractor) is FlattenExtractor,
        f"the activation is {policy.activation_fn.__name__}, not ReLU or Tanh": policy.activation_fn
        in (nn.ReLU, nn.Tanh),
        f"the distribution is {type(policy.action_dist).__name__}, not categorical or diagonal Gaussian": type(
            policy.action_dist
        )
        in (CategoricalDistribution, DiagGaussianDistribution),
        f"the optimizer is {type(policy.optimizer).__name__}, not AdamTFLike or Adam": is_adam
        or type(policy.optimizer) is AdamTFLike,
        "Adam has a weight decay, amsgrad or maximize": not is_adam
        or not (group["weight_decay"] or group["amsgrad"] or group["maximize"]),
        "a parameter is frozen": all(param.requires_grad for param in policy.parameters()),
        "a layer is not float32": all(param.dtype == th.float32 for param in policy.parameters()),
    }
    return next((reason for reason, holds in checks.items() if not holds), None)


class NumbaEngine:
    """See :class:`~sb3_a2c_td.engines.interface.Engine`; :func:`why_not_numba` says what it serves.

    The parameters, and the moments in the optimiser's state, become views of flat arrays that the kernels work on.

    :param policy: the policy to act for and to update
    :raises ValueError: if it cannot serve the policy, saying why
    """

    def __init__(self, policy: SeparateActorCriticPolicy) -> None:
        self.policy = policy
        actor = _dense_layers(policy.mlp_extractor.policy_net, policy.action_net)
        critic = _dense_layers(policy.mlp_extractor.value_net, policy.value_net)
        self._actor_widths, self._critic_widths = _widths(actor), _widths(critic)
        self._n_outputs = int(self._actor_widths[-1])
        self._max_width = int(max(*self._actor_widths, *self._critic_widths))
        self._n_layers = max(len(actor), len(critic))
        self._continuous = isinstance(policy.action_dist, DiagGaussianDistribution)
        self._action_shape: tuple[int, ...] = policy.action_space.shape  # type: ignore[assignment]
        self._use_tanh = policy.activation_fn is nn.Tanh
        actor_params = [param for layer in actor for param in (layer.weight, layer.bias)]
        if self._continuous:
            actor_params.append(policy.log_std)
        critic_params = [param for layer in critic for param in (layer.weight, layer.bias)]
        self._parameters = actor_params + critic_params
        self._n_actor = sum(param.numel() for param in actor_params)
        self._bind()
        self._make_room(n_rows=1)

    def _bind(self) -> None:
        """Move parameters and moments into flat arrays, and let torch see these."""
        reason = why_not_numba(self.policy)
        if reason is not None:
            raise ValueError(f"engine='numba' cannot serve this model: {reason}; use engine='torch'")
        n_params = sum(param.numel() for param in self._parameters)
        self._params, self._grads = np.empty(n_params, np.float32), np.empty(n_params, np.float32)
        self._exp_avg, self._exp_avg_sq = np.zeros(n_params, np.float32), np.zeros(n_params, np.float32)
        self._steps = np.zeros(len(self._parameters), np.float32)
        self._state = self.policy.optimizer.state
        offset = 0
        for i, param in enumerate(self._parameters):
            rows = slice(offset, offset + param.numel())
            offset += param.numel()
            param.data = _moved(param.data, self._params[rows])
            state = self._state[param]
            for name, flat in (("exp_avg", self._exp_avg), ("exp_avg_sq", self._exp_avg_sq)):
                state[name] = _moved(state.get(name, th.zeros_like(param)), flat[rows])
            state["step"] = _moved(th.as_tensor(state.get("step", 0.0)), self._steps[i : i + 1])
        self._addresses = [param.data_ptr() for param in self._parameters]
        self._actor_params = self._params[: self._n_actor]

    def _bind_if_moved(self, parameters: list[th.Tensor]) -> None:
        """Notice what puts other tensors in place: ``load_state_dict`` of the optimiser, ``deepcopy``, a user."""
        is_bound = self.policy.optimizer.state is self._state and all(
            param.data_ptr() == address and param.requires_grad
            for param, address in zip(parameters, self._addresses, strict=False)
        )
        if not is_bound:
            self._bind()

    def _make_room(self, n_rows: int) -> None:
        self._n_rows = n_rows
        self._activations = np.zeros((self._n_layers + 1, 2 * n_rows, self._max_width), np.float32)
        self._deltas = np.zeros((n_rows, self._max_width), np.float32)
        self._targets, self._values = np.zeros(n_rows, np.float32), np.zeros(n_rows, np.float32)

    def act(self, observations: Observations) -> np.ndarray:
        """Draw actions with one kernel."""
        self._bind_if_moved(self._parameters[:1])
        rows = _as_rows(observations)
        n = len(rows)
        if n > self._n_rows:
            self._make_room(n)
        actions = np.empty((n, self._n_outputs), np.float32) if self._continuous else np.empty((n, 1), np.int64)
        # the legacy generator is the one that SB3 seeds
        noise = np.random.standard_normal((n, self._n_outputs)) if self._continuous else np.random.random((n, 1))  # noqa: NPY002
        is_finite = kernels.act(
            self._actor_widths,
            self._actor_params,
            self._use_tanh,
            self._continuous,
            rows,
            noise,
            self._activations,
            actions,
        )
        if not is_finite:
            raise ValueError("the policy gives no valid distribution of actions, training diverged")
        return actions.reshape(n, *self._action_shape)

    def update(self, buffer: TransitionBuffer, objective: Objective) -> Update:
        """Take one step of the optimiser on all transitions in the buffer with one kernel."""
        self._bind_if_moved(self._parameters)
        batch = buffer.transitions()
        n = len(batch.rewards)
        if n > self._n_rows:
            self._make_room(n)
        actor, critic = self.policy.optimizer.param_groups
        is_finite, *figures = kernels.update(
            self._actor_widths,
            self._critic_widths,
            self._n_actor,
            self._params,
            self._grads,
            self._exp_avg,
            self._exp_avg_sq,
            _as_rows(batch.observations),
            _as_rows(batch.next_observations),
            _as_rows(batch.actions),
            batch.rewards,
            batch.terminated,
            batch.truncated,
            self._activations,
            self._deltas,
            self._targets,
            self._values,
            self._use_tanh,
            self._continuous,
            objective.gamma,
            objective.reward_scale,
            objective.bootstrap_on_truncation,
            objective.double_softmax,
            objective.ent_coef,
            objective.max_grad_norm or np.inf,
            objective.normalize_advantage,
            self._adam(actor, step=int(self._steps[0]) + 1),
            self._adam(critic, step=int(self._steps[-1]) + 1),
        )
        if is_finite:
            self._steps += 1
        return Update(self._targets[:n], self._values[:n], *figures)

    def _adam(self, group: dict[str, Any], step: int) -> tuple[float, float, float, float]:
        """Give the two decay rates, the step size and epsilon of step ``step`` with their bias corrections."""
        beta1, beta2 = group["betas"]
        if isinstance(self.policy.optimizer, AdamTFLike):
            return beta1, beta2, step_size(group["lr"], beta1, beta2, step, th.float32), group["eps"]
        root = (1 - beta2**step) ** 0.5
        return beta1, beta2, group["lr"] * root / (1 - beta1**step), group["eps"] * root


def _dense_layers(hidden: nn.Sequential, output: nn.Module) -> list[nn.Linear]:
    return [layer for layer in (*hidden, output) if isinstance(layer, nn.Linear)]


def _widths(layers: list[nn.Linear]) -> np.ndarray:
    return np.array([layers[0].in_features, *(layer.out_features for layer in layers)], np.int64)


def _moved(tensor: th.Tensor, flat: np.ndarray) -> th.Tensor:
    """Copy a tensor into a flat array, and give that array's memory in the shape of the tensor."""
    view = th.from_numpy(flat).view(tensor.shape)
    return view.copy_(tensor)


def _as_rows(array: Observations) -> np.ndarray:
    assert isinstance(array, np.ndarray)
    if array.ndim == 2 and array.dtype == np.float32 and array.flags.c_contiguous:
        return array
    return np.ascontiguousarray(array.reshape(len(array), -1), np.float32)
