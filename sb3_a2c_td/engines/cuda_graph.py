"""Acting and updating on a GPU, each recorded once in a CUDA graph: one launch in place of one for each operation."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import numpy as np
import torch as th
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import nn

from sb3_a2c_td import losses
from sb3_a2c_td.engines.change_detection import ModuleSnapshot, OptimizerSnapshot, unsupported_training_reasons
from sb3_a2c_td.engines.interface import INFINITE_STEP, DivergenceError, LossConfig, UnsupportedPolicyError, Update
from sb3_a2c_td.engines.policy_outputs import (
    action_distribution,
    keeping_last_distribution,
    log_prob_and_entropy,
    state_values,
)
from sb3_a2c_td.engines.random_streams import RandomStreams
from sb3_a2c_td.engines.stateless_modules import is_stateless
from sb3_a2c_td.engines.static_memory import Layout, StaticMemory
from sb3_a2c_td.optimizers import AdamTFLike, fused_adam, step_size
from sb3_a2c_td.policies.separate import CnnPolicy, MlpPolicy, MultiInputPolicy, SeparateNetworks
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.rollout.transitions import TransitionBuffer

Computation = Callable[[], th.Tensor]

N_METRICS = 9
"""numbers that an update returns before targets and values"""
NOISE = "noise"
"""the name of the noise of actions among the arrays of observations"""


def in_a_cuda_graph(compute: Computation) -> Computation:
    """Record a computation in a CUDA graph.

    It is run a few times before, since libraries allocate memory in their first calls.

    :param compute: reads and writes memory at addresses that stay, and never waits for the GPU
    :return: replays it; the tensor that it gives is the same one each time
    """
    stream = th.cuda.Stream()
    stream.wait_stream(th.cuda.current_stream())
    with th.cuda.stream(stream):
        for _ in range(3):
            compute()
    th.cuda.current_stream().wait_stream(stream)
    graph = th.cuda.CUDAGraph()
    with th.cuda.graph(graph):
        output = compute()

    def replay() -> th.Tensor:
        graph.replay()
        return output

    return replay


def without_recording(compute: Computation) -> Computation:
    """Compute again in place of a replay, for tests and measurements without a GPU.

    :param compute: see :func:`in_a_cuda_graph`
    """
    return compute


class CudaEngine:
    """See :class:`~sb3_a2c_td.engines.interface.Engine`. Experimental: it has not run on a GPU yet.

    A batch is padded to the buffer's capacity, so that one recording fits rollouts of every length. What changes
    the computation (another layer or tensor, another loss or shape) is recorded again.

    :param policy: the policy to act for and to update, on a GPU
    :param record: records a computation, and returns what replays it
    :raises UnsupportedPolicyError: if the policy is not on the current GPU, or needs the CPU in between
    """

    name = "cuda"

    def __init__(
        self, policy: SeparateNetworks, record: Callable[[Computation], Computation] = in_a_cuda_graph
    ) -> None:
        self.policy = policy
        self._record = record
        self._bind()

    def __str__(self) -> str:
        return self.name

    def _bind(self) -> None:
        """Forget all recordings."""
        device = self.policy.device
        if self._record is in_a_cuda_graph and not _is_current(device):
            raise UnsupportedPolicyError(self.name, f"the device is {device}, not the current GPU")
        reason = next(_unsupported_reasons(self.policy), None)
        if reason is not None:
            raise UnsupportedPolicyError(self.name, reason)
        optimizer = self.policy.optimizer
        for group in optimizer.param_groups:
            for param in group["params"]:
                optimizer.state[param] = {
                    "step": 0,
                    "exp_avg": th.zeros_like(param),
                    "exp_avg_sq": th.zeros_like(param),
                } | optimizer.state[param]
        self._modules = ModuleSnapshot(self.policy, self.policy.modules())
        self._optimizer = OptimizerSnapshot(self.policy, counts_integers=True)
        self._acting: dict[Any, _Acting] = {}
        self._updating: tuple[Any, _Updating] | None = None

    def refresh(self) -> None:
        """Record again if parts of the policy or its optimizer were replaced."""
        if not (self._modules.are_same() and self._optimizer.is_same()):
            self._bind()

    def act(
        self, observations: Observations, streams: RandomStreams, action_masks: np.ndarray | None = None
    ) -> np.ndarray:
        """Draw actions with a recorded graph."""
        assert action_masks is None
        arrays = _named("observations", observations)
        layout = {name: (rows.shape, rows.dtype) for name, rows in arrays.items()}
        key = tuple(layout.items())
        if key not in self._acting:
            self._acting[key] = _Acting(self.policy, layout, self._record)
        return self._acting[key].draw(arrays, streams.actions)

    def update(self, buffer: TransitionBuffer, config: LossConfig, streams: RandomStreams) -> Update:
        """Take one step of the optimizer on all transitions in the buffer."""
        batch = buffer.transitions()
        arrays = _named("observations", batch.observations) | _named("next_observations", batch.next_observations)
        arrays |= {"actions": batch.actions, "rewards": batch.rewards}
        layout = {name: ((buffer.capacity, *rows.shape[1:]), rows.dtype) for name, rows in arrays.items()}
        settings = [(group["betas"], group["eps"]) for group in self.policy.optimizer.param_groups]
        key = (layout, config, settings)
        if self._updating is None or self._updating[0] != key:
            self._updating = key, _Updating(self.policy, buffer.capacity, layout, config, self._record)
        return self._updating[1].step(arrays, config.ended(batch))


class _Acting:
    """Draws actions for as many observations as it was recorded with."""

    def __init__(self, policy: SeparateNetworks, layout: Layout, record: Callable[[Computation], Computation]) -> None:
        self._policy = policy
        self._action_shape: tuple[int, ...] = policy.action_space.shape  # type: ignore[assignment]
        n_rows = next(iter(layout.values()))[0][0]
        self._is_discrete = isinstance(policy.action_dist, CategoricalDistribution)
        noise: Layout = {NOISE: ((n_rows, cast(nn.Linear, policy.action_net).out_features), np.float32)}
        self._memory = StaticMemory({**layout, **noise}, policy.device)
        self._observations = _unnamed("observations", self._memory.device)
        self._replay = record(self._compute)

    def draw(self, observations: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
        for name, rows in observations.items():
            self._memory.host[name][...] = rows
        noise = self._memory.host[NOISE]
        noise[...] = rng.gumbel(size=noise.shape) if self._is_discrete else rng.standard_normal(noise.shape)
        self._memory.upload()
        actions = self._replay().cpu().numpy()
        if (actions < 0).any() if actions.dtype.kind == "i" else not np.isfinite(actions).all():
            raise DivergenceError
        return actions.reshape(-1, *self._action_shape)

    @th.no_grad()
    def _compute(self) -> th.Tensor:
        """Draw actions; -1 or NaN where the policy's outputs are not finite."""
        noise = self._memory.device[NOISE]
        with _without_validation():
            distribution = self._policy.get_distribution(self._observations).distribution
        if isinstance(distribution, th.distributions.Categorical):
            logits = distribution.logits
            actions = (logits + noise).argmax(dim=1)
            return th.where(logits.isfinite().all(dim=1), actions, -1)
        assert isinstance(distribution, th.distributions.Normal)
        return distribution.mean + distribution.stddev * noise


class _AdamStep(NamedTuple):
    """The arguments of :func:`~sb3_a2c_td.optimizers.fused_adam` for one parameter group."""

    tensors: list[list[th.Tensor]]
    betas: tuple[float, float]
    alpha_t: th.Tensor
    eps: float


class _Updating:
    """Takes steps on batches of up to ``capacity`` rows."""

    def __init__(
        self,
        policy: SeparateNetworks,
        capacity: int,
        layout: Layout,
        config: LossConfig,
        record: Callable[[Computation], Computation],
    ) -> None:
        self._policy = policy
        self._config = config
        self._groups: list[dict[str, Any]] = policy.optimizer.param_groups
        self._states = list(policy.optimizer.state.values())
        self._params = [param for group in self._groups for param in group["params"]]
        own: dict[str, Any] = {"discounts": ((capacity,), np.float32), "is_row": ((capacity,), np.bool_)}
        own |= {"n_rows": ((), np.float32), "step_sizes": ((len(self._groups),), np.float32), "is_due": ((), np.bool_)}
        self._memory = StaticMemory({**layout, **own}, policy.device)
        # is_due is still False: recording must not take a step
        self._memory.host["n_rows"][...] = 1.0
        self._memory.upload()
        self._replay = record(self._compute)

    def step(self, batch: dict[str, np.ndarray], ended: np.ndarray) -> Update:
        n, host = len(ended), self._memory.host
        for name, rows in batch.items():
            host[name][:n], host[name][n:] = rows, 0
        host["discounts"][:n] = self._config.gamma * ~ended
        host["is_row"][:n], host["is_row"][n:] = True, False
        host["n_rows"][...] = n
        host["is_due"][...] = True
        for i, group in enumerate(self._groups):
            count = self._policy.optimizer.state[group["params"][0]]["step"] + 1
            host["step_sizes"][i] = step_size(group["lr"], group["betas"], count, th.float32)
        self._memory.upload()
        computed = self._replay().cpu().numpy()
        for param, grad in zip(self._params, self._grads, strict=True):
            param.grad = grad
        is_due, is_taken, *metrics, target_std = computed[:N_METRICS].tolist()
        actor_loss, critic_loss, entropy_loss, norm, td_error, std = metrics
        targets, values = computed[N_METRICS:].reshape(2, -1)[:, :n]
        if is_taken:
            for state in self._states:
                state["step"] += 1
        elif is_due:
            raise DivergenceError(INFINITE_STEP)
        explained = math.nan if target_std == 0.0 else 1.0 - (std / target_std) ** 2
        return Update(targets, values, actor_loss, critic_loss, entropy_loss, norm, td_error, std, explained)

    def _compute(self) -> th.Tensor:
        """Take a step if it is due and finite; return the metrics of an update, the targets and V(s), in one vector."""
        config, memory = self._config, self._memory.device
        is_row, n = memory["is_row"], memory["n_rows"]
        observations = _unnamed("observations", memory)
        values = state_values(self._policy, observations)
        with th.no_grad():
            next_values = state_values(self._policy, _unnamed("next_observations", memory))
            targets = losses.td_target(config.reward_scale * memory["rewards"], memory["discounts"], next_values)
            # the TD error of padding is 0, so that padding does not affect the losses
            targets = th.where(is_row, targets, values)
            advantages = td_errors = losses.td_error(targets, values)
            if config.normalize_advantage:
                advantages = _normalized(td_errors, is_row, n)
        with _without_validation(), keeping_last_distribution(self._policy):
            log_prob, entropy = log_prob_and_entropy(
                self._policy,
                action_distribution(self._policy, observations),
                memory["actions"],
                config.double_softmax,
            )
        # from means over all rows to means over those of the batch
        scale = len(is_row) / n
        actor_loss = losses.actor_loss(log_prob, advantages) * scale
        critic_loss = losses.critic_loss(values, targets) * scale
        entropy_loss = -entropy.where(is_row, 0.0).sum() / n
        loss = actor_loss + critic_loss + config.ent_coef * entropy_loss
        norm, is_due, is_taken = self._descend(loss)
        td_error, std = _mean_and_std(td_errors, is_row, n)
        _, target_std = _mean_and_std(targets, is_row, n)
        metrics = th.stack([is_due, is_taken, actor_loss, critic_loss, entropy_loss, norm, td_error, std, target_std])
        return th.cat([metrics, targets, values]).detach()

    def _descend(self, loss: th.Tensor) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """Take one step down the loss if it and what it leads to are finite.

        :return: the gradient's norm, whether a step was due, and whether it was taken
        """
        self._grads = grads = list(th.autograd.grad(loss, self._params))
        norm = th.nn.utils.get_total_norm(grads)
        if self._config.max_grad_norm is not None:
            th._foreach_mul_(grads, (self._config.max_grad_norm / (norm + 1e-6)).clamp(max=1.0))
        is_due = self._memory.device["is_due"] & loss.isfinite() & norm.isfinite()
        steps = self._adam_steps(dict(zip(self._params, grads, strict=True)))
        is_taken = is_due & th.stack([_stays_finite(step) for step in steps]).all()
        for step in steps:
            fused_adam(step.tensors, step.betas, step.alpha_t, step.eps, found_inf=(~is_taken).float())
        return norm, is_due, is_taken

    def _adam_steps(self, grads: dict[nn.Parameter, th.Tensor]) -> list[_AdamStep]:
        """Return the step of each parameter group."""
        steps = []
        for group, alpha_t in zip(self._groups, self._memory.device["step_sizes"], strict=True):
            params = group["params"]
            states = [self._policy.optimizer.state[param] for param in params]
            tensors = [
                params,
                [grads[param] for param in params],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
            ]
            steps.append(_AdamStep(tensors, group["betas"], alpha_t, group["eps"]))
        return steps


@th.no_grad()
def _stays_finite(step: _AdamStep) -> th.Tensor:
    """Take a step with copies of the parameters, and check whether they are finite after it."""
    # times 1: a copy of all in one launch
    copies = [list(th._foreach_mul(each, 1.0)) for each in step.tensors]
    fused_adam(copies, step.betas, step.alpha_t, step.eps)
    return th.stack(th._foreach_norm(copies[0], math.inf)).isfinite().all()


def _mean_and_std(x: th.Tensor, is_row: th.Tensor, n: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
    """Compute mean and standard deviation over ``n`` rows of ``(capacity,)``."""
    mean = x.where(is_row, 0.0).sum() / n
    return mean, (x - mean).square().where(is_row, 0.0).sum().div(n).sqrt()


def _normalized(advantages: th.Tensor, is_row: th.Tensor, n: th.Tensor) -> th.Tensor:
    """See :func:`~sb3_a2c_td.losses.normalized`; padding stays 0."""
    mean, std = _mean_and_std(advantages, is_row, n)
    unbiased_std = std * (n / (n - 1.0).clamp(min=1.0)).sqrt()
    return th.where(n > 1, (advantages - mean) / (unbiased_std + 1e-8), advantages).where(is_row, 0.0)


def _named(name: str, observations: Observations) -> dict[str, np.ndarray]:
    if isinstance(observations, dict):
        return {f"{name}.{key}": rows for key, rows in observations.items()}
    return {name: observations}


def _unnamed(name: str, tensors: dict[str, th.Tensor]) -> PyTorchObs:
    if name in tensors:
        return tensors[name]
    return {key.removeprefix(f"{name}."): rows for key, rows in tensors.items() if key.startswith(f"{name}.")}


@contextmanager
def _without_validation() -> Iterator[None]:
    """Turn off the argument checks of ``torch.distributions``, which would wait for the GPU."""
    before = th.distributions.Distribution._validate_args
    th.distributions.Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        th.distributions.Distribution.set_default_validate_args(before)


def _is_current(device: th.device) -> bool:
    return device.type == "cuda" and device.index in (None, th.cuda.current_device())


def _unsupported_reasons(policy: SeparateNetworks) -> Iterator[str]:
    optimizer = policy.optimizer
    if type(policy) not in (MlpPolicy, CnnPolicy, MultiInputPolicy):
        yield f"the policy is a {type(policy).__name__}, not a MlpPolicy, CnnPolicy or MultiInputPolicy"
    if type(policy.action_dist) not in (CategoricalDistribution, DiagGaussianDistribution):
        yield f"the distribution is {type(policy.action_dist).__name__}, not categorical or diagonal Gaussian"
    if not is_stateless(policy):
        yield "one of its modules is not known to compute the same at every call"
    if type(optimizer) is not AdamTFLike:
        yield f"the optimizer is {type(optimizer).__name__}, not AdamTFLike"
    yield from unsupported_training_reasons(cast(list[nn.Parameter], list(policy.parameters())), optimizer)
    grouped = [param for group in optimizer.param_groups for param in group["params"]]
    if set(map(id, grouped)) != set(map(id, policy.parameters())):
        yield "the optimizer does not hold exactly the policy's parameters"
