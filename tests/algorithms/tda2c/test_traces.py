"""The reference program, recorded in TensorFlow (see tests/data), against learn() on the same transitions."""

from pathlib import Path

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from sb3_a2c_td import TDA2C
from sb3_a2c_td.engines import Update
from tests.engines import CPU_ENGINES
from tests.engines.test_cuda_graph import recorded
from tests.environments import ReplayEnv

RECORDED = [
    "probs",
    "td_targets",
    "advantages",
    "actor_loss",
    "critic_loss",
    "actor_params",
    "critic_params",
    "update_end",
]
TRACES = sorted((Path(__file__).parents[2] / "data").glob("*.npz"))


def actor_layers(model: TDA2C) -> list[nn.Linear]:
    hidden = [layer for layer in model.policy.mlp_extractor.policy_net if isinstance(layer, nn.Linear)]
    return [*hidden, model.policy.action_net]


def critic_layers(model: TDA2C) -> list[nn.Linear]:
    hidden = [layer for layer in model.policy.mlp_extractor.value_net if isinstance(layer, nn.Linear)]
    return [*hidden, model.policy.value_net]


def flat(layers: list[nn.Linear]) -> np.ndarray:
    """Order the parameters as the traces do: kernel ``[in, out]``, bias, layer by layer."""
    arrays = [array.detach().numpy() for layer in layers for array in (layer.weight.T, layer.bias)]
    return np.concatenate([array.ravel() for array in arrays])


@th.no_grad()
def set_weights(layers: list[nn.Linear], name: str, trace: dict[str, np.ndarray]) -> None:
    for i, layer in enumerate(layers):
        layer.weight.copy_(th.as_tensor(trace[f"{name}_init_{2 * i}"]).T)
        layer.bias.copy_(th.as_tensor(trace[f"{name}_init_{2 * i + 1}"]))


class ReplayingTDA2C(TDA2C):
    """Takes the recorded actions, and records the quantities of the trace."""

    def start(self, trace: dict[str, np.ndarray]) -> None:
        self.trace = trace
        self.recorded: dict[str, list] = {name: [] for name in RECORDED}
        set_weights(actor_layers(self), "actor", trace)
        set_weights(critic_layers(self), "critic", trace)

    def sample_actions(self, observations: np.ndarray) -> np.ndarray:
        with th.no_grad():
            distribution = self.policy.get_distribution(th.as_tensor(observations)).distribution
        self.recorded["probs"].extend(distribution.probs.numpy())
        return self.trace["actions"][self.num_timesteps : self.num_timesteps + 1]

    def _log_update(self, update: Update) -> None:
        super()._log_update(update)
        self.recorded["td_targets"].extend(update.targets)
        self.recorded["advantages"].extend(update.targets - update.values)
        self.recorded["update_end"].append(self.num_timesteps)
        self.recorded["actor_loss"].append(self.logger.name_to_value["train/policy_loss"])
        self.recorded["critic_loss"].append(self.logger.name_to_value["train/value_loss"])
        if self._n_updates in self.trace["param_update"]:
            self.recorded["actor_params"].append(flat(actor_layers(self)))
            self.recorded["critic_params"].append(flat(critic_layers(self)))


def replay(trace: dict[str, np.ndarray], engine: str) -> ReplayingTDA2C:
    """Train on a trace; with "cuda", the computations of that engine run on the CPU, without a recording."""
    model = ReplayingTDA2C(
        "MlpPolicy",
        DummyVecEnv([lambda: ReplayEnv(trace)]),
        learning_rate=float(trace["cfg_actor_lr"]),
        critic_learning_rate=float(trace["cfg_critic_lr"]),
        n_steps=int(trace["cfg_update_interval"]),
        gamma=float(trace["cfg_gamma"]),
        reward_scale=float(trace["cfg_reward_scale"]),
        double_softmax=bool(trace["cfg_double_softmax"]),
        engine="autograd" if engine == "cuda" else engine,
        device="cpu",
    )
    model.start(trace)
    if engine == "cuda":
        recorded(model)
    return model.learn(len(trace["actions"]))


@pytest.mark.parametrize("engine", [*CPU_ENGINES, "cuda"])
@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_the_reference_is_reproduced(path: Path, engine: str) -> None:
    trace = dict(np.load(path))
    recorded = replay(trace, engine).recorded

    np.testing.assert_array_equal(recorded["update_end"], trace["update_end"])
    n_trained = trace["update_end"][-1]
    for name in ("td_targets", "advantages"):
        np.testing.assert_allclose(recorded[name], trace[name][:n_trained], rtol=0, atol=1e-5, err_msg=name)
    for name in ("probs", "actor_loss", "critic_loss", "actor_params", "critic_params"):
        np.testing.assert_allclose(recorded[name], trace[name], rtol=0, atol=1e-5, err_msg=name)


def test_the_traces_cover_all_cases() -> None:
    traces = {path.stem: dict(np.load(path)) for path in TRACES}
    assert len(traces) == 6
    assert any(trace["truncated"].any() for trace in traces.values())
    assert any(trace["terminated"].any() for trace in traces.values())
    assert any(trace["cfg_double_softmax"] for trace in traces.values())
    batch_sizes = {size for trace in traces.values() for size in np.diff(trace["update_end"], prepend=0)}
    assert {1, 2, 3, 4, 5, 7, 16} <= batch_sizes
