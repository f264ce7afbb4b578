"""Process groups that train one model, each rank in a process."""

import pickle
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import load_results
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from sb3_a2c_td import TDA2C
from sb3_a2c_td.algorithms.distributed import DistributedTDA2C
from sb3_a2c_td.algorithms.gradient_reducer import Flags, flatten, unflatten
from sb3_a2c_td.engines import UnsupportedPolicyError
from sb3_a2c_td.version import __version__
from tests.algorithms.distributed import scenarios
from tests.algorithms.distributed.scenarios import FAST_LEARNING, LEARNING, N_ENVS, N_FAST_UPDATES, N_UPDATES, cartpoles

ROOT = Path(__file__).parents[3]

trained_alone = cache(scenarios.trained_alone)


class Group:
    """Runs scenarios on every rank of a process group; keeps their results, outputs and exit codes."""

    def __init__(self, names: str, size: int, folder: Path) -> None:
        self.folder = folder
        arguments = [sys.executable, "-m", "tests.algorithms.distributed.scenarios", names]
        processes = [
            subprocess.Popen(
                [*arguments, str(rank), str(size), str(self.folder)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in range(size)
        ]
        try:
            self.outputs = [process.communicate(timeout=400)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
        self.exit_codes = [process.returncode for process in processes]
        self.results = [
            pickle.loads(path.read_bytes()) if path.exists() else None
            for path in (self.folder / f"rank{rank}.pkl" for rank in range(size))
        ]

    def __getitem__(self, scenario: str) -> list[Any]:
        """Return the results of a scenario, one per rank."""
        assert self.exit_codes == [0] * len(self.exit_codes), self.outputs
        return [results[scenario] for results in self.results]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Group:
    names = "learn,identical,stopping,saving,resumably,logging,refusing,reducing,changing"
    return Group(names, 2, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Group:
    return Group("learn,identical,stopping", 3, tmp_path_factory.mktemp("three"))


@pytest.fixture(params=["two", "three"])
def group(request: pytest.FixtureRequest) -> Group:
    fixture: Group = request.getfixturevalue(request.param)
    return fixture


def assert_learned_alike(ranks: list[dict[str, Any]], alone: dict[str, Any], n_updates: int) -> None:
    """Check that all ranks have the same parameters, bit for bit, and those of one process within 1e-6."""
    for rank in ranks:
        assert rank["n_updates"] == alone["n_updates"] == n_updates
        assert rank["num_timesteps"] == alone["num_timesteps"] == n_updates * 5 * N_ENVS * len(ranks)
        for own, first, expected in zip(rank["parameters"], ranks[0]["parameters"], alone["parameters"], strict=True):
            assert np.array_equal(own, first)
            np.testing.assert_allclose(own, expected, rtol=0, atol=1e-6)


# In two processes


def test_two_ranks_learn_what_one_process_learns(tmp_path: Path) -> None:
    """The slow tier compares more updates and settings, and three ranks."""
    results = Group("learn_fast", 2, tmp_path)["learn_fast"]
    for name in FAST_LEARNING:
        alone = trained_alone(name, N_ENVS * 2, N_FAST_UPDATES)
        assert_learned_alike([result[name] for result in results], alone, N_FAST_UPDATES)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNING)
def test_ranks_learn_what_one_process_learns(group: Group, name: str) -> None:
    """After 200 updates; each environment draws the same noise as in one process."""
    ranks = [result[name] for result in group["learn"]]
    assert_learned_alike(ranks, trained_alone(name, N_ENVS * len(ranks)), N_UPDATES)


@pytest.mark.slow
def test_log_has_episodes_and_losses_of_all_ranks(two: Group) -> None:
    keys = ["rollout/ep_rew_mean", "rollout/ep_len_mean", "time/total_timesteps"]
    keys += ["train/policy_loss", "train/value_loss", "train/entropy_loss", "train/learning_rate", "train/n_updates"]
    for name in LEARNING:
        (dumped,) = two["learn"][0][name]["dumped"]
        (expected,) = trained_alone(name, N_ENVS * 2)["dumped"]
        for key in keys:
            assert dumped[key] == pytest.approx(expected[key], rel=1e-4, abs=1e-6), (name, key)


@pytest.mark.slow
def test_parameters_are_identical_on_all_ranks_before_every_update(group: Group) -> None:
    (first, n_all_reduces), *others = group["identical"]
    assert len(set(first)) == len(first) == n_all_reduces == {1: 100, 2: 66}[len(others)]
    assert all(other == (first, n_all_reduces) for other in others)


@pytest.mark.slow
def test_callback_that_stops_one_rank_stops_all_after_the_rollout(group: Group) -> None:
    ranks = group["stopping"]
    n_envs = N_ENVS * len(ranks)
    assert ranks == [((15 * n_envs, 3, 15), 15 * n_envs + -(-100 // n_envs) * n_envs)] * len(ranks)


@pytest.mark.slow
def test_rank_0_saves(two: Group) -> None:
    """In the middle of a rollout; training then continues at the saved step, each rank with other episodes."""
    ranks = two["saving"]
    assert not (two.folder / "saved by 1.zip").exists()
    model = TDA2C.load(two.folder / "saved by 0.zip", device="cpu")
    assert model.num_timesteps == 1_012
    for parameters, start, n_steps, _ in ranks:
        for saved, own in zip(model.policy.parameters(), parameters, strict=True):
            assert np.array_equal(saved.detach().numpy(), own)
        assert start == (1_012, 0, 50)
        assert n_steps == 2_000
    assert not np.array_equal(ranks[0][3], ranks[1][3])


@pytest.mark.slow
def test_train_resumably_continues_and_does_not_repeat(two: Group) -> None:
    assert two["resumably"] == [[(1_000, 50), (2_000, 100), (2_000, 100)]] * 2


@pytest.mark.slow
def test_rank_0_logs_and_shows_progress(two: Group) -> None:
    (outputs, n_episodes), (outputs_of_rank_1, _) = two["logging"]
    assert outputs == ["HumanOutputFormat", "TensorBoardOutputFormat"]
    assert outputs_of_rank_1 == []
    assert len(load_results(str(two.folder / "monitored"))) == n_episodes > 10
    assert (two.folder / "board 0").is_dir()
    assert not (two.folder / "board 1").exists()
    assert "1,000/1,000" in two.outputs[0]
    assert "ep_rew_mean" in two.outputs[0]
    assert "1,000/1,000" not in two.outputs[1]
    assert "ep_rew_mean" not in two.outputs[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("difference", "expected"),
    {
        "settings": "ValueError: rank 1 has gamma=0.91, but rank 0 has gamma=0.9: they must match",
        "schedules": "ValueError: rank 1 has learning_rate=rates 0.002, 0.0015, 0.001, 0.0005, 0.0, but rank 0 has "
        "learning_rate=rates 0.001, ",
        "networks": "ValueError: rank 1 has policy_kwargs={'net_arch': [9]}, but rank 0 has "
        "policy_kwargs={'net_arch': [8]}",
        "steps": "ValueError: rank 1 has total_timesteps=101, but rank 0 has total_timesteps=100",
        "logs": "ValueError: rank 1 has log_interval=11, but rank 0 has log_interval=10",
        "resets": "ValueError: rank 1 has reset_num_timesteps=False, but rank 0 has reset_num_timesteps=True",
        "frozen parameters": "ValueError: rank 1 has trained parameters=['mlp_extractor.policy_net.0.bias', ",
        "moments": "ValueError: rank 1 has SHA-256 of weights and moments=",
        "environments": "ValueError: rank 1 has n_envs=3, but rank 0 has n_envs=2",
        "versions": f"ValueError: rank 1 has sb3_a2c_td={__version__}.1, but rank 0 has sb3_a2c_td={__version__}.0",
        "equal schedules": "nothing",
        "equal policies": "nothing",
    }.items(),
)
def test_all_ranks_refuse_to_differ(two: Group, difference: str, expected: str) -> None:
    messages = [messages[difference] for messages in two["refusing"]]
    assert all(message.startswith(expected) for message in messages), messages


@pytest.mark.slow
def test_reducer_weights_by_rows_and_leaves_absent_gradients_absent(two: Group) -> None:
    """It averages 1.0 in three rows and 2.0 in one; then 8.0 in three rows and no gradient in one."""
    ranks = two["reducing"]
    advantages = np.array([1.0, 2.0, 6.0, -1.0])
    expected = ((advantages - advantages.mean()) / (advantages.std(ddof=1) + 1e-8)).tolist()
    for gradients, metrics, _, flags in ranks:
        on_both, on_first, on_neither, frozen = gradients
        assert np.array_equal(on_both, np.full((2, 3), 1.25))
        assert np.array_equal(on_first, np.full((2, 3), 6.0))
        assert (on_neither, frozen) == (None, None)
        assert metrics == [3.0, 1.0]
        assert flags == (Flags(), Flags(stop=False, saved=True))
    (_, _, first, _), (_, _, second, _) = ranks
    assert first == pytest.approx(expected[:3], rel=1e-6)
    assert second == pytest.approx(expected[3:], rel=1e-6)


@pytest.mark.slow
def test_different_parameters_are_noticed_after_a_save_and_at_the_end(two: Group) -> None:
    for messages, n_updates_if_saved, n_updates_if_not_saved in two["changing"]:
        for message in messages:
            assert message.startswith("ValueError: rank 1 has SHA-256 of weights and moments=")
        assert (n_updates_if_saved, n_updates_if_not_saved) == (2, 50)


@pytest.mark.slow
def test_killed_rank_ends_the_others(tmp_path: Path) -> None:
    """They raise an error without waiting for the timeout, and the saved model is complete."""
    group = Group("dying", 3, tmp_path)
    assert group.exit_codes == [0, 0, -signal.SIGKILL]
    for results in group.results[:-1]:
        message, n_updates = results["dying"]
        assert message.startswith("RuntimeError: a collective operation failed, probably because another rank ended: ")
        assert n_updates == 10
    model = TDA2C.load(group.folder / "saved", device="cpu")
    assert model.num_timesteps % (N_ENVS * 3) == 0
    assert [path.name for path in group.folder.glob("*saved*")] == ["saved.zip"]


# In one process


class Normed(FlattenExtractor):
    def __init__(self, observation_space: spaces.Space) -> None:
        super().__init__(observation_space)
        self.norm = nn.BatchNorm1d(self.features_dim)


def test_flattened_tensors_are_recovered() -> None:
    tensors = [th.arange(6.0).view(2, 3).T, th.tensor(7.0), th.zeros(0), th.tensor([8.0, 9.0])]
    flat = flatten(tensors)
    assert flat.tolist() == [0, 3, 1, 4, 2, 5, 7, 8, 9]
    for tensor, recovered in zip(tensors, unflatten(flat, tensors), strict=True):
        assert th.equal(tensor, recovered)
        assert recovered.shape == tensor.shape


def test_model_needs_a_process_group() -> None:
    with pytest.raises(ValueError, match="make sure to call init_process_group"):
        scenarios.make()


@pytest.mark.usefixtures("group_of_one")
def test_environments_with_other_rollouts_or_statistics_by_rank_are_refused() -> None:
    native = gym.make_vec("CartPole-v1", 3, vectorization_mode="vector_entry_point")
    for env, settings, expected in [
        (
            cartpoles(),
            {"update_on_episode_end": True},
            "update_on_episode_end=True: rollouts must have the same length",
        ),
        (make_vec_env("CartPole-v1", 1), {}, "update_on_episode_end=None: rollouts must have the same length"),
        (native, {}, "has autoreset steps, so rollouts would differ in length"),
        (VecNormalize(cartpoles()), {}, "VecNormalize would have different statistics in each process"),
        (cartpoles(), {"normalize_observations": True}, "in each process: leave out normalize_observations"),
        (cartpoles(), {"normalize_rewards": True}, "in each process: leave out .* normalize_rewards"),
    ]:
        model = DistributedTDA2C("MlpPolicy", env, device="cpu", **settings)
        with pytest.raises(ValueError, match=expected):
            model.learn(100)


@pytest.mark.usefixtures("group_of_one")
def test_engines_and_layers_that_cannot_reduce_gradients_are_refused() -> None:
    with pytest.raises(UnsupportedPolicyError, match="engine='numba'"):
        scenarios.make(engine="numba")
    with pytest.raises(UnsupportedPolicyError, match="BatchNorm"):
        scenarios.make(policy_kwargs={"features_extractor_class": Normed})


def test_resume_names_its_replacement(tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError, match=r"use DistributedTDA2C.continue_from\(path, env\)"):
        DistributedTDA2C.resume(tmp_path / "model", cartpoles())
