"""A training that was saved and resumed is the one that was never stopped."""

import io
import pickle
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import LinearSchedule, set_random_seed
from stable_baselines3.common.vec_env import SubprocVecEnv, VecFrameStack, VecNormalize

from sb3_a2c_td import TDA2C, UnreadableCheckpointError
from sb3_a2c_td.saving import generators
from tests.engines import CPU_ENGINES
from tests.environments import DictCountingEnv
from tests.saving.comparing import differences, everything

N_FIRST, N_THEN = 303, 398

Making = tuple[Callable[[int], Any], dict[str, Any]]
TRAININGS: dict[str, Making] = {
    "one environment": (lambda seed: make_vec_env("CartPole-v1", seed=seed), {}),
    "several": (lambda seed: make_vec_env("Acrobot-v1", 3, seed=seed), {"n_steps": 7}),
    "VecNormalize": (
        lambda seed: VecNormalize(VecFrameStack(make_vec_env("CartPole-v1", 2, seed=seed), 3)),
        {"max_grad_norm": 0.5, "normalize_advantage": True},
    ),
    "continuous": (lambda seed: make_vec_env("Pendulum-v1", seed=seed), {"bootstrap_on_truncation": True}),
    "gSDE": (
        lambda seed: make_vec_env("Pendulum-v1", 3, seed=seed),
        {"use_sde": True, "sde_sample_freq": 4, "n_steps": 9},
    ),
    "dicts": (lambda seed: make_vec_env(lambda: DictCountingEnv(7), 2, seed=seed), {"policy": "MultiInputPolicy"}),
    "native": (
        lambda seed: gym.make_vec("CartPole-v1", 4, vectorization_mode="vector_entry_point"),
        {"update_on_episode_end": True},
    ),
}


def make(training: str, seed: int = 0, **kwargs: Any) -> TDA2C:
    make_env, settings = TRAININGS[training]
    kwargs = {"policy": "MlpPolicy", "seed": seed, "device": "cpu", **settings, **kwargs}
    return TDA2C(env=make_env(seed), **kwargs)


@pytest.mark.parametrize(
    ("training", "engine"),
    [
        (training, engine)
        for training in TRAININGS
        for engine in CPU_ENGINES
        # which serves plain MLPs only
        if engine != "numba" or training not in ("gSDE", "dicts")
    ],
)
def test_resuming_goes_on_to_the_bit(training: str, engine: str, tmp_path: Path) -> None:
    """In one go, and saved, resumed on other environments with the generators elsewhere: wherever in an interval."""
    expected = everything(make(training, engine=engine).learn(N_FIRST + N_THEN))
    make(training, engine=engine).learn(N_FIRST).save(tmp_path / "model")
    other = make(training, seed=1).learn(50)
    model = TDA2C.resume(tmp_path / "model", other.env, device="cpu")
    n_left = N_FIRST + N_THEN - model.num_timesteps
    assert differences(everything(model.learn(n_left, reset_num_timesteps=False)), expected) == []


def test_a_plain_load_does_not_go_on_to_the_bit(tmp_path: Path) -> None:
    """So the test above can fail."""
    expected = everything(make("one environment").learn(N_FIRST + N_THEN))
    make("one environment").learn(N_FIRST).save(tmp_path / "model")
    model = TDA2C.load(tmp_path / "model", make("one environment", seed=1).env, device="cpu")
    found = everything(model.learn(N_THEN, reset_num_timesteps=False))
    assert {"weights", "moments", "generators", "next steps"} <= set(differences(found, expected))


@pytest.mark.parametrize("training", ["one environment", "gSDE"])
def test_what_a_callback_saved_in_a_training_with_schedules(training: str, tmp_path: Path) -> None:
    schedules = {"learning_rate": LinearSchedule(1e-3, 0, 1.0), "critic_learning_rate": LinearSchedule(3e-3, 1e-4, 0.5)}
    whole = make(training, **schedules)
    expected = everything(whole.learn(700))
    stopped = make(training, **schedules)
    stopped.learn(700, CheckpointCallback(save_freq=307 // whole.n_envs, save_path=str(tmp_path)))
    path = min(tmp_path.iterdir(), key=lambda path: int(path.stem.split("_")[2]))
    model = TDA2C.resume(path, make(training, seed=1).env, device="cpu")
    assert 290 < model.num_timesteps < 310
    found = everything(model.learn(700 - model.num_timesteps, reset_num_timesteps=False))
    assert differences(found, expected) == []


RESUME = """
import sys
import torch as th
from sb3_a2c_td import TDA2C
from stable_baselines3.common.env_util import make_vec_env
th.set_num_threads(1)
model = TDA2C.resume(sys.argv[1], make_vec_env("CartPole-v1"), device="cpu")
model.learn(int(sys.argv[2]), reset_num_timesteps=False)
model.save(sys.argv[3])
"""


def test_in_a_new_process(tmp_path: Path) -> None:
    whole = make("one environment").learn(N_FIRST + N_THEN)
    make("one environment").learn(N_FIRST).save(tmp_path / "first")
    command = [sys.executable, "-c", RESUME, str(tmp_path / "first"), str(N_THEN), str(tmp_path / "second")]
    subprocess.run(command, check=True, timeout=120)
    model = TDA2C.load(tmp_path / "second", device="cpu")
    for ours, theirs in zip(whole.policy.parameters(), model.policy.parameters(), strict=True):
        assert th.equal(ours, theirs)
    assert (model.num_timesteps, model._n_updates) == (whole.num_timesteps, whole._n_updates)
    assert [(e["r"], e["l"]) for e in model.ep_info_buffer] == [(e["r"], e["l"]) for e in whole.ep_info_buffer]


def test_loading_leaves_the_global_generators_alone(tmp_path: Path) -> None:
    make("one environment").save(tmp_path / "model")
    env = make_vec_env("CartPole-v1")
    set_random_seed(5)
    before = generators.states()
    TDA2C.load(tmp_path / "model", env, device="cpu")
    np.testing.assert_equal(generators.states(), before)
    # which SB3 does not
    A2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu").save(tmp_path / "a2c")
    A2C.load(tmp_path / "a2c", device="cpu")
    with pytest.raises(AssertionError):
        np.testing.assert_equal(generators.states(), before)


@pytest.mark.parametrize(
    ("make_env", "reason"),
    [
        (lambda seed: make_vec_env("LunarLander-v3", seed=seed), "world"),
        (lambda seed: make_vec_env("CartPole-v1", 2, seed=seed, vec_env_cls=SubprocVecEnv), "SubprocVecEnv"),
        (lambda seed: gym.make_vec("CartPole-v1", 2, vectorization_mode="async"), "GymnasiumVecEnv"),
    ],
)
def test_where_environments_cannot_be_restored(make_env: Callable[[int], Any], reason: str, tmp_path: Path) -> None:
    """A new episode begins, always the same, with statistics, transitions and all else in place."""

    def run() -> TDA2C:
        env = make_env(3)
        with pytest.warns(UserWarning, match=f"training goes on at the beginning of an episode, since .*{reason}"):
            model = TDA2C.resume(tmp_path / "model", VecNormalize(wrapped(env)), device="cpu")
        model.learn(100, reset_num_timesteps=False)
        model.env.close()
        return model

    def wrapped(env: Any) -> Any:
        return TDA2C._wrap_env(env, monitor_wrapper=False)

    first = TDA2C("MlpPolicy", VecNormalize(wrapped(make_env(0))), n_steps=8, seed=0, device="cpu").learn(205)
    first.save(tmp_path / "model")
    first.env.close()
    one, other = run(), run()
    for ours, theirs in zip(one.policy.parameters(), other.policy.parameters(), strict=True):
        assert th.equal(ours, theirs)
    assert one.env.obs_rms.count == other.env.obs_rms.count > first.env.obs_rms.count
    assert one.num_timesteps == first.num_timesteps + 100


def test_other_environments_are_errors(tmp_path: Path) -> None:
    make("VecNormalize").learn(50).save(tmp_path / "model")
    with pytest.raises(ValueError, match="env: the model was saved with 2 environments, now there are 3"):
        TDA2C.resume(tmp_path / "model", VecNormalize(VecFrameStack(make_vec_env("CartPole-v1", 3), 3)))
    with pytest.raises(ValueError, match="env has 1 of SB3's wrappers, and had 2 where the model was saved"):
        TDA2C.resume(tmp_path / "model", VecFrameStack(make_vec_env("CartPole-v1", 2), 3))


def test_files_without_a_training(tmp_path: Path) -> None:
    model = make("one environment").learn(20)
    OnPolicyAlgorithm.save(model, tmp_path / "by SB3.zip")
    TDA2C.load(tmp_path / "by SB3.zip", device="cpu")
    with pytest.raises(UnreadableCheckpointError, match="has no state of the training: load"):
        TDA2C.resume(tmp_path / "by SB3.zip", make_vec_env("CartPole-v1"))
    # saved without environments
    model.save(tmp_path / "model")
    TDA2C.load(tmp_path / "model", device="cpu").save(tmp_path / "without")
    with pytest.warns(UserWarning, match="since the model was saved without environments"):
        resumed = TDA2C.resume(tmp_path / "without", make_vec_env("CartPole-v1"), device="cpu")
    assert resumed.learn(20, reset_num_timesteps=False).num_timesteps == 40


def test_saving_changes_nothing(tmp_path: Path) -> None:
    saved = make("gSDE").learn(300, CheckpointCallback(save_freq=1, save_path=str(tmp_path)))
    assert len(list(tmp_path.iterdir())) == 100
    found = everything(saved)
    assert differences(found, everything(make("gSDE").learn(300))) == []


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """The system refuses what a disk does when it is full: to make a file as long as it must be."""
    model = make("one environment").learn(20)
    model.save(tmp_path / "model")
    before = (tmp_path / "model.zip").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="nothing was saved, and what was there before is untouched"):
            model.save(tmp_path / "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "model.zip").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    model = make("one environment").learn(20)
    model.save(tmp_path / "model.zip")
    before = (tmp_path / "model.zip").read_bytes()

    class Unpicklable:
        def __reduce__(self) -> Any:
            raise RuntimeError("no pickle of this")

    model.thing = Unpicklable()
    with pytest.raises(RuntimeError, match="no pickle of this"):
        model.save(tmp_path / "model.zip")
    assert (tmp_path / "model.zip").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]


def test_every_checkpoint_goes_on_with_episodes_of_its_own(tmp_path: Path) -> None:
    """Where environments cannot be restored, also with noise that PyTorch draws: else all would learn from the same."""
    model = TDA2C("MlpPolicy", make_vec_env("LunarLanderContinuous-v3", seed=0), use_sde=True, seed=0, device="cpu")
    seeds = []
    for _ in range(4):
        model.learn(25, reset_num_timesteps=False).save(tmp_path / "model")
        env = make_vec_env("LunarLanderContinuous-v3")
        with pytest.warns(UserWarning, match="training goes on at the beginning of an episode"):
            TDA2C.resume(tmp_path / "model", env, device="cpu")
        seeds.append(env._seeds[0])
    assert len(set(seeds)) == 4


def with_state(path: Path, change: Callable[[dict[str, Any]], Any]) -> io.BytesIO:
    """Give a saved model whose state of the training is another one."""
    file = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "training_state.pkl":
                state = pickle.loads(content)
                content = pickle.dumps(change(state))
            new.writestr(name, content)
    return file


def env_state(content: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda state: {**state, "env": [(pickle.dumps(content), None)]}


def with_torch(state: dict[str, Any], left: int, position: int) -> dict[str, Any]:
    numbers = state["generators"]["torch"].copy()
    numbers[8:12] = np.array([left], np.int32).view(np.uint8)
    numbers[16:24] = np.array([position], np.uint64).view(np.uint8)
    return {**state, "generators": {**state["generators"], "torch": numbers}}


DUMMY = "stable_baselines3.common.vec_env.dummy_vec_env.DummyVecEnv"
DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "nothing": lambda state: {},
    "no dict": lambda state: [1],
    "no generators": lambda state: {**state, "generators": {}},
    "no states": lambda state: {**state, "env": 3},
    "no state": env_state(3),
    "an unknown kind": env_state(("evil", None, 0)),
    "a number of nothing": env_state(("same", None, 12345)),
    "too much text": env_state(("object", (DUMMY, {"text": ("text", ("<U400000000", (1,), b"abcd"), 1)}), 0)),
    "no memory": env_state(("object", (DUMMY, {"a": ("view", (("plain", 1, 0), 0, (1,), (8,)), 1)}), 0)),
    "too much memory": env_state(
        ("object", (DUMMY, {"a": ("view", (("array", np.zeros(2), 2), 0, (2**40,), (0,)), 1)}), 0)
    ),
    "truths that are none": env_state(("object", (DUMMY, {"a": ("text", ("?", (3,), b"abc"), 1)}), 0)),
    "left numbers of PyTorch": lambda state: with_torch(state, 624, 624),
    "no numbers of PyTorch": lambda state: with_torch(state, 0, 0),
}


@pytest.mark.filterwarnings("ignore:training goes on at the beginning")
@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_states_are_errors(name: str, tmp_path: Path) -> None:
    make("one environment").learn(20).save(tmp_path / "model.zip")
    same = with_state(tmp_path / "model.zip", lambda state: state)
    assert TDA2C.resume(same, make_vec_env("CartPole-v1"), device="cpu").num_timesteps == 20
    damaged = with_state(tmp_path / "model.zip", DAMAGES[name])
    with pytest.raises(ValueError, match=r"damaged|generator|could not be put back|no state"):
        TDA2C.resume(damaged, make_vec_env("CartPole-v1"), device="cpu")


def test_resuming_needs_environments(tmp_path: Path) -> None:
    make("one environment").learn(20).save(tmp_path / "model")
    with pytest.raises(ValueError, match="env=None: resume\\(\\) needs environments"):
        TDA2C.resume(tmp_path / "model", None)
