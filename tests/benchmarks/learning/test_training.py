import platform
from dataclasses import asdict, dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import ConvertCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

from benchmarks.learning.environments import ENVIRONMENTS, Environment
from benchmarks.learning.records import Record
from benchmarks.learning.settings import Settings
from benchmarks.learning.suites import SUITES, Job
from benchmarks.learning.training import EpisodeRecorder, make_env, make_model, train
from sb3_a2c_td.algorithms.compiled_training import step_by_step_reason
from sb3_a2c_td.optimizers import AdamTFLike
from sb3_a2c_td.policies.minatar import MinAtarCnn
from tests.benchmarks.learning.environments import WithMonitors, with_monitors
from tests.benchmarks.learning.faults import job

JOBS = {
    (each.environment.name, each.arm): each
    for each in (job for name in ("main", "ablation") for job in SUITES[name].jobs(1))
}
CARTPOLE = ENVIRONMENTS["CartPole-v1"]


N_STEPS = 80
LIMIT = 4
REWARDS = {"CartPole-v1": 1.0, "Acrobot-v1": -1.0, "MountainCar-v0": -1.0}
"""reward of every step, for environments where it is constant"""


@dataclass(frozen=True)
class Shortened(WithMonitors):
    """Truncates every episode after a few steps."""

    def make(self) -> gym.Env[Any, Any]:
        return gym.wrappers.TimeLimit(super().make(), LIMIT)


def shortened(job: Job) -> Job:
    """Return the job with few steps, and with short rollouts for PPO."""
    arguments = dict(job.settings.arguments)
    if job.settings.algorithm == "PPO":
        arguments |= {"n_steps": 8, "batch_size": 8 * job.settings.n_envs, "n_epochs": 1}
    return replace(
        job,
        environment=Shortened(**{**vars(job.environment), "n_steps": N_STEPS}),
        settings=replace(job.settings, arguments=arguments),
    )


def episodes_of(record: Record) -> list[tuple[int, float, int]]:
    columns = (record.episode_ends, record.episode_returns, record.episode_lengths)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_arm_trains_and_records_its_episodes(environment: str) -> None:
    jobs = [job for (name, _), job in JOBS.items() if name == environment]
    assert len(jobs) >= 5
    for each in jobs:
        job = shortened(each)
        record = train(job)
        assert (record.environment, record.arm, record.seed, record.n_steps) == (environment, job.arm, 0, N_STEPS)
        assert record.settings == asdict(job.settings)
        assert record.seconds > 0
        assert {"cpu", "numba_cpu", "blas_cores", "python", "versions", "commit"} <= record.conditions.keys()
        assert "sse2" in record.conditions["numba_features"].split() or platform.machine() != "x86_64"
        assert record.conditions["n_threads"] == 1
        assert_episodes_fill_the_run(record, job.settings.n_envs)


def assert_episodes_fill_the_run(record: Record, n_envs: int) -> None:
    """Check the episodes of a shortened run, whose environments take equally many steps."""
    ends, returns, lengths = record.episode_ends, record.episode_returns, record.episode_lengths
    assert len(ends) >= N_STEPS // (n_envs * LIMIT) * n_envs
    assert ((lengths >= 1) & (lengths <= LIMIT)).all()
    assert (np.diff(ends) >= 0).all()
    assert (ends % n_envs == 0).all()
    assert ends[-1] <= N_STEPS
    # the other steps belong to unfinished episodes, one per environment
    assert 0 <= N_STEPS - lengths.sum() <= n_envs * (LIMIT - 1)
    if n_envs == 1:
        np.testing.assert_array_equal(ends, np.cumsum(lengths))
    assert np.isfinite(returns).all()
    if record.environment in REWARDS:
        np.testing.assert_array_equal(returns, REWARDS[record.environment] * lengths)


ALGORITHMS = {
    "TDA2C, normalised": Settings("TDA2C", normalize={}),
    "A2C": Settings("A2C"),
    "PPO": Settings("PPO", arguments={"n_steps": 64, "batch_size": 64, "n_epochs": 1}),
}
algorithms = pytest.mark.parametrize("settings", ALGORITHMS.values(), ids=ALGORITHMS)


@algorithms
def test_episodes_match_the_monitor(settings: Settings) -> None:
    environment = with_monitors(CARTPOLE, n_steps=256)
    env = make_env(environment, settings, seed=0)
    recorder = EpisodeRecorder()
    make_model(environment, settings, env, seed=0).learn(environment.n_steps, recorder)
    inner = env.unwrapped if isinstance(env, VecNormalize) else env
    assert isinstance(inner, DummyVecEnv)
    (monitor,) = inner.envs
    assert isinstance(monitor, Monitor)
    lengths = monitor.get_episode_lengths()
    assert len(lengths) > 5
    assert recorder.episodes == list(zip(np.cumsum(lengths), monitor.get_episode_rewards(), lengths, strict=True))
    # every step of CartPole has the reward 1
    assert monitor.get_episode_rewards() == lengths
    assert episodes_of(train(job(environment, settings=settings))) == recorder.episodes


@algorithms
def test_compiled_environments_give_the_same_episodes(settings: Settings) -> None:
    if settings.algorithm == "TDA2C":
        # "auto" would differ by rounding
        settings = replace(settings, arguments={"engine": "numba"})
    compiled, monitored = (
        episodes_of(train(job(environment, settings=settings)))
        for environment in (replace(CARTPOLE, n_steps=2_000), with_monitors(CARTPOLE, n_steps=2_000))
    )
    assert len(compiled) > 20
    assert compiled == monitored


def test_episodes_of_compiled_training_are_recorded() -> None:
    settings, environment = Settings("TDA2C", n_envs=4), replace(CARTPOLE, n_steps=4_000)
    model = make_model(environment, settings, make_env(environment, settings, seed=0), seed=0)
    assert step_by_step_reason(model, EpisodeRecorder()) is None
    episodes = episodes_of(train(job(environment, settings=settings)))
    recorder, in_every_step = EpisodeRecorder(), ConvertCallback(lambda locals_, globals_: True)
    model.learn(environment.n_steps, [recorder, in_every_step])
    assert len(episodes) > 50
    assert episodes == recorder.episodes


def test_random_episodes_are_consecutive() -> None:
    record = train(job())
    assert len(record.episode_ends) > 4
    np.testing.assert_array_equal(record.episode_ends, np.cumsum(record.episode_lengths))
    np.testing.assert_array_equal(record.episode_returns, record.episode_lengths)


def test_ends_count_the_steps_of_all_environments() -> None:
    record = train(job(replace(CARTPOLE, n_steps=400), settings=Settings("A2C", n_envs=8)))
    assert (record.episode_ends % 8 == 0).all()
    # each of the eight environments has taken an eighth of the steps until its first end
    first = np.argmin(record.episode_ends)
    assert record.episode_ends[first] == 8 * record.episode_lengths[first]
    assert record.episode_lengths.sum() <= 400


def test_episodes_after_the_last_step_are_excluded() -> None:
    settings = Settings("PPO", arguments={"n_steps": 256, "batch_size": 64, "n_epochs": 1})
    whole = episodes_of(train(job(replace(CARTPOLE, n_steps=256), settings=settings)))
    end = whole[5][0]
    for n_steps, n_episodes in ((end - 1, 5), (end, 6)):
        record = train(job(replace(CARTPOLE, n_steps=n_steps), settings=settings))
        assert episodes_of(record) == whole[:n_episodes]


def test_run_without_a_finished_episode_is_recorded() -> None:
    record = train(job(replace(CARTPOLE, n_steps=1), settings=Settings("TDA2C")))
    assert len(record.episode_ends) == len(record.episode_returns) == len(record.episode_lengths) == 0


@pytest.mark.parametrize("settings", [Settings("random"), Settings("TDA2C"), Settings("A2C", n_envs=2)])
def test_run_depends_only_on_its_seed(settings: Settings) -> None:
    environment = replace(CARTPOLE, n_steps=160)
    first, other, again = (episodes_of(train(job(environment, seed, settings))) for seed in (3, 4, 3))
    assert first == again
    assert first != other
    # the seed of run k is first_seed + 1000 k
    assert episodes_of(train(job(environment, 0, settings), first_seed=3_000)) == first


def test_environments_of_a_run_differ() -> None:
    env = make_env(CARTPOLE, Settings("A2C", n_envs=4), seed=0)
    assert len(np.unique(env.reset(), axis=0)) == 4


def model_of(environment: str, arm: str) -> tuple[Any, Any]:
    """Make the model of a job of the suites."""
    job = JOBS[environment, arm]
    env = make_env(job.environment, job.settings, seed=0)
    return make_model(job.environment, job.settings, env, seed=0), env


def kinds_of(module: nn.Module) -> set[type]:
    return {type(part) for part in module.modules()}


def test_linear_schedules_decay_to_zero() -> None:
    model, _ = model_of("CartPole-v1", "ppo-zoo")
    for schedule, start in ((model.lr_schedule, 1e-3), (model.clip_range, 0.2)):
        assert [schedule(left) for left in (1.0, 0.5, 0.0)] == pytest.approx([start, start / 2, 0.0])


def test_robbins_monro_rates_decay_over_the_run() -> None:
    model, _ = model_of("CartPole-v1", "tda2c-robbins-monro")
    for schedule, start in ((model.lr_schedule, 5e-4), (model.critic_lr_schedule, 1e-3)):
        rates = [schedule(left) for left in (1.0, 0.9, 0.0)]
        # after 0, 10,000 and 100,000 steps
        assert rates == pytest.approx([start, start / 2**0.75, start / 11**0.75])


def test_names_stand_for_classes() -> None:
    tanh, _ = model_of("CartPole-v1", "tda2c-tanh")
    assert nn.Tanh in kinds_of(tanh.policy)
    assert nn.ReLU not in kinds_of(tanh.policy)
    default, _ = model_of("CartPole-v1", "tda2c")
    assert nn.Tanh not in kinds_of(default.policy)
    adam, _ = model_of("CartPole-v1", "tda2c-torch-adam")
    assert type(adam.policy.optimizer) is th.optim.Adam
    assert type(default.policy.optimizer) is AdamTFLike
    zoo, _ = model_of("MinAtar/Breakout-v1", "a2c-zoo")
    assert type(zoo.policy.optimizer) is RMSpropTFLike
    assert zoo.policy.optimizer.defaults["eps"] == 1e-5


@pytest.mark.parametrize("arm", ["tda2c", "a2c", "a2c-zoo", "a2c-td0", "ppo-zoo"])
def test_every_arm_has_minatars_cnn(arm: str) -> None:
    model, env = model_of("MinAtar/Breakout-v1", arm)
    assert MinAtarCnn in kinds_of(model.policy)
    assert env.observation_space.shape[1:] == (10, 10)
    # float images, which SB3 does not divide by 255
    assert env.observation_space.dtype == np.float32
    images = env.reset()
    assert set(np.unique(images)) == {0.0, 1.0}


@pytest.mark.parametrize("environment", ["CartPole-v1", "MinAtar/Breakout-v1"])
def test_a2c_td0_is_a_one_step_method_with_separate_networks(environment: str) -> None:
    model, env = model_of(environment, "a2c-td0")
    optimizer = model.policy.optimizer
    assert type(optimizer) is th.optim.Adam
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3]
    assert [model.lr_schedule(left) for left in (1.0, 0.5, 0.0)] == [1e-3] * 3
    assert model.rollout_buffer.gae_lambda == 0.0
    # no clipping, and the loss is the sum of the two losses
    assert (model.max_grad_norm, model.ent_coef, model.vf_coef) == (1e9, 0.0, 1.0)
    assert not model.normalize_advantage
    observations, _ = model.policy.obs_to_tensor(env.reset())
    values, log_probs, _ = model.policy.evaluate_actions(observations, th.zeros(1))
    of_critic, of_actor = (parameters_used_by(output, model.policy) for output in (values, log_probs))
    assert of_critic
    assert of_actor
    assert not of_critic & of_actor


def parameters_used_by(output: th.Tensor, policy: nn.Module) -> set[str]:
    """Return the names of the parameters that an output depends on."""
    names, parameters = zip(*policy.named_parameters(), strict=True)
    gradients = th.autograd.grad(output.sum(), parameters, allow_unused=True)
    return {name for name, gradient in zip(names, gradients, strict=True) if gradient is not None}


def test_a2c_has_sb3s_defaults() -> None:
    model, _ = model_of("CartPole-v1", "a2c")
    assert type(model.policy.optimizer) is th.optim.RMSprop
    assert model.rollout_buffer.gae_lambda == 1.0


@pytest.mark.parametrize(
    ("environment", "gamma"), [("Pendulum-v1", 0.9), ("Acrobot-v1", 0.99), ("Hopper-v5", 0.99), ("CartPole-v1", None)]
)
def test_rewards_are_normalised_with_the_algorithms_gamma(environment: str, gamma: float | None) -> None:
    model, env = model_of(environment, "a2c-zoo")
    assert isinstance(env, VecNormalize) == (gamma is not None)
    if gamma is not None:
        assert env.gamma == model.gamma == gamma
        assert env.norm_obs
        assert env.norm_reward


def test_discrete_observations_are_one_hot() -> None:
    model, env = model_of("FrozenLake-v1", "tda2c")
    assert env.reset().tolist() == [[1.0] + [0.0] * 15]
    assert isinstance(model, BaseAlgorithm)


def test_solved_matches_the_reward_threshold() -> None:
    thresholds = {
        name: environment.make().spec.reward_threshold  # type: ignore[union-attr]
        for name, environment in ENVIRONMENTS.items()
    }
    assert [name for name, threshold in thresholds.items() if threshold is None] == [
        "Pendulum-v1",
        "MinAtar/Breakout-v1",
    ]
    for name, threshold in thresholds.items():
        if threshold is not None:
            assert ENVIRONMENTS[name].solved == threshold


def test_unknown_environment_raises() -> None:
    with pytest.raises(gym.error.NameNotFound, match="NoSuchGame"):
        train(job(Environment("NoSuchGame-v0", n_steps=1, n_seeds=1, solved=0.0)))
