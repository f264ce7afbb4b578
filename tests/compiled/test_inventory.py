"""The inventory keeps its books, and a trained policy earns more than the best constant order."""

import numpy as np
import pytest
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_a2c_td import TDA2C
from sb3_a2c_td.compiled import make_compiled_vec_env
from sb3_a2c_td.compiled.inventory import CAPACITY, INVENTORY, MEAN_DEMAND


def test_goods_arrive_two_days_after_the_order() -> None:
    env = make_compiled_vec_env(INVENTORY, seed=0)
    env.reset()
    env.states[0] = 0, 0, 0
    # nothing in stock, nothing sold: only the purchases count
    assert env.step(np.array([7]))[1].tolist() == [-7]
    assert env.step(np.array([0]))[1].tolist() == [0]
    assert env.step(np.array([0]))[1].tolist() == [0]
    assert env.states[0].tolist() == [7, 0, 0]


def test_profit_is_sales_minus_purchases_minus_holding() -> None:
    env = make_compiled_vec_env(INVENTORY, 2000, seed=0)
    env.reset()
    env.states[:] = 30, 2, 3
    _, rewards, _, _ = env.step(np.full(2000, 4))
    left = env.states[:, 0] - 2
    np.testing.assert_allclose(rewards, 2 * (30 - left) - 4 - 0.1 * left, rtol=1e-6)
    assert (env.states[:, 1:] == [3, 4]).all()
    # the mean of 2,000 Poisson numbers has a standard deviation of 0.05
    assert (30 - left).mean() == pytest.approx(MEAN_DEMAND, abs=0.2)


def test_stock_is_limited() -> None:
    env = make_compiled_vec_env(INVENTORY, 8, seed=0)
    env.reset()
    largest = 0.0
    for _ in range(60):
        env.step(np.full(8, 10))
        largest = max(largest, env.states[:, 0].max())
    assert largest == CAPACITY


@pytest.mark.slow
def test_tda2c_earns_more_than_constant_orders() -> None:
    env = make_compiled_vec_env(INVENTORY, 16, seed=0)
    settings = {"learning_rate": 1e-3, "critic_learning_rate": 3e-3, "ent_coef": 0.01}
    model = TDA2C("MlpPolicy", env, seed=0, device="cpu", **settings).learn(400_000)
    earned, _ = evaluate_policy(model, make_compiled_vec_env(INVENTORY, 10, seed=1), 50)
    constant = [mean_return(order) for order in range(11)]
    assert earned > max(constant)


def mean_return(order: int) -> float:
    """Order the same every day for 100 days; return the mean over 200 copies."""
    env = make_compiled_vec_env(INVENTORY, 200, seed=2)
    env.reset()
    return float(np.sum([env.step(np.full(200, order))[1] for _ in range(100)], axis=0).mean())
