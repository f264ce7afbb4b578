"""On a GPU. Every test here is skipped without one."""

from pathlib import Path

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from scipy import stats
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_a2c_td import TDA2C
from tests.algorithms.given_actions import GivenActions
from tests.algorithms.tda2c.test_spaces import ACTION_SPACES, OBSERVATION_SPACES, policy_name
from tests.environments import RandomEnv

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not th.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.filterwarnings("ignore:You are trying to run .* on the GPU"),
]


def make(observation_space: spaces.Space, action_space: spaces.Space, device: str, **kwargs) -> TDA2C:
    env = DummyVecEnv([lambda: RandomEnv(observation_space, action_space)] * 2)
    return TDA2C(policy_name(observation_space), env, seed=0, device=device, **kwargs)


@pytest.mark.parametrize(
    ("observation_space", "action_space"),
    [
        *((name, "discrete") for name in OBSERVATION_SPACES),
        *(("float32", name) for name in ACTION_SPACES if name != "discrete"),
    ],
)
def test_every_space(observation_space: str, action_space: str, tmp_path: Path) -> None:
    model = make(OBSERVATION_SPACES[observation_space], ACTION_SPACES[action_space], "cuda").learn(40)
    assert all(param.is_cuda and param.isfinite().all() for param in model.policy.parameters())
    model.save(tmp_path / "model")
    for device in ("cpu", "cuda"):
        loaded = TDA2C.load(tmp_path / "model", env=model.get_env(), device=device)
        assert loaded.learn(10, reset_num_timesteps=False).num_timesteps == 50


def test_gsde() -> None:
    model = make(OBSERVATION_SPACES["float32"], ACTION_SPACES["box"], "cuda", use_sde=True, sde_sample_freq=2).learn(40)
    assert all(param.is_cuda and param.isfinite().all() for param in model.policy.parameters())


@pytest.mark.parametrize("action_space", ["discrete", "box"])
@pytest.mark.parametrize("observation_space", OBSERVATION_SPACES)
def test_graphs_of_every_observation_space(observation_space: str, action_space: str, tmp_path: Path) -> None:
    spaces_ = OBSERVATION_SPACES[observation_space], ACTION_SPACES[action_space]
    model = make(*spaces_, "cuda", engine="cuda").learn(60)
    assert all(param.is_cuda and param.isfinite().all() for param in model.policy.parameters())
    assert all(state["step"] == model._n_updates for state in model.policy.optimizer.state.values())
    model.save(tmp_path / "model")
    for engine in ("autograd", "cuda"):
        loaded = TDA2C.load(tmp_path / "model", env=model.get_env(), device="cuda", engine=engine)
        assert loaded.learn(10, reset_num_timesteps=False).num_timesteps == 70


def test_draws_of_a_graph_differ_and_follow_the_policy() -> None:
    model = make(OBSERVATION_SPACES["float32"], ACTION_SPACES["discrete"], "cuda", engine="cuda")
    observations = np.tile(model.env.reset()[:1], (20_000, 1))
    first, second = model.sample_actions(observations), model.sample_actions(observations)
    assert (first != second).any()
    with th.no_grad():
        obs = th.as_tensor(observations[:1], device="cuda")
        probs = model.policy.get_distribution(obs).distribution.probs[0].double().cpu().numpy()
    counts = np.bincount(first, minlength=len(probs))
    assert stats.chisquare(counts, probs / probs.sum() * len(first)).pvalue > 1e-4


@pytest.mark.parametrize("engine", ["autograd", "cuda"])
@pytest.mark.parametrize("double_softmax", [False, True])
def test_the_gpu_computes_what_the_cpu_computes(double_softmax: bool, engine: str) -> None:
    """100 updates on the same transitions and actions."""
    rng = np.random.default_rng(0)
    actions = rng.integers(0, 3, (500, 2))
    parameters = []
    for device in ("cpu", "cuda"):
        env = DummyVecEnv([lambda: RandomEnv(OBSERVATION_SPACES["float32"], ACTION_SPACES["discrete"])] * 2)
        kwargs = {"double_softmax": double_softmax, "engine": engine if device == "cuda" else "autograd"}
        model = GivenActions("MlpPolicy", env, seed=0, device=device, **kwargs)
        model.given = actions
        model.policy.load_state_dict(TDA2C("MlpPolicy", env, seed=0, device="cpu").policy.state_dict())
        model.learn(1000)
        assert model._n_updates == 100
        parameters.append(th.nn.utils.parameters_to_vector(model.policy.parameters()).detach().cpu())
    th.testing.assert_close(*parameters, rtol=0, atol=1e-5)
