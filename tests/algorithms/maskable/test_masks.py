"""The sources of action masks, and the errors of environments whose masks are missing or invalid."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorWrapper
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.evaluation import evaluate_policy
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecEnvWrapper, VecNormalize

from sb3_a2c_td import GymnasiumVecEnv
from tests.algorithms.maskable.models import VECTOR, make_masked_env, make_model
from tests.environments import MaskedEnv, MaskedInfosEnv, NextStepVectorEnv, RandomEnv


class MaskAsObservation(gym.ObservationWrapper):
    """Returns the mask as the observation, so that each row of a batch shows which mask belongs to it."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.observation_space = spaces.Box(0, 1, (5,), np.float32)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return self.unwrapped.masks.astype(np.float32)


def by_method() -> gym.Env:
    return MaskAsObservation(MaskedEnv(VECTOR, spaces.Discrete(5)))


def by_infos() -> gym.Env:
    return MaskAsObservation(MaskedInfosEnv(VECTOR, spaces.Discrete(5)))


def by_action_masker() -> gym.Env:
    return ActionMasker(by_method(), lambda env: env.unwrapped.masks)


class NativeWithMethod(NextStepVectorEnv):
    """Returns all masks at once; nothing is allowed in the autoreset step after an episode."""

    def action_masks(self) -> np.ndarray:
        masks = np.stack([env.unwrapped.masks for env in self._hidden])
        masks[self._ended] = False
        return masks


def sync(make_env: Callable[[], gym.Env], mode: AutoresetMode) -> SyncVectorEnv:
    return SyncVectorEnv([make_env] * 3, autoreset_mode=mode)


SOURCES: dict[str, Callable[[], Any]] = {
    "method": lambda: make_vec_env(by_method, 3, seed=0),
    "ActionMasker": lambda: make_vec_env(by_action_masker, 3, seed=0),
    "VecNormalize": lambda: VecNormalize(make_vec_env(by_method, 3, seed=0), norm_obs=False),
    "SubprocVecEnv": lambda: make_vec_env(by_method, 2, seed=0, vec_env_cls=SubprocVecEnv),
    "SyncVectorEnv NEXT_STEP method": lambda: sync(by_method, AutoresetMode.NEXT_STEP),
    "SyncVectorEnv NEXT_STEP infos": lambda: sync(by_infos, AutoresetMode.NEXT_STEP),
    "SyncVectorEnv SAME_STEP method": lambda: sync(by_method, AutoresetMode.SAME_STEP),
    "SyncVectorEnv SAME_STEP infos": lambda: sync(by_infos, AutoresetMode.SAME_STEP),
    "SyncVectorEnv DISABLED infos": lambda: sync(by_infos, AutoresetMode.DISABLED),
    "SyncVectorEnv DISABLED ActionMasker": lambda: sync(by_action_masker, AutoresetMode.DISABLED),
    "AsyncVectorEnv method": lambda: AsyncVectorEnv([by_method] * 2),
    "AsyncVectorEnv infos": lambda: AsyncVectorEnv([by_infos] * 2),
}
NATIVE_SOURCES: dict[str, Callable[[], Any]] = {
    "native infos": lambda: NextStepVectorEnv([by_infos] * 3),
    "native method": lambda: NativeWithMethod([by_infos] * 3),
}


def with_slow_processes(names: dict[str, Any]) -> list[Any]:
    """Mark the cases that start processes in which everything is imported again."""
    return [pytest.param(name, marks=pytest.mark.slow) if name == "SubprocVecEnv" else name for name in names]


@pytest.mark.parametrize("name", with_slow_processes(SOURCES | NATIVE_SOURCES))
def test_each_transition_has_the_mask_of_its_observation(name: str) -> None:
    """Also for the first observation of an episode. The environments refuse invalid actions."""
    model = make_model((SOURCES | NATIVE_SOURCES)[name](), n_steps=50, update_on_episode_end=False)
    model.learn(40 * model.n_envs)
    rows = model.rollout_buffer.transitions()
    model.env.close()
    assert (rows.terminated | rows.truncated).sum() > 5
    np.testing.assert_array_equal(rows.observations, rows.action_masks)


@pytest.mark.parametrize("name", with_slow_processes(SOURCES))
def test_sb3_contribs_evaluation_finds_the_masks(name: str) -> None:
    """The environments refuse invalid actions. Native ones are left out: only training drops their autoreset steps."""
    env = SOURCES[name]()
    env = env if isinstance(env, VecEnv) else GymnasiumVecEnv(env)
    # masks in infos are known from the first reset on
    env.reset()
    returns, lengths = evaluate_policy(make_model(env), env, 3, warn=False, return_episode_rewards=True)
    env.close()
    assert len(returns) == 3
    assert lengths == [7, 7, 7]


class ForbidsTheFirst(VecEnvWrapper):
    """Forbids one more action than the environments do."""

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        return self.venv.step_wait()

    def env_method(self, method_name: str, *args: Any, **kwargs: Any) -> list[Any]:
        results = self.venv.env_method(method_name, *args, **kwargs)
        return [self._narrowed(mask) for mask in results] if method_name == "action_masks" else results

    @staticmethod
    def _narrowed(mask: np.ndarray) -> np.ndarray:
        # the environments always allow the last action
        return mask & (np.arange(len(mask)) > 0)


class VectorForbidsTheFirst(VectorWrapper):
    """As above, below the adapter."""

    def action_masks(self) -> np.ndarray:
        return np.stack([ForbidsTheFirst._narrowed(mask) for mask in self.env.unwrapped.call("action_masks")])


def always_with_the_last() -> gym.Env:
    return ActionMasker(MaskedEnv(VECTOR, spaces.Discrete(5), takes_all=True), lambda env: with_last(env.unwrapped))


def with_last(env: MaskedEnv) -> np.ndarray:
    return env.masks | (np.arange(5) == 4)


@pytest.mark.parametrize(
    "make_env",
    [
        lambda: ForbidsTheFirst(DummyVecEnv([always_with_the_last] * 4)),
        lambda: ForbidsTheFirst(GymnasiumVecEnv(SyncVectorEnv([always_with_the_last] * 4))),
        lambda: VecNormalize(ForbidsTheFirst(GymnasiumVecEnv(SyncVectorEnv([always_with_the_last] * 4)))),
        lambda: GymnasiumVecEnv(VectorForbidsTheFirst(SyncVectorEnv([always_with_the_last] * 4))),
    ],
    ids=["DummyVecEnv", "GymnasiumVecEnv", "VecNormalize", "VectorWrapper"],
)
def test_masks_of_wrappers_are_used(make_env: Callable[[], VecEnv]) -> None:
    """The mask is that of the environment that is trained on, not of one below."""
    model = make_model(make_env(), n_steps=65, update_on_episode_end=False).learn(64 * 4)
    rows = model.rollout_buffer.transitions()
    assert len(rows.actions) == 256
    assert np.bincount(rows.actions, minlength=5)[0] == 0
    assert not rows.action_masks[:, 0].any()


def test_masks_do_not_draw_from_the_action_space() -> None:
    """The number of choices is read off the space, not off a sample, so that seeded spaces stay reproducible."""
    model = make_model(make_masked_env(spaces.MultiBinary(3)))
    model.env.action_space.seed(0)
    before = model.env.action_space.np_random.bit_generator.state
    model.learn(30)
    assert model.env.action_space.np_random.bit_generator.state == before


# Errors


class ConstantMasks(RandomEnv):
    """Returns the same masks at every step."""

    def __init__(self, masks: Any, action_space: spaces.Space) -> None:
        super().__init__(VECTOR, action_space)
        self.masks = masks

    def action_masks(self) -> Any:
        return self.masks


@pytest.mark.parametrize(
    ("masks", "action_space", "message"),
    [
        (
            [True] * 3,
            spaces.Discrete(4),
            r"environment 0 at step 0: expected 4 booleans for Discrete\(4\), got \[True",
        ),
        ([0.5, 1.0, 0.0, 1.0], spaces.Discrete(4), r"\[0\.5.* of environment 0 at step 0 must be booleans, or 0 and 1"),
        ([1.0, np.nan, 0.0, 1.0], spaces.Discrete(4), "nan.* must be booleans, or 0 and 1"),
        # the indices of the allowed actions
        ([0, 2, 3], spaces.Discrete(3), r"\[0 2 3\].* must be booleans, or 0 and 1"),
        ([True, False, None], spaces.Discrete(3), "None.* must be booleans, or 0 and 1"),
        (["yes", "no"], spaces.Discrete(2), "'yes'.* must be booleans, or 0 and 1"),
        ([[True], [False, True]], spaces.MultiDiscrete([1, 2]), r"expected 3 booleans.*, got \[\[True\], \["),
        (None, spaces.Discrete(4), "expected 4 booleans for Discrete.*, got None"),
        ([False] * 4, spaces.Discrete(4), "of environment 0 at step 0 allow nothing for component 0"),
        ([1, 0, 0, 0], spaces.MultiDiscrete([2, 2]), "allow nothing for component 1"),
        ([1, 0, 0, 1, 0, 0], spaces.MultiBinary(3), "allow nothing for component 2"),
    ],
    ids=[
        "length",
        "fraction",
        "nan",
        "indices",
        "object",
        "strings",
        "ragged",
        "none",
        "discrete",
        "multi_discrete",
        "multi_binary",
    ],
)
def test_invalid_masks_are_errors(masks: Any, action_space: spaces.Space, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_model(ConstantMasks(masks, action_space)).learn(10)


MASK = np.array([True, False, True, True])


MASKS_OF_ALL_TYPES = [
    (MASK.astype(np.float32), spaces.Discrete(4)),
    (MASK.astype(np.int8), spaces.Discrete(4)),
    ([1.0, 0.0, 1.0, 1.0], spaces.Discrete(4)),
    ([1, 0, 1, 1], spaces.Discrete(4)),
    ((True, False, True, True), spaces.Discrete(4)),
    ([[1, 0], [1, 1]], spaces.MultiDiscrete([2, 2])),
    (MASK.reshape(2, 2).astype(float), spaces.MultiBinary(2)),
    (MASK.reshape(1, 4), spaces.Discrete(4)),
]


@pytest.mark.parametrize(("masks", "action_space"), MASKS_OF_ALL_TYPES)
@pytest.mark.parametrize(
    "make_env",
    [
        lambda make_env: DummyVecEnv([make_env] * 2),
        lambda make_env: SyncVectorEnv([make_env] * 2),
        lambda make_env: SyncVectorEnv([lambda: MaskInInfo(make_env())] * 2),
        lambda make_env: NextStepVectorEnv([lambda: MaskInInfo(make_env())] * 2),
    ],
    ids=["DummyVecEnv", "SyncVectorEnv", "infos", "native"],
)
def test_masks_have_the_types_that_maskable_ppo_takes(make_env: Any, masks: Any, action_space: spaces.Space) -> None:
    model = make_model(make_env(lambda: ConstantMasks(masks, action_space)), n_steps=32).learn(62)
    rows = model.rollout_buffer.transitions()
    assert len(rows.rewards) > 50
    np.testing.assert_array_equal(rows.action_masks, np.tile(MASK, (len(rows.rewards), 1)))


@pytest.mark.parametrize(("masks", "action_space"), MASKS_OF_ALL_TYPES)
def test_maskable_ppo_takes_masks_of_these_types(masks: Any, action_space: spaces.Space) -> None:
    MaskablePPO("MlpPolicy", ConstantMasks(masks, action_space), n_steps=2, batch_size=2, device="cpu").learn(2)


class MaskInInfo(gym.Wrapper):
    """Hides the method ``action_masks``, and returns masks in infos."""

    def has_wrapper_attr(self, name: str) -> bool:
        return name != "action_masks" and super().has_wrapper_attr(name)

    def reset(self, **kwargs: Any):
        observation, info = self.env.reset(**kwargs)
        return observation, {**info, "action_mask": self.unwrapped.masks}

    def step(self, action):
        *rest, info = self.env.step(action)
        return *rest, {**info, "action_mask": self.unwrapped.masks}


def test_masks_that_an_environment_changes_in_place_are_copied() -> None:
    """Each row of the buffer has the mask that its action was drawn with."""

    class Reused(ForbidsTheFirst):
        masks = np.ones((2, 5), bool)

        def step_wait(self):
            results = self.venv.step_wait()
            self.masks[:] = self.venv.env_method("action_masks")
            return results

        def env_method(self, method_name: str, *args: Any, **kwargs: Any) -> Any:
            return self.masks

    model = make_model(Reused(DummyVecEnv([always_with_the_last] * 2)), n_steps=32).learn(62)
    rows = model.rollout_buffer.transitions()
    assert rows.action_masks[np.arange(62), rows.actions].all()
    assert not rows.action_masks[2:].all()


def test_a_mask_of_the_wrong_length_names_its_environment() -> None:
    env = DummyVecEnv([lambda n=n: ConstantMasks([True] * n, spaces.Discrete(4)) for n in (4, 3)])
    with pytest.raises(ValueError, match=r"action_masks of environment 1 at step 0: expected 4 booleans"):
        make_model(env).learn(10)


WITHOUT_MASKS: dict[str, Callable[[], Any]] = {
    "DummyVecEnv": lambda: make_vec_env("CartPole-v1"),
    "SubprocVecEnv": lambda: make_vec_env("CartPole-v1", 2, vec_env_cls=SubprocVecEnv),
    "SyncVectorEnv": lambda: gym.make_vec("CartPole-v1", 2, vectorization_mode="sync"),
    "AsyncVectorEnv": lambda: gym.make_vec("CartPole-v1", 2, vectorization_mode="async"),
    "native": lambda: gym.make_vec("CartPole-v1", 2, vectorization_mode="vector_entry_point"),
}


@pytest.mark.parametrize("name", with_slow_processes(WITHOUT_MASKS))
def test_environments_without_masks_are_errors(name: str) -> None:
    model = make_model(WITHOUT_MASKS[name]())
    with pytest.raises(ValueError, match=r"env=.*VecEnv.*action_masks\(\).*ActionMasker"):
        model.learn(10)
    model.env.close()


def test_an_error_in_a_mask_function_is_raised_unchanged() -> None:
    env = ActionMasker(RandomEnv(VECTOR, spaces.Discrete(4)), lambda env: env.unwrapped.msaks)
    with pytest.raises(AttributeError, match="msaks"):
        make_model(env).learn(10)
