import json
import os
import pickle
import re
import time
import tracemalloc
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.utils import LinearSchedule

import sb3_a2c_td
from sb3_a2c_td import TDA2C
from tests.cli import running
from tests.environments import CountingEnv
from tests.saving.models import tensors
from tests.saving.pickles import PAYLOADS, SERIALIZED, attributes_of, dumps, with_file, with_json, with_pickle


@pytest.fixture
def zip_path(tmp_path: Path) -> Path:
    TDA2C("MlpPolicy", CountingEnv(7), gamma=0.987, device="cpu").learn(13).save(tmp_path / "model.zip")
    return tmp_path / "model.zip"


def inspect(path: Path) -> running.Done:
    return running.run(["inspect", str(path)])


def row(result: running.Done, name: str) -> list[str]:
    """Return the cells of the one row that begins with a name."""
    assert result.exit_code == 0, result.output
    (line,) = (line for line in result.stdout.splitlines() if line.split()[:1] == [name])
    return re.split(r"\s{2,}", line.strip())[1:]


def test_shows_versions_spaces_settings_and_sizes(zip_path: Path) -> None:
    done = inspect(zip_path)
    assert done.stdout.startswith(f"{zip_path}: TDA2C, 13 steps trained\n")
    assert row(done, "sb3-a2c-td") == [sb3_a2c_td.__version__]
    assert row(done, "observation_space") == ["Box(0.0, inf, (2,), float32)"]
    assert row(done, "action_space") == ["Discrete(2)"]
    assert row(done, "policy_class") == ["sb3_a2c_td.policies.separate.MlpPolicy"]
    assert row(done, "gamma") == ["0.987"]
    assert row(done, "actor") == ["658"]
    assert row(done, "action_net.weight") == ["(2, 16)", "float32"]
    assert row(done, "policy.pth")[1] == "14"
    assert "Not shown" not in done.stdout


def test_the_suffix_zip_may_be_left_out(zip_path: Path) -> None:
    assert row(inspect(zip_path.with_suffix("")), "gamma") == ["0.987"]


def test_shows_models_of_other_algorithms(tmp_path: Path) -> None:
    A2C("MlpPolicy", CountingEnv(7), vf_coef=0.375, device="cpu").save(tmp_path / "a2c")
    done = inspect(tmp_path / "a2c.zip")
    assert "saved by another algorithm" in done.stdout
    assert row(done, "vf_coef") == ["0.375"]
    assert row(done, "policy_class") == ["stable_baselines3.common.policies.ActorCriticPolicy"]
    assert done.stdout.index("Not shown") < done.stdout.index(" policy_class")


def test_runs_no_code_and_names_what_the_file_asks_for(zip_path: Path, tmp_path: Path) -> None:
    canary = tmp_path / "ran"
    for key in ("policy_class", "observation_space", "unknown_key"):
        poisoned = with_pickle(zip_path.read_bytes(), key, PAYLOADS["a call"](str(canary)))
        (tmp_path / "poisoned.zip").write_bytes(poisoned)
        assert row(inspect(tmp_path / "poisoned.zip"), key) == [f"{os.mkdir.__module__}.mkdir"]
    assert not canary.exists()


def test_the_file_cannot_control_the_terminal(zip_path: Path, tmp_path: Path) -> None:
    strange = with_json(zip_path.read_bytes(), "gamma", "\x1b[31m[red]:smile:" + "x" * 10_000)
    strange = with_json(strange, "\x1b[2J", [[[[[[[[[[1]]]]]]]]]])
    (tmp_path / "strange.zip").write_bytes(strange)
    done = inspect(tmp_path / "strange.zip")
    assert done.exit_code == 0
    assert "\x1b" not in done.stdout
    assert "?[31m[red]:smile:xxx" in done.stdout
    assert len(done.stdout) < 20_000


def test_the_name_of_the_file_cannot_control_the_terminal(zip_path: Path) -> None:
    strange = zip_path.rename(zip_path.with_name("\x1b[2J.zip"))
    done = inspect(strange)
    assert "\x1b" not in done.stdout
    assert done.stdout.startswith(f"{zip_path.parent}/?[2J.zip: TDA2C")


REPEATED: dict[str, Any] = {
    "numbers": 0,
    "an array": np.arange(990, dtype=np.uint8),
    "a set": set(range(20)),
    "a dict": dict.fromkeys(range(20)),
    "a space": spaces.Dict({str(i): spaces.Box(0, np.arange(1, 9, dtype=np.float32)) for i in range(2)}),
}


@pytest.mark.parametrize("name", REPEATED)
def test_the_time_is_limited(zip_path: Path, tmp_path: Path, name: str) -> None:
    """Lines without a version, many attributes, and lists in lists, which would take minutes to print."""
    content = zip_path.read_bytes()
    nested = {SERIALIZED: b64encode(pickle.dumps([[[REPEATED[name]] * 5] * 20] * 20)).decode()}
    attributes = attributes_of(content) | {f"nested{i}": nested for i in range(40)}
    attributes |= {f"attribute{i}": 0 for i in range(20_000)}
    content = with_file(content, "data", json.dumps(attributes).encode())
    (tmp_path / "slow.zip").write_bytes(with_file(content, "system_info.txt", b"- \n" * 20_000))
    begin = time.process_time()
    done = inspect(tmp_path / "slow.zip")
    assert time.process_time() - begin < 5.0
    assert "more rows" in done.stdout
    assert row(done, "gamma") == ["0.987"]


def test_many_long_values_are_cut(zip_path: Path, tmp_path: Path) -> None:
    texts = {f"text{i}": "x" * 10_000 for i in range(5_000)}
    content = with_file(
        zip_path.read_bytes(), "data", json.dumps(attributes_of(zip_path.read_bytes()) | texts).encode()
    )
    (tmp_path / "long.zip").write_bytes(content)
    assert len(inspect(tmp_path / "long.zip").stdout) < 500_000


def test_tensors_that_share_a_long_key_are_shown_in_little_memory(zip_path: Path, tmp_path: Path) -> None:
    content = zip_path.read_bytes()
    crafted = tensors({"x" * 10**6: dict.fromkeys(range(3_000), th.zeros(1))})
    (tmp_path / "long.zip").write_bytes(with_file(content, "policy.pth", crafted))
    tracemalloc.start()
    done = inspect(tmp_path / "long.zip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert done.exit_code == 0, done.output
    assert peak < 10**8


VALUES: dict[str, tuple[Any, str]] = {
    "an array": (np.arange(20, dtype=np.uint8), "uint8 of shape (20,): 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."),
    "a matrix": (np.ones((2, 2)), "float64 of shape (2, 2): 1.0, 1.0, ..."),
    "a number": (np.array(1.5), "float64 of shape (): 1.5"),
    "an empty array": (np.ones((0, 3)), "float64 of shape (0, 3)"),
    "a tensor": (th.zeros(2), "torch.float32 of shape (2,): 0.0, 0.0"),
    "a box": (spaces.Box(-1, np.array([1, 2], np.float32)), "Box(-1.0, [1.0, 2.0], (2,), float32)"),
    "spaces": (
        spaces.Dict({"a": spaces.MultiDiscrete([2, 3]), "b": spaces.Discrete(4)}),
        "Dict{'a': MultiDiscrete([2 3]), 'b': Discrete(4)}",
    ),
    "containers": ([(1, "two"), {3: None}, {4.5}], "[(1, 'two'), {3: None}, {4.5}]"),
    "a schedule": (LinearSchedule(1.0, 0.0, 0.5), "LinearSchedule(start=1.0, end=0.0, end_fraction=0.5)"),
    "statistics": (RunningMeanStd(), "a RunningMeanStd"),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_are_shown_as_python_writes_them(zip_path: Path, tmp_path: Path, name: str) -> None:
    value, shown = VALUES[name]
    (tmp_path / "value.zip").write_bytes(with_pickle(zip_path.read_bytes(), "value", pickle.dumps(value)))
    assert row(inspect(tmp_path / "value.zip"), "value") == [shown]


def test_large_integers_are_shown_by_their_length(zip_path: Path, tmp_path: Path) -> None:
    content = zip_path.read_bytes()
    for key, value in {"long": 10**6000, "in_a_list": [10**6000], "short": 10**20}.items():
        content = with_pickle(content, key, dumps(value))
    (tmp_path / "long.zip").write_bytes(content)
    done = inspect(tmp_path / "long.zip")
    assert row(done, "long") == ["an integer of 19,932 bits"]
    assert row(done, "in_a_list") == ["[an integer of 19,932 bits]"]
    assert row(done, "short") == ["100000000000000000000"]


def test_piped_tables_are_not_cut(zip_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    done = inspect(zip_path)
    assert "\x1b" not in done.stdout
    assert row(done, "mlp_extractor.value_net.0.weight") == ["(32, 2)", "float32"]


@pytest.mark.parametrize(
    ("content", "message"), [(None, "there is no file"), (b"", "damaged"), (b"PK\x03\x04 and so on", "damaged")]
)
def test_usage_errors_end_with_a_message(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "model.zip"
    if content is not None:
        path.write_bytes(content)
    done = inspect(path)
    assert done.exit_code == 2
    assert "model.zip" in done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_a_huge_file_that_is_not_a_zip_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.zip"
    path.touch()
    os.truncate(path, 2**42)
    done = inspect(path)
    assert done.exit_code == 2, done.exception
    assert "not a saved model" in done.stderr
