"""Processes that train together, really started."""

import pickle
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.monitor import load_results

from sb3_a2c_td import TDA2C
from sb3_a2c_td.version import __version__
from tests.algorithms.distributed import scenarios
from tests.algorithms.distributed.scenarios import LEARNING, N_ENVS, N_UPDATES, NoiseOfEachEnvironment

ROOT = Path(__file__).parents[3]


class Group:
    """What the ranks of a group found, and wrote to standard output and standard error."""

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
        self.codes = [process.returncode for process in processes]
        self.found = [
            pickle.loads(path.read_bytes()) if path.exists() else None
            for path in (self.folder / f"rank{rank}.pkl" for rank in range(size))
        ]

    def __getitem__(self, scenario: str) -> list[Any]:
        assert self.codes == [0] * len(self.codes), self.outputs
        return [found[scenario] for found in self.found]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Group:
    names = "learn,identical,stopping,saving,resumably,logging,refusing,averaging,changing"
    return Group(names, 2, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Group:
    return Group("learn,identical,stopping", 3, tmp_path_factory.mktemp("three"))


@pytest.fixture(params=["two", "three"])
def group(request: pytest.FixtureRequest) -> Group:
    found: Group = request.getfixturevalue(request.param)
    return found


@cache
def one_process(name: str, n_envs: int) -> dict[str, Any]:
    env_id, settings = LEARNING[name]
    env = scenarios.make_env(env_id, n_envs)
    return scenarios.trained(NoiseOfEachEnvironment, env, N_UPDATES * 5 * n_envs, **settings)


@pytest.mark.parametrize("name", LEARNING)
def test_ranks_learn_what_one_process_learns(group: Group, name: str) -> None:
    """200 updates; every environment of theirs draws the same noise there."""
    ranks = [found[name] for found in group["learn"]]
    alone = one_process(name, N_ENVS * len(ranks))
    for rank in ranks:
        assert rank["n_updates"] == alone["n_updates"] == N_UPDATES
        assert rank["num_timesteps"] == alone["num_timesteps"] == N_UPDATES * 5 * N_ENVS * len(ranks)
        for own, others, expected in zip(rank["parameters"], ranks[0]["parameters"], alone["parameters"], strict=True):
            assert np.array_equal(own, others)
            np.testing.assert_allclose(own, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", LEARNING)
def test_the_log_has_the_episodes_and_losses_of_all(two: Group, name: str) -> None:
    (dumped,) = two["learn"][0][name]["dumped"]
    (expected,) = one_process(name, N_ENVS * 2)["dumped"]
    keys = ["rollout/ep_rew_mean", "rollout/ep_len_mean", "time/total_timesteps"]
    keys += ["train/policy_loss", "train/value_loss", "train/entropy_loss", "train/learning_rate", "train/n_updates"]
    for key in keys:
        assert dumped[key] == pytest.approx(expected[key], rel=1e-4, abs=1e-6), key


def test_parameters_are_the_same_to_the_bit_before_every_update(group: Group) -> None:
    (first, n_all_reduces), *others = group["identical"]
    assert len(set(first)) == len(first) == n_all_reduces == {1: 100, 2: 66}[len(others)]
    assert all(other == (first, n_all_reduces) for other in others)


def test_where_one_stops_all_stop_behind_the_interval(group: Group) -> None:
    ranks = group["stopping"]
    n_envs = N_ENVS * len(ranks)
    assert ranks == [((15 * n_envs, 3, 15), 15 * n_envs + -(-100 // n_envs) * n_envs)] * len(ranks)


def test_rank_0_saves(two: Group) -> None:
    """In the middle of an interval; what goes on from it has the right number of steps, and episodes of its own."""
    ranks = two["saving"]
    assert not (two.folder / "saved by 1.zip").exists()
    model = TDA2C.load(two.folder / "saved by 0.zip", device="cpu")
    assert model.num_timesteps == 1_012
    for parameters, begins, n_steps, _ in ranks:
        for saved, own in zip(model.policy.parameters(), parameters, strict=True):
            assert np.array_equal(saved.detach().numpy(), own)
        assert begins == (1_012, 0, 50)
        assert n_steps == 2_000
    assert not np.array_equal(ranks[0][3], ranks[1][3])


def test_training_goes_on_where_it_was(two: Group) -> None:
    """The third one was complete."""
    assert two["resumably"] == [[(1_000, 50), (2_000, 100), (2_000, 100)]] * 2


def test_rank_0_logs_and_shows_progress(two: Group) -> None:
    (outputs, n_episodes), (others, _) = two["logging"]
    assert (outputs, others) == (["HumanOutputFormat", "TensorBoardOutputFormat"], [])
    assert len(load_results(str(two.folder / "monitored"))) == n_episodes > 10
    assert (two.folder / "board 0").is_dir()
    assert not (two.folder / "board 1").exists()
    assert "1,000/1,000" in two.outputs[0]
    assert "ep_rew_mean" in two.outputs[0]
    assert "1,000/1,000" not in two.outputs[1]
    assert "ep_rew_mean" not in two.outputs[1]


@pytest.mark.parametrize(
    ("what", "expected"),
    {
        "settings": "ValueError: rank 1 has gamma=0.91, rank 0 0.9: make them alike",
        "schedules": "ValueError: rank 1 has learning_rate=rates 0.002, 0.0015, 0.001, 0.0005, 0.0, rank 0 rates 0.0",
        "networks": "ValueError: rank 1 has policy_kwargs={'net_arch': [9]}, rank 0 {'net_arch': [8]}",
        "steps": "ValueError: rank 1 has total_timesteps=101, rank 0 100",
        "logs": "ValueError: rank 1 has log_interval=11, rank 0 10",
        "resets": "ValueError: rank 1 has reset_num_timesteps=False, rank 0 True",
        "frozen parameters": "ValueError: rank 1 has trained parameters=['mlp_extractor.policy_net.0.bias', ",
        "moments": "ValueError: rank 1 has SHA-256 of weights and moments=",
        "environments": "ValueError: rank 1 has n_envs=3, rank 0 2",
        "versions": f"ValueError: rank 1 has sb3_a2c_td={__version__}.1, rank 0 {__version__}.0",
        "intervals": "ValueError: update_on_episode_end=True: must be False, for fixed intervals",
        "one environment": "ValueError: update_on_episode_end=None: must be False, for fixed intervals",
        "dead steps": "has dead steps, with which intervals are not fixed",
        "VecNormalize": "ValueError: VecNormalize has statistics of its own in each process",
        "engine": "engine='numba' cannot serve this model: its gradients are averaged over processes",
        "batch norm": "cannot serve this model: its BatchNorm would have other statistics in each process",
        "a schedule": "nothing",
        "a policy of one's own": "nothing",
    }.items(),
)
def test_all_ranks_refuse(two: Group, what: str, expected: str) -> None:
    ranks = two["refusing"]
    assert all(expected in found[what] for found in ranks), [found[what] for found in ranks]


def test_averages_are_weighted_by_rows_and_kept_from_parameters_without_gradients(two: Group) -> None:
    """Of 1.0 in three rows and 2.0 in one, of 8.0 in three and nothing in one."""
    ranks = two["averaging"]
    advantages = np.array([1.0, 2.0, 6.0, -1.0])
    expected = ((advantages - advantages.mean()) / (advantages.std(ddof=1) + 1e-8)).tolist()
    for (both, first, *others), figures, normalized in ranks:
        assert np.array_equal(both, np.full((2, 3), 1.25))
        assert np.array_equal(first, np.full((2, 3), 6.0))
        assert others == [None, None]
        assert figures == [3.0, 1.0]
        assert normalized == pytest.approx(expected[:3] if len(normalized) == 3 else expected[3:], rel=1e-6)
    assert [len(normalized) for _, _, normalized in ranks] == [3, 1]


def test_parameters_that_differ_are_noticed_behind_a_save_and_at_the_end(two: Group) -> None:
    ranks = two["changing"]
    for messages, n_updates_with_save, n_updates_without in ranks:
        assert all(found.startswith("ValueError: rank 1 has SHA-256 of weights and moments=") for found in messages), (
            messages
        )
        assert (n_updates_with_save, n_updates_without) == (2, 50)


@pytest.mark.parametrize("size", [2, 3])
def test_a_killed_rank_ends_the_others(size: int, tmp_path: Path) -> None:
    """At once, with an error, and what was saved is whole."""
    group = Group("dying", size, tmp_path)
    assert group.codes == [0] * (size - 1) + [-signal.SIGKILL]
    for found in group.found[:-1]:
        message, n_updates = found["dying"]
        assert message.startswith("RuntimeError: the ranks cannot meet any more; one may have ended: ")
        assert n_updates == 10
    model = TDA2C.load(group.folder / "saved", device="cpu")
    assert model.num_timesteps % (N_ENVS * size) == 0
    assert [path.name for path in group.folder.glob("*saved*")] == ["saved.zip"]


def test_there_is_no_model_without_a_group() -> None:
    with pytest.raises(ValueError, match="make sure to call init_process_group"):
        scenarios.make()
