"""The engine that serves every policy on every device."""

import numpy as np
from torch.nn.modules.batchnorm import _BatchNorm

from sb3_a2c_td.engines.autograd import AnyNetworks
from sb3_a2c_td.engines.interface import Objective, Others, UnsupportedPolicyError, Update
from sb3_a2c_td.engines.mlp_parameters import FlatMlp, unsupported_reason
from sb3_a2c_td.policies.separate import SeparateNetworks
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.rollout.transitions import TransitionBuffer

MAX_PRODUCTS = 2**30
"""rows times parameters, up to about where several threads of PyTorch would take less time than one of numpy"""


class TorchEngine:
    """See :class:`~sb3_a2c_td.engines.interface.Engine`.

    A plain MLP on the CPU is computed in closed form, in numpy on the parameters' own memory: in small batches most of
    PyTorch's time goes into calls, in large ones into its graph. Very large batches of wide networks, and all else,
    PyTorch computes, with its threads.

    :param policy: the policy to act for and to update
    :param others: those who train it with this one
    :param name: what the model calls it
    :raises UnsupportedPolicyError: if there are others, and a layer has statistics of what it has seen
    """

    name = "torch"

    def __init__(self, policy: SeparateNetworks, others: Others | None = None, name: str | None = None) -> None:
        self.policy = policy
        self.name = name or self.name
        self._others = others
        if others is not None and any(isinstance(module, _BatchNorm) for module in policy.modules()):
            raise UnsupportedPolicyError(self.name, "its BatchNorm would have other statistics in each process")
        self._action_shape: tuple[int, ...] = policy.action_space.shape  # type: ignore[assignment]
        self._any_networks = AnyNetworks(policy, others)
        self._mlp = self._bound()

    def __str__(self) -> str:
        return self.name

    def _bound(self) -> FlatMlp | None:
        return FlatMlp(self.policy, self._others) if unsupported_reason(self.policy) is None else None

    def act(self, observations: Observations, action_masks: np.ndarray | None = None) -> np.ndarray:
        """Draw actions from the policy's distribution."""
        if self._mlp is not None and not self._mlp.actor_is_bound():
            self._mlp = self._bound()
        return self._networks(len(observations)).draw(observations, action_masks).reshape(-1, *self._action_shape)

    def update(self, buffer: TransitionBuffer, objective: Objective) -> Update:
        """Take one step of the optimiser on all transitions in the buffer."""
        if self._mlp is not None and not self._mlp.is_bound():
            self._mlp = self._bound()
        return self._networks(len(buffer)).update(buffer, objective)

    def _networks(self, n_rows: int) -> FlatMlp | AnyNetworks:
        if self._mlp is None or n_rows * self._mlp.numbers.shape[1] > MAX_PRODUCTS:
            return self._any_networks
        return self._mlp
