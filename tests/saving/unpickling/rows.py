"""Transitions for the tests of unpickling."""

import numpy as np

from sb3_a2c_td.rollout.transitions import Transitions

ROWS = Transitions(
    observations=np.ones((2, 3), np.float32),
    actions=np.zeros(2, np.int64),
    rewards=np.ones(2, np.float32),
    next_observations=np.zeros((2, 3)),
    terminated=np.zeros(2, bool),
    truncated=np.zeros(2, bool),
)
