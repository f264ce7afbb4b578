"""Environments that were put into the state of others continue like them."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

from benchmarks.learning.environments import ENVIRONMENTS
from sb3_a2c_td import TDA2C, GymnasiumVecEnv
from sb3_a2c_td.compiled import CompiledVecEnv, CompiledVectorEnv, make_compiled_vec_env
from sb3_a2c_td.compiled.classic_control import CARTPOLE
from sb3_a2c_td.saving import UnreadableCheckpointError, restricted_loads
from sb3_a2c_td.saving.env_states import LayerState, restore, states_of
from sb3_a2c_td.saving.object_states import Reader
from sb3_a2c_td.vec_env.cheap_copies import with_cheap_copies
from tests.environments import CountingEnv, NextStepVectorEnv, RandomEpisodesEnv
from tests.saving.object_states.things import Thing

MakeVecEnv = Callable[[int], VecEnv]
BOX = spaces.Box(-1, 1, (3,), np.float32)


def dummy(env: str | Callable[[], gym.Env], n_envs: int = 2, wrapper: Any = with_cheap_copies) -> MakeVecEnv:
    return lambda seed: wrapper(make_vec_env(env, n_envs, seed=seed))


def vectorized(**kwargs: Any) -> MakeVecEnv:
    def make(seed: int) -> VecEnv:
        env = GymnasiumVecEnv(gym.make_vec("CartPole-v1", 3, **kwargs))
        env.autoreset_steps_are_dropped = True
        env.seed(seed)
        return env

    return make


def random_episodes(seed: int) -> RandomEpisodesEnv:
    env = RandomEpisodesEnv(spaces.Dict(a=BOX, b=spaces.MultiBinary(2)), spaces.MultiDiscrete([2, 3]))
    env.reset(seed=seed)
    return env


def next_step(seed: int) -> VecEnv:
    env = GymnasiumVecEnv(NextStepVectorEnv([lambda: RandomEpisodesEnv(BOX, spaces.Discrete(2))] * 2))
    env.autoreset_steps_are_dropped = True
    env.seed(seed)
    return env


def images(seed: int) -> VecEnv:
    space = spaces.Box(0, 255, (36, 36, 3), np.uint8)
    return VecTransposeImage(make_vec_env(lambda: RandomEpisodesEnv(space, spaces.Discrete(2)), 2, seed=seed))


def monitored(seed: int) -> VecEnv:
    env = VecMonitor(VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")] * 2)))
    env.seed(seed)
    return env


def seeded(vector_env: gym.vector.VectorEnv, seed: int) -> VecEnv:
    env = GymnasiumVecEnv(vector_env)
    env.seed(seed)
    return env


RESTORABLE: dict[str, MakeVecEnv] = {
    "CartPole-v1": dummy(ENVIRONMENTS["CartPole-v1"].make),
    "Acrobot-v1": dummy(ENVIRONMENTS["Acrobot-v1"].make),
    "MountainCar-v0": dummy(ENVIRONMENTS["MountainCar-v0"].make),
    "Pendulum-v1": dummy(ENVIRONMENTS["Pendulum-v1"].make),
    "FrozenLake-v1": dummy(ENVIRONMENTS["FrozenLake-v1"].make),
    "MinAtar/Breakout-v1": dummy(ENVIRONMENTS["MinAtar/Breakout-v1"].make),
    "Taxi-v4": dummy("Taxi-v4"),
    "Blackjack-v1": dummy("Blackjack-v1"),
    "MountainCarContinuous-v0": dummy("MountainCarContinuous-v0"),
    "sb3_a2c_td/RandomWalk-v0": dummy("sb3_a2c_td/RandomWalk-v0"),
    "sb3_a2c_td/Garnet-v0": dummy("sb3_a2c_td/Garnet-v0"),
    "sb3_a2c_td/Chain-v0": dummy("sb3_a2c_td/Chain-v0"),
    "Dict": lambda seed: DummyVecEnv([lambda: random_episodes(seed), lambda: random_episodes(seed + 1)]),
    "images": images,
    "VecNormalize": dummy("CartPole-v1", 3, lambda env: VecNormalize(VecFrameStack(env, 2))),
    "VecMonitor": monitored,
    "SAME_STEP": vectorized(
        vectorization_mode="sync", vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP, "copy": False}
    ),
    "NEXT_STEP": vectorized(vectorization_mode="sync"),
    "native": vectorized(vectorization_mode="vector_entry_point"),
    "native, of this package's tests": next_step,
    "compiled": lambda seed: make_compiled_vec_env("sb3_a2c_td/CartPole-v1", 3, seed),
    "compiled, of Gymnasium": dummy("sb3_a2c_td/CartPole-v1"),
    "compiled, of Gymnasium, native": lambda seed: seeded(gym.make_vec("sb3_a2c_td/CartPole-v1", 3), seed),
}
SLOW = (
    "Acrobot-v1",
    "MountainCar-v0",
    "MinAtar/Breakout-v1",
    "Taxi-v4",
    "MountainCarContinuous-v0",
    "sb3_a2c_td/Garnet-v0",
    "sb3_a2c_td/Chain-v0",
)
"""further environments of families that the others cover; MinAtar's take long"""
LONG_EPISODES = ("Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0")


def played(env: VecEnv, n_steps: int, seed: int) -> list[Any]:
    """Return everything that the environments return for random actions, except for the time of day."""
    env.action_space.seed(seed)
    outputs = []
    for _ in range(n_steps):
        actions = np.array([env.action_space.sample() for _ in range(env.num_envs)])
        observations, rewards, dones, infos = env.step(actions)
        for info in infos:
            if "episode" in info:
                info["episode"].pop("t")
        outputs.append(pickle.loads(pickle.dumps((observations, rewards, dones, infos))))
    return outputs


def copied(states: list[LayerState]) -> list[LayerState]:
    """Return states as they come back from a file."""
    return [LayerState(*state) for state in restricted_loads(pickle.dumps([tuple(state) for state in states]))]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in RESTORABLE]
)
def test_a_restored_environment_continues_like_the_other(name: str) -> None:
    first, second = RESTORABLE[name](0), RESTORABLE[name](9)
    first.reset()
    second.reset()
    played(first, 73, seed=1)
    played(second, 31, seed=2)
    states = copied(states_of(first))
    assert restore(second, states) is None
    expected, found = played(first, 250, seed=3), played(second, 250, seed=3)
    assert any(dones.any() for _, _, dones, _ in expected) or name in LONG_EPISODES
    np.testing.assert_equal(found, expected)
    # nothing in the state is shared with either environment
    third = RESTORABLE[name](5)
    third.reset()
    assert restore(third, states) is None
    np.testing.assert_equal(played(third, 250, seed=3), expected)


def test_environments_that_are_not_restored_differ() -> None:
    """So the test above can fail."""
    first, second = RESTORABLE["Blackjack-v1"](0), RESTORABLE["Blackjack-v1"](9)
    first.reset()
    second.reset()
    with pytest.raises(AssertionError):
        np.testing.assert_equal(played(first, 50, seed=1), played(second, 50, seed=1))


OUTSIDE: dict[str, tuple[Callable[[], VecEnv], str]] = {
    "Box2D": (
        lambda: make_vec_env("LunarLander-v3"),
        r"DummyVecEnv.envs\[0\].*world.* is of <class .*Swig",
    ),
    "MuJoCo": (
        lambda: make_vec_env("Hopper-v5"),
        r"DummyVecEnv.envs\[0\].*model is of <class 'mujoco.*MjModel'>",
    ),
    "SubprocVecEnv": (
        lambda: make_vec_env("CartPole-v1", 2, vec_env_cls=SubprocVecEnv),
        "SubprocVecEnv.* is of <class 'multiproce",
    ),
    "AsyncVectorEnv": (
        lambda: GymnasiumVecEnv(gym.make_vec("CartPole-v1", 2, vectorization_mode="async")),
        "GymnasiumVecEnv.env.*<class 'multiprocessing",
    ),
}


# SubprocVecEnv starts processes that import PyTorch
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "SubprocVecEnv" else []) for name in OUTSIDE]
)
def test_environments_outside_of_python_are_not_saved(name: str) -> None:
    make, reason = OUTSIDE[name]
    env = make()
    try:
        env.reset()
        (state,) = states_of(env)
        assert state.state is None
        assert state.reason is not None
        assert re.search(reason, state.reason)
    finally:
        env.close()


def test_wrappers_are_restored_around_environments_that_are_not() -> None:
    env, other = (VecNormalize(make_vec_env("CartPole-v1", 2)) for _ in range(2))
    env.reset()
    wrapper, _ = states_of(env)
    unsaved = LayerState(None, "it is outside of Python")
    message = "the state of DummyVecEnv was not saved: it is outside of Python"
    assert restore(other, [wrapper, unsaved]) == message
    np.testing.assert_array_equal(other.obs_rms.mean, env.obs_rms.mean)


def test_other_wrappers_cannot_be_restored() -> None:
    states = states_of(VecNormalize(make_vec_env("CartPole-v1")))
    with pytest.raises(ValueError, match="env has 0 of SB3's wrappers, and had 1"):
        restore(make_vec_env("CartPole-v1"), states)
    with pytest.raises(ValueError, match=r"VecFrameStack; when it was saved it was a .*VecNormalize"):
        restore(VecFrameStack(make_vec_env("CartPole-v1"), 2), states)


def test_another_environment_cannot_be_restored() -> None:
    states = states_of(make_vec_env("CartPole-v1"))
    assert "MountainCarEnv; when it was saved it was" in str(restore(make_vec_env("MountainCar-v0"), states))


class Touchy(CountingEnv):
    """Holds an object that raises whenever an attribute is read."""

    class Thing:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("do not touch")

    def __init__(self) -> None:
        super().__init__(7)
        self.thing = self.Thing()


class Linked(CountingEnv):
    """Holds a linked list, which is deeply nested."""

    def __init__(self) -> None:
        super().__init__(7)
        self.head = None
        for _ in range(400):
            self.head = Thing(next=self.head)


class Mocked(CountingEnv):
    """Holds an object that has every attribute."""

    def __init__(self) -> None:
        super().__init__(7)
        self.client = MagicMock()


@pytest.mark.parametrize("env_class", [Touchy, Linked, Mocked])
def test_models_are_saved_whatever_their_environments_hold(env_class: type[CountingEnv], tmp_path: Path) -> None:
    TDA2C("MlpPolicy", env_class(), device="cpu").learn(10).save(tmp_path / "model")
    with pytest.warns(
        UserWarning, match="training continues with a new episode, because the state of DummyVecEnv was not saved"
    ):
        TDA2C.resume(tmp_path / "model", env_class(), device="cpu")


class Visits(VecEnvWrapper):
    """Holds a set, which cannot be restored."""

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.seen = {1, 2}

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        return self.venv.step_wait()


def test_a_model_can_be_saved_without_what_its_environments_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SECURITY.md says: neither their attributes nor their arguments."""

    class Keyed(CountingEnv):
        def __init__(self, key: str) -> None:
            super().__init__()
            self.of_key = f"of {key}"

    monkeypatch.setitem(gym.registry, "Keyed-v0", EnvSpec("Keyed-v0", Keyed))
    TDA2C("MlpPolicy", gym.make("Keyed-v0", key="SECRET123"), device="cpu").save(tmp_path / "model")
    TDA2C.load(tmp_path / "model", device="cpu").save(tmp_path / "to_share", exclude=["trained_on"])
    assert (tmp_path / "model.zip").read_bytes().count(b"SECRET123") == 2
    assert b"SECRET123" not in (tmp_path / "to_share.zip").read_bytes()
    TDA2C.load(tmp_path / "to_share", CountingEnv(), device="cpu").learn(10)


def test_wrappers_that_cannot_be_read_are_named() -> None:
    env = VecNormalize(Visits(make_vec_env("CartPole-v1", 2)))
    env.reset()
    played(env, 50, seed=0)
    other = VecNormalize(Visits(make_vec_env("CartPole-v1", 2)))
    other.reset()
    assert "the state of Visits was not saved: Visits.seen is of" in str(restore(other, copied(states_of(env))))
    np.testing.assert_array_equal(other.obs_rms.mean, env.obs_rms.mean)


def test_the_history_of_a_monitor_is_not_saved() -> None:
    few, many = (make_vec_env("CartPole-v1", seed=0) for _ in range(2))
    for env in (few, many):
        env.reset()
    for history in (many.envs[0].episode_returns, many.envs[0].episode_lengths, many.envs[0].episode_times):
        history.extend([1.0] * 100_000)
    assert len(pickle.dumps(states_of(many)[0].state)) == len(pickle.dumps(states_of(few)[0].state))
    assert restore(few, copied(states_of(many))) is None
    assert few.envs[0].episode_returns == []


def tampered(env: CompiledVecEnv, path: tuple[str, ...], edit: Callable[[Any], Any]) -> LayerState:
    """Return the state of environments, with one attribute edited; ``path`` leads to it."""
    (layer,) = states_of(env)
    assert layer.state is not None
    *outer, name = path
    _, (_, attributes), _ = layer.state
    for key in outer:
        _, (_, attributes), _ = attributes[key]
    attributes[name] = edit(attributes.get(name))
    return layer


def array(edit: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any], Any]:
    return lambda state: ("array", edit(state[1]), state[2])


def number(value: Any) -> Callable[[Any], Any]:
    return lambda _: ("plain", value, -1)


def items(edit: Callable[[list[Any]], list[Any]]) -> Callable[[Any], Any]:
    return lambda state: ("items", (state[1][0], edit(state[1][1]), None), state[2])


MT19937 = Reader().read(np.random.Generator(np.random.MT19937(0)), "other")
"""a state of another bit generator"""


@pytest.mark.parametrize(
    ("path", "edit", "message"),
    [
        (("_batch", "states"), array(lambda states: states[:1]), r"states is damaged \(float64 \(1, 4\) in place of"),
        (("_batch", "states"), array(lambda states: states.astype(np.float32)), r"damaged \(float32 \(3, 4\) in pl"),
        (("_batch", "states"), lambda state: ("view", (state, 1, (2,), (8,)), 99), "states is damaged .*'view' in pl"),
        (("_batch", "states"), number(0.0), "_batch.states is damaged .*'plain' in place of 'array'"),
        (("_batch", "n_steps"), array(lambda steps: steps[:2]), r"n_steps is damaged \(int64 \(2,\) in place of int64"),
        (("_batch", "n_moves"), number("many"), "n_moves is damaged .*'many' in place of 1"),
        (("_batch", "generators"), items(lambda states: states[:1]), r"generators is damaged \(1 items in place of 3"),
        (("_batch", "generators"), items(lambda states: [*states[:2], MT19937]), r"generators\[2\] is damaged"),
        (
            ("_batch", "generators"),
            items(lambda states: [*states[:2], ("same", None, states[0][2])]),
            r"generators\[2\] is damaged .*'same' in place of 'generator'",
        ),
        (("_batch", "_width"), number(400), "_batch is damaged .*its attributes are .*_width"),
        (("_batch", "max_episode_steps"), number(1), "_batch is damaged .*max_episode_steps"),
        (("_batch", "env"), number(None), "_batch is damaged .*env"),
        (("statistics", "returns"), array(lambda returns: returns[:1]), r"returns is damaged \(float64 \(1,\) in"),
        (("statistics", "_first_steps"), array(lambda steps: steps[:1]), "_first_steps is damaged"),
        (("num_envs",), number(1), "CompiledVecEnv is damaged .*num_envs"),
        (("_batch",), number(1), "_batch is damaged .*'plain' in place of 'object'"),
    ],
)
def test_states_that_would_corrupt_memory_are_refused(
    path: tuple[str, ...], edit: Callable[[Any], Any], message: str
) -> None:
    env = make_compiled_vec_env("sb3_a2c_td/CartPole-v1", 3, seed=0)
    env.reset()
    generators = list(env._batch.generators)
    with pytest.raises(UnreadableCheckpointError, match=message):
        restore(env, [tampered(env, path, edit)])
    # compiled code has pointers to them
    assert all(one is other for one, other in zip(env._batch.generators, generators, strict=True))
    assert env.step(np.zeros(3, np.int64))[0].shape == (3, 4)


def test_facts_of_a_compiled_environment_are_not_restored() -> None:
    env = GymnasiumVecEnv(CompiledVectorEnv(CARTPOLE, 2))
    env.reset()
    (layer,) = states_of(env)
    assert layer.state is not None
    _, (_, attributes), _ = layer.state
    _, (_, vector_env), _ = attributes["env"]
    name = "sb3_a2c_td.compiled.env.CompiledEnv"
    vector_env["compiled_env"] = "object", (name, {"state_size": ("plain", 1, -1)}), 999
    with pytest.raises(UnreadableCheckpointError, match=f"it has attributes of a {name}"):
        restore(env, [layer])
    assert CARTPOLE.state_size == 4


def test_subclasses_of_compiled_environments_are_not_saved() -> None:
    """Their own attributes would be lost, or could overwrite what compiled code uses."""

    class Counted(CompiledVecEnv):
        n_seen = 0

    env = Counted(CARTPOLE, 2)
    env.reset()
    (layer,) = states_of(env)
    assert layer.reason is not None
    assert "Counted'>, whose state cannot be read" in layer.reason
