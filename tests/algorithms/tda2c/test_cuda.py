"""On a GPU. Without one, every test is skipped; ``--gpu cpu`` rehearses them on the CPU, see ``tests/conftest.py``."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
import torch.distributed as dist
from sb3_contrib.common.envs import InvalidActionEnvDiscrete
from scipy import stats
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_a2c_td import TDA2C, MaskableTDA2C, RecurrentTDA2C, train_resumably
from sb3_a2c_td.algorithms.distributed import DistributedTDA2C
from tests.algorithms.comparing import assert_same_parameters
from tests.algorithms.given_actions import GivenActions
from tests.algorithms.tda2c.test_spaces import ACTION_SPACES, OBSERVATION_SPACES, policy_name, weights
from tests.environments import RandomEnv
from tests.faults.scenarios import make_vec_env
from tests.faults.test_out_of_memory import MemoryHungryPolicy

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.filterwarnings("ignore:You are trying to run .* on the GPU"),
    pytest.mark.filterwarnings("ignore:engine='cuda' is experimental"),
]
ENGINES = ["autograd", "cuda"]


def make(observation_space: str, action_space: str, kind: type[TDA2C] = TDA2C, n_envs: int = 2, **kwargs: Any) -> TDA2C:
    # RandomEnv seeds its spaces
    observations, actions = copy.deepcopy((OBSERVATION_SPACES[observation_space], ACTION_SPACES[action_space]))
    envs = [lambda seed=seed: RandomEnv(copy.deepcopy(observations), actions, seed=seed) for seed in range(n_envs)]
    return kind(policy_name(observations), DummyVecEnv(envs), seed=0, **kwargs)


def assert_is_on(device: str, model: TDA2C) -> None:
    """Check that the weights and the optimizer's moments are on a device, and finite."""
    moments = [state[name] for state in model.policy.optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    assert len(moments) > 0
    assert all(tensor.device.type == device for tensor in (*model.policy.parameters(), *moments))
    assert weights(model).isfinite().all()


@pytest.mark.parametrize(
    ("observation_space", "action_space", "engine"),
    [
        *(("float32", "discrete", engine) for engine in ENGINES),
        *(("image", "box", engine) for engine in ENGINES),
        *(("dict", "discrete", engine) for engine in ENGINES),
        ("discrete", "multidiscrete", "autograd"),
        ("multibinary", "multibinary", "autograd"),
    ],
)
def test_models_move_between_devices(
    gpu: str, observation_space: str, action_space: str, engine: str, tmp_path: Path
) -> None:
    """Training, and training of what was saved on the other device."""
    model = make(observation_space, action_space, device=gpu, engine=engine).learn(60)
    assert_is_on(gpu, model)
    path = tmp_path / "model"
    for device in ("cpu", gpu):
        model.save(path)
        model = TDA2C.load(path, env=model.get_env(), device=device, engine=engine if device == gpu else "autograd")
        model.learn(20, reset_num_timesteps=False)
        assert_is_on(device, model)
    assert model.num_timesteps == 100


def test_auto_does_not_choose_the_experimental_engine(gpu: str) -> None:
    assert str(make("image", "discrete", device=gpu)._engine).startswith("autograd")


def test_gsde(gpu: str) -> None:
    assert_is_on(gpu, make("float32", "box", device=gpu, use_sde=True, sde_sample_freq=2).learn(40))


def test_masks(gpu: str) -> None:
    assert_is_on(gpu, MaskableTDA2C("MlpPolicy", InvalidActionEnvDiscrete(dim=4), device=gpu).learn(40))


def test_lstm(gpu: str) -> None:
    env = DummyVecEnv([lambda: RandomEnv(OBSERVATION_SPACES["float32"], ACTION_SPACES["discrete"])] * 2)
    assert_is_on(gpu, RecurrentTDA2C("MlpLstmPolicy", env, device=gpu).learn(40))


def trained_on(
    device: str, observation_space: str, action_space: str, n_updates: int, n_envs: int = 2, **kwargs: Any
) -> TDA2C:
    """Take at least so many updates on the same transitions, from the same weights."""
    space = copy.deepcopy(ACTION_SPACES[action_space])
    space.seed(0)
    model = make(observation_space, action_space, GivenActions, n_envs, device=device, **kwargs)
    model.given = [np.array([space.sample() for _ in range(n_envs)]) for _ in range(5 * n_updates)]
    model.policy.load_state_dict(make(observation_space, action_space, device="cpu").policy.state_dict())
    model.learn(5 * n_envs * n_updates)
    assert model._n_updates >= n_updates
    return model


@pytest.mark.parametrize(("engine", "double_softmax"), [("autograd", False), ("cuda", False), ("cuda", True)])
def test_the_gpu_computes_what_the_cpu_computes(gpu: str, engine: str, double_softmax: bool) -> None:
    on_cpu = trained_on("cpu", "float32", "discrete", 100, double_softmax=double_softmax, engine="autograd")
    on_gpu = trained_on(gpu, "float32", "discrete", 100, double_softmax=double_softmax, engine=engine)
    th.testing.assert_close(weights(on_gpu).cpu(), weights(on_cpu), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("observation_space", "action_space", "n_updates", "n_envs"),
    [
        ("float32", "discrete", 300, 2),
        ("float32", "box", 300, 2),
        # one environment, since then a rollout ends with an episode: a recording for rollouts of every length
        ("float32", "discrete", 300, 1),
        # more updates would show how rounding grows where a ReLU's input is nearly 0
        ("image", "discrete", 5, 1),
    ],
)
def test_graphs_compute_what_autograd_computes(
    gpu: str, observation_space: str, action_space: str, n_updates: int, n_envs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(th.backends.cudnn, "allow_tf32", False)
    models = [trained_on(gpu, observation_space, action_space, n_updates, n_envs, engine=engine) for engine in ENGINES]
    assert_same_parameters(*models, atol=1e-5)


def test_draws_of_a_graph_differ_and_follow_the_policy(gpu: str) -> None:
    model = make("float32", "discrete", device=gpu, engine="cuda")
    observations = np.tile(model.env.reset()[:1], (20_000, 1))
    first, second = model.sample_actions(observations), model.sample_actions(observations)
    assert (first != second).any()
    with th.no_grad():
        obs = th.as_tensor(observations[:1], device=gpu)
        probs = model.policy.get_distribution(obs).distribution.probs[0].double().cpu().numpy()
    counts = np.bincount(first, minlength=len(probs))
    assert stats.chisquare(counts, probs / probs.sum() * len(first)).pvalue > 1e-4


@pytest.mark.parametrize("engine", ENGINES)
def test_interrupted_training_continues(gpu: str, engine: str, tmp_path: Path) -> None:
    def interrupt(locals_: dict[str, Any], _: dict[str, Any]) -> bool:
        if locals_["self"].num_timesteps == 160:
            raise KeyboardInterrupt
        return True

    def make_model() -> TDA2C:
        return make("float32", "discrete", device=gpu, engine=engine)

    path = tmp_path / "model"
    with pytest.raises(KeyboardInterrupt):
        train_resumably(make_model, 200, path, 50, callback=interrupt)
    assert TDA2C.load(path, device=gpu).num_timesteps == 150
    model = train_resumably(make_model, 200, path, 50)
    assert_is_on(gpu, model)
    assert_same_parameters(model, make_model().learn(200), atol=1e-6)


def test_training_continues_after_memory_ran_out(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = TDA2C(MemoryHungryPolicy, make_vec_env("dummy", None), seed=0, device=gpu).learn(27)
    before = weights(model)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryHungryPolicy, "run_out", staticmethod(lambda: th.empty(2**50, device=gpu)))
        patch.setattr(MemoryHungryPolicy, "in_updates_only", True, raising=False)
        with pytest.raises(RuntimeError, match="at step 30.*\nSmaller n_steps, fewer environments or smaller networks"):
            model.learn(60, reset_num_timesteps=False)
    assert th.equal(weights(model), before)
    model.learn(60, reset_num_timesteps=False)
    assert_is_on(gpu, model)


@pytest.mark.parametrize("action_space", ["discrete", "box"])
@pytest.mark.parametrize("engine", ENGINES)
def test_outputs_that_are_not_finite_are_an_error(gpu: str, engine: str, action_space: str) -> None:
    model = make("float32", action_space, device=gpu, engine=engine).learn(20)
    with th.no_grad():
        model.policy.action_net.bias.fill_(th.nan)
    before = weights(model)
    with pytest.raises(ValueError, match="action distribution is not finite"):
        model.learn(10, reset_num_timesteps=False)
    th.testing.assert_close(weights(model), before, rtol=0, atol=0, equal_nan=True)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_step_beyond_float32_is_refused(gpu: str, engine: str) -> None:
    model = make("float32", "discrete", device=gpu, engine=engine).learn(20)
    before = weights(model)
    model.learning_rate = model.critic_learning_rate = 1e39
    model._setup_lr_schedule()
    with pytest.raises(ValueError, match="an update would make parameters infinite or NaN at step 30"):
        model.learn(10, reset_num_timesteps=False)
    assert th.equal(weights(model), before)


def train_a_rank(rank: int, device: str, folder: str) -> None:
    """Train as one of two ranks, each on a GPU by itself, and write its weights."""
    if device == "cuda":
        th.cuda.set_device(rank)
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{folder}/store", rank=rank, world_size=2)
    model = make("float32", "discrete", DistributedTDA2C, device=device, engine="autograd", update_on_episode_end=False)
    model.learn(100)
    assert model._n_updates == 5
    th.save(weights(model).cpu(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_train_one_policy(gpu: str, tmp_path: Path) -> None:
    if gpu == "cuda" and th.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    th.multiprocessing.spawn(train_a_rank, (gpu, str(tmp_path)), nprocs=2)
    first, second = (th.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert th.equal(first, second)
    assert not th.equal(first, weights(make("float32", "discrete", device="cpu")))
