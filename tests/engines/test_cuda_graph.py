"""What the CUDA engine records, done on the CPU without a recording; test_cuda.py of TDA2C has the GPU."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from sb3_contrib.common.envs import InvalidActionEnvDiscrete
from scipy import stats
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from sb3_a2c_td import TDA2C, MaskableTDA2C
from sb3_a2c_td.engines import UnsupportedPolicyError
from sb3_a2c_td.engines.autograd import AutogradEngine
from sb3_a2c_td.engines.cuda_graph import CudaEngine
from sb3_a2c_td.engines.static_memory import StaticMemory
from sb3_a2c_td.rollout.transitions import TransitionBuffer, Transitions
from tests.algorithms.comparing import assert_same_parameters
from tests.algorithms.given_actions import GivenActions
from tests.engines import test_change_detection as changes
from tests.engines.test_engines import CASES, assert_same_metrics, autograd, prepared
from tests.environments import RandomEnv

VECTOR = spaces.Box(-1, 1, (2,), np.float32)
IMAGE = spaces.Box(0, 255, (36, 36, 3), np.uint8)


class Recorder:
    """Counts recordings; a replay runs the computation again."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self, compute: Callable[[], th.Tensor]) -> Callable[[], th.Tensor]:
        self.n += 1
        compute()  # as often as not: what is run while it is recorded must leave no trace
        return compute


def recorded(model: TDA2C) -> Recorder:
    """Have a model act and update by recorded computations."""
    recorder = Recorder()
    model.engine = model._engine_name = "cuda"
    model._engine = CudaEngine(model.policy, recorder)
    return recorder


def make(policy: str, observation_space: spaces.Space, action_space: spaces.Space, **kwargs: Any) -> TDA2C:
    envs = [lambda seed=seed: RandomEnv(observation_space, action_space, 7, seed) for seed in range(3)]
    return TDA2C(policy, DummyVecEnv(envs), seed=0, device="cpu", engine="autograd", **kwargs)


# not with ReLUs, which may come within rounding of 0, and not with Adam, which is unsupported
RECORDABLE = [(env_id, name) for env_id, name in CASES if env_id != "Acrobot-v1" and name not in ("relu", "adam")]


@pytest.mark.parametrize(("env_id", "loss_config"), RECORDABLE)
def test_it_computes_what_autograd_computes(env_id: str, loss_config: str) -> None:
    """300 updates on the same transitions."""
    seed, reference = autograd(env_id, loss_config)
    ours = prepared("MlpPolicy", "numpy", env_id, loss_config, seed)
    recorded(ours)
    ours.learn(len(ours.given) * 2)
    assert len(reference.history) == 300
    atol = 1e-5 if loss_config == "normalized" else 2e-6
    th.testing.assert_close(th.stack(ours.history), th.stack(reference.history), rtol=0, atol=atol)
    assert_same_metrics(ours.metrics, reference.metrics)


@pytest.mark.parametrize(
    ("policy", "space"),
    [("CnnPolicy", IMAGE), ("MultiInputPolicy", spaces.Dict({"image": IMAGE, "number": spaces.Discrete(3)}))],
)
def test_images_and_dicts(policy: str, space: spaces.Space) -> None:
    reference, ours = (make(policy, space, spaces.Discrete(3)).learn(36) for _ in range(2))
    recorded(ours)
    assert len(ours.rollout_buffer) > 0
    for model in (reference, ours):
        model.train()
    assert_same_parameters(ours, reference, atol=1e-6)


def test_one_recording_fits_rollouts_of_every_length() -> None:
    model = TDA2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu", engine="autograd")
    recorder = recorded(model)
    lengths = set()
    train = model.train

    def watched() -> None:
        lengths.add(len(model.rollout_buffer))
        train()

    model.train = watched
    model.learn(1000)
    assert lengths == {1, 2, 3, 4, 5}
    assert recorder.n == 2
    assert all(state["step"] == model._n_updates for state in model.policy.optimizer.state.values())


def test_padding_has_no_part_in_metrics() -> None:
    """Rows of an earlier, longer rollout, so large that they overflow."""
    model = make("MlpPolicy", VECTOR, spaces.Discrete(3)).learn(12)
    rng = np.random.default_rng(0)
    recorder = recorded(model)
    for scale, n in ((1e30, 8), (1.0, 3)):
        s, next_s = scale * rng.normal(size=(2, n, 2)).astype(np.float32)
        ended = np.zeros(n, bool)
        batch = Transitions(s, np.zeros(n, np.int64), np.ones(n, np.float32), next_s, ended, ended)
        buffer = TransitionBuffer(8)
        buffer.add(batch)
        with th.no_grad():
            # SB3 keeps the last distribution, and one with a graph has no deepcopy
            model.policy.get_distribution(th.zeros(1, 2))
        reference = copy.deepcopy(model)
        update = model._engine.update(buffer, model._loss_config(), model._streams)
    expected = AutogradEngine(reference.policy).update(buffer, model._loss_config(), model._streams)
    assert recorder.n == 1
    np.testing.assert_allclose(update[2:], expected[2:], rtol=1e-4, atol=1e-6)


def test_another_loss_is_recorded_anew() -> None:
    model = TDA2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu", engine="autograd")
    recorder = recorded(model)
    model.learn(20)
    model.gamma = 0.5
    model.learn(20, reset_num_timesteps=False)
    assert recorder.n == 3


RECORDED_ANEW = [
    changes.reverse_the_groups,
    changes.replace_an_activation,
    changes.put_a_tensor_in_place,
    changes.clear_the_moments,
    changes.replace_the_optimizer,
    changes.change_the_settings,
    changes.share_the_memory,
    changes.replace_the_policy,
]


def changed(engine: str, change: Callable[[TDA2C], None]) -> tuple[TDA2C, Recorder]:
    """Take ten updates, change the model, and take ten more; return what was recorded after the change."""
    model = GivenActions("MlpPolicy", "CartPole-v1", seed=0, device="cpu", engine="autograd")
    model.given = np.random.default_rng(0).integers(0, 2, (200, 1))
    recorder = recorded(model) if engine == "cuda" else Recorder()
    model.learn(50)
    change(model)
    recorder.n = 0
    if engine == "cuda" and model._engine.policy is not model.policy:
        recorder = recorded(model)
    return model.learn(50, reset_num_timesteps=False), recorder


@pytest.mark.parametrize("change", RECORDED_ANEW)
def test_structural_changes_are_recorded_anew(change: Callable[[TDA2C], None]) -> None:
    reference, _ = changed("autograd", change)
    model, recorder = changed("cuda", change)
    assert recorder.n > 0
    assert_same_parameters(model, reference, atol=1e-5)


@pytest.mark.parametrize("change", [change for change in changes.CHANGES if change not in RECORDED_ANEW])
def test_unsupported_changes_are_refused(change: Callable[[TDA2C], None]) -> None:
    with pytest.raises(UnsupportedPolicyError, match="engine='cuda' does not support this model"):
        changed("cuda", change)


def test_discrete_actions_follow_the_policy() -> None:
    model = make("MlpPolicy", VECTOR, spaces.Discrete(5))
    recorded(model)
    observations = np.tile(np.array([[0.9, -0.7]], np.float32), (20_000, 1))
    counts = np.bincount(model.sample_actions(observations), minlength=5)
    with th.no_grad():
        probs = model.policy.get_distribution(th.as_tensor(observations[:1])).distribution.probs[0].double().numpy()
    assert stats.chisquare(counts, probs / probs.sum() * 20_000).pvalue > 1e-4


def test_continuous_actions_follow_the_policy() -> None:
    model = make("MlpPolicy", VECTOR, VECTOR)
    recorded(model)
    with th.no_grad():
        model.policy.log_std.copy_(th.tensor([-1.0, 0.5]))
    observations = np.tile(np.array([[0.9, -0.7]], np.float32), (20_000, 1))
    actions = model.sample_actions(observations)
    with th.no_grad():
        normal = model.policy.get_distribution(th.as_tensor(observations[:1])).distribution
    for k in range(2):
        cdf = stats.norm(normal.mean[0, k].item(), normal.stddev[0, k].item()).cdf
        assert stats.kstest(actions[:, k], cdf).pvalue > 1e-4


@pytest.mark.parametrize("action_space", [spaces.Discrete(3), VECTOR])
def test_outputs_that_are_not_finite_are_an_error(action_space: spaces.Space) -> None:
    model = make("MlpPolicy", VECTOR, action_space)
    recorded(model)
    with th.no_grad():
        model.policy.action_net.bias.fill_(th.nan)
    with pytest.raises(ValueError, match="action distribution is not finite"):
        model.learn(5)


def test_an_infinite_loss_takes_no_step() -> None:
    model = make("MlpPolicy", VECTOR, VECTOR).learn(12)
    recorded(model)
    with th.no_grad():
        model.policy.log_std.fill_(th.inf)
    before = [param.clone() for param in model.policy.parameters()]
    update = model._engine.update(model.rollout_buffer, model._loss_config(), model._streams)
    assert not np.isfinite(update.actor_loss)
    assert all(th.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))
    assert len({state["step"] for state in model.policy.optimizer.state.values()}) == 1


@pytest.mark.parametrize(
    ("policy_kwargs", "reason"),
    [
        ({"optimizer_class": th.optim.Adam}, "the optimizer is Adam, not AdamTFLike"),
        ({"activation_fn": nn.Dropout}, "not known to compute the same at every call"),
    ],
)
def test_unsupported_policies_are_refused(policy_kwargs: dict[str, Any], reason: str) -> None:
    model = make("MlpPolicy", VECTOR, VECTOR, policy_kwargs=policy_kwargs)
    with pytest.raises(UnsupportedPolicyError, match=f"engine='cuda' does not support this model: .*{reason}"):
        recorded(model)


def test_masks_are_refused() -> None:
    model = MaskableTDA2C("MlpPolicy", InvalidActionEnvDiscrete(dim=4), device="cpu", engine="autograd")
    with pytest.raises(
        UnsupportedPolicyError, match="engine='cuda' does not support this model: the policy is a MaskableMlpPolicy"
    ):
        recorded(model)


def test_a_cpu_is_refused() -> None:
    with pytest.raises(
        ValueError, match="engine='cuda' does not support this model: the device is cpu, not the current GPU"
    ):
        TDA2C("MlpPolicy", "CartPole-v1", engine="cuda", device="cpu")


def test_it_warns_that_it_has_not_run_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sb3_a2c_td.engines.CudaEngine", partial(CudaEngine, record=Recorder()))
    with pytest.warns(UserWarning, match="engine='cuda' is experimental: its developers have not run it on a GPU yet"):
        TDA2C("MlpPolicy", "CartPole-v1", engine="cuda", device="cpu")


SHAPES = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)) | st.just(()), min_size=1, max_size=5)


@settings(deadline=None, max_examples=30)
@given(SHAPES, st.data())
def test_static_memory_uploads_what_was_written(shapes: list[tuple[int, ...]], data: st.DataObject) -> None:
    kinds = [data.draw(st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_])) for _ in shapes]
    memory = StaticMemory(
        {str(i): (shape, kind) for i, (shape, kind) in enumerate(zip(shapes, kinds, strict=True))}, th.device("cpu")
    )
    rng = np.random.default_rng(0)
    for array in memory.host.values():
        array[...] = rng.integers(0, 2, array.shape)
    memory.upload()
    for i, (shape, kind) in enumerate(zip(shapes, kinds, strict=True)):
        assert memory.device[str(i)].numpy().dtype == kind
        assert memory.device[str(i)].shape == shape
        np.testing.assert_array_equal(memory.device[str(i)].numpy(), memory.host[str(i)])
