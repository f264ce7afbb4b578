"""Training that is interrupted and run again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import LinearSchedule

from sb3_a2c_td import TDA2C, MlpPolicy, train_resumably
from sb3_a2c_td.engines import auto
from tests.saving.comparing import differences, everything


def make(**kwargs: Any) -> TDA2C:
    kwargs = {"policy": "MlpPolicy", "seed": 0, "device": "cpu", **kwargs}
    return TDA2C(env=make_vec_env("CartPole-v1", seed=0), **kwargs)


class OwnPolicy(MlpPolicy):
    pass


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
