"""A plain MLP and its Adam as views of flat arrays: memory that numpy and compiled code can work on."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th
from threadpoolctl import ThreadpoolController

from sb3_a2c_td.engines import mlp_gradients
from sb3_a2c_td.engines.change_detection import ModuleSnapshot, OptimizerSnapshot, reasons_against
from sb3_a2c_td.engines.interface import NO_STEP, DivergenceError, Objective, Others, Update
from sb3_a2c_td.engines.mlp_policy import PlainMlp, why_not_plain_mlp
from sb3_a2c_td.optimizers import AdamTFLike, step_size
from sb3_a2c_td.policies.separate import SeparateNetworks
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.rollout.transitions import TransitionBuffer

SMALL = 2**17
"""rows times parameters up to which numpy takes one thread by itself"""


class FlatMlp:
    """Does what :class:`~sb3_a2c_td.engines.autograd.AnyNetworks` does, in numpy and several times faster.

    The policy's parameters, their gradients and the optimiser's moments become views of the rows of one array, so that
    policy and optimiser see every change that is made to it.

    :param policy: a policy that :func:`unsupported_reason` has nothing against
    :param others: those who train it with this one
    """

    numbers: np.ndarray
    """``(4, n_params)`` float32: parameters, gradients, first and second moments; the actor's columns come first"""
    actor: np.ndarray
    """the actor's parameters, a view"""
    actor_widths: np.ndarray
    """int64: inputs, then the outputs of each layer"""
    critic_widths: np.ndarray
    """the same for the critic"""
    actor_is_bound: Callable[[], bool]
    """say whether the actor's parameters are still in :attr:`actor`"""

    def __init__(self, policy: SeparateNetworks, others: Others | None = None) -> None:
        assert unsupported_reason(policy) is None
        self.policy = policy
        self._others = others
        mlp = PlainMlp(policy)
        self.continuous, self.use_tanh = mlp.continuous, mlp.use_tanh
        self._optimizer = policy.optimizer
        self._parameters = mlp.actor + mlp.critic
        self._states = [self._optimizer.state[param] for param in self._parameters]
        self.actor_widths, self.critic_widths = _widths(mlp.actor), _widths(mlp.critic)
        self._n_inputs, self._n_outputs = int(self.actor_widths[0]), int(self.actor_widths[-1])
        self.numbers = np.zeros((4, sum(param.numel() for param in self._parameters)), np.float32)
        self._steps = np.zeros(len(self._parameters), np.float32)
        grads = self._move()
        self._shown_grads = [param.grad for param in self._parameters]
        n_actor = sum(param.numel() for param in mlp.actor)
        self.actor = self.numbers[0, :n_actor]
        # weights and biases, their gradients, and log std, as numpy sees them
        arrays, n = [param.detach().numpy() for param in self._parameters], len(mlp.actor)
        self._log_std: np.ndarray | None = arrays[n - 1] if self.continuous else None
        self._log_std_grad = grads[n - 1]
        n_dense = n - self.continuous
        self._actor_net, self._actor_grads = arrays[:n_dense], grads[:n_dense]
        self._critic_net, self._critic_grads = arrays[n:], grads[n:]
        self._actor_room = mlp_gradients.Room(self.actor_widths[1:].tolist())
        self._critic_room = mlp_gradients.Room(self.critic_widths[1:].tolist())
        self.actor_is_bound = ModuleSnapshot(policy, mlp.actor_modules).are_same
        self._watched_modules = ModuleSnapshot(policy, mlp.actor_modules + mlp.critic_modules)
        self._watched_optimizer = OptimizerSnapshot(policy, self._counts_integers)

    def _move(self) -> list[np.ndarray]:
        """Move parameters and moments into :attr:`numbers`; give the gradients."""
        grads = []
        begin = 0
        for i, (param, state) in enumerate(zip(self._parameters, self._states, strict=True)):
            flat = self.numbers[:, begin : begin + param.numel()]
            begin += param.numel()
            param.data = _moved(param.data, flat[0])
            param.grad = _moved(th.zeros_like(param), flat[1])
            grads.append(param.grad.numpy())
            state["exp_avg"] = _moved(state.get("exp_avg", th.zeros_like(param)), flat[2])
            state["exp_avg_sq"] = _moved(state.get("exp_avg_sq", th.zeros_like(param)), flat[3])
            step = state.get("step", 0)
            # AdamTFLike counts in integers, PyTorch's Adam in tensors
            state["step"] = int(step) if self._counts_integers else _moved(th.as_tensor(step), self._steps[i : i + 1])
        return grads

    def is_bound(self) -> bool:
        """Notice what puts other tensors, layers or settings in place: ``load_state_dict``, a callback, a user."""
        return (
            self._watched_modules.are_same()
            and self._watched_optimizer.is_same()
            and _why_not_optimizer(self._optimizer) is None
        )

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def draw(self, observations: Observations, action_masks: np.ndarray | None = None) -> np.ndarray:
        """Draw actions, ``(N,)`` or ``(N, action_dim)``.

        :raises DivergenceError: if the actor's outputs are not finite
        """
        with self._one_thread(len(observations)):
            outputs = mlp_gradients.forward(self._actor_net, self.rows(observations), self.use_tanh)[-1]
        if not _are_finite(outputs):
            raise DivergenceError
        noise = self.noise(len(outputs))
        if self._log_std is None:
            perturbed = outputs - np.log(-np.log(noise))
            return mlp_gradients.masked(perturbed, action_masks, -np.inf).argmax(axis=1)  # type: ignore[no-any-return]
        actions = outputs + np.exp(self._log_std) * noise.astype(np.float32)
        if not np.isfinite(actions).all():
            raise DivergenceError
        return actions  # type: ignore[no-any-return]

    def noise(self, n: int) -> np.ndarray:
        r"""Draw what turns the actor's outputs into actions, ``(n, n_outputs)`` float64, from the generator SB3 seeds.

        For continuous actions, standard normals. For discrete ones, uniform :math:`u` of which
        :math:`g = -\log(-\log u)` has Gumbel's distribution: where logit + :math:`g` is highest is distributed like
        the softmax of the logits.
        """
        size = (n, self._n_outputs)
        return np.random.standard_normal(size) if self.continuous else np.random.random_sample(size)  # noqa: NPY002

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def update(self, buffer: TransitionBuffer, objective: Objective) -> Update:
        """Take one step of Adam on all transitions, unless the losses or their gradient are not finite."""
        with self._one_thread(len(buffer)):
            return self._update(buffer, objective)

    def _update(self, buffer: TransitionBuffer, objective: Objective) -> Update:
        batch = buffer.transitions()
        n = len(batch.rewards)
        observations, next_observations = self.rows(batch.observations), self.rows(batch.next_observations)
        room = self._critic_room.of(2 * n)
        h = mlp_gradients.forward(
            self._critic_net, np.concatenate([observations, next_observations]), self.use_tanh, room
        )
        values, next_values = h[-1][:n, 0].copy(), h[-1][n:, 0]
        ended = batch.terminated if objective.bootstrap_on_truncation else batch.terminated | batch.truncated
        targets = (
            np.float32(objective.reward_scale) * batch.rewards + np.float32(objective.gamma) * ~ended * next_values
        )
        td_errors = targets - values
        critic_loss = float(np.dot(td_errors, td_errors)) / n
        mlp_gradients.backward(
            self._critic_net,
            [layer[:n] for layer in h],
            (-2.0 / n) * td_errors[:, None],
            self.use_tanh,
            self._critic_grads,
        )
        mean, std, target_std = float(td_errors.mean()), float(td_errors.std()), float(targets.std(dtype=np.float64))
        advantages = td_errors
        if objective.normalize_advantage and self._others is not None:
            advantages = self._others.normalized(td_errors)
        elif objective.normalize_advantage and n > 1:
            advantages = (td_errors - mean) / (std * math.sqrt(n / (n - 1)) + 1e-8)
        actor_loss, entropy = self._actor_gradient(
            observations, batch.actions, batch.action_masks, advantages, objective
        )

        self.show_gradients()
        if self._others is not None:
            of_all = th.tensor([actor_loss, critic_loss, entropy])
            self._others.average(self.policy.parameters(), of_all, n)
            actor_loss, critic_loss, entropy = of_all.tolist()
        loss = actor_loss + critic_loss - objective.ent_coef * entropy
        norm = math.sqrt(np.dot(self.numbers[1], self.numbers[1]))
        if math.isfinite(loss) and math.isfinite(norm):
            self._step(norm, objective.max_grad_norm)
        explained = math.nan if target_std == 0.0 else 1.0 - (std / target_std) ** 2
        return Update(targets, values, actor_loss, critic_loss, -entropy, norm, mean, std, explained)

    def _actor_gradient(
        self,
        observations: np.ndarray,
        actions: np.ndarray,
        action_masks: np.ndarray | None,
        advantages: np.ndarray,
        objective: Objective,
    ) -> tuple[float, float]:
        """Fill the gradient of the actor's loss with the entropy's; give the loss and the mean entropy."""
        n = len(advantages)
        if not self.continuous and actions.min() < 0:
            raise IndexError("actions: an action lies outside the action space")
        weights = advantages[:, None] / -n
        h = mlp_gradients.forward(self._actor_net, observations, self.use_tanh, self._actor_room.of(n))
        if self._log_std is None:
            logits = mlp_gradients.masked(h[-1], action_masks, mlp_gradients.MASKED_LOGIT)
            log_prob, entropy, score, d_entropy = mlp_gradients.categorical(
                logits, actions.reshape(n), objective.double_softmax
            )
            delta = weights * score
            if objective.ent_coef != 0.0:
                delta -= objective.ent_coef / n * d_entropy
        else:
            log_prob, entropy, score, log_std_score = mlp_gradients.gaussian(
                h[-1], self._log_std, actions.reshape(n, -1)
            )
            delta = weights * score
            self._log_std_grad[:] = (weights * log_std_score).sum(axis=0) - objective.ent_coef
        mlp_gradients.backward(self._actor_net, h, delta, self.use_tanh, self._actor_grads)
        return -float(np.dot(advantages, log_prob)) / n, float(entropy.mean())

    def _step(self, norm: float, max_grad_norm: float | None) -> None:
        """Clip the gradient and take one step of Adam, with a learning rate for each network."""
        if max_grad_norm is not None and max_grad_norm < norm + 1e-6:
            self.numbers[1] *= max_grad_norm / (norm + 1e-6)
        networks = self.numbers[:, : len(self.actor)], self.numbers[:, len(self.actor) :]
        steps = (
            mlp_gradients.adam(networks[0], *self.actor_adam()),
            mlp_gradients.adam(networks[1], *self.critic_adam()),
        )
        if not all(_are_finite(params) for params, _, _ in steps):
            raise DivergenceError(NO_STEP)
        for numbers, (params, exp_avg, exp_avg_sq) in zip(networks, steps, strict=True):
            numbers[0], numbers[2], numbers[3] = params, exp_avg, exp_avg_sq
        self.count_step()

    def _one_thread(self, n_rows: int) -> AbstractContextManager[Any]:
        """Keep numpy from taking all threads there are, which for matrices this narrow wait for each other."""
        return _blas().limit(limits=1) if n_rows * self.numbers.shape[1] > SMALL else nullcontext()

    def rows(self, observations: Observations) -> np.ndarray:
        """Give observations as ``(N, n_inputs)`` float32, contiguous.

        :raises ValueError: if they are of another width
        """
        return as_rows(observations, np.float32, self._n_inputs, "observations")

    def show_gradients(self) -> None:
        """Let the parameters have the gradients of the last update, where something took them away."""
        if self._parameters[0].grad is not self._shown_grads[0]:
            for param, grad in zip(self._parameters, self._shown_grads, strict=True):
                param.grad = grad

    # The optimiser's state

    def actor_adam(self) -> tuple[tuple[float, float], float, float]:
        """Give the decay rates of the moments, and step size and epsilon with the bias correction of the next step."""
        return self._adam(self._optimizer.param_groups[0], self._states[0])

    def critic_adam(self) -> tuple[tuple[float, float], float, float]:
        """The same for the critic's group."""
        return self._adam(self._optimizer.param_groups[1], self._states[-1])

    def _adam(self, group: dict[str, Any], state: dict[str, Any]) -> tuple[tuple[float, float], float, float]:
        (beta1, beta2), lr, eps = group["betas"], group["lr"], group["eps"]
        step = int(state["step"]) + 1
        if self._counts_integers:
            return (beta1, beta2), step_size(lr, (beta1, beta2), step, th.float32), eps
        root = math.sqrt(1 - beta2**step)
        return (beta1, beta2), lr * root / (1 - beta1**step), eps * root

    def count_step(self) -> None:
        """Let the optimiser's state know of a step."""
        if self._counts_integers:
            for state in self._states:
                state["step"] += 1
        else:
            self._steps += 1

    @property
    def _counts_integers(self) -> bool:
        return isinstance(self._optimizer, AdamTFLike)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def unsupported_reason(policy: SeparateNetworks) -> str | None:
    """Say why a policy cannot be bound; ``None`` if it can.

    It is a plain MLP, in float32 on the CPU, trained by ``AdamTFLike`` or PyTorch's ``Adam`` without extras.
    """
    return why_not_plain_mlp(policy) or next(_reasons_against(PlainMlp(policy), policy.optimizer), None)


def as_rows(array: Observations, dtype: npt.DTypeLike, width: int, name: str) -> np.ndarray:
    """Give an array as ``(N, width)``, of a dtype, contiguous and writeable, as compiled code needs it.

    :raises ValueError: if the rows are not of this width
    """
    assert isinstance(array, np.ndarray)
    if array.ndim != 2:
        array = array.reshape(len(array), -1)
    if array.shape[1] != width:
        raise ValueError(f"{name}: expected {width} numbers a row, got {array.shape[1]}")
    # carray: contiguous, aligned and writeable
    if array.dtype == dtype and array.flags.carray:
        return array
    with np.errstate(over="ignore"):
        rows = np.require(array, dtype, ("C", "A", "W"))
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise ValueError(f"{name}: not finite as {rows.dtype}; scale them (VecNormalize)")
    return rows


def _are_finite(numbers: np.ndarray) -> bool:
    # the sum of squares takes a third of the time, and may overflow
    return math.isfinite(np.vdot(numbers, numbers)) or bool(np.isfinite(numbers).all())


def _widths(parameters: Sequence[th.Tensor]) -> np.ndarray:
    """Give the widths of layers from their weights and biases (and log std, which is a vector too)."""
    weights = [param for param in parameters if param.ndim == 2]
    return np.array([weights[0].shape[1], *(len(weight) for weight in weights)], np.int64)


def _moved(tensor: th.Tensor, flat: np.ndarray) -> th.Tensor:
    """Copy a tensor into a flat array, and give that array's memory in the shape of the tensor."""
    return th.from_numpy(flat).view(tensor.shape).copy_(tensor)


def _reasons_against(mlp: PlainMlp, optimizer: th.optim.Optimizer) -> Iterator[str]:
    for param in mlp.actor + mlp.critic:
        if param.device.type != "cpu":
            yield f"the device is {param.device}, not the CPU"
        if param.is_shared():
            yield "a parameter is in shared memory"
    reason = _why_not_optimizer(optimizer)
    if reason is not None:
        yield reason
    yield from reasons_against(mlp.actor + mlp.critic, optimizer)
    groups = [set(map(id, group["params"])) for group in optimizer.param_groups]
    if groups != [set(map(id, mlp.actor)), set(map(id, mlp.critic))]:
        yield "the optimizer's groups are not the actor's and the critic's parameters"


def _why_not_optimizer(optimizer: th.optim.Optimizer) -> str | None:
    if type(optimizer) not in (AdamTFLike, th.optim.Adam):
        return f"the optimizer is {type(optimizer).__name__}, not AdamTFLike or Adam"
    for group in optimizer.param_groups:
        if group.get("weight_decay") or group.get("amsgrad") or group.get("maximize"):
            return "the optimizer has a weight decay, amsgrad or maximize"
    return None
