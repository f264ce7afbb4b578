"""``torchrun -m sb3_a2c_td train``."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from sb3_a2c_td import TDA2C
from sb3_a2c_td.cli import ranks
from sb3_a2c_td.cli.ranks import process_group
from tests.algorithms.distributed.scenarios import cartpoles
from tests.docs import ROOT
from tests.docs.test_code_blocks import blocks


def one_thread() -> dict[str, str]:
    """Return the environment variables of a process whose PyTorch uses one thread."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@contextmanager
def started(arguments: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start torchrun, and end it and its processes with the context."""
    # torchrun's default port is the same for all tests
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    torchrun = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--master-port", str(port), *arguments.split()],
        cwd=folder,
        env={**one_thread(), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield torchrun
    finally:
        # torchrun ends its processes, too
        torchrun.terminate()
        torchrun.communicate()


def output_of(torchrun: subprocess.Popen[str], exit_code: int = 0) -> str:
    """Wait until torchrun has ended, check its exit code, and return its output."""
    output, _ = torchrun.communicate(timeout=400)
    assert torchrun.returncode == exit_code, output
    return output


def workers(torchrun: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes that torchrun has started, by rank; their ids may have another order."""
    children = [child for child in psutil.Process(torchrun.pid).children() if "sb3_a2c_td" in child.cmdline()]
    return sorted(children, key=lambda child: int(child.environ()["RANK"]))


def wait_for(path: Path, other_than: int | None = None) -> int:
    """Wait until a file exists, and is not the one with this inode; return its inode."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if path.exists() and path.stat().st_ino != other_than:
            return path.stat().st_ino
        time.sleep(0.02)
    raise TimeoutError(f"no {path}")


@pytest.mark.slow
def test_processes_train_one_model(tmp_path: Path) -> None:
    train = "train --env CartPole-v1 --n-envs 3 --timesteps 1000"
    with started(f"--nproc-per-node 2 -m sb3_a2c_td {train}", tmp_path) as torchrun:
        output = output_of(torchrun)
    assert sorted(os.listdir(tmp_path)) == ["tda2c_CartPole-v1.options.yaml", "tda2c_CartPole-v1.zip"]
    model = TDA2C.load(tmp_path / "tda2c_CartPole-v1", device="cpu")
    assert (model.num_timesteps, model.n_envs, model.update_on_episode_end) == (1_002, 3, False)
    assert output.count("Mean return of 20 evaluation episodes: ") == output.count("Saved to ") == 1
    # only rank 0 prints its episodes
    assert 0 < sum(map(float, re.findall(r"EpisodeReward=(.*)", output))) <= 501


@pytest.mark.slow
def test_script_in_docs_runs(tmp_path: Path) -> None:
    (script,) = blocks(ROOT / "docs/scaling.md", "python")
    (tmp_path / "train.py").write_text(script.replace("100_000", "1_000"))
    with started("--nproc-per-node 2 train.py", tmp_path) as torchrun:
        output_of(torchrun)
    assert TDA2C.load(tmp_path / "cartpole", device="cpu").num_timesteps == 1_008


@pytest.mark.slow
def test_restarted_processes_continue_from_the_last_save(tmp_path: Path) -> None:
    """They replace the zip of an earlier training, and continue from their own."""
    path, n_steps = tmp_path / "model.zip", 30_000
    TDA2C("MlpPolicy", "CartPole-v1", device="cpu").learn(100).save(path)
    train = f"train --env CartPole-v1 --n-envs 4 --timesteps {n_steps} --seed 0 --save model"
    with started(f"--nproc-per-node 2 --max-restarts 1 -m sb3_a2c_td {train}", tmp_path) as torchrun:
        wait_for(path, path.stat().st_ino)
        first, second = workers(torchrun)
        second.kill()
        first.wait(60)
        saved_at = TDA2C.load(path, device="cpu").num_timesteps
        output = output_of(torchrun)
    assert 10_000 <= saved_at < n_steps
    assert sorted(os.listdir(tmp_path)) == ["model.options.yaml", "model.zip"]
    model = TDA2C.load(path, device="cpu")
    assert model.num_timesteps == n_steps
    # a rollout that was not complete at the save has no update
    assert n_steps // 40 - model._n_updates in (0, 1)
    # rank 0 took half of the steps, and its 4 last episodes are not finished
    _, _, after = re.split(r"EP0 .*", output)
    steps_after = sum(map(float, re.findall(r"EP\d+ EpisodeReward=(.*)", after)))
    assert (n_steps - saved_at) // 2 - 4 * 500 <= steps_after <= (n_steps - saved_at) // 2


@pytest.mark.slow
def test_killed_process_ends_training(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    train = "train --n-envs 4 --timesteps 10000000 --save model"
    with started(f"--nproc-per-node 2 -m sb3_a2c_td {train}", tmp_path) as torchrun:
        wait_for(path)
        remaining, killed = workers(torchrun)
        killed.kill()
        began = time.monotonic()
        output = output_of(torchrun, exit_code=1)
        assert time.monotonic() - began < 60
        assert not remaining.is_running()
    assert "Signal 9 (SIGKILL)" in output
    assert sorted(os.listdir(tmp_path)) == ["model.options.yaml", "model.zip"], output
    assert TDA2C.load(path, device="cpu").num_timesteps >= 10_000


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_processes_and_saves_the_model(signum: int, tmp_path: Path) -> None:
    """torchrun passes it on to its processes."""
    with started("--nproc-per-node 2 -m sb3_a2c_td train --n-envs 4 --timesteps 10000000", tmp_path) as torchrun:
        while not torchrun.stdout.readline().startswith("EP0 "):
            assert torchrun.poll() is None
        processes = workers(torchrun)
        torchrun.send_signal(signum)
        began = time.monotonic()
        output, _ = torchrun.communicate(timeout=60)
        assert time.monotonic() - began < 25
    assert [process.is_running() for process in processes] == [False, False]
    assert output.count("Saved to tda2c_CartPole-v1.zip") == 1
    assert sorted(os.listdir(tmp_path)) == ["tda2c_CartPole-v1.options.yaml", "tda2c_CartPole-v1.zip"]
    assert TDA2C.load(tmp_path / "tda2c_CartPole-v1", device="cpu").num_timesteps > 0


@pytest.mark.slow
def test_killed_launcher_ends_all_processes(tmp_path: Path) -> None:
    """It cannot end them itself."""
    with started("--nproc-per-node 2 -m sb3_a2c_td train --n-envs 4 --timesteps 10000000", tmp_path) as torchrun:
        assert torchrun.stdout is not None
        while not torchrun.stdout.readline().startswith("EP0 "):
            assert torchrun.poll() is None
        processes = workers(torchrun)
        torchrun.kill()
        output, _ = torchrun.communicate(timeout=60)
        _, running = psutil.wait_procs(processes, timeout=60)
    assert running == []
    assert f"torchrun (process {torchrun.pid}) has ended" in output
    assert TDA2C.load(tmp_path / "tda2c_CartPole-v1", device="cpu").num_timesteps > 0


@pytest.mark.slow
def test_ranks_exit_cleanly() -> None:
    """Few were aborted when threads of the process group outlived it: the program counts more trainings."""
    # not in this process, since it forks
    program = [sys.executable, "-m", "tests.algorithms.distributed.exits", "3"]
    result = subprocess.run(program, cwd=ROOT, env=one_thread(), capture_output=True, text=True)
    assert result.stdout.endswith("ranks by exit code: {0: 6}\n"), result.stdout + result.stderr


@pytest.mark.slow
def test_no_thread_outlives_the_process_group() -> None:
    program = """
import psutil
import torch.distributed as dist
from sb3_a2c_td.algorithms.distributed import DistributedTDA2C
before = psutil.Process().num_threads()
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
assert psutil.Process().num_threads() > before
DistributedTDA2C("MlpPolicy", "CartPole-v1", n_steps=5, update_on_episode_end=False, device="cpu").learn(10)
dist.destroy_process_group()
assert psutil.Process().num_threads() == before
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, env=one_thread())


def test_restarts_need_a_file_to_continue_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "1")
    with pytest.raises(ValueError, match="--save is missing: --max-restarts needs a file"), process_group("cpu", None):
        pass


@pytest.mark.usefixtures("group_of_one")
def test_only_the_zip_of_the_same_launch_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.zip"

    def steps_at_start(launch: str) -> int:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", launch)
        model = ranks.make_or_continue(path, "MlpPolicy", cartpoles(), device="cpu")
        n_steps = model.num_timesteps
        model.learn(20, reset_num_timesteps=False).save(path)
        return n_steps

    assert [steps_at_start("first") for _ in range(3)] == [0, 20, 40]
    assert [steps_at_start("second") for _ in range(2)] == [0, 20]
    path.write_bytes(b"not a zip")
    assert steps_at_start("second") == 0
