"""An inventory with uncertain demand, a control task that Gymnasium does not have.

A shop orders goods every evening. They arrive two mornings later, so the demand of three days is uncertain when it
orders. Customers who find empty shelves are lost. The state is the stock in the morning, and the orders that arrive on
the next two mornings.

Source: Zipkin, *Old and New Methods for Lost-Sales Inventory Systems* (Operations Research 56, 2008).
"""

import numpy as np
from gymnasium import spaces

from sb3_a2c_td.compiled.env import CompiledEnv

MEAN_DEMAND = 5.0
"""units a day that customers ask for, on average; the demand has a Poisson distribution"""
LARGEST_ORDER = 10
CAPACITY = 40
"""units that fit into the shop; what arrives beyond that is sent back without a refund"""
PRICE, PURCHASE_PRICE, HOLDING_COST = 2.0, 1.0, 0.1
"""of a unit sold, of a unit ordered, and of a unit in stock for a night"""


def reset_inventory(state: np.ndarray, rng: np.random.Generator) -> None:
    """Start with a stock of any size up to two days' demand, and without orders."""
    state[0] = rng.integers(0, 11)
    state[1] = 0.0
    state[2] = 0.0


def step_inventory(state: np.ndarray, action: int, rng: np.random.Generator) -> tuple[float, bool]:
    """Sell what is asked for and in stock, and order. The reward is the day's profit."""
    sold = min(state[0], rng.poisson(MEAN_DEMAND))
    left = state[0] - sold
    state[0] = min(left + state[1], CAPACITY)
    state[1] = state[2]
    state[2] = action
    return PRICE * sold - PURCHASE_PRICE * action - HOLDING_COST * left, False


def observe_inventory(state: np.ndarray, out: np.ndarray) -> None:
    """Observe the stock and the orders as parts of the capacity and of the largest order."""
    out[0] = state[0] / CAPACITY
    out[1] = state[1] / LARGEST_ORDER
    out[2] = state[2] / LARGEST_ORDER


INVENTORY = CompiledEnv(
    observation_space=spaces.Box(0.0, 1.0, (3,), np.float32),
    action_space=spaces.Discrete(LARGEST_ORDER + 1),
    state_size=3,
    reset=reset_inventory,
    step=step_inventory,
    observe=observe_inventory,
    max_episode_steps=100,
)
