"""An environment that was put into another one's state goes on as that one does."""

import itertools
import pickle
import random
from collections import OrderedDict, deque
from collections.abc import Callable
from enum import Enum, Flag
from functools import partial
from io import BytesIO
from mmap import mmap
from pathlib import Path, PurePosixPath
from typing import Any
from unittest.mock import MagicMock

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
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
from sb3_a2c_td.saving import UnreadableCheckpointError, object_states, restricted_loads
from sb3_a2c_td.saving.env_states import LayerState, restore, states_of
from sb3_a2c_td.saving.object_states import CannotRestoreError
from sb3_a2c_td.vec_env.cheap_copies import with_cheap_copies
from tests.environments import CountingEnv, NextStepVectorEnv, RandomEpisodesEnv

MakeVecEnv = Callable[[int], VecEnv]
BOX = spaces.Box(-1, 1, (3,), np.float32)


def dummy(env: str | Callable[[], gym.Env], n_envs: int = 2, wrapper: Any = with_cheap_copies) -> MakeVecEnv:
    return lambda seed: wrapper(make_vec_env(env, n_envs, seed=seed))


def vectorised(**kwargs: Any) -> MakeVecEnv:
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


RESTORABLE: dict[str, MakeVecEnv] = {
    **{
        name: dummy(ENVIRONMENTS[name].make)
        for name in (
            *("CartPole-v1", "Acrobot-v1", "MountainCar-v0"),
            *("Pendulum-v1", "FrozenLake-v1", "MinAtar/Breakout-v1"),
        )
    },
    **{
        name: dummy(name)
        for name in (
            *("Taxi-v4", "Blackjack-v1", "MountainCarContinuous-v0"),
            *("sb3_a2c_td/RandomWalk-v0", "sb3_a2c_td/Garnet-v0", "sb3_a2c_td/Chain-v0"),
        )
    },
    "Dict": lambda seed: DummyVecEnv([lambda: random_episodes(seed), lambda: random_episodes(seed + 1)]),
    "images": images,
    "VecNormalize": dummy("CartPole-v1", 3, lambda env: VecNormalize(VecFrameStack(env, 2))),
    "VecMonitor": monitored,
    "SAME_STEP": vectorised(
        vectorization_mode="sync", vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP, "copy": False}
    ),
    "NEXT_STEP": vectorised(vectorization_mode="sync"),
    "native": vectorised(vectorization_mode="vector_entry_point"),
    "native, of its own": next_step,
}


def played(env: VecEnv, n_steps: int, seed: int) -> list[Any]:
    """Step at random; give all that the environments give, but for the time of day."""
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
    """Give them as they come back from a file."""
    return [LayerState(*state) for state in restricted_loads(pickle.dumps([tuple(state) for state in states]))]


@pytest.mark.parametrize("name", RESTORABLE)
def test_a_restored_environment_goes_on_like_the_other(name: str) -> None:
    first, second = RESTORABLE[name](0), RESTORABLE[name](9)
    first.reset()
    second.reset()
    played(first, 73, seed=1)
    played(second, 31, seed=2)
    states = copied(states_of(first))
    assert restore(second, states) is None
    expected, found = played(first, 250, seed=3), played(second, 250, seed=3)
    assert any(dones.any() for _, _, dones, _ in expected) or "Mountain" in name or "Acrobot" in name
    np.testing.assert_equal(found, expected)
    # nothing in the state is shared with either environment
    third = RESTORABLE[name](5)
    third.reset()
    assert restore(third, states) is None
    np.testing.assert_equal(played(third, 250, seed=3), expected)


def test_restoring_changes_what_comes_next() -> None:
    """So the test above can fail."""
    first, second = RESTORABLE["Blackjack-v1"](0), RESTORABLE["Blackjack-v1"](9)
    first.reset()
    second.reset()
    with pytest.raises(AssertionError):
        np.testing.assert_equal(played(first, 50, seed=1), played(second, 50, seed=1))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: make_vec_env("LunarLander-v3"), r"DummyVecEnv.envs\[0\].*world.* is of <class .*Swig"),
        (lambda: make_vec_env("Hopper-v5"), r"DummyVecEnv.envs\[0\].*model is of <class 'mujoco.*MjModel'>"),
        (lambda: make_vec_env("CartPole-v1", 2, vec_env_cls=SubprocVecEnv), "SubprocVecEnv.* is of <class 'multiproce"),
        (
            lambda: GymnasiumVecEnv(gym.make_vec("CartPole-v1", 2, vectorization_mode="async")),
            "GymnasiumVecEnv.env.*<class 'multiprocessing",
        ),
    ],
)
def test_what_is_outside_of_python_is_refused(make: Callable[[], VecEnv], reason: str) -> None:
    env = VecNormalize(make())
    try:
        env.reset()
        wrapper, base = states_of(env)
        assert base.state is None
        assert base.reason is not None
        with pytest.raises(CannotRestoreError, match=reason):
            raise CannotRestoreError(base.reason, "")
        # the wrapper's statistics are there all the same
        other = VecNormalize(make_vec_env("CartPole-v1", 2))
        if other.observation_space == env.observation_space:
            assert "was not saved whole" in str(restore(other, [wrapper, base]))
            np.testing.assert_array_equal(other.obs_rms.mean, env.obs_rms.mean)
    finally:
        env.close()


class Colour(Enum):
    RED = 1
    BLUE = 2


class Slotted:
    __slots__ = ("__hidden", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.__hidden = 2 * number

    @property
    def hidden(self) -> int:
        return self.__hidden


class Thing:
    """Holds what is put into it."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


def moved(saved: Any, live: Any) -> Any:
    """Put one thing into the other's state."""
    state = restricted_loads(pickle.dumps(object_states.Reader().read(saved, "thing")))
    return object_states.Writer().written(state, live, "thing")


def test_kinds_of_attributes() -> None:
    saved = Thing(
        colour=Colour.BLUE,
        slotted=Slotted(3),
        queue=deque([1, 2], maxlen=3),
        ordered=OrderedDict(a=1),
        keys={(1, "a"): np.float32(2.0), 7: None},
        nested=([1, [2, np.arange(3)]], ("a",)),
        path=Path("levels/2"),
        new_path=PurePosixPath("levels/3"),
        legacy=np.random.RandomState(3),
        python=random.Random(3),
        philox=np.random.Generator(np.random.Philox(3)),
        lazy=np.random.default_rng(4),
        text=np.array([["ab", "c"]]),
        letters=np.array([b"a", b""]),
        word=np.str_("word"),
        half=np.zeros(2, np.float16),
        huge=2**200,
    )
    live = Thing(
        colour=Colour.RED,
        slotted=Slotted(1),
        python=random.Random(1),
        legacy=np.random.RandomState(1),
        philox=None,
        lazy=None,
        extra=1,
        path=Path("levels/1"),
    )
    found = moved(saved, live)
    assert found is live
    assert vars(found).keys() == vars(saved).keys()
    assert (found.colour, found.slotted.number, found.slotted.hidden) == (Colour.BLUE, 3, 6)
    assert (found.queue, found.queue.maxlen) == (deque([1, 2]), 3)
    assert (found.ordered, type(found.ordered)) == (OrderedDict(a=1), OrderedDict)
    assert found.new_path == Path("levels/3")
    for name in ("keys", "word", "huge", "path"):
        assert getattr(found, name) == getattr(saved, name)
        assert type(getattr(found, name)) is type(getattr(saved, name))
    for name in ("text", "letters", "half"):
        np.testing.assert_array_equal(getattr(found, name), getattr(saved, name), strict=True)
    np.testing.assert_equal(found.nested, saved.nested)
    assert found.legacy.rand() == saved.legacy.rand()
    assert found.python.random() == saved.python.random()
    assert found.philox.random() == saved.philox.random()
    assert found.lazy.random() == saved.lazy.random()


def test_what_is_shared_stays_shared() -> None:
    generator, items = np.random.default_rng(0), [1]
    saved = Thing(a=generator, b=Thing(a=generator, items=items), items=items, array=np.zeros(2))
    saved.itself, saved.same_array = saved, saved.array
    live = Thing(a=np.random.default_rng(1), b=Thing(a=None, items=[]), items=[2], array=np.ones(2))
    found = moved(saved, live)
    assert found.a is found.b.a
    assert found.items is found.b.items
    assert found.itself is found
    assert found.same_array is found.array


def test_views_stay_views() -> None:
    state, fortran = np.arange(6.0), np.asfortranarray(np.arange(6.0).reshape(2, 3))
    saved = Thing(
        position=state[1:3], state=state, backwards=state[::-2], grid=state.reshape(2, 3).T, other=fortran[1:]
    )
    live = Thing(position=np.zeros(2), state=None, backwards=None, grid=None, other=None)
    found = moved(saved, live)
    for name, array in vars(saved).items():
        np.testing.assert_array_equal(getattr(found, name), array)
        assert getattr(found, name).strides == array.strides
    found.state[:] = 7
    assert all((array == 7).all() for name, array in vars(found).items() if name != "other")
    assert not np.shares_memory(found.state, saved.state)


class Walker:
    """Goes on by a method that it keeps."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.phase = self.left

    def left(self) -> int:
        self.n -= 1
        return self.n

    def right(self) -> int:
        self.n += 1
        return self.n


def test_methods_belong_to_the_restored() -> None:
    found = moved(Walker(5), Walker(0))
    assert (found.phase(), found.n) == (4, 4)
    saved = Walker(5)
    saved.phase = saved.right
    with pytest.raises(CannotRestoreError, match=r"^thing\.phase is not the method Walker\.right any more"):
        moved(saved, Walker(0))


def test_what_is_not_shared_any_more() -> None:
    items = [0]
    live = Thing(a=items, b=items)
    found = moved(Thing(a=[1], b=[2]), live)
    assert (found.a, found.b) == ([1], [2])


def test_the_saved_state_does_not_change_with_the_environment() -> None:
    thing = Thing(array=np.zeros(2), items=[1])
    state = object_states.Reader().read(thing, "thing")
    thing.array[:] = 1
    thing.items.append(2)
    found = object_states.Writer().written(state, Thing(array=None, items=None), "thing")
    assert (found.array.tolist(), found.items) == ([0.0, 0.0], [1])


class Sides(Flag):
    LEFT = 1
    RIGHT = 2


def spawned() -> np.random.Generator:
    generator = np.random.default_rng(0)
    generator.spawn(1)
    return generator


def two_of_one_memory() -> list[np.ndarray]:
    memory = bytearray(16)
    return [np.frombuffer(memory, count=1), np.frombuffer(memory)]


class Reduces(Thing):
    def __reduce__(self) -> tuple[type, tuple[()]]:
        return Thing, ()


@pytest.mark.parametrize(
    "value",
    [
        itertools.count(),
        iter([1]),
        (i for i in range(3)),
        memoryview(b"a"),
        Reduces(),
        np.array([None]),
        np.array(["2020-01-01"], "M8[D]"),
        np.longdouble(1),
        {Colour.RED: 1},
        {("a", Thing()): 1},
        type("Number", (int,), {})(3),
        # order, state and members that would not come back
        {1, 2},
        frozenset("ab"),
        partial(Thing, a=1),
        Sides.LEFT | Sides.RIGHT,
        np.ma.masked_array([1, 2], mask=[True, False]),
        spawned(),
        np.frombuffer(mmap(-1, 8)),
        two_of_one_memory(),
        np.broadcast_to(np.zeros(1), 5),
        np.zeros(2).view(np.int64),
        random.Random(3).random,
        BytesIO(b"abc"),
    ],
)
def test_what_cannot_be_read(value: Any) -> None:
    with pytest.raises(CannotRestoreError, match=r"^thing\.list\[0\]"):
        object_states.Reader().read(Thing(list=[value]), "thing")


@pytest.mark.parametrize(
    ("saved", "live", "message"),
    [
        (Thing(a=Thing()), Thing(), r"^thing\.a is missing; where it was saved it was a .*Thing"),
        (Thing(a=Thing()), Thing(a=Slotted(1)), r"^thing\.a is a .*Slotted; where it was saved it was a .*Thing"),
        (Thing(a=[Thing(), Thing()]), Thing(a=[Thing()]), r"^thing\.a\[0\] is missing"),
        (Thing(a=Colour.RED), Thing(a=None), r"^thing\.a is missing; where it was saved it was RED"),
        (Thing(a=lambda: 1), Thing(), r"^thing\.a is missing"),
        (Thing(a=len), Thing(a=max), r"^thing\.a is builtins\.max; where it was saved it was builtins\.len"),
        (Thing(a=Thing), Thing(a=Slotted), r"^thing\.a is .*Slotted; where it was saved it was .*Thing"),
    ],
)
def test_what_cannot_be_put_back(saved: Thing, live: Thing, message: str) -> None:
    state = object_states.Reader().read(saved, "thing")
    with pytest.raises(CannotRestoreError, match=message):
        object_states.Writer().written(state, live, "thing")


def test_other_wrappers_are_an_error() -> None:
    states = states_of(VecNormalize(make_vec_env("CartPole-v1")))
    with pytest.raises(ValueError, match="env has 0 of SB3's wrappers, and had 1"):
        restore(make_vec_env("CartPole-v1"), states)
    with pytest.raises(ValueError, match=r"VecFrameStack; where it was saved it was a .*VecNormalize"):
        restore(VecFrameStack(make_vec_env("CartPole-v1"), 2), states)


def test_another_environment_is_not_restored() -> None:
    states = states_of(make_vec_env("CartPole-v1"))
    assert "MountainCarEnv; where it was saved it was" in str(restore(make_vec_env("MountainCar-v0"), states))


def test_a_data_set_is_not_saved_with_every_model() -> None:
    with pytest.raises(CannotRestoreError, match=r"^thing\.data is where the state grows beyond 64 MiB"):
        object_states.Reader().read(Thing(data=np.empty(2**26, np.uint8)), "thing")


@pytest.mark.parametrize(
    ("generator", "path"),
    [
        (np.random.RandomState(0), ("state", "pos")),
        (np.random.Generator(np.random.MT19937(0)), ("state", "pos")),
        (np.random.Generator(np.random.Philox(0)), ("buffer_pos",)),
    ],
)
@pytest.mark.parametrize("index", [-1, 10**6])
def test_generators_that_would_read_beyond_their_memory(generator: Any, path: tuple[str, ...], index: int) -> None:
    kind, state, number = object_states.Reader().read(generator, "thing")
    numbers = state
    for name in path[:-1]:
        numbers = numbers[name]
    numbers[path[-1]] = index
    with pytest.raises(UnreadableCheckpointError, match=f"a generator's {path[-1]!r} is {index}, not from 0 to"):
        object_states.Writer().written((kind, state, number), None, "thing")


class Touchy(CountingEnv):
    """Holds what raises whenever it is looked at, and what asks for anything."""

    class Thing:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("do not touch")

    def __init__(self) -> None:
        super().__init__(7)
        self.thing = self.Thing()


class Linked(CountingEnv):
    """Holds a list that is as long as it is deep."""

    def __init__(self) -> None:
        super().__init__(7)
        self.head = None
        for _ in range(400):
            self.head = Thing(next=self.head)


class Mocked(CountingEnv):
    """Holds what has every attribute."""

    def __init__(self) -> None:
        super().__init__(7)
        self.client = MagicMock()


@pytest.mark.parametrize("env_class", [Touchy, Linked, Mocked])
def test_models_are_saved_whatever_their_environments_hold(env_class: type[CountingEnv], tmp_path: Path) -> None:
    TDA2C("MlpPolicy", env_class(), device="cpu").learn(10).save(tmp_path / "model")
    with pytest.warns(UserWarning, match="training goes on at the beginning of an episode, since DummyVecEnv"):
        TDA2C.resume(tmp_path / "model", env_class(), device="cpu")


class Visits(VecEnvWrapper):
    """Keeps what cannot be put back."""

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.seen = {1, 2}

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        return self.venv.step_wait()


def test_wrappers_that_cannot_be_read_begin_new_episodes() -> None:
    env = VecNormalize(Visits(make_vec_env("CartPole-v1", 2)))
    env.reset()
    played(env, 50, seed=0)
    other = VecNormalize(Visits(make_vec_env("CartPole-v1", 2)))
    other.reset()
    assert "Visits was not saved whole: Visits.seen is of" in str(restore(other, copied(states_of(env))))
    np.testing.assert_array_equal(other.obs_rms.mean, env.obs_rms.mean)


def test_what_a_monitor_has_seen_is_not_saved_with_every_model() -> None:
    few, many = (make_vec_env("CartPole-v1", seed=0) for _ in range(2))
    for env in (few, many):
        env.reset()
    for history in (many.envs[0].episode_returns, many.envs[0].episode_lengths, many.envs[0].episode_times):
        history.extend([1.0] * 100_000)
    assert len(pickle.dumps(states_of(many)[0].state)) == len(pickle.dumps(states_of(few)[0].state))
    assert restore(few, copied(states_of(many))) is None
    assert few.envs[0].episode_returns == []


@pytest.mark.parametrize(
    ("generator", "name", "value"),
    [(np.random.Generator(np.random.PCG64(0)), "inc", 2), (np.random.RandomState(0), "key", np.zeros(624, np.uint32))],
)
def test_generators_that_would_stand_still(generator: Any, name: str, value: Any) -> None:
    kind, state, number = object_states.Reader().read(generator, "thing")
    state["state"][name] = value
    with pytest.raises(UnreadableCheckpointError, match="a generator's state is none that it can come to"):
        object_states.Writer().written((kind, state, number), None, "thing")
