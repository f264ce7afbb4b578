"""A digest of a model's weights and moments, to compare models without exchanging them."""

from hashlib import sha256

import torch as th
from stable_baselines3.common.policies import BasePolicy


def digest(policy: BasePolicy) -> str:
    """Return the SHA-256 of a policy's weights and its optimizer's moments.

    :param policy: the policy
    """
    states = policy.optimizer.state.values()
    moments = [th.as_tensor(value) for state in states for value in state.values() if value is not None]
    tensors = [*policy.state_dict().values(), *moments]
    return sha256(b"".join(tensor.cpu().numpy().tobytes() for tensor in tensors)).hexdigest()
