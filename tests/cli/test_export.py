import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

from sb3_a2c_td import TDA2C
from sb3_a2c_td.export import load_actor
from tests.cli.running import run
from tests.environments import CountingEnv
from tests.export.models import Contrary, Doubling
from tests.export.running import run_loaded, run_onnx
from tests.saving.pickles import PAYLOADS

OBSERVATIONS = np.array([[0, 1], [2, 3], [90, 0.5]], np.float32)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def saved(**kwargs: object) -> TDA2C:
    model = TDA2C("MlpPolicy", **{"env": CountingEnv(7), "device": "cpu", "seed": 0, **kwargs})
    model.learn(20).save("model.zip")
    return model


@pytest.mark.parametrize(("to", "run_file"), [("onnx", run_onnx), ("safetensors", run_loaded)])
def test_writes_an_actor_that_acts_as_the_model(to: str, run_file) -> None:
    model = saved()
    done = run(f"export model.zip --to {to}")
    assert done.exit_code == 0, done.output
    assert done.stdout == f"Saved to model.{to}, which acts as the model does on 500 observations\n"
    assert done.stderr == ""
    expected, _ = model.predict(OBSERVATIONS, deterministic=True)
    np.testing.assert_array_equal(run_file(Path(f"model.{to}"), OBSERVATIONS), expected)


@pytest.mark.parametrize("output", ["", " --output model.safetensors"])
def test_a_planted_link_is_not_followed(output: str) -> None:
    saved()
    Path("mine.txt").write_text("mine")
    Path("model.safetensors").symlink_to("mine.txt")
    done = run(f"export model.zip --to safetensors{output}")
    assert done.exit_code == 0, done.output
    assert Path("mine.txt").read_text() == "mine"
    assert load_actor("model.safetensors") is not None


def test_writes_to_the_output() -> None:
    saved()
    assert run("export model.zip --to safetensors --output actors/mine").exit_code == 0
    assert load_actor("actors/mine").inputs.keys() == {"observation"}
    assert sorted(path.name for path in Path().iterdir()) == ["actors", "model.zip"]


def test_normalizes_by_the_given_statistics() -> None:
    env = VecNormalize(DummyVecEnv([lambda: CountingEnv(7)]))
    model = saved(env=env)
    env.save("vecnormalize.pkl")
    Path("vecnormalize.pkl").rename("elsewhere.pkl")
    assert run("export model.zip --to safetensors --normalize elsewhere.pkl").exit_code == 0
    expected, _ = model.predict(env.normalize_obs(OBSERVATIONS), deterministic=True)
    np.testing.assert_array_equal(run_loaded(Path("model.safetensors"), OBSERVATIONS), expected)
    tensors = load_actor("model.safetensors").state_dict()
    np.testing.assert_array_equal(tensors["mean.observation"], env.obs_rms.mean)


@pytest.mark.parametrize("normalizes", ["VecNormalize", "the model"])
def test_normalizes_by_statistics_in_the_zip_unless_turned_off(normalizes: str) -> None:
    plain = DummyVecEnv([lambda: CountingEnv(7)])
    if normalizes == "VecNormalize":
        model = saved(env=VecNormalize(plain))
    else:
        model = saved(env=plain, normalize_observations=True)
    done = run("export model.zip --to safetensors")
    assert "Observations are normalized by the statistics in model.zip" in done.stdout
    assert done.stderr == ""
    tensors = load_actor("model.safetensors").state_dict()
    np.testing.assert_array_equal(tensors["mean.observation"], model.env.obs_rms.mean)
    assert run("export model.zip --to safetensors --no-normalize").exit_code == 0
    assert load_actor("model.safetensors").normalization is None


def test_statistics_inside_of_other_wrappers_are_refused() -> None:
    saved(env=VecFrameStack(VecNormalize(DummyVecEnv([lambda: CountingEnv(7)])), 2))
    done = run("export model.zip --to safetensors")
    assert done.exit_code == 2
    assert "model.zip was trained in VecNormalize inside of VecFrameStack" in done.stderr
    assert run("export model.zip --to safetensors --no-normalize").exit_code == 0


def test_an_actor_does_not_overwrite_its_model() -> None:
    model = saved()
    done = run("export model.zip --to onnx --output ./model.zip")
    assert done.exit_code == 2
    assert "--output model.zip is the model itself" in done.stderr
    assert TDA2C.load("model.zip", device="cpu").num_timesteps == model.num_timesteps


def test_code_is_loaded_only_if_trusted() -> None:
    saved(policy_kwargs={"features_extractor_class": Doubling})
    done = run("export model.zip --to safetensors")
    assert done.exit_code == 2
    assert re.search("policy_kwargs holds .*--trusted", done.stderr)
    done = run("export model.zip --to safetensors --trusted")
    assert done.exit_code == 2
    assert "export to onnx" in done.stderr
    assert os.listdir() == ["model.zip"]


def test_statistics_run_no_code() -> None:
    saved()
    Path("vecnormalize.pkl").write_bytes(PAYLOADS["a call"]("ran"))
    for option in ("", " --trusted"):
        done = run(f"export model.zip --to safetensors --normalize vecnormalize.pkl{option}")
        assert done.exit_code == 2
        assert re.search("vecnormalize.pkl: it asks for .*mkdir", done.stderr)
    assert sorted(os.listdir()) == ["model.zip", "vecnormalize.pkl"]


def test_an_actor_that_acts_otherwise_is_not_written() -> None:
    TDA2C(Contrary, _three_actions(), device="cpu", seed=0).save("model.zip")
    done = run("export model.zip --to safetensors --trusted")
    assert done.exit_code == 2
    assert "acts differently from the model" in done.stderr
    assert os.listdir() == ["model.zip"]


def _three_actions() -> CountingEnv:
    env = CountingEnv(7)
    env.action_space = type(env.action_space)(3)
    return env


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    saved()
    monkeypatch.setitem(sys.modules, "onnx", None)
    done = run("export model.zip --to onnx")
    assert done.exit_code == 2
    assert "pip install '.[export]'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nowhere.zip --to onnx", "there is no file nowhere.zip"),
        ("damaged.zip --to onnx", "damaged.zip: it is damaged"),
        ("model.zip", "parameter --to requires an argument"),
        ("model.zip --to pickle", 'Invalid value "pickle" for --to'),
        ("model.zip --to onnx --normalize nowhere.pkl", '"nowhere.pkl" does not exist'),
        ("model.zip --to onnx --normalize damaged.zip", "damaged.zip: it is damaged, or not a file of VecNormalize"),
        ("model.zip --to safetensors --output damaged.zip/actor", "damaged.zip/actor"),
    ],
)
def test_usage_errors_end_with_a_message(arguments: str, message: str) -> None:
    saved()
    Path("damaged.zip").write_bytes(b"\x80\x04")
    done = run(f"export {arguments}")
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.output
    assert sorted(os.listdir()) == ["damaged.zip", "model.zip"]
