import inspect
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from numpy.testing import assert_allclose
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from benchmarks.learning.arms import (
    ARMS,
    CONTRIB_ARMS,
    MATCHED_ARMS,
    PART_ARMS,
    VARIED_ARMS,
    matched_to,
    power_law_from,
    tuned_settings,
)
from benchmarks.learning.environments import (
    DEVELOPMENT_ENVIRONMENTS,
    ENVIRONMENTS,
    HELD_OUT_ENVIRONMENTS,
    PARTIALLY_OBSERVED_ENVIRONMENTS,
    Environment,
)
from benchmarks.learning.settings import Settings
from benchmarks.learning.suites import ABLATION_ARMS, MAIN_ARMS, OUT_OF_THE_BOX_ARMS, SUITES
from benchmarks.learning.training import ALGORITHMS, LayerNormTanh, make_env, make_model, train
from sb3_a2c_td import TDA2C
from sb3_a2c_td.hyperparams.recurrent import hyperparams as recurrent_hyperparams
from sb3_a2c_td.hyperparams.tda2c import general_setting
from sb3_a2c_td.policies.separate import SeparateActorCriticPolicy
from tests.algorithms.comparing import assert_same_parameters


def parameters_of(function: object) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_names_and_summaries_are_unique() -> None:
    assert all(name == arm.name and arm.summary for name, arm in ARMS.items())
    assert len({arm.summary for arm in ARMS.values()}) == len(ARMS)
    assert all(name == environment.name for name, environment in ENVIRONMENTS.items())
    assert {*OUT_OF_THE_BOX_ARMS, *MAIN_ARMS, *ABLATION_ARMS} == set(ARMS)


@pytest.mark.parametrize("arm", ARMS)
def test_settings_are_json_values_and_valid_arguments(arm: str) -> None:
    on_environments = [ARMS[arm].settings_on(environment) for environment in ENVIRONMENTS.values()]
    settings_of_arm = [settings for settings in on_environments if settings is not None]
    assert settings_of_arm
    for settings in settings_of_arm:
        assert_valid(settings)


def assert_valid(settings: Settings) -> None:
    again = json.loads(json.dumps(asdict(settings)))
    assert again == asdict(settings)
    assert Settings(**again) == settings
    assert settings.n_envs >= 1
    if settings.algorithm == "random":
        assert (settings.n_envs, settings.normalize, settings.arguments) == (1, None, {})
        return
    assert set(settings.arguments) <= set(parameters_of(ALGORITHMS[settings.algorithm]))
    assert set(settings.normalize or {}) <= set(parameters_of(VecNormalize))
    policy = SeparateActorCriticPolicy if settings.algorithm == "TDA2C" else ActorCriticPolicy
    # SeparateActorCriticPolicy passes further arguments to SB3's policy
    known = parameters_of(policy) | parameters_of(ActorCriticPolicy)
    assert set(settings.arguments.get("policy_kwargs", {})) <= set(known)


@pytest.mark.parametrize("arms", [A2C, PPO])
def test_zoo_settings_are_for_environments_of_the_benchmark(arms: type) -> None:
    """Settings for another name would be ignored silently."""
    settings_of = ARMS[f"{arms.__name__.lower()}-zoo"].settings_of
    assert set(settings_of) <= set(ENVIRONMENTS)
    assert {settings.algorithm for settings in settings_of.values() if settings} == {arms.__name__}


CHANGES = {
    "tda2c-reward-scale-1": {"reward_scale": 1.0},
    "tda2c-fixed-intervals": {"update_on_episode_end": False},
    "tda2c-truncation": {"bootstrap_on_truncation": True},
    "tda2c-tanh": {"policy_kwargs": {"activation_fn": "Tanh"}},
    "tda2c-n-steps-1": {"n_steps": 1},
    "tda2c-n-steps-20": {"n_steps": 20},
    "tda2c-n-steps-64": {"n_steps": 64},
    "tda2c-shared-rate": {"critic_learning_rate": 5e-4},
    "tda2c-torch-adam": {"policy_kwargs": {"optimizer_class": "Adam"}},
    "tda2c-robbins-monro": {"learning_rate": power_law_from(5e-4), "critic_learning_rate": power_law_from(1e-3)},
}


def test_ablations_change_a_single_default() -> None:
    assert set(CHANGES) == set(ABLATION_ARMS)
    defaults = {name: parameter.default for name, parameter in parameters_of(TDA2C).items()}
    assert ARMS["tda2c"].settings == Settings("TDA2C")
    assert not ARMS["tda2c"].settings_of
    for name, changes in {**CHANGES, "tda2c-double-softmax": {"double_softmax": True}}.items():
        assert ARMS[name].settings == Settings("TDA2C", arguments=changes)
        assert not any(ARMS[name].settings_of.values())
        assert all(defaults[argument] != value for argument, value in changes.items())
    # the summaries mention these defaults
    assert (defaults["n_steps"], defaults["learning_rate"], defaults["critic_learning_rate"]) == (5, 5e-4, 1e-3)
    assert defaults["reward_scale"] == 0.01


@pytest.mark.parametrize("environment", [*DEVELOPMENT_ENVIRONMENTS, *HELD_OUT_ENVIRONMENTS], ids=lambda each: each.name)
def test_general_arm_has_the_shipped_setting(environment: Environment) -> None:
    env = environment.make()
    assert environment.is_continuous == isinstance(env.action_space, spaces.Box)
    settings = ARMS["tda2c-general"].settings_on(environment)
    assert settings is not None
    assert_valid(settings)
    model = make_model(environment, settings, make_env(environment, settings, seed=0), seed=0)
    shipped = TDA2C(env=env, seed=0, device="cpu", **general_setting(env.observation_space, env.action_space))
    for name in ("n_steps", "gamma", "ent_coef", "normalize_observations", "normalize_rewards", "normalize_advantage"):
        assert getattr(model, name) == getattr(shipped, name)
    for progress in (1.0, 0.5):
        assert model.lr_schedule(progress) == shipped.lr_schedule(progress)
        assert model.critic_lr_schedule(progress) == shipped.critic_lr_schedule(progress)
    assert model.policy.activation_fn is shipped.policy.activation_fn is nn.Tanh
    assert_same_parameters(model, shipped)


def test_varied_arms_change_one_number() -> None:
    for environment in DEVELOPMENT_ENVIRONMENTS:
        general = ARMS["tda2c-general"].settings_of[environment.name]
        assert general is not None
        for name, arm in VARIED_ARMS.items():
            varied = arm.settings_of[environment.name]
            assert varied is not None
            argument, factor = name.split("-x")
            numbers = [float(str(each.arguments[argument]).removeprefix("lin_")) for each in (general, varied)]
            assert_valid(varied)
            assert numbers[1] == pytest.approx(float(factor) * numbers[0], rel=0.01)
            assert type(varied.arguments[argument]) is type(general.arguments[argument])
            assert replace(varied, arguments={**varied.arguments, argument: general.arguments[argument]}) == general


def test_arms_change_one_part_of_the_general_setting() -> None:
    for environment in DEVELOPMENT_ENVIRONMENTS:
        general = ARMS["tda2c-general"].settings_of[environment.name]
        assert general is not None
        before = general.arguments | general.arguments["policy_kwargs"]
        for name, arm in PART_ARMS.items():
            changed = arm.settings_of[environment.name]
            if changed is None:
                assert name in ("discrete-rate", "std-1", "gsde")
                assert not environment.is_continuous
                continue
            assert_valid(changed)
            after = changed.arguments | changed.arguments["policy_kwargs"]
            names = {key for key in after if key != "policy_kwargs" and after[key] != before.get(key)}
            assert len(names) == (2 if name == "constant-rates" else 1)


def test_layer_normalization_comes_before_tanh() -> None:
    layer = LayerNormTanh()
    x = 3.0 + 5.0 * th.randn(4, 64, generator=th.Generator().manual_seed(0))
    before = th.atanh(layer(x))
    assert_allclose(before.mean(dim=1), np.zeros(4), atol=1e-5)
    assert_allclose(before.std(dim=1, correction=0), np.ones(4), rtol=1e-4)


def test_matched_arms_differ_from_the_tuned_one_in_the_returns() -> None:
    for name, tuned in tuned_settings().items():
        matched = MATCHED_ARMS["a2c-matched"].settings_of[name]
        assert matched is not None
        assert_valid(matched)
        assert (matched.n_envs, matched.normalize) == (tuned.n_envs, tuned.normalize)
        assert matched.arguments["gamma"] == tuned.arguments["gamma"]
        assert tuned.arguments["policy_kwargs"].items() <= matched.arguments["policy_kwargs"].items()
        assert (matched.arguments["n_steps"], matched.arguments["gae_lambda"]) == (5, 1.0)


def test_matched_arms_take_over_rates_and_entropy() -> None:
    rates = {"learning_rate": "lin_0.0001", "critic_learning_rate": "lin_0.0004"}
    tuned = {"gamma": 0.99, "ent_coef": 0.001, "reward_scale": 0.1, "max_grad_norm": None, "policy_kwargs": {}}
    for normalizes, ent_coef in ((False, 0.01), (True, 0.001)):
        settings = Settings("TDA2C", arguments={**rates, **tuned, "normalize_advantage": normalizes})
        matched = matched_to(settings, n_steps=8, gae_lambda=0.95)
        assert matched.arguments["learning_rate"] == "lin_0.0002"
        assert matched.arguments["ent_coef"] == ent_coef


def test_recurrent_arms_have_the_shipped_settings() -> None:
    """The feed-forward arm differs only in its networks."""
    lstm, feed_forward = CONTRIB_ARMS["tda2c-lstm"], CONTRIB_ARMS["tda2c-feed-forward"]
    for environment in PARTIALLY_OBSERVED_ENVIRONMENTS:
        shipped = dict(recurrent_hyperparams[environment.name])
        assert shipped.pop("n_timesteps") == environment.n_steps
        assert shipped.pop("policy") == "MlpLstmPolicy"
        settings, other = lstm.settings_on(environment), feed_forward.settings_on(environment)
        assert settings is not None
        assert other is not None
        arguments = {**settings.arguments, "policy_kwargs": dict(settings.arguments["policy_kwargs"])}
        arguments["policy_kwargs"]["activation_fn"] = nn.Tanh
        environments = {"n_envs": settings.n_envs, "normalize": settings.normalize}
        assert {**environments, **arguments} == {"normalize": None, **shipped}
        assert {**other.arguments, "policy_kwargs": settings.arguments["policy_kwargs"]} == settings.arguments
        assert (other.n_envs, other.normalize) == (settings.n_envs, settings.normalize)


def test_maskable_arms_have_equal_settings() -> None:
    ours, theirs = (CONTRIB_ARMS[name].settings for name in ("tda2c-maskable", "maskable-ppo-as-a2c"))
    assert ours is not None
    assert theirs is not None
    only_ours = {"critic_learning_rate": 3e-3, "reward_scale": 1.0}
    only_theirs = {"batch_size": 40, "n_epochs": 1, "vf_coef": 1.0, "max_grad_norm": 1e9}
    assert {**ours.arguments, "n_steps": 5, **only_theirs} == {**theirs.arguments, **only_ours}


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["recurrent", "masks"])
def test_masked_and_recurrent_arms_train(suite: str) -> None:
    for job in SUITES[suite].jobs(n_seeds=1):
        few = replace(job.environment, n_steps=400)
        record = train(replace(job, environment=few))
        assert record.arm == job.arm
        assert record.n_steps == 400
