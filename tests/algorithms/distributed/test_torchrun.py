"""``torchrun -m sb3_a2c_td train``."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from sb3_a2c_td import TDA2C
from tests.docs import ROOT
from tests.docs.test_code_blocks import blocks


@contextmanager
def started(arguments: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start torchrun, and end it and its processes with the context."""
    # its own default is the same for all
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    torchrun = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--master-port", str(port), *arguments.split()],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield torchrun
    finally:
        # it ends its processes
        torchrun.terminate()
        torchrun.communicate()


def ended(torchrun: subprocess.Popen[str], code: int = 0) -> str:
    """Wait until it has ended, and give what it said."""
    output, _ = torchrun.communicate(timeout=400)
    assert torchrun.returncode == code, output
    return output


def workers(torchrun: subprocess.Popen[str]) -> list[psutil.Process]:
    return [child for child in psutil.Process(torchrun.pid).children() if "sb3_a2c_td" in child.cmdline()]


def wait_for(path: Path, other_than: int | None = None) -> int:
    """Wait for a file, or for another of this name; give its number."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if path.exists() and path.stat().st_ino != other_than:
            return path.stat().st_ino
        time.sleep(0.02)
    raise TimeoutError(f"no {path}")


def test_processes_train_one_model(tmp_path: Path) -> None:
    train = "train --env CartPole-v1 --n-envs 3 --timesteps 1000"
    with started(f"--nproc-per-node 2 -m sb3_a2c_td {train}", tmp_path) as torchrun:
        output = ended(torchrun)
    assert [path.name for path in tmp_path.iterdir()] == ["tda2c_CartPole-v1.zip"]
    model = TDA2C.load(tmp_path / "tda2c_CartPole-v1", device="cpu")
    assert (model.num_timesteps, model.n_envs, model.update_on_episode_end) == (1_002, 3, False)
    assert output.count("Mean return of 20 evaluation episodes: ") == output.count("Saved to ") == 1
    # rank 0's
    assert 0 < sum(map(float, re.findall(r"EpisodeReward=(.*)", output))) <= 501


def test_the_pages_script(tmp_path: Path) -> None:
    (script,) = blocks(ROOT / "docs/scaling.md", "python")
    (tmp_path / "train.py").write_text(script.replace("100_000", "1_000"))
    with started("--nproc-per-node 2 train.py", tmp_path) as torchrun:
        ended(torchrun)
    assert TDA2C.load(tmp_path / "cartpole", device="cpu").num_timesteps == 1_008


def test_restarted_processes_go_on_with_what_was_saved(tmp_path: Path) -> None:
    """With what their launch saved: there is an earlier zip."""
    path, n_steps = tmp_path / "model.zip", 30_000
    TDA2C("MlpPolicy", "CartPole-v1", device="cpu").learn(100).save(path)
    train = f"train --env CartPole-v1 --n-envs 4 --timesteps {n_steps} --seed 0 --save model"
    with started(f"--nproc-per-node 2 --max-restarts 1 -m sb3_a2c_td {train}", tmp_path) as torchrun:
        wait_for(path, path.stat().st_ino)
        first, second = workers(torchrun)
        second.kill()
        first.wait(60)
        saved_at = TDA2C.load(path, device="cpu").num_timesteps
        output = ended(torchrun)
    assert 10_000 <= saved_at < n_steps
    assert [found.name for found in tmp_path.iterdir()] == ["model.zip"]
    model = TDA2C.load(path, device="cpu")
    assert model.num_timesteps == n_steps
    # of an interval that was not complete, or whose update was not taken, none is
    assert n_steps // 40 - model._n_updates in (0, 1)
    # rank 0 took half of the steps, and 4 episodes are not finished
    _, _, after = re.split(r"EP0 .*", output)
    steps_after = sum(map(float, re.findall(r"EP\d+ EpisodeReward=(.*)", after)))
    assert (n_steps - saved_at) // 2 - 4 * 500 <= steps_after <= (n_steps - saved_at) // 2


def test_a_killed_process_ends_the_training(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    train = "train --n-envs 4 --timesteps 10000000 --save model"
    with started(f"--nproc-per-node 2 -m sb3_a2c_td {train}", tmp_path) as torchrun:
        wait_for(path)
        left, killed = workers(torchrun)
        killed.kill()
        began = time.monotonic()
        output = ended(torchrun, code=1)
        assert time.monotonic() - began < 60
        assert not left.is_running()
    assert "Signal 9 (SIGKILL)" in output
    assert [found.name for found in tmp_path.iterdir()] == ["model.zip"]
    assert TDA2C.load(path, device="cpu").num_timesteps >= 10_000


def test_restarts_need_a_file_to_go_on_with(tmp_path: Path) -> None:
    train = "--nproc-per-node 1 --max-restarts 1 -m sb3_a2c_td train --timesteps 100"
    with started(train, tmp_path) as torchrun:
        assert "--save: name a file, with which restarted processes can go on" in ended(torchrun, code=1)
