"""MaskableTDA2C through its public API."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from sb3_contrib import MaskablePPO
from sb3_contrib.common.envs import (
    InvalidActionEnvDiscrete,
    InvalidActionEnvMultiBinary,
    InvalidActionEnvMultiDiscrete,
)
from sb3_contrib.common.maskable.callbacks import MaskableEvalCallback
from sb3_contrib.common.maskable.evaluation import evaluate_policy
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecNormalize
from torch import nn

from sb3_a2c_td import TDA2C, GymnasiumVecEnv, MaskableTDA2C, MlpPolicy, UnreadableCheckpointError
from sb3_a2c_td.export import ExportError, export_actor
from sb3_a2c_td.policies.maskable import MaskableMlpPolicy
from sb3_a2c_td.vec_env.action_masks import components
from tests.algorithms.tda2c.parity import Recorder
from tests.engines import CPU_ENGINES
from tests.environments import MaskedEnv, MaskedInfosEnv, NextStepVectorEnv, RandomEnv
from tests.saving.comparing import differences, everything

VECTOR = spaces.Box(-1, 1, (3,), np.float32)
ACTION_SPACES = {
    "discrete": spaces.Discrete(5),
    "multi_discrete": spaces.MultiDiscrete([3, 4]),
    "multi_binary": spaces.MultiBinary(3),
}
OBSERVATION_SPACES = {
    "MlpPolicy": VECTOR,
    "CnnPolicy": spaces.Box(0, 255, (36, 36, 1), np.uint8),
    "MultiInputPolicy": spaces.Dict({"a": VECTOR, "b": spaces.Discrete(3)}),
}
TANH = {"activation_fn": nn.Tanh, "net_arch": [64, 64], "ortho_init": True}


class OwnPolicy(MaskableMlpPolicy):
    """Not taken for a plain MLP: PyTorch differentiates it."""


class PlainOwnPolicy(MlpPolicy):
    """The same without masks."""


def spaces_policies_and_engines(*names: str) -> Any:
    """Each with those that can serve it; numba serves one categorical distribution."""
    return pytest.mark.parametrize(
        ("space", "policy", "engine"),
        [
            pytest.param(name, policy, engine, id=f"{name}-{'autograd' if policy is OwnPolicy else engine}")
            for name in names
            for policy, engine in [(OwnPolicy, "autograd"), *((MaskableMlpPolicy, engine) for engine in CPU_ENGINES)]
            if engine != "numba" or name == "discrete"
        ],
    )


def masked(action_space: spaces.Space, n_envs: int = 3, observation_space: spaces.Space = VECTOR, **kwargs) -> VecEnv:
    return make_vec_env(lambda: MaskedEnv(observation_space, action_space, **kwargs), n_envs, seed=0)


def make(env: Any, policy: Any = "MlpPolicy", **kwargs: Any) -> MaskableTDA2C:
    return MaskableTDA2C(policy, env, **({"seed": 0, "device": "cpu"} | kwargs))


# Masked actions are never taken


@pytest.mark.parametrize(
    ("space", "engine"),
    [
        ("discrete", "autograd"),
        ("discrete", "numpy"),
        ("discrete", "numba"),
        ("multi_discrete", "autograd"),
        ("multi_binary", "autograd"),
    ],
)
def test_no_masked_action_among_100_000(space: str, engine: str) -> None:
    """Though the policy would take little else."""
    action_space = ACTION_SPACES[space]
    model = make(masked(action_space), engine=engine)
    n_choices = components(action_space)
    firsts = np.cumsum([0, *n_choices[:-1]])
    with th.no_grad():
        # the first choice of every component
        model.policy.action_net.bias[firsts] = 20.0
    rng = np.random.default_rng(0)
    for _ in range(1_000):
        masks = rng.random((100, sum(n_choices))) < 0.5
        masks[:, firsts] = False
        masks[:, firsts + 1] = True
        actions = model._current_engine.act(rng.normal(size=(100, 3)).astype(np.float32), masks)
        assert np.take_along_axis(masks, firsts + actions.reshape(100, -1), axis=1).all()


@pytest.mark.parametrize("policy", OBSERVATION_SPACES)
@pytest.mark.parametrize("space", ACTION_SPACES)
def test_training_takes_allowed_actions_only(space: str, policy: str) -> None:
    """The environment would raise."""
    model = make(masked(ACTION_SPACES[space], observation_space=OBSERVATION_SPACES[policy]), policy, n_steps=4)
    assert model.learn(60).num_timesteps == 60


def test_draws_follow_the_masked_policy() -> None:
    model = make(masked(spaces.Discrete(4)))
    observation, mask = np.zeros((1, 3), np.float32), np.array([[True, False, True, True]])
    with th.no_grad():
        logits = model.policy.get_distribution(th.as_tensor(observation)).distribution.logits[0].numpy()
    expected = np.exp(logits) * mask[0] / (np.exp(logits) * mask[0]).sum()
    engine = model._current_engine
    actions = engine.act(np.tile(observation, (40_000, 1)), np.tile(mask, (40_000, 1)))
    np.testing.assert_allclose(np.bincount(actions, minlength=4) / 40_000, expected, atol=0.015)


# What is learned


@spaces_policies_and_engines("discrete", "multi_discrete")
def test_where_all_is_allowed_it_is_tda2c(space: str, policy: type[MaskableMlpPolicy], engine: str) -> None:
    action_space = ACTION_SPACES[space]
    n_choices = sum(components(action_space))

    def make_env() -> gym.Env:
        return ActionMasker(RandomEnv(VECTOR, action_space), lambda _: np.ones(n_choices, bool))

    kwargs = {"ent_coef": 0.01, "normalize_advantage": True, "max_grad_norm": 0.5}
    recorders = Recorder(), Recorder()
    model = make(make_vec_env(make_env, 3, seed=0), policy, engine=engine, **kwargs).learn(1_500, recorders[0])
    plain_policy = MlpPolicy if policy is MaskableMlpPolicy else PlainOwnPolicy
    plain = TDA2C(plain_policy, make_vec_env(make_env, 3, seed=0), engine=engine, seed=0, device="cpu", **kwargs)
    plain.learn(1_500, recorders[1])
    assert model._n_updates == plain._n_updates == 100
    np.testing.assert_array_equal(recorders[0].actions, recorders[1].actions)
    is_flat = isinstance(action_space, spaces.Discrete) and policy is MaskableMlpPolicy
    # sb3-contrib normalises logits twice
    atol = 0.0 if is_flat else 1e-5
    np.testing.assert_allclose(recorders[0].parameters, recorders[1].parameters, rtol=0, atol=atol)


class SameActions(MaskableTDA2C):
    """Takes given actions."""

    given: list[np.ndarray]

    def _act(self, observations: Any) -> np.ndarray:
        super()._act(observations)
        return self.given[self.num_timesteps // self.n_envs]


@spaces_policies_and_engines(*ACTION_SPACES)
def test_the_parameters_are_those_of_maskable_ppo(space: str, policy: type[MaskableMlpPolicy], engine: str) -> None:
    """With lambda = 0, and one epoch of one minibatch, in which no ratio is clipped, it takes the same steps."""
    n_updates, n_envs = 100, 4
    common: dict[str, Any] = {"learning_rate": 1e-3, "gamma": 0.95, "n_steps": 5, "seed": 3, "ent_coef": 0.01}
    ppo = MaskablePPO(
        "MlpPolicy",
        masked(ACTION_SPACES[space], n_envs),
        gae_lambda=0.0,
        n_epochs=1,
        batch_size=20,
        vf_coef=1.0,
        max_grad_norm=1e9,
        normalize_advantage=False,
        device="cpu",
        policy_kwargs=TANH | {"share_features_extractor": False},
        **common,
    )
    theirs = Recorder()
    ppo.learn(n_updates * 20, theirs)
    model = SameActions(
        policy,
        masked(ACTION_SPACES[space], n_envs),
        critic_learning_rate=1e-3,
        reward_scale=1.0,
        bootstrap_on_truncation=True,
        engine=engine,
        device="cpu",
        policy_kwargs=TANH | {"optimizer_class": th.optim.Adam, "optimizer_kwargs": {"eps": 1e-5}},
        **common,
    )
    model.given = theirs.actions
    ours = Recorder()
    model.learn(n_updates * 20, ours)
    assert model._n_updates == ppo._n_updates == n_updates
    assert np.abs(theirs.parameters[-1] - theirs.parameters[0]).max() > 0.02
    np.testing.assert_allclose(ours.parameters, theirs.parameters, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "make_env",
    [
        lambda: InvalidActionEnvDiscrete(dim=20, n_invalid_actions=10),
        lambda: InvalidActionEnvMultiDiscrete(dims=[5, 5], n_invalid_actions=4),
        lambda: InvalidActionEnvMultiBinary(dims=4, n_invalid_actions=2),
    ],
    ids=["discrete", "multi_discrete", "multi_binary"],
)
def test_it_learns_which_action_is_right(make_env: Callable[[], gym.Env]) -> None:
    env = make_vec_env(make_env, 8, seed=0)
    rates = {"learning_rate": 3e-3, "critic_learning_rate": 3e-3}
    model = make(env, gamma=0.0, reward_scale=1.0, normalize_advantage=True, policy_kwargs=TANH, **rates).learn(6_000)
    assert evaluate_policy(model, env, n_eval_episodes=8, warn=False)[0] > 97


# Where masks come from


class ShowsItsMask(gym.ObservationWrapper):
    """So that every row tells which one belongs to it."""

    def __init__(self, kind: type[MaskedInfosEnv]) -> None:
        super().__init__(kind(VECTOR, spaces.Discrete(5)))
        self.observation_space = spaces.Box(0, 1, (5,), np.float32)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return self.unwrapped.masks.astype(np.float32)


def by_method() -> gym.Env:
    return ShowsItsMask(MaskedEnv)


def by_infos() -> gym.Env:
    return ShowsItsMask(MaskedInfosEnv)


def by_action_masker() -> gym.Env:
    return ActionMasker(ShowsItsMask(MaskedEnv), lambda env: env.unwrapped.masks)


class NativeWithMethod(NextStepVectorEnv):
    """Gives all masks at once; at the end of an episode nothing is allowed."""

    def action_masks(self) -> np.ndarray:
        masks = np.stack([env.unwrapped.masks for env in self._hidden])
        masks[self._ended] = False
        return masks


MAKE_ENVS: dict[str, Callable[[], Any]] = {
    "a method": lambda: make_vec_env(by_method, 3, seed=0),
    "ActionMasker": lambda: make_vec_env(by_action_masker, 3, seed=0),
    "VecNormalize": lambda: VecNormalize(make_vec_env(by_method, 3, seed=0), norm_obs=False),
    "SubprocVecEnv": lambda: make_vec_env(by_method, 2, seed=0, vec_env_cls=SubprocVecEnv),
    **{
        f"SyncVectorEnv {mode.name} {make_env.__name__}": lambda mode=mode, make_env=make_env: SyncVectorEnv(
            [make_env] * 3, autoreset_mode=mode
        )
        for mode in AutoresetMode
        for make_env in (by_method, by_infos, by_action_masker)
    },
    **{
        f"AsyncVectorEnv {make_env.__name__}": lambda make_env=make_env: AsyncVectorEnv([make_env] * 2)
        for make_env in (by_method, by_infos)
    },
    "native by_infos": lambda: NextStepVectorEnv([by_infos] * 3),
    "native with a method": lambda: NativeWithMethod([by_infos] * 3),
}


def evaluated(name: str) -> VecEnv:
    env = MAKE_ENVS[name]()
    return env if isinstance(env, VecEnv) else GymnasiumVecEnv(env)


@pytest.mark.parametrize("name", MAKE_ENVS)
def test_masks_come_from(name: str) -> None:
    """Each stands beside its own observation, behind an episode's end too; the environments take no other actions."""
    model = make(MAKE_ENVS[name](), n_steps=50, update_on_episode_end=False)
    model.learn(40 * model.n_envs)
    rows = model.rollout_buffer.transitions()
    assert (rows.terminated | rows.truncated).sum() > 5
    np.testing.assert_array_equal(rows.observations, rows.action_masks)
    model.learn(400, reset_num_timesteps=False)
    model.env.close()
    if "native" not in name:
        # of which only training can drop the dead steps
        env = evaluated(name)
        # masks in infos are known from the first reset on
        env.reset()
        assert np.isfinite(evaluate_policy(model, env, n_eval_episodes=3, warn=False)[0])
        env.close()


# What an SB3 user does with it


def test_predict_and_evaluation_take_masks(tmp_path: Path) -> None:
    env = masked(spaces.Discrete(5))
    callback = MaskableEvalCallback(masked(spaces.Discrete(5)), eval_freq=50, n_eval_episodes=3, verbose=0)
    model = make(env).learn(300, callback)
    assert np.isfinite(callback.last_mean_reward)
    assert np.isfinite(evaluate_policy(model, masked(spaces.Discrete(5)), n_eval_episodes=4, warn=False)[0])
    observation = np.zeros(3, np.float32)
    for allowed in range(5):
        action, state = model.predict(observation, action_masks=np.arange(5) == allowed)
        assert (int(action), state) == (allowed, None)
    model.save(tmp_path / "model")
    loaded = MaskableTDA2C.load(tmp_path / "model", device="cpu")
    observations, masks = VECTOR.sample()[None].repeat(50, 0), np.random.default_rng(0).random((50, 5)) < 0.5
    masks[:, 0] = True
    predictions = [m.predict(observations, deterministic=True, action_masks=masks)[0] for m in (model, loaded)]
    np.testing.assert_array_equal(*predictions)


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_resuming_goes_on_to_the_bit(engine: str, tmp_path: Path) -> None:
    """In the middle of an interval, whose transitions and masks are saved."""

    def new() -> MaskableTDA2C:
        return make(masked(spaces.Discrete(5), takes_all=True), n_steps=7, engine=engine)

    expected = everything(new().learn(1_500))
    new().learn(780).save(tmp_path / "model")
    model = MaskableTDA2C.resume(tmp_path / "model", new().env, device="cpu")
    assert len(model.rollout_buffer) > 0
    found = everything(model.learn(1_500 - 780, reset_num_timesteps=False))
    assert differences(found, expected) == []


# Errors


class Masks(RandomEnv):
    """Gives the same masks whatever the actions."""

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
        ([0.0] * 4, spaces.Discrete(4), "have the dtype float64, expected booleans"),
        ([False] * 4, spaces.Discrete(4), "of environment 0 at step 0 allow nothing for component 0"),
        ([1, 0, 0, 0], spaces.MultiDiscrete([2, 2]), "allow nothing for component 1"),
        ([1, 0, 0, 1, 0, 0], spaces.MultiBinary(3), "allow nothing for component 2"),
    ],
)
def test_what_is_no_mask_is_refused(masks: Any, action_space: spaces.Space, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(Masks(masks, action_space)).learn(10)


WITHOUT_MASKS: dict[str, Callable[[], Any]] = {
    "DummyVecEnv": lambda: make_vec_env("CartPole-v1"),
    "SubprocVecEnv": lambda: make_vec_env("CartPole-v1", 2, vec_env_cls=SubprocVecEnv),
    "SyncVectorEnv": lambda: gym.make_vec("CartPole-v1", 2, vectorization_mode="sync"),
    "AsyncVectorEnv": lambda: gym.make_vec("CartPole-v1", 2, vectorization_mode="async"),
    "native": lambda: gym.make_vec("CartPole-v1", 2, vectorization_mode="vector_entry_point"),
}


@pytest.mark.parametrize("name", WITHOUT_MASKS)
def test_environments_without_masks_are_refused(name: str) -> None:
    model = make(WITHOUT_MASKS[name]())
    with pytest.raises(ValueError, match=r"env=.*VecEnv provides no masks of actions: give"):
        model.learn(10)
    model.env.close()


def test_masks_of_other_sizes_name_the_environment() -> None:
    env = DummyVecEnv([lambda n=n: Masks([True] * n, spaces.Discrete(4)) for n in (4, 3)])
    with pytest.raises(ValueError, match=r"action_masks of environment 1 at step 0: expected 4 booleans"):
        make(env).learn(10)


def test_an_error_in_the_users_own_function_is_that_error() -> None:
    env = ActionMasker(RandomEnv(VECTOR, spaces.Discrete(4)), lambda env: env.unwrapped.msaks)
    with pytest.raises(AttributeError, match="msaks"):
        make(env).learn(10)


def test_masks_of_many_binary_numbers_draw_nothing() -> None:
    model = make(masked(spaces.MultiBinary(3)))
    model.env.action_space.seed(0)
    before = model.env.action_space.np_random.bit_generator.state
    model.learn(30)
    assert model.env.action_space.np_random.bit_generator.state == before


def test_continuous_actions_gsde_and_others_policies_are_refused() -> None:
    with pytest.raises(ValueError, match=r"action_space=Box.*: masks are for discrete actions; use TDA2C"):
        make("Pendulum-v1")
    with pytest.raises(ValueError, match="use_sde=True"):
        MaskableMlpPolicy(VECTOR, spaces.Discrete(5), lambda _: 1e-3, use_sde=True)
    with pytest.raises(ValueError, match="policy=MlpPolicy is for another algorithm: MaskableTDA2C has MaskableMlp"):
        make(masked(spaces.Discrete(5)), TDA2C.policy_aliases["MlpPolicy"])
    with pytest.raises(ValueError, match="policy=MaskableMlpPolicy is for another algorithm: TDA2C has MlpPolicy"):
        TDA2C(MaskableMlpPolicy, "CartPole-v1")
    with pytest.raises(ValueError, match=r"class Mine\(SeparateMaskablePolicy, MaskableActorCriticPolicy\)"):
        make(masked(spaces.Discrete(5)), MaskablePPO.policy_aliases["MlpPolicy"])


def test_models_of_other_algorithms_are_not_loaded(tmp_path: Path) -> None:
    make(masked(spaces.Discrete(5))).save(tmp_path / "masked")
    TDA2C("MlpPolicy", "CartPole-v1", device="cpu").save(tmp_path / "plain")
    with pytest.raises(UnreadableCheckpointError, match="MaskableMlpPolicy, so another algorithm than TDA2C saved it"):
        TDA2C.load(tmp_path / "masked")
    with pytest.raises(UnreadableCheckpointError, match="another algorithm than MaskableTDA2C saved it: load it with"):
        MaskableTDA2C.load(tmp_path / "plain")


def test_actors_that_need_a_mask_are_not_exported(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="policy=MaskableMlpPolicy: only actors of TDA2C are exported"):
        export_actor(make(masked(spaces.Discrete(5))), tmp_path / "actor.onnx")
