"""Every engine draws from the policy and computes what the reference computes."""

import copy
import math
import sys
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from scipy import stats
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import CombinedExtractor
from torch import nn

from sb3_a2c_td import TDA2C, MlpPolicy
from sb3_a2c_td.engines import Update, numba_kernels, numba_mlp, numpy_mlp
from sb3_a2c_td.rollout.transitions import MaskedTransitions, TransitionBuffer, Transitions
from tests.algorithms.comparing import assert_same_parameters
from tests.algorithms.given_actions import GivenActions
from tests.engines import CLOSED_FORM_ENGINES, CPU_ENGINES, MLP_ENGINES
from tests.environments import CountingEnv, RandomEnv

VECTOR = spaces.Box(-1, 1, (2,), np.float32)
N_DRAWS = 20_000
OBSERVATION = np.array([[0.9, -0.7]], np.float32)


def make(engine: str, env_id: str = "CartPole-v1", n_envs: int = 2, **kwargs) -> TDA2C:
    env = make_vec_env(env_id, n_envs=n_envs, seed=0, env_kwargs={"max_episode_steps": 23})
    return TDA2C("MlpPolicy", env, engine=engine, seed=0, device="cpu", **kwargs)


def draws(model: TDA2C) -> np.ndarray:
    """Draw by batches so small that no engine leaves them to another."""
    batches = [model.sample_actions(np.tile(OBSERVATION, (100, 1))) for _ in range(N_DRAWS // 100)]
    return np.concatenate(batches)


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_discrete_actions_follow_the_policy(engine: str) -> None:
    model = TDA2C("MlpPolicy", RandomEnv(VECTOR, spaces.Discrete(5)), engine=engine, seed=0, device="cpu")
    actions = draws(model)
    assert actions.shape == (N_DRAWS,)
    assert actions.dtype == np.int64
    with th.no_grad():
        probs = model.policy.get_distribution(th.as_tensor(OBSERVATION)).distribution.probs[0].double().numpy()
    counts = np.bincount(actions, minlength=5)
    assert stats.chisquare(counts, probs / probs.sum() * N_DRAWS).pvalue > 1e-4


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_continuous_actions_follow_the_policy(engine: str) -> None:
    model = TDA2C("MlpPolicy", RandomEnv(VECTOR, VECTOR), engine=engine, seed=0, device="cpu")
    with th.no_grad():
        model.policy.log_std.copy_(th.tensor([-1.0, 0.5]))
    actions = draws(model)
    assert actions.shape == (N_DRAWS, 2)
    assert actions.dtype == np.float32
    with th.no_grad():
        normal = model.policy.get_distribution(th.as_tensor(OBSERVATION)).distribution
    for k in range(2):
        mean, std = normal.mean[0, k].item(), normal.stddev[0, k].item()
        assert stats.kstest(actions[:, k], stats.norm(mean, std).cdf).pvalue > 1e-4
    assert abs(np.corrcoef(actions.T)[0, 1]) < 0.03


class OwnPolicy(MlpPolicy):
    """Not a plain MLP, since its methods may be overridden."""


class UpdateRecorder(GivenActions):
    """Takes given actions, and records the parameters and metrics of every update."""

    def _setup_model(self) -> None:
        super()._setup_model()
        self.history: list[th.Tensor] = []
        self.metrics: list[list[float]] = []

    def _log_update(self, update) -> None:
        super()._log_update(update)
        self.history.append(th.cat([param.detach().view(-1) for param in self.policy.parameters()]))
        self.metrics.append([value for value in update if isinstance(value, float)])


TANH = {"activation_fn": nn.Tanh}
# with PyTorch's own epsilon of 1e-8, Adam makes steps of what rounding leaves of a gradient that nearly vanishes
ADAM = {"optimizer_class": th.optim.Adam, "optimizer_kwargs": {"betas": (0.8, 0.99), "eps": 1e-5}}
LOSS_CONFIGS: dict[str, dict[str, Any]] = {
    "relu": {},
    "plain": {"policy_kwargs": TANH},
    "truncation": {"bootstrap_on_truncation": True, "reward_scale": 1.0, "gamma": 0.9, "policy_kwargs": TANH},
    "extras": {
        "ent_coef": 0.05,
        "max_grad_norm": 0.1,
        "n_steps": 8,
        "policy_kwargs": TANH,
    },
    "normalized": {"normalize_advantage": True, "policy_kwargs": TANH},
    "one layer": {"policy_kwargs": {**TANH, "net_arch": [8], "ortho_init": True}},
    "linear": {"policy_kwargs": {"net_arch": []}},
    "adam": {"policy_kwargs": TANH | ADAM},
    "double softmax": {"double_softmax": True, "ent_coef": 0.01, "policy_kwargs": TANH},
}


def prepared(policy, engine: str, env_id: str, loss_config: str, seed: int) -> UpdateRecorder:
    """Make a model with the actions of 300 updates; the seed determines them and the transitions."""
    env = make_vec_env(env_id, n_envs=2, seed=seed, env_kwargs={"max_episode_steps": 23})
    model = UpdateRecorder(policy, env, engine=engine, seed=seed, device="cpu", **LOSS_CONFIGS[loss_config])
    rng = np.random.default_rng(seed)
    n_steps = 300 * model.n_steps
    continuous = isinstance(env.action_space, spaces.Box)
    model.given = (
        rng.normal(size=(n_steps, 2, 1)).astype(np.float32)
        if continuous
        else rng.integers(0, env.action_space.n, (n_steps, 2))
    )
    return model


def trained(*args) -> UpdateRecorder:
    """Take 300 updates."""
    model = prepared(*args)
    return model.learn(2 * len(model.given))


class DistanceReLU(nn.ReLU):
    """Records how close its inputs came to 0, where rounding decides on which side a unit is."""

    closest = math.inf

    def forward(self, input: th.Tensor) -> th.Tensor:
        # inputs of exactly 0 are 0 in every engine
        distances = input.detach()[input != 0].abs()
        if len(distances) > 0:
            DistanceReLU.closest = min(DistanceReLU.closest, distances.min().item())
        return super().forward(input)


class DistancePolicy(MlpPolicy):
    """Its ReLUs record the distances."""

    def _build(self, lr_schedule) -> None:
        if self.activation_fn is nn.ReLU:
            self.activation_fn = DistanceReLU
        super()._build(lr_schedule)


def assert_same_metrics(ours: list[list[float]], theirs: list[list[float]]) -> None:
    *metrics, explained_variance = np.array(ours).T
    *expected, expected_variance = np.array(theirs).T
    np.testing.assert_allclose(metrics, expected, rtol=1e-3, atol=1e-4)
    # where the targets are nearly the same, it is divided by what nearly vanishes
    np.testing.assert_allclose(explained_variance, expected_variance, rtol=1e-3, atol=5e-3)


@cache
def autograd(env_id: str, loss_config: str) -> tuple[int, UpdateRecorder]:
    """Take 300 updates with autograd, once for all engines that are compared with it; return also the seed."""
    for seed in range(20):
        DistanceReLU.closest = math.inf
        reference = trained(DistancePolicy, "autograd", env_id, loss_config, seed)
        if DistanceReLU.closest > 3e-8:
            return seed, reference
    pytest.fail("with every seed some ReLU came within rounding of 0")


CASES = [
    *(("CartPole-v1", name) for name in LOSS_CONFIGS),
    *(("Acrobot-v1", name) for name in ("relu", "extras")),
    *(("Pendulum-v1", name) for name in ("plain", "truncation", "extras", "normalized", "adam")),
]


@pytest.mark.parametrize(("env_id", "loss_config"), CASES)
def test_every_engine_computes_what_autograd_computes(env_id: str, loss_config: str) -> None:
    """300 updates on the same transitions."""
    seed, reference = autograd(env_id, loss_config)
    assert len(reference.history) == 300
    assert (reference.history[-1] - reference.history[0]).abs().max() > 0.01
    for engine in CLOSED_FORM_ENGINES:
        model = trained(MlpPolicy, engine, env_id, loss_config, seed)
        # advantages that are nearly the same are normalized by what nearly vanishes
        atol = 1e-5 if loss_config == "normalized" else 2e-6
        th.testing.assert_close(th.stack(model.history), th.stack(reference.history), rtol=0, atol=atol)
        assert_same_metrics(model.metrics, reference.metrics)


def test_numba_updates_the_tensors_of_the_policy() -> None:
    """The policy's own tensors change with every update, so that state dicts and predictions stay current."""
    model = make("numba").learn(20)
    before = model.policy.action_net.weight.detach().clone()
    moments = model.policy.optimizer.state[model.policy.action_net.weight]["exp_avg"].clone()
    model.learn(20, reset_num_timesteps=False)
    assert not th.equal(model.policy.action_net.weight, before)
    state = model.policy.optimizer.state[model.policy.action_net.weight]
    assert not th.equal(state["exp_avg"], moments)
    assert state["step"] == model._n_updates


def steps_of(model: TDA2C) -> th.Tensor:
    model.set_random_seed(5)
    model.learn(60)
    return th.nn.utils.parameters_to_vector(model.policy.parameters()).detach()


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_set_parameters_takes_effect(engine: str) -> None:
    source, target = make(engine).learn(100), make(engine).learn(50)
    target.set_parameters(copy.deepcopy(source.get_parameters()))
    assert th.equal(steps_of(source), steps_of(target))


def test_load_from_vector_takes_effect() -> None:
    source, target = make("numba"), make("numba").learn(50)
    source.policy.optimizer.load_state_dict(copy.deepcopy(target.policy.optimizer.state_dict()))
    target.policy.load_from_vector(source.policy.parameters_to_vector())
    assert th.equal(steps_of(source), steps_of(target))


def test_a_replaced_tensor_takes_effect() -> None:
    source, target = make("numba").learn(50), make("numba").learn(50)
    bias = source.policy.value_net.bias
    with th.no_grad():
        bias.add_(1.0)
    target.policy.value_net.bias.data = bias.detach().clone()
    assert th.equal(steps_of(source), steps_of(target))


def test_a_parameter_frozen_between_trainings_is_refused() -> None:
    model = make("numba").learn(50)
    model.policy.value_net.bias.requires_grad_(False)
    with pytest.raises(ValueError, match="a parameter is frozen"):
        model.learn(50)


def test_a_loaded_model_may_change_its_engine(tmp_path) -> None:
    make("numba").learn(100).save(tmp_path / "model")
    env = make_vec_env("CartPole-v1", n_envs=2, seed=0)
    autograd_model = TDA2C.load(tmp_path / "model", env=env, device="cpu", engine="autograd")
    assert autograd_model.learn(100, reset_num_timesteps=False)._n_updates == 20
    autograd_model.save(tmp_path / "model")
    numba_model = TDA2C.load(tmp_path / "model", env=env, device="cpu", engine="numba")
    assert numba_model.learn(100, reset_num_timesteps=False)._n_updates == 30
    assert numba_model.policy.optimizer.state[numba_model.policy.value_net.bias]["step"] == 30


@pytest.mark.parametrize(
    ("policy", "env", "kwargs", "reason"),
    [
        (OwnPolicy, CountingEnv(), {}, "the policy is a OwnPolicy"),
        ("MlpPolicy", RandomEnv(spaces.Discrete(3), spaces.Discrete(2)), {}, r"the observations are Discrete\(3\)"),
        ("MlpPolicy", RandomEnv(spaces.Box(0, 255, (36, 36, 3), np.uint8), spaces.Discrete(2)), {}, "observations are"),
        ("MlpPolicy", RandomEnv(VECTOR, spaces.MultiBinary(2)), {}, "the distribution is BernoulliDistribution"),
        ("MlpPolicy", RandomEnv(VECTOR, VECTOR), {"use_sde": True}, "the distribution is StateDependentNoise"),
        ("MlpPolicy", CountingEnv(), {"policy_kwargs": {"activation_fn": nn.ELU}}, "the activation is ELU"),
        ("MlpPolicy", CountingEnv(), {"policy_kwargs": {"optimizer_class": th.optim.SGD}}, "the optimizer is SGD"),
        (
            "MlpPolicy",
            CountingEnv(),
            {"policy_kwargs": {"optimizer_class": th.optim.Adam, "optimizer_kwargs": {"weight_decay": 0.1}}},
            "the optimizer has a weight decay",
        ),
        (
            "MultiInputPolicy",
            RandomEnv(spaces.Dict(a=VECTOR), spaces.Discrete(2)),
            {"policy_kwargs": {"features_extractor_class": CombinedExtractor}},
            "the policy is a MultiInputPolicy",
        ),
    ],
)
@pytest.mark.parametrize("engine", CLOSED_FORM_ENGINES)
def test_unsupported_policies_are_refused_with_the_reason(
    engine: str, policy, env, kwargs: dict[str, Any], reason: str
) -> None:
    message = f"engine='{engine}' does not support this model: .*{reason}.*use engine='auto'"
    with pytest.raises(ValueError, match=message):
        TDA2C(policy, env, engine=engine, device="cpu", **kwargs)


def test_without_numba_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ["numba", *(name for name in sys.modules if name.startswith("numba."))]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "sb3_a2c_td.engines.numba_mlp", raising=False)
    with pytest.raises(ValueError, match=r"engine='numba' needs numba: pip install '.\[fast\]'"):
        TDA2C("MlpPolicy", CountingEnv(), engine="numba", device="cpu")


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (2, 3), np.float64), spaces.Box(-5, 5, (4,), np.int64)])
def test_numba_takes_observations_of_other_shapes_and_dtypes(space: spaces.Box) -> None:
    """It takes the same steps as autograd on them."""
    models = [
        UpdateRecorder("MlpPolicy", RandomEnv(space, spaces.Discrete(3)), engine=engine, seed=0, device="cpu")
        for engine in ("autograd", "numba")
    ]
    for model in models:
        model.given = np.random.default_rng(0).integers(0, 3, (50, 1))
        model.learn(50)
    reference, ours = models
    th.testing.assert_close(th.stack(ours.history), th.stack(reference.history), rtol=0, atol=1e-6)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_numpy_and_numba_draw_the_same_actions(env_id: str) -> None:
    """So that "auto" can change from one to the other: after 300 updates, the parameters differ by rounding only."""
    kwargs = {"policy_kwargs": {"activation_fn": nn.Tanh}}
    first, second = (make(engine, env_id, **kwargs).learn(3000) for engine in CLOSED_FORM_ENGINES)
    assert first._n_updates == second._n_updates == 300
    assert_same_parameters(first, second, atol=1e-5)


def test_the_engine_can_be_changed_by_name() -> None:
    model = make("autograd").learn(100)
    model.engine = "numba"
    assert type(model.learn(100, reset_num_timesteps=False)._engine).__name__ == "NumbaEngine"


@pytest.mark.parametrize("engine", CLOSED_FORM_ENGINES)
@pytest.mark.parametrize(("max_rows", "max_products"), [(9, 2**30), (1, 2**30), (9, 15_000), (1, 1)])
def test_large_batches_are_left_to_the_next_engine(
    engine: str, max_rows: int, max_products: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernels leave them to numpy, and numpy to autograd, with the same results."""
    monkeypatch.setattr(numba_mlp, "MAX_ROWS", max_rows)
    monkeypatch.setattr(numba_mlp, "MAX_WIDTH", 31)
    monkeypatch.setattr(numpy_mlp, "MAX_PRODUCTS", max_products)
    n_envs = 2
    reference, model = (
        UpdateRecorder("MlpPolicy", make_vec_env("CartPole-v1", n_envs, seed=0), engine=name, seed=0, device="cpu")
        for name in ("autograd", engine)
    )
    for each in (reference, model):
        each.given = np.random.default_rng(0).integers(0, 2, (50, n_envs))
        each.learn(50 * n_envs)
    th.testing.assert_close(th.stack(model.history), th.stack(reference.history), rtol=0, atol=1e-6)
    assert model._engine.act(np.zeros((n_envs, 4), np.float32), model._streams).shape == (n_envs,)


def updated(engine: str, batch: Transitions, **kwargs: Any) -> tuple[TDA2C, Update]:
    """Take one update on one batch."""
    model = TDA2C("MlpPolicy", "CartPole-v1", engine=engine, seed=0, device="cpu", **kwargs)
    buffer = TransitionBuffer(len(batch.rewards))
    buffer.add(batch)
    return model, model._engine.update(buffer, model._loss_config(), model._streams)


@pytest.mark.parametrize("engine", MLP_ENGINES)
@pytest.mark.parametrize("n", [5, 6, 49])
def test_equal_targets_have_no_explained_variance(engine: str, n: int) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2, n, 4)).astype(np.float32)
    ended = np.ones(n, bool)
    batch = Transitions(rows[0], np.zeros(n, np.int64), np.full(n, 1.1, np.float32), rows[1], ended, ~ended)
    _, update = updated(engine, batch, reward_scale=1.0)
    assert math.isnan(update.explained_variance)


@pytest.mark.parametrize("engine", CLOSED_FORM_ENGINES)
@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 9])
def test_huge_next_observations_reach_no_gradient_of_the_actor(engine: str, n: int) -> None:
    """The kernels take eight rows at a time: padding must have no effect."""
    rng = np.random.default_rng(0)
    s, next_s = rng.normal(size=(2, n, 4)).astype(np.float32)
    ended = np.zeros(n, bool)
    batch = Transitions(s, np.zeros(n, np.int64), np.ones(n, np.float32), 1e38 * next_s, ended, ended)
    (reference, expected), (model, update) = (updated(name, batch, policy_kwargs=TANH) for name in ("autograd", engine))
    assert update.grad_norm == pytest.approx(expected.grad_norm, rel=1e-4)
    assert_same_parameters(model, reference, atol=1e-6)


@pytest.mark.parametrize("engine", CLOSED_FORM_ENGINES)
def test_a_batch_of_hundreds_of_rows_has_the_gradient_of_autograd(engine: str) -> None:
    """The kernels take such a batch block by block."""
    n = 2 * numba_kernels.BLOCK + 5
    rng = np.random.default_rng(0)
    s, next_s = rng.normal(size=(2, n, 4)).astype(np.float32)
    actions, rewards = rng.integers(0, 2, n), rng.normal(size=n).astype(np.float32)
    batch = Transitions(s, actions, rewards, next_s, rng.random(n) < 0.1, np.zeros(n, bool))
    (reference, expected), (model, update) = (updated(name, batch, policy_kwargs=TANH) for name in ("autograd", engine))
    np.testing.assert_allclose(update.values, expected.values, atol=1e-6)
    np.testing.assert_allclose(update.targets, expected.targets, atol=1e-6)
    for found, wanted in zip(model.policy.parameters(), reference.policy.parameters(), strict=True):
        th.testing.assert_close(found.grad, wanted.grad, rtol=1e-4, atol=1e-6)


def test_observations_of_a_wrong_width_are_refused() -> None:
    model = make("numba")
    with pytest.raises(ValueError, match="observations: expected 2 rows of 4 numbers, got 2 rows of 3"):
        model.sample_actions(np.zeros((2, 3), np.float32))


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (2, 1)])
def test_masks_of_a_wrong_shape_are_refused(shape: tuple[int, int]) -> None:
    """Compiled code would write beyond the logits."""
    model = make("numba")
    masks = np.ones(shape, bool)
    with pytest.raises(ValueError, match="action_masks: expected 2 rows of 2 numbers"):
        model._current_engine.act(np.zeros((2, 4), np.float32), model._streams, masks)
    if len(masks) == 2:
        observations, ended = np.zeros((2, 4), np.float32), np.zeros(2, bool)
        rows = (observations, np.zeros(2, np.int64), np.ones(2, np.float32), observations, ended, ended, masks)
        buffer = TransitionBuffer(2)
        buffer.add(MaskedTransitions(*rows))
        with pytest.raises(ValueError, match="action_masks: expected 2 rows of 2 numbers"):
            model._current_engine.update(buffer, model._loss_config(), model._streams)
