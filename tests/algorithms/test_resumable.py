"""Training that is interrupted and run again."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import SubprocVecEnv

from sb3_a2c_td import TDA2C, MlpPolicy, UnreadableCheckpointError, train_resumably
from sb3_a2c_td.engines import auto
from sb3_a2c_td.saving import atomic
from sb3_a2c_td.saving.locks import LockedError
from tests.environments import CountingEnv
from tests.faults.scenarios import FaultyEnv, boom, make_model
from tests.saving.comparing import differences, everything


def make(**kwargs: Any) -> TDA2C:
    kwargs = {"policy": "MlpPolicy", "seed": 0, "device": "cpu", **kwargs}
    return TDA2C(env=make_vec_env("CartPole-v1", seed=0), **kwargs)


class OwnPolicy(MlpPolicy):
    pass


class WithOwnModule(TDA2C):
    def _setup_model(self) -> None:
        super()._setup_model()
        self.own = th.nn.Linear(2, 3)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "own"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, variables = super()._get_torch_save_params()
        return [*modules, "own"], variables


class RecordSteps(BaseCallback):
    """Records the steps it is called at, and interrupts training at one of them."""

    def __init__(self, interrupts_at: int | None = None) -> None:
        super().__init__()
        self.interrupts_at = interrupts_at
        self.steps: list[int] = []

    def _on_step(self) -> bool:
        if self.num_timesteps == self.interrupts_at:
            raise KeyboardInterrupt
        self.steps.append(self.num_timesteps)
        return True


def test_interrupted_training_continues_exactly(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "model"
    with pytest.raises(KeyboardInterrupt):
        train_resumably(make, 500, path, save_freq=100, callback=RecordSteps(interrupts_at=333))
    assert TDA2C.load(path, device="cpu").num_timesteps == 300
    recorder = RecordSteps()
    model = train_resumably(make, 500, path, save_freq=100, callback=[recorder])
    assert recorder.steps == list(range(301, 501))
    assert differences(everything(model), everything(make().learn(500))) == []


@pytest.mark.parametrize("interrupts_at", [303, 503])
def test_interrupted_training_changes_engines_at_the_same_update(
    interrupts_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``"auto"`` compiles in a training of 700 steps, although fewer remain after the interruption."""
    monkeypatch.setattr(auto, "MIN_STEPS_TO_COMPILE", 700)
    with pytest.raises(KeyboardInterrupt):
        train_resumably(lambda: make(n_steps=2), 700, tmp_path / "model", 100, RecordSteps(interrupts_at))
    model = train_resumably(lambda: make(n_steps=2), 700, tmp_path / "model", 100)
    whole = make(n_steps=2).learn(700)
    assert str(whole._engine._engine) == "numba"
    assert differences(everything(model), everything(whole)) == []


def test_model_is_saved_every_save_freq_steps_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved_at = []
    save = TDA2C.save

    def recording_save(model: TDA2C, path: Path) -> None:
        saved_at.append(model.num_timesteps)
        save(model, path)

    monkeypatch.setattr(TDA2C, "save", recording_save)
    train_resumably(make, 50, tmp_path / "model", save_freq=20)
    train_resumably(make, 90, tmp_path / "model", save_freq=20)
    assert saved_at == [20, 40, 50, 70, 90, 90]


def test_complete_training_is_not_repeated(tmp_path: Path) -> None:
    first = everything(train_resumably(make, 150, tmp_path / "model.zip"))
    before = (tmp_path / "model.zip").read_bytes()
    recorder = RecordSteps()
    again = train_resumably(make, 150, tmp_path / "model.zip", callback=recorder)
    assert recorder.steps == []
    assert (tmp_path / "model.zip").read_bytes() == before
    assert differences(everything(again), first) == []
    # more steps continue it
    continued = train_resumably(make, 170, tmp_path / "model.zip", callback=lambda *_: True, log_interval=1)
    assert continued.num_timesteps == 170


@pytest.mark.parametrize(
    ("name", "saved", "now"),
    [
        ("gamma", 0.9, 0.95),
        ("n_steps", 5, 6),
        ("seed", 0, 1),
        ("max_grad_norm", None, 0.5),
        ("learning_rate", LinearSchedule(1e-3, 0.0, 1.0), LinearSchedule(1e-3, 1e-4, 1.0)),
        ("learning_rate", 1e-3, LinearSchedule(1e-3, 1e-4, 1.0)),
        ("policy_kwargs", {"net_arch": [8]}, {"net_arch": [9]}),
        ("policy_kwargs", {"net_arch": [8], "log_std_init": np.float32(0)}, {"net_arch": [8, 8]}),
        ("policy", "MlpPolicy", OwnPolicy),
        ("stats_window_size", 100, 5),
    ],
)
def test_other_settings_are_refused(name: str, saved: Any, now: Any, tmp_path: Path) -> None:
    train_resumably(lambda: make(**{name: saved}), 10, tmp_path / "model")
    with pytest.raises(ValueError, match=rf"model.zip was saved with {name}=.*, but the model has {name}=.*: use"):
        train_resumably(lambda: make(**{name: now}), 20, tmp_path / "model")
    assert train_resumably(lambda: make(**{name: saved}), 20, tmp_path / "model").num_timesteps == 20


def test_arguments_without_effect_may_change(tmp_path: Path) -> None:
    train_resumably(make, 10, tmp_path / "model")
    model = train_resumably(lambda: make(engine="autograd", tensorboard_log=str(tmp_path)), 20, tmp_path / "model")
    assert (model.num_timesteps, model.engine, model.tensorboard_log) == (20, "autograd", str(tmp_path))
    assert any(tmp_path.glob("TDA2C_*"))


def test_the_log_folder_may_be_a_path(tmp_path: Path) -> None:
    for n_steps in (10, 20):
        model = train_resumably(lambda: make(tensorboard_log=tmp_path), n_steps, tmp_path / "model")
    assert model.num_timesteps == 20
    assert any(tmp_path.glob("TDA2C_*"))


class Own(TDA2C):
    """Adds two arguments, and keeps one of them under another name."""

    def __init__(self, *args: Any, bonus: float = 1.0, malus: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bonus = bonus
        self.kept = malus


def test_arguments_of_subclasses_are_compared(tmp_path: Path) -> None:
    def make_own(bonus: float = 2.0) -> Own:
        env = make_vec_env("CartPole-v1", seed=0)
        return Own("MlpPolicy", env, bonus=bonus, malus=0.5, seed=0, device="cpu")

    train_resumably(make_own, 20, tmp_path / "model")
    model = train_resumably(make_own, 30, tmp_path / "model")
    assert (type(model), model.num_timesteps, model.bonus, model.kept) == (Own, 30, 2.0, 0.5)
    with pytest.raises(ValueError, match="was saved with bonus=2.0, but the model has bonus=3.0: use"):
        train_resumably(lambda: make_own(3.0), 30, tmp_path / "model")


@pytest.mark.parametrize("steps", [-5, float("nan"), "500"])
def test_invalid_numbers_of_steps_are_refused(steps: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^total_timesteps must be an integer of at least 0, got {steps!r}"):
        train_resumably(make, steps, tmp_path / "model")
    assert train_resumably(make, 1e2, tmp_path / "model").num_timesteps == 100


def test_a_model_in_place_of_a_function_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^make_model must be a function .* got <sb3_a2c_td.*TDA2C object"):
        train_resumably(make(), 100, tmp_path / "model")  # type: ignore[arg-type]


# Damaged files


def flip_a_bit(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [lambda content: content[:-100], lambda content: bytes(len(content)), flip_a_bit])
def test_training_continues_from_the_previous_save_if_the_last_one_is_damaged(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "model.zip"
    train_resumably(make, 350, path, save_freq=100)
    path.write_bytes(damage(path.read_bytes()))
    recorder = RecordSteps()
    message = r"model.zip is damaged: .* the save before it, .*model.previous.zip"
    with pytest.warns(UserWarning, match=message) as warned:
        model = train_resumably(make, 500, path, save_freq=1_000, callback=recorder)
    assert [each.filename for each in warned] == [__file__]
    assert recorder.steps[0] == 301
    assert differences(everything(model), everything(make().learn(500))) == []
    # the damaged file has not replaced the intact one
    assert TDA2C.load(path, device="cpu").num_timesteps == 500
    assert TDA2C.load(path.with_name("model.previous.zip"), device="cpu").num_timesteps == 300


def test_a_damaged_file_without_an_intact_previous_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    train_resumably(make, 30, path, save_freq=10)
    for each in tmp_path.iterdir():
        each.write_bytes(each.read_bytes()[:-100])
    with pytest.raises(UnreadableCheckpointError, match="model.zip: it is damaged"):
        train_resumably(make, 40, path)


def test_a_model_with_a_module_of_its_own_continues_and_keeps_its_previous_save(tmp_path: Path) -> None:
    def make_own() -> WithOwnModule:
        return WithOwnModule("MlpPolicy", CountingEnv(7), device="cpu")

    first = train_resumably(make_own, 20, tmp_path / "model", save_freq=10)
    second = train_resumably(make_own, 40, tmp_path / "model")
    assert second.num_timesteps == 40
    th.testing.assert_close(second.own.state_dict(), first.own.state_dict())
    assert WithOwnModule.load(tmp_path / "model.previous.zip", device="cpu").num_timesteps == 20


def test_a_training_from_the_start_never_continues_from_a_previous_save_of_another_one(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    train_resumably(make, 30, path, save_freq=10)
    path.unlink()
    train_resumably(make, 10, path)
    assert [each.name for each in tmp_path.iterdir()] == ["model.zip"]


# The file


def test_a_place_that_cannot_be_written_is_found_out_before_training(tmp_path: Path) -> None:
    (tmp_path / "link.zip").symlink_to("/proc/model.zip")
    recorder = RecordSteps()
    for name in ("link", f"{'long' * 60}.zip"):
        with pytest.raises(OSError, match="nothing can be saved here: use another file"):
            train_resumably(make, 10, tmp_path / name, callback=recorder)
    assert recorder.steps == []


def test_a_complete_training_is_loaded_from_a_place_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_resumably(make, 10, tmp_path / "model")
    monkeypatch.setattr("sb3_a2c_td.saving.atomic.check_writable", None)
    monkeypatch.setattr("sb3_a2c_td.algorithms.resumable.reserved", None)
    assert train_resumably(make, 10, tmp_path / "model").num_timesteps == 10


def test_training_continues_from_what_another_process_saved_before_the_file_was_reserved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    train_resumably(make, 10, path)
    check_writable = atomic.check_writable

    def after_another_process(zip_path: Path) -> None:
        monkeypatch.setattr(atomic, "check_writable", check_writable)
        train_resumably(make, 30, path)
        check_writable(zip_path)

    monkeypatch.setattr(atomic, "check_writable", after_another_process)
    recorder = RecordSteps()
    train_resumably(make, 50, path, callback=recorder)
    assert recorder.steps == list(range(31, 51))


def test_two_trainings_in_one_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"

    def train_again(*_: object) -> bool:
        with pytest.raises(
            LockedError, match=rf"model.zip: process {os.getpid()} on .* is training the model in this file; wait"
        ):
            train_resumably(make, 20, path)
        # another file is free
        train_resumably(make, 5, tmp_path / "other")
        return True

    train_resumably(make, 10, path, callback=train_again)
    assert train_resumably(make, 20, path).num_timesteps == 20


# Signals


class Signalled(BaseCallback):
    """Sends stop signals at a step."""

    def __init__(self, at: int, *signals: int) -> None:
        super().__init__()
        self.at, self.signals = at, signals

    def _on_step(self) -> bool:
        if self.num_timesteps == self.at:
            for signum in self.signals:
                signal.raise_signal(signum)
        return True


@pytest.mark.parametrize(
    ("signals", "error"),
    [
        ([signal.SIGINT], KeyboardInterrupt()),
        ([signal.SIGTERM], SystemExit(143)),
        ([signal.SIGTERM, signal.SIGTERM], SystemExit(143)),
        ([signal.SIGHUP], SystemExit(129)),
    ],
)
def test_a_signal_saves_the_model_after_the_step(signals: list[int], error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "model"
    handlers = [signal.getsignal(signum) for signum in signals]
    with pytest.raises(type(error)) as raised:
        train_resumably(make, 500, path, save_freq=300, callback=Signalled(333, *signals))
    assert raised.value.args == error.args
    assert [signal.getsignal(signum) for signum in signals] == handlers
    recorder = RecordSteps()
    model = train_resumably(make, 500, path, callback=recorder)
    assert recorder.steps == list(range(334, 501))
    assert differences(everything(model), everything(make().learn(500))) == []


def test_a_second_ctrl_c_ends_training_without_saving(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_resumably(make, 500, tmp_path / "model", callback=Signalled(33, signal.SIGINT, signal.SIGINT))
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_second_ctrl_c_ends_training_with_workers_without_saving(tmp_path: Path) -> None:
    env = SubprocVecEnv([CountingEnv], start_method="fork")
    callback = Signalled(33, signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train_resumably(lambda: TDA2C("MlpPolicy", env, device="cpu"), 500, tmp_path / "model", callback=callback)
    env.close()
    assert not list(tmp_path.iterdir())


def test_the_users_handlers_stay(tmp_path: Path) -> None:
    received = []
    previous = signal.signal(signal.SIGTERM, lambda signum, frame: received.append(signum))
    try:
        model = train_resumably(make, 50, tmp_path / "model", callback=Signalled(33, signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert (model.num_timesteps, received) == (50, [signal.SIGTERM])


class EndsProcesses(CountingEnv):
    """Sends a signal to the parent and to its own process in its 33rd step, as terminals and schedulers do."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum
        self.n_steps = 0

    def step(self, action: Any) -> Any:
        self.n_steps += 1
        if self.n_steps == 33:
            os.kill(os.getppid(), self.signum)
            os.kill(os.getpid(), self.signum)
        return super().step(action)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_also_ends_worker_processes_saves_the_model(signum: int, tmp_path: Path) -> None:
    def make_with_workers() -> TDA2C:
        env = SubprocVecEnv([CountingEnv, lambda: EndsProcesses(signum)], start_method="fork")
        return TDA2C("MlpPolicy", env, seed=0, device="cpu")

    with pytest.raises(KeyboardInterrupt if signum == signal.SIGINT else SystemExit):
        train_resumably(make_with_workers, 100, tmp_path / "model")
    assert active_children() == []
    # the last step has no transition
    saved = TDA2C.load(tmp_path / "model", device="cpu")
    assert (saved.num_timesteps, saved._n_updates, len(saved.rollout_buffer)) == (66, 6, 4)


SCRIPT = """
import sys
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv
from sb3_a2c_td import TDA2C, train_resumably

def make():
    vec_env_kwargs = {"start_method": sys.argv[1]}
    env = make_vec_env("CartPole-v1", 4, vec_env_cls=SubprocVecEnv, vec_env_kwargs=vec_env_kwargs)
    return TDA2C("MlpPolicy", env, device="cpu")

def report(locals, globals):
    if locals["self"].num_timesteps == 400:
        print("trains")
    return True

if __name__ == "__main__":
    train_resumably(make, 100_000_000, "model", callback=report)
"""


@pytest.mark.slow
@pytest.mark.parametrize("start_method", ["fork", "forkserver"])
def test_a_signal_to_the_process_group_saves_the_model_and_ends_all_processes(
    start_method: str, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py", start_method]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        process.stdout.readline()
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (143, b"")
    assert len(children) >= 4
    assert psutil.wait_procs(children, timeout=10)[1] == []
    assert TDA2C.load(tmp_path / "model", device="cpu").num_timesteps >= 400


def test_an_error_saves_nothing(tmp_path: Path) -> None:
    """Training would not continue bit for bit from the middle of a step."""
    with pytest.raises(LookupError):
        train_resumably(lambda: make_model(FaultyEnv(boom, fault_at=33)), 100, tmp_path / "model")
    assert not list(tmp_path.iterdir())
