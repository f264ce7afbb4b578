"""Models that cannot be resumed: other environments, files without a training state, and damaged states."""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize

from sb3_a2c_td import TDA2C, UnreadableCheckpointError


def make() -> TDA2C:
    return TDA2C("MlpPolicy", make_vec_env("CartPole-v1", seed=0), seed=0, device="cpu").learn(20)


def test_other_environments_are_errors(tmp_path: Path) -> None:
    env = VecNormalize(VecFrameStack(make_vec_env("CartPole-v1", 2), 3))
    TDA2C("MlpPolicy", env, device="cpu").learn(50).save(tmp_path / "model")
    with pytest.raises(ValueError, match="env: the model was saved with 2 environments, now there are 3"):
        TDA2C.resume(tmp_path / "model", VecNormalize(VecFrameStack(make_vec_env("CartPole-v1", 3), 3)))
    with pytest.raises(ValueError, match="env has 1 of SB3's wrappers.* 2 "):
        TDA2C.resume(tmp_path / "model", VecFrameStack(make_vec_env("CartPole-v1", 2), 3))


def test_resuming_needs_environments(tmp_path: Path) -> None:
    make().save(tmp_path / "model")
    with pytest.raises(ValueError, match="env=None: resume\\(\\) needs environments"):
        TDA2C.resume(tmp_path / "model", None)


def test_a_file_saved_by_sb3_loads_but_does_not_resume(tmp_path: Path) -> None:
    OnPolicyAlgorithm.save(make(), tmp_path / "by SB3.zip")
    assert TDA2C.load(tmp_path / "by SB3.zip", device="cpu").num_timesteps == 20
    with pytest.raises(UnreadableCheckpointError, match="has no state of the training"):
        TDA2C.resume(tmp_path / "by SB3.zip", make_vec_env("CartPole-v1"))


def test_a_model_saved_without_environments_resumes_at_the_beginning_of_an_episode(tmp_path: Path) -> None:
    make().save(tmp_path / "model")
    TDA2C.load(tmp_path / "model", device="cpu").save(tmp_path / "without")
    with pytest.warns(UserWarning, match="episode, .* the model was saved without environments"):
        resumed = TDA2C.resume(tmp_path / "without", make_vec_env("CartPole-v1"), device="cpu")
    assert resumed.learn(20, reset_num_timesteps=False).num_timesteps == 40


# Damaged states


def with_state(path: Path, change: Callable[[dict[str, Any]], Any]) -> io.BytesIO:
    """Return a saved model whose training state was changed."""
    file = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "training_state.pkl":
                content = pickle.dumps(change(pickle.loads(content)))
            new.writestr(name, content)
    return file


def env_state(content: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda state: {**state, "env": [(pickle.dumps(content), None)]}


def with_torch(state: dict[str, Any], left: int, position: int) -> dict[str, Any]:
    """Change two numbers within the state of PyTorch's generator."""
    numbers = state["generators"]["torch"].copy()
    numbers[8:12] = np.array([left], np.int32).view(np.uint8)
    numbers[16:24] = np.array([position], np.uint64).view(np.uint8)
    return {**state, "generators": {**state["generators"], "torch": numbers}}


DUMMY = "stable_baselines3.common.vec_env.dummy_vec_env.DummyVecEnv"
LONG_TEXT = {"text": ("text", ("<U400000000", (1,), b"abcd"), 1)}
VIEW_OF_A_NUMBER = {"a": ("view", (("plain", 1, 0), 0, (1,), (8,)), 1)}
HUGE_VIEW = {"a": ("view", (("array", np.zeros(2), 2), 0, (2**40,), (0,)), 1)}
BROKEN_BOOLEANS = {"a": ("text", ("?", (3,), b"abc"), 1)}
DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "empty": (lambda state: {}, "is damaged .*'n_envs'"),
    "no dict": (lambda state: [1], "is damaged .*TypeError"),
    "no generators": (lambda state: {**state, "generators": {}}, "is damaged .*'python'"),
    "no states of environments": (lambda state: {**state, "env": 3}, "is damaged .*TypeError"),
    "no state of an environment": (env_state(3), "is damaged .*TypeError"),
    "an unknown kind": (env_state(("evil", None, 0)), "is damaged .*'evil'"),
    "an unknown reference": (env_state(("same", None, 12345)), "is damaged .*12345"),
    "too long a text": (env_state(("object", (DUMMY, LONG_TEXT), 0)), r"DummyVecEnv\.text is damaged .*buffer size"),
    "a view of no array": (env_state(("object", (DUMMY, VIEW_OF_A_NUMBER), 0)), "is damaged .*'flags'"),
    "too large a view": (env_state(("object", (DUMMY, HUGE_VIEW), 0)), r"DummyVecEnv\.a is damaged .*more numbers"),
    "no booleans": (env_state(("object", (DUMMY, BROKEN_BOOLEANS), 0)), r"DummyVecEnv\.a is damaged .*text"),
    "too many numbers left": (
        lambda state: with_torch(state, 624, 624),
        "PyTorch's generator has 624",
    ),
    "no numbers left": (lambda state: with_torch(state, 0, 0), "PyTorch's generator has 0"),
}


def test_the_changed_file_of_these_tests_resumes_if_nothing_is_changed(tmp_path: Path) -> None:
    make().save(tmp_path / "model.zip")
    file = with_state(tmp_path / "model.zip", lambda state: state)
    assert TDA2C.resume(file, make_vec_env("CartPole-v1"), device="cpu").num_timesteps == 20


@pytest.mark.filterwarnings("ignore:training .* episode")
@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_states_are_errors(name: str, tmp_path: Path) -> None:
    make().save(tmp_path / "model.zip")
    change, message = DAMAGES[name]
    file = with_state(tmp_path / "model.zip", change)
    with pytest.raises(UnreadableCheckpointError, match=message):
        TDA2C.resume(file, make_vec_env("CartPole-v1"), device="cpu")
