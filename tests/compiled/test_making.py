"""The ids make all three faces of the shipped environments, and both checkers accept them."""

import warnings
from collections.abc import Iterator

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TimeAwareObservation
from stable_baselines3 import A2C
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from sb3_a2c_td.compiled import CompiledGymnasiumEnv, CompiledVectorEnv, check_compiled_env, make_compiled_vec_env
from sb3_a2c_td.compiled.making import ENVS, is_compiled
from tests.compiled.environments import WALK


def warnings_of(env: gym.Env) -> set[str]:
    """Run both checkers; return their warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env.unwrapped)
        sb3_check_env(env)
    return {str(warning.message) for warning in caught}


@pytest.mark.parametrize("env_id", ENVS)
def test_all_checkers_accept_it(env_id: str) -> None:
    """They warn of nothing that they do not warn of in Gymnasium's environment, such as infinite bounds."""
    check_compiled_env(ENVS[env_id])
    name = env_id.removeprefix("sb3_a2c_td/")
    expected = set() if name == "Inventory-v0" else warnings_of(gym.make(name))
    assert warnings_of(gym.make(env_id)) <= expected


@pytest.mark.parametrize("env_id", ENVS)
def test_ids_make_every_face(env_id: str) -> None:
    env = ENVS[env_id]
    single = gym.make(f"sb3_a2c_td:{env_id}")
    assert isinstance(single.unwrapped, CompiledGymnasiumEnv)
    assert single.spec.max_episode_steps == env.max_episode_steps
    vector = gym.make_vec(env_id, 3)
    assert isinstance(vector, CompiledVectorEnv)
    assert vector.compiled_env is env
    assert make_compiled_vec_env(env_id, 3).compiled_env is env


def truncations(env_id: str, **kwargs: int) -> list[int]:
    """Return the steps at which the single and the vector environment truncate the first episode; 0 for never."""
    single, vector = gym.make(env_id, **kwargs), gym.make_vec(env_id, 1, **kwargs)
    single.reset(seed=0)
    vector.reset(seed=0)
    return [
        next((t for t in range(1, 300) if single.step(np.zeros(1, np.float32))[3]), 0),
        next((t for t in range(1, 300) if vector.step(np.zeros((1, 1), np.float32))[3][0]), 0),
    ]


@pytest.mark.parametrize(
    ("kwargs", "limit"), [({}, 200), ({"max_episode_steps": 7}, 7), ({"max_episode_steps": -1}, 0)]
)
def test_time_limits_are_gymnasiums(kwargs: dict[str, int], limit: int) -> None:
    assert truncations("sb3_a2c_td/Pendulum-v1", **kwargs) == [limit, limit]


def test_reward_thresholds_are_gymnasiums() -> None:
    names = [env_id.removeprefix("sb3_a2c_td/") for env_id in ENVS if "Inventory" not in env_id]
    assert [gym.spec(f"sb3_a2c_td/{name}").reward_threshold for name in names] == [
        gym.spec(name).reward_threshold for name in names
    ]


def test_a_seed_is_that_of_the_first_copy() -> None:
    one, other = (
        make_compiled_vec_env("sb3_a2c_td/CartPole-v1", 2, seed=3),
        make_compiled_vec_env("sb3_a2c_td/CartPole-v1", 1, seed=4),
    )
    assert np.array_equal(one.reset()[1:], other.reset())


@pytest.fixture
def own_id() -> Iterator[str]:
    """Register an environment as users do."""
    entry_points = {"entry_point": CompiledGymnasiumEnv, "vector_entry_point": "sb3_a2c_td.compiled:CompiledVectorEnv"}
    gym.register("Walk-v0", **entry_points, max_episode_steps=3, kwargs={"env": WALK})
    yield "Walk-v0"
    gym.registry.pop("Walk-v0")


def test_registered_ids_are_made_with_their_time_limit(own_id: str) -> None:
    env = make_compiled_vec_env(own_id, 2)
    assert env.compiled_env is WALK
    assert env.max_episode_steps == 3
    assert is_compiled("tests.compiled.test_making:Walk-v0")


def test_other_ids_are_not_compiled(own_id: str) -> None:
    wrapper = TimeAwareObservation(gym.make(own_id)).spec.additional_wrappers[-1]
    gym.registry[own_id].additional_wrappers = (wrapper,)
    assert not any(map(is_compiled, (own_id, "CartPole-v1", "sb3_a2c_td/Chain-v0", "NoSuchEnvironment-v0")))


@pytest.mark.parametrize("env_id", ENVS)
def test_algorithms_of_sb3_take_the_ids(env_id: str) -> None:
    A2C("MlpPolicy", env_id, device="cpu").learn(10)


def test_unknown_ids_are_rejected() -> None:
    with pytest.raises(ValueError, match="env='CartPole-v1' is none of the compiled environments: sb3_a2c_td/CartPole"):
        make_compiled_vec_env("CartPole-v1")
    with pytest.raises(ValueError, match="seed must be None or an integer"):
        make_compiled_vec_env("sb3_a2c_td/CartPole-v1", seed=-1)
