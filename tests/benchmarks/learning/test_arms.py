import inspect
import json
from dataclasses import asdict, replace

import pytest
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from benchmarks.learning.arms import ARMS, CONTRIB_ARMS, power_law_from
from benchmarks.learning.environments import ENVIRONMENTS, PARTIALLY_OBSERVED_ENVIRONMENTS
from benchmarks.learning.settings import Settings
from benchmarks.learning.suites import ABLATION_ARMS, MAIN_ARMS, SUITES
from benchmarks.learning.training import ALGORITHMS, train
from sb3_a2c_td import TDA2C
from sb3_a2c_td.hyperparams.recurrent import hyperparams as recurrent_hyperparams
from sb3_a2c_td.policies.separate import SeparateActorCriticPolicy

EVERYWHERE = [
    (arm.name, environment.name, settings)
    for arm in ARMS.values()
    for environment in ENVIRONMENTS.values()
    if (settings := arm.settings_on(environment)) is not None
]


def parameters_of(function: object) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_names_are_unique_and_told() -> None:
    assert all(name == arm.name and arm.summary for name, arm in ARMS.items())
    assert len({arm.summary for arm in ARMS.values()}) == len(ARMS)
    assert all(name == environment.name for name, environment in ENVIRONMENTS.items())
    assert {*MAIN_ARMS, *ABLATION_ARMS} == set(ARMS)


@pytest.mark.parametrize(("arm", "environment", "settings"), EVERYWHERE)
def test_settings_are_plain_and_known(arm: str, environment: str, settings: Settings) -> None:
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
    # which hands the others on
    known = parameters_of(policy) | parameters_of(ActorCriticPolicy)
    assert set(settings.arguments.get("policy_kwargs", {})) <= set(known)


@pytest.mark.parametrize("arms", [A2C, PPO])
def test_the_zoos_settings_name_every_environment_that_they_know(arms: type) -> None:
    """A name that is not in the benchmark would be passed over in silence."""
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


def test_an_ablation_changes_what_it_says_and_nothing_else() -> None:
    assert set(CHANGES) == set(ABLATION_ARMS)
    defaults = {name: parameter.default for name, parameter in parameters_of(TDA2C).items()}
    assert ARMS["tda2c"].settings == Settings("TDA2C")
    assert not ARMS["tda2c"].settings_of
    for name, changes in {**CHANGES, "tda2c-double-softmax": {"double_softmax": True}}.items():
        assert ARMS[name].settings == Settings("TDA2C", arguments=changes)
        assert not any(ARMS[name].settings_of.values())
        assert all(defaults[argument] != value for argument, value in changes.items())
    # what the summaries say of the seed
    assert (defaults["n_steps"], defaults["learning_rate"], defaults["critic_learning_rate"]) == (5, 5e-4, 1e-3)
    assert defaults["reward_scale"] == 0.01


def test_memories_are_compared_with_the_settings_that_ship() -> None:
    """And feed-forward networks with the same, but for the networks."""
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
        around = {"n_envs": settings.n_envs, "normalize": settings.normalize}
        assert {**around, **arguments} == {"normalize": None, **shipped}
        assert {**other.arguments, "policy_kwargs": settings.arguments["policy_kwargs"]} == settings.arguments
        assert (other.n_envs, other.normalize) == (settings.n_envs, settings.normalize)


def test_masks_are_compared_with_the_same_settings() -> None:
    ours, theirs = (CONTRIB_ARMS[name].settings for name in ("tda2c-maskable", "maskable-ppo-as-a2c"))
    assert ours is not None
    assert theirs is not None
    only_ours = {"critic_learning_rate": 3e-3, "reward_scale": 1.0}
    only_theirs = {"batch_size": 40, "n_epochs": 1, "vf_coef": 1.0, "max_grad_norm": 1e9}
    assert {**ours.arguments, "n_steps": 5, **only_theirs} == {**theirs.arguments, **only_ours}


@pytest.mark.parametrize("suite", ["memory", "masks"])
def test_every_masked_and_recurrent_arm_makes_a_record(suite: str) -> None:
    for job in SUITES[suite].jobs(n_seeds=1):
        few = replace(job.environment, n_steps=400)
        record = train(replace(job, environment=few))
        assert record.arm == job.arm
        assert record.n_steps == 400
