"""An update that would make parameters infinite or NaN raises, and leaves the weights as they were."""

from collections.abc import Callable

import pytest
import torch as th
from stable_baselines3.common.callbacks import BaseCallback

from sb3_a2c_td import TDA2C
from sb3_a2c_td.engines.cuda_graph import CudaEngine, without_recording
from tests.engines import CPU_ENGINES
from tests.faults.scenarios import (
    FaultyEnv,
    make_model,
    weights_of,
)


def with_eager_cuda_engine(model: TDA2C) -> TDA2C:
    """Run the CUDA engine without graphs, on the CPU."""
    model._engine = CudaEngine(model.policy, without_recording)
    return model


MODELS: dict[str, Callable[..., TDA2C]] = {
    **{engine: lambda engine=engine, **kwargs: make_model(FaultyEnv(), engine, **kwargs) for engine in CPU_ENGINES},
    "cuda on cpu": lambda **kwargs: with_eager_cuda_engine(make_model(FaultyEnv(), **kwargs)),
}
OVERFLOW = "^an update would make parameters infinite or NaN at step {}: training diverged. Lower the learning rates"


class BeforeUpdate(BaseCallback):
    """Records the weights and the optimizer's state before each update."""

    def _on_rollout_end(self) -> None:
        self.weights = weights_of(self.model)
        states = self.model.policy.optimizer.state.values()
        self.states = [{name: th.as_tensor(value).clone() for name, value in state.items()} for state in states]

    def _on_step(self) -> bool:
        return True


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", ["learning_rate", "critic_learning_rate"])
def test_a_step_beyond_float32_is_refused(kind: str, name: str) -> None:
    """Losses and gradients are finite. A too large step of one network stops the step of the other one too."""
    model = MODELS[kind](**{name: lambda progress: 1e-3 if progress > 1 - 14 / 60 else 1e39})
    before = BeforeUpdate()
    with pytest.raises(ValueError, match=OVERFLOW.format(15)):
        model.learn(60, before)
    assert (model._n_updates, len(model.rollout_buffer)) == (2, 5)
    assert th.equal(weights_of(model), before.weights)
    if kind != "autograd":
        # PyTorch's optimizers change their moments before the step is refused
        for ours, theirs in zip(model.policy.optimizer.state.values(), before.states, strict=True):
            assert all(th.equal(th.as_tensor(ours[name]), value) for name, value in theirs.items())


@pytest.mark.parametrize("kind", MODELS)
def test_a_division_by_zero_in_adam_is_refused(kind: str) -> None:
    """Without an epsilon, and with a gradient so small that its square is 0."""
    model = MODELS[kind](policy_kwargs={"optimizer_kwargs": {"eps": 0.0}}, max_grad_norm=1e-30)
    weights = weights_of(model)
    with pytest.raises(ValueError, match=OVERFLOW.format(5)):
        model.learn(60)
    assert th.equal(weights_of(model), weights)


def test_a_step_of_sgd_beyond_float32_is_refused() -> None:
    sgd = {"optimizer_class": th.optim.SGD}
    model = make_model(FaultyEnv(), policy_kwargs=sgd, learning_rate=1e38, reward_scale=1e3)
    weights = weights_of(model)
    with pytest.raises(ValueError, match=OVERFLOW.format(5)):
        model.learn(60)
    assert th.equal(weights_of(model), weights)


@pytest.mark.parametrize("kind", MODELS)
def test_huge_parameters_are_accepted(kind: str) -> None:
    """Although their squares are infinite."""
    model = MODELS[kind]()
    with th.no_grad():
        model.policy.mlp_extractor.policy_net[0].bias.fill_(-1e20)
    assert model.learn(10)._n_updates == 2
