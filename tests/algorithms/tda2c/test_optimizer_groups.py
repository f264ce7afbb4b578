"""An optimizer that replaces the policy's own may have any parameter groups."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch as th
from stable_baselines3.common.callbacks import BaseCallback

from sb3_a2c_td import TDA2C, AdamTFLike, MlpPolicy, RecurrentTDA2C, UnreadableCheckpointError
from tests.algorithms.comparing import assert_same_parameters
from tests.engines import CPU_ENGINES
from tests.environments import CountingEnv

RATES = {"learning_rate": 0.01, "critic_learning_rate": 0.03}


def make(**kwargs: Any) -> TDA2C:
    return TDA2C("MlpPolicy", CountingEnv(7), seed=0, device="cpu", **RATES, **kwargs)


def as_documented(policy: MlpPolicy) -> list[dict[str, Any]]:
    return [
        {"params": policy.actor_parameters(), "name": "actor"},
        {"params": policy.critic_parameters(), "name": "critic"},
    ]


def one_group(policy: MlpPolicy) -> list[Any]:
    return list(policy.parameters())


def two_groups_without_names(policy: MlpPolicy) -> list[dict[str, Any]]:
    return [{"params": policy.critic_parameters()}, {"params": policy.actor_parameters()}]


def a_group_for_each_parameter(policy: MlpPolicy) -> list[dict[str, Any]]:
    return [{"params": [param], "name": name} for name, param in policy.named_parameters()]


def a_mixed_group_and_another(policy: MlpPolicy) -> list[dict[str, Any]]:
    first, *others = policy.parameters()
    return [{"params": others}, {"params": [first]}]


GROUPS = [one_group, two_groups_without_names, a_group_for_each_parameter, a_mixed_group_and_another]


@pytest.mark.parametrize("optimizer_class", [AdamTFLike, th.optim.SGD])
@pytest.mark.parametrize("groups", GROUPS)
def test_any_groups_train_like_the_documented_ones(groups: Callable[[MlpPolicy], Any], optimizer_class: Any) -> None:
    expected = make(engine="autograd")
    expected.policy.optimizer = optimizer_class(as_documented(expected.policy), lr=1.0)
    expected.learn(40)
    model = make(engine="autograd")
    model.policy.optimizer = optimizer_class(groups(model.policy), lr=1.0)
    assert_same_parameters(model.learn(40), expected)


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_one_group_of_adam_keeps_the_engine(engine: str) -> None:
    model = make(engine=engine)
    model.policy.optimizer = AdamTFLike(model.policy.parameters())
    model.learn(40)
    assert_same_parameters(model, make(engine=engine).learn(40))
    assert "groups" not in str(model._engine)


class ReplaceOptimizer(BaseCallback):
    """Replaces the optimizer in the middle of the first rollout."""

    def _on_step(self) -> bool:
        if self.n_calls == 3:
            self.model.policy.optimizer = th.optim.SGD(self.model.policy.parameters(), lr=1.0)
        return True


@pytest.mark.parametrize("algorithm", [TDA2C, RecurrentTDA2C])
def test_an_optimizer_that_a_callback_replaces_takes_the_next_update(algorithm: type[TDA2C]) -> None:
    policy = next(iter(algorithm.policy_aliases))
    kwargs = {"seed": 0, "device": "cpu", "engine": "autograd", "n_steps": 5, **RATES}
    expected = algorithm(policy, CountingEnv(7), **kwargs)
    expected.policy.optimizer = th.optim.SGD(as_documented(expected.policy), lr=1.0)
    expected.learn(20)
    model = algorithm(policy, CountingEnv(7), **kwargs).learn(20, ReplaceOptimizer())
    assert_same_parameters(model, expected)


def test_a_policy_may_build_its_own_optimizer() -> None:
    class Own(MlpPolicy):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.optimizer = th.optim.SGD(self.parameters(), lr=1.0)

    model = TDA2C(Own, CountingEnv(7), device="cpu", **RATES).learn(20)
    assert [group["lr"] for group in model.policy.optimizer.param_groups] == [0.01, 0.03]


def test_the_networks_of_parameters_are_known_whatever_the_groups() -> None:
    policy = make().policy
    actor, critic = policy.actor_parameters(), policy.critic_parameters()
    policy.eval()
    for groups in GROUPS:
        policy.optimizer = AdamTFLike(groups(policy))
        assert set(map(id, policy.actor_parameters())) == set(map(id, actor))
        assert set(map(id, policy.critic_parameters())) == set(map(id, critic))
        assert not policy.training


def test_a_model_with_another_kind_of_optimizer_is_loaded_into_one_like_it(tmp_path: Path) -> None:
    def make_with_sgd() -> TDA2C:
        model = make()
        model.policy.optimizer = th.optim.SGD(model.policy.parameters(), lr=0.1, momentum=0.9)
        return model

    saved = make_with_sgd().learn(20)
    saved.save(tmp_path / "model")
    with pytest.raises(UnreadableCheckpointError, match=r"another optimizer than AdamTFLike .* betas.*set_parameters"):
        TDA2C.load(tmp_path / "model")
    loaded = make_with_sgd().learn(5)
    loaded.set_parameters(tmp_path / "model.zip", device="cpu")
    assert_same_parameters(loaded, saved)
    assert loaded.learn(10, reset_num_timesteps=False)._n_updates > 1
