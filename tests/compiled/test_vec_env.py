"""``CompiledVecEnv`` returns what SB3's ``DummyVecEnv`` of the same functions in Python returns, step for step."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecNormalize

from sb3_a2c_td import TDA2C
from sb3_a2c_td.compiled import CompiledEnv, CompiledVecEnv, make_compiled_vec_env, stepping
from sb3_a2c_td.compiled.classic_control import CARTPOLE
from sb3_a2c_td.tabular import problems
from sb3_a2c_td.tabular.compiled import compiled_mdp
from tests.algorithms.comparing import assert_same_parameters
from tests.compiled.environments import CELLS, ENVS, PUSHED_WALK, WALK, uncompiled
from tests.vec_env.traces import assert_same_traces, monitored, random_actions


@pytest.mark.parametrize("n_envs", [1, 4])
@pytest.mark.parametrize("name", ENVS)
def test_trace_equals_dummy_vec_env(name: str, n_envs: int) -> None:
    """Observations, rewards, dones, infos and the numbers from seeds, with their dtypes."""
    env = ENVS[name]
    actions = random_actions(env.action_space, 60, n_envs)
    theirs = monitored([lambda: uncompiled(env)] * n_envs)
    assert assert_same_traces(CompiledVecEnv(env, n_envs), theirs, actions) > 5


def test_later_resets_continue_the_generators() -> None:
    ours, theirs = CompiledVecEnv(WALK, 2), monitored([lambda: uncompiled(WALK)] * 2)
    ours.seed(4)
    theirs.seed(4)
    for _ in range(3):
        np.testing.assert_array_equal(ours.reset(), theirs.reset())
        np.testing.assert_array_equal(ours.step(np.array([1, 2]))[0], theirs.step(np.array([1, 2]))[0])


def test_unseeded_copies_differ() -> None:
    observations = CompiledVecEnv(CARTPOLE, 8).reset()
    assert len(np.unique(observations)) == observations.size


def test_one_compiled_call_steps_all_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    kernel = stepping.step_all_from_python
    env = make_compiled_vec_env(WALK, 6, seed=0)
    env.reset()
    monkeypatch.setattr(stepping, "step_all_from_python", lambda *arguments: calls.append(kernel(*arguments)))
    dones = [env.step(np.ones(6, np.int64))[2] for _ in range(10)]
    assert np.any(dones)
    assert len(calls) == 10


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        (A2C, {}),
        (PPO, {"n_steps": 16, "batch_size": 16, "n_epochs": 2}),
        (DQN, {"learning_starts": 20, "train_freq": 2, "buffer_size": 200}),
        (TDA2C, {"engine": "numba"}),
    ],
)
def test_algorithms_learn_the_same_as_on_dummy_vec_env(kind: type, kwargs: dict[str, Any]) -> None:
    models = [
        kind("MlpPolicy", env, seed=1, device="cpu", **kwargs).learn(150)
        for env in (CompiledVecEnv(WALK, 3), monitored([lambda: uncompiled(WALK)] * 3))
    ]
    assert_same_parameters(*models)
    ours, theirs = ([(info["r"], info["l"]) for info in model.ep_info_buffer] for model in models)
    assert ours == theirs
    assert len(ours) > 5


@pytest.mark.parametrize("name", ENVS)
def test_vec_normalize_learns_the_same_as_around_dummy_vec_env(name: str) -> None:
    env, is_box = ENVS[name], name != "CELLS"
    # numba in both: "auto" is numba on compiled environments, and numpy on others
    arguments = {"seed": 1, "device": "cpu", "engine": "numba" if is_box else "auto"}
    models = [
        TDA2C("MlpPolicy", VecNormalize(vec_env, norm_obs=is_box), **arguments).learn(150)
        for vec_env in (CompiledVecEnv(env, 3), monitored([lambda: uncompiled(env)] * 3))
    ]
    assert_same_parameters(*models)


@pytest.mark.parametrize("move", [lambda env: env.step(np.zeros(1, np.int64)), lambda env: env.reset()])
def test_training_notices_that_something_else_moved_the_environment(move: Callable[[CompiledVecEnv], Any]) -> None:
    env = make_compiled_vec_env(CARTPOLE, seed=0)
    model = TDA2C("MlpPolicy", env, n_steps=100, seed=0, device="cpu").learn(4)
    model.learn(1, reset_num_timesteps=False)
    assert env.n_steps.tolist() == [5]
    move(env)
    model.learn(3, reset_num_timesteps=False)
    assert env.n_steps.tolist() == [3]
    # a new episode begins, and nothing follows the last observation of the old one
    assert np.abs(model.rollout_buffer.transitions().observations[5]).max() <= 0.05


def test_evaluate_policy_returns_the_same() -> None:
    model = A2C("MlpPolicy", CompiledVecEnv(WALK), seed=0, device="cpu")
    results = []
    for env in (CompiledVecEnv(WALK, 2), monitored([lambda: uncompiled(WALK)] * 2)):
        env.seed(0)
        # a warning that Monitor is missing would be an error
        results.append(evaluate_policy(model, env, 9, return_episode_rewards=True))
    assert results[0] == results[1]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "n_steps"), [(A2C, 60_000), (TDA2C, 60_000)])
def test_algorithms_learn_cartpole(kind: type, n_steps: int) -> None:
    model = kind("MlpPolicy", make_compiled_vec_env(CARTPOLE, 8), seed=0, device="cpu").learn(n_steps)
    mean, _ = evaluate_policy(model, make_compiled_vec_env(CARTPOLE, 10, seed=1), 20)
    # random actions: 22
    assert mean > 150


# Copies and saved states


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_continues_on_its_own(copied: Any) -> None:
    env = make_compiled_vec_env(WALK, 3, seed=0)
    env.reset()
    actions = random_actions(WALK.action_space, 30, 3)
    for action in actions[:11]:
        env.step(action)
    twin = copied(env)
    expected = [env.step(action)[:3] for action in actions]
    np.testing.assert_equal([twin.step(action)[:3] for action in actions], expected)
    assert twin.compiled_env.step is env.compiled_env.step


def test_states_out_of_bounds_raise_an_error_in_the_step() -> None:
    """Not a crash: whoever sends a saved model chooses the numbers of the state."""
    env = make_compiled_vec_env(compiled_mdp(problems.garnet(5)), 2, seed=0)
    env.reset()
    env.states[1] = 10**9
    with pytest.raises(IndexError, match="out of bounds"):
        env.step(np.zeros(2, np.int64))


# Arguments and the rest of VecEnv


def test_a_step_needs_a_reset() -> None:
    with pytest.raises(RuntimeError, match=r"Call reset\(\) before the first step"):
        CompiledVecEnv(WALK).step(np.zeros(1, np.int64))


@pytest.mark.parametrize(
    ("env", "actions", "message"),
    [
        (WALK, np.array([0, 3]), r"actions must be integers from 0 to 2, got \[0 3\]"),
        (WALK, np.array([0, -1]), "actions must be integers from 0 to 2"),
        (WALK, np.array([0.0, 1.0]), "actions must be integers from 0 to 2"),
        (WALK, np.array([0]), r"actions must have the shape \(2,\), got \(1,\)"),
        (PUSHED_WALK, np.zeros((2, 1), np.float32), r"actions must have the shape \(2, 2\), got \(2, 1\)"),
    ],
)
def test_invalid_actions_are_rejected(env: CompiledEnv, actions: np.ndarray, message: str) -> None:
    vec_env = CompiledVecEnv(env, 2)
    vec_env.reset()
    with pytest.raises(ValueError, match=message):
        vec_env.step(actions)


def test_actions_of_other_dtypes_are_converted() -> None:
    env = make_compiled_vec_env(PUSHED_WALK, 1, seed=0)
    first = env.reset()[0, 0]
    assert env.step(np.array([[0.5, 0.0]], np.float64))[3][0] == {"TimeLimit.truncated": False}
    assert env.states[0, 0] == first + 0.5


def test_n_envs_must_be_positive() -> None:
    with pytest.raises(ValueError, match="n_envs must be an integer of at least 1, got 0"):
        CompiledVecEnv(WALK, 0)


def test_attributes_are_those_of_the_compiled_env() -> None:
    env = CompiledVecEnv(WALK, 2)
    assert env.get_attr("max_episode_steps") == [7, 7]
    assert env.get_attr("render_mode", 0) == [None]
    assert env.env_is_wrapped(Monitor) == [True, True]
    assert env.env_is_wrapped(VecNormalize, 1) == [False]
    assert not env.has_attr("action_masks")
    with pytest.raises(AttributeError, match=r"set_attr\('state_size'\): a compiled environment has no single"):
        env.set_attr("state_size", 3)
    with pytest.raises(AttributeError, match=r"env_method\('close'\): a compiled environment has no single"):
        env.env_method("close")


def test_actions_may_be_a_list() -> None:
    ours, theirs = (make_compiled_vec_env(WALK, 2, seed=0) for _ in range(2))
    np.testing.assert_equal((ours.reset(), *ours.step([2, 0])), (theirs.reset(), *theirs.step(np.array([2, 0]))))


def test_spaces_are_not_shared() -> None:
    one, other = CompiledVecEnv(CELLS), CompiledVecEnv(CELLS)
    one.action_space.seed(0)
    assert one.action_space == other.action_space
    assert one.action_space is not other.action_space


def test_pictures_come_from_the_function_render() -> None:
    env = CompiledVecEnv(CARTPOLE, 2)
    env.reset()
    assert env.render_mode == "rgb_array"
    one, other = env.get_images()
    assert one.shape == (400, 600, 3)
    assert (one != other).any()
    with pytest.warns(UserWarning, match=r"CompiledEnv\(render=...\)"):
        assert CompiledVecEnv(WALK, 2).get_images() == [None, None]
