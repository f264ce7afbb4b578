"""V(s') without computing it twice: where s' is the s of another row, V(s) is known."""

from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.type_aliases import PyTorchObs

from sb3_a2c_td.engines.policy_outputs import state_values
from sb3_a2c_td.engines.stateless_modules import is_stateless
from sb3_a2c_td.policies.separate import SeparateNetworks
from sb3_a2c_td.rollout.observations import map_arrays, named_arrays
from sb3_a2c_td.rollout.transitions import TransitionBuffer, Transitions

MIN_SIZE_TO_COMPARE = 2**14
"""numbers in a batch's observations from about which comparing them takes less time than a pass of the critic"""


def next_state_values(
    policy: SeparateNetworks, buffer: TransitionBuffer, batch: Transitions[th.Tensor], values: th.Tensor
) -> th.Tensor:
    """Compute V(s'), ``(N,)``, with as few passes of the critic as possible.

    :param policy: the policy
    :param buffer: the buffer that holds the batch
    :param batch: the transitions, ``N`` rows
    :param values: V(s), ``(N,)``
    """
    if _n_numbers(batch.observations) <= MIN_SIZE_TO_COMPARE or not is_stateless(policy):
        return state_values(policy, batch.next_observations)
    successors = buffer.successors()
    unseen = np.flatnonzero(successors < 0)
    next_values = values[successors]
    next_values[unseen] = state_values(policy, map_arrays(lambda rows: rows[unseen], batch.next_observations))
    return next_values


def _n_numbers(observations: PyTorchObs | Any) -> int:
    return sum(rows.numel() for _, rows in named_arrays("observations", observations))
