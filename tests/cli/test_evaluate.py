import pickle
import re
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecNormalize

from sb3_a2c_td import TDA2C, MaskableTDA2C
from tests.cli import running


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model() -> TDA2C:
    model = TDA2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu").learn(300)
    model.save("model.zip")
    return model


def run(command_line: str) -> running.Done:
    return running.run(f"evaluate {command_line}")


def evaluated(command_line: str) -> tuple[str, float, float]:
    """Return what the command prints about the actions, and the mean and the standard deviation."""
    done = run(command_line)
    assert done.exit_code == 0, done.output
    return tuple(re.search(r"^Mean return of (.*) evaluation episodes?: (\S+) \+/- (\S+)$", done.stdout, re.M).groups())


def returns(predict, env_id: str, n_episodes: int, seed: int) -> list[float]:
    """Run episodes without SB3; only the first one is seeded."""
    env = gym.make(env_id)
    found = []
    for episode in range(n_episodes):
        obs, _ = env.reset(seed=seed if episode == 0 else None)
        total, done = 0.0, False
        while not done:
            obs, reward, terminated, truncated, _ = env.step(predict(obs))
            total, done = total + float(reward), terminated or truncated
        found.append(total)
    return found


@pytest.mark.parametrize("kind", ["deterministic", "stochastic"])
def test_prints_the_mean_return_of_independently_run_episodes(kind: str, model: TDA2C) -> None:
    set_random_seed(7)
    found = returns(lambda obs: model.predict(obs, deterministic=kind == "deterministic")[0], "CartPole-v1", 6, seed=7)
    assert len(set(found)) > 1
    printed = evaluated(f"model.zip --env CartPole-v1 --episodes 6 --seed 7 --{kind} --device cpu")
    assert printed == (f"6 {kind}", f"{np.mean(found):.2f}", f"{np.std(found):.2f}")


def test_episodes_do_not_depend_on_the_seed_of_the_training() -> None:
    TDA2C("MlpPolicy", "Pendulum-v1", seed=0, device="cpu").save("model.zip")
    first, second = (evaluated("model.zip --env Pendulum-v1 --episodes 2 --device cpu") for _ in range(2))
    assert first != second


def test_default_is_twenty_deterministic_episodes(model: TDA2C) -> None:
    assert evaluated("model.zip --env CartPole-v1")[0] == "20 deterministic"


@pytest.mark.parametrize(
    ("zip_name", "statistics"),
    [
        ("pendulum.zip", "vec_normalize.pkl"),
        ("rl_model_400_steps.zip", "rl_model_vecnormalize_400_steps.pkl"),
        ("best_model.zip", "my-Pendulum-v1/vecnormalize.pkl"),
    ],
)
def test_statistics_next_to_the_zip_are_taken_if_it_does_not_say_any(zip_name: str, statistics: str) -> None:
    """As in a zip that SB3 saved."""
    env = VecNormalize(make_vec_env("Pendulum-v1", seed=0), clip_obs=1.0)
    # a learning rate that is large enough to change the actions
    model = TDA2C("MlpPolicy", env, 0.05, seed=0, device="cpu").learn(400)
    OnPolicyAlgorithm.save(model, zip_name)
    Path(statistics).parent.mkdir(exist_ok=True)
    if Path(statistics).parent != Path():
        Path(statistics).with_name("config.yml").touch()
    env.save(statistics)

    def predict(obs):
        normalized = (obs - env.obs_rms.mean) / np.sqrt(env.obs_rms.var + env.epsilon)
        return model.predict(normalized.clip(-1.0, 1.0).astype(np.float32), deterministic=True)[0]

    normalized = np.mean(returns(predict, "Pendulum-v1", 2, seed=3))
    unnormalized = np.mean(returns(lambda obs: model.predict(obs, deterministic=True)[0], "Pendulum-v1", 2, seed=3))
    assert abs(normalized - unnormalized) > 1.0
    arguments = f"{zip_name} --env Pendulum-v1 --episodes 2 --seed 3 --device cpu"
    assert float(evaluated(arguments)[1]) == pytest.approx(normalized, abs=0.02)
    assert f"by {statistics}, since {zip_name} does not say how it was trained\n" in run(arguments).stdout

    Path(statistics).write_bytes(pickle.dumps(print))
    done = run(arguments)
    assert done.exit_code == 2
    assert re.search(f"Error: .*{statistics}: it asks for builtins.print", done.stderr)


@pytest.mark.parametrize("normalizes", ["VecNormalize", "the model", "nothing"])
def test_the_zip_says_how_observations_are_normalized(normalizes: str) -> None:
    """Statistics next to it may belong to another model."""
    env, settings = make_vec_env("Pendulum-v1", seed=0), {}
    if normalizes == "VecNormalize":
        env = VecNormalize(env)
    elif normalizes == "the model":
        settings = {"normalize_observations": True}
    model = TDA2C("MlpPolicy", env, seed=0, device="cpu", **settings).learn(400)
    model.save("model.zip")
    other = VecNormalize(make_vec_env("Pendulum-v1", seed=0), clip_obs=0.01)
    other.save("vecnormalize.pkl")

    def predict(obs):
        return model.predict(env.normalize_obs(obs) if normalizes == "VecNormalize" else obs, deterministic=True)[0]

    expected = np.mean(returns(predict, "Pendulum-v1", 2, seed=3))
    arguments = "model.zip --env Pendulum-v1 --episodes 2 --seed 3 --device cpu"
    done = run(arguments)
    assert float(re.search("episodes: (.*) \\+/-", done.stdout)[1]) == pytest.approx(expected, abs=0.02)
    assert ("normalized by the statistics in model.zip" in done.stdout) == (normalizes != "nothing")
    assert "vecnormalize.pkl" not in done.output
    assert "Warning" not in done.output

    def predict_unnormalized(obs):
        return model.policy.predict(obs, deterministic=True)[0]

    unnormalized = np.mean(returns(predict_unnormalized, "Pendulum-v1", 2, seed=3))
    assert float(evaluated(f"{arguments} --no-normalize")[1]) == pytest.approx(unnormalized, abs=0.02)
    by_other = np.mean(returns(lambda obs: predict_unnormalized(other.normalize_obs(obs)), "Pendulum-v1", 2, seed=3))
    assert float(evaluated(f"{arguments} --normalize vecnormalize.pkl")[1]) == pytest.approx(by_other, abs=0.02)
    assert abs(unnormalized - by_other) > 1.0


def test_options_exclude_each_other(model: TDA2C) -> None:
    arguments = "model.zip --env CartPole-v1 --episodes 2"
    VecNormalize(make_vec_env("CartPole-v1", seed=0)).save("other.pkl")
    done = run(f"{arguments} --normalize other.pkl --no-normalize")
    assert done.exit_code == 2
    assert "--normalize other.pkl and --no-normalize exclude each other" in done.stderr


def test_other_files_next_to_the_zip_are_not_taken_for_statistics(model: TDA2C) -> None:
    OnPolicyAlgorithm.save(model, "model.zip")
    for name in ("model.pkl", "rl_model_vecnormalize_400_steps.pkl"):
        Path(name).write_bytes(b"")
    assert "normalized" not in run("model.zip --env CartPole-v1 --episodes 1").stdout


def test_code_is_loaded_only_if_trusted() -> None:
    TDA2C("MlpPolicy", "CartPole-v1", learning_rate=lambda progress: 1e-3 * progress, seed=0).save("model.zip")
    done = run("model.zip --env CartPole-v1 --episodes 1")
    assert done.exit_code == 2
    assert re.search("Error: .*learning_rate holds the code of a function.*--trusted", done.stderr)
    assert evaluated("model.zip --env CartPole-v1 --episodes 1 --trusted")[0] == "1 deterministic"


@pytest.mark.parametrize(
    ("arguments", "mean"),
    [
        ("", "7.00"),
        ("--env CartPole-v1", "7.00"),
        ("--env gymnasium:CartPole-v1", "7.00"),
        ("--env-kwargs '{max_episode_steps: 5}'", "5.00"),
    ],
)
def test_the_zip_records_the_environment_and_its_arguments(arguments: str, mean: str, model: TDA2C) -> None:
    model.trained_on = {"id": "CartPole-v1", "kwargs": {"max_episode_steps": 7}}
    model.save("model")
    done = run(f"model --episodes 1 {arguments}")
    assert done.exit_code == 0, done.output
    assert f"episode: {mean} +/-" in done.stdout
    assert ("arguments in model.zip: {'max_episode_steps': 7}" in done.stdout) == (mean == "7.00")


@pytest.mark.parametrize(
    "record",
    [
        {"id": "antigravity:CartPole-v1", "kwargs": {}},
        {"id": "HalfCheetah-v5", "kwargs": {"xml_file": "other.xml"}},
        {"id": "CartPole-v1", "kwargs": {"of": [{"a": "other:Class"}]}},
        {"id": "CartPole-v1", "kwargs": {"of": PurePosixPath("/etc/passwd")}},
        {"id": "CartPole-v1", "kwargs": {"of": b"/etc/passwd"}},
        {"id": "CartPole-v1", "kwargs": {"of": ("/etc/passwd",)}},
    ],
)
def test_a_record_that_names_a_module_or_a_file_needs_a_confirmation(record: dict[str, Any], model: TDA2C) -> None:
    model.trained_on = record
    model.save("model")
    done = run("model --episodes 1")
    assert done.exit_code == 2
    assert "confirm them with --env and --env-kwargs, or with --trusted" in done.stderr
    assert run("model --episodes 1 --env ''").exit_code == 2
    assert run("model --episodes 1 --env CartPole-v1 --env-kwargs {}").exit_code == 0
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("record", [None, {}, {"id": 5, "kwargs": []}, {"id": "CartPole-v1", "kwargs": [1]}])
def test_without_a_valid_record_an_environment_must_be_named(record: Any, model: TDA2C) -> None:
    model.trained_on = record
    model.save("model")
    done = run("model --episodes 1")
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nothing --env CartPole-v1", "there is no file nothing.zip"),
        (". --env CartPole-v1", "there is no file"),
        ("--env CartPole-v1", "--path requires an argument"),
        ("model.zip --env Nope-v0", "Nope"),
        (
            "model.zip --env Acrobot-v1",
            r"Observation spaces do not match: .*\(4,\).*\(6,\).*\nwhile model.zip was loaded",
        ),
        ("model.zip --env CartPole-v1 --episodes 0", "--episodes.*1"),
        ("model.zip --env CartPole-v1 --seed=-3", "--seed.*0"),
        ("model.zip --env CartPole-v1 --device warp", "warp"),
        ("damaged.zip --env CartPole-v1", "damaged.zip: it is damaged"),
        ("text.zip --env CartPole-v1", "text.zip: it is damaged, or not a saved model"),
    ],
)
def test_usage_errors_end_with_a_message(arguments: str, message: str, model: TDA2C) -> None:
    content = Path("model.zip").read_bytes()
    Path("damaged.zip").write_bytes(content[: len(content) // 2])
    Path("text.zip").write_text("no model")
    done = run(arguments)
    assert done.exit_code == 2
    assert re.search(f"Error: .*{message}", done.stderr)
    assert done.stdout == ""


def test_environments_without_masks_are_an_error() -> None:
    env = ActionMasker(gym.make("CartPole-v1"), lambda env: np.ones(2, dtype=bool))
    MaskableTDA2C("MlpPolicy", env, device="cpu").save("masked")
    done = run("masked --env CartPole-v1")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "provides no masks of actions" in done.stderr


def test_damaged_statistics_are_an_error(model: TDA2C) -> None:
    OnPolicyAlgorithm.save(model, "model.zip")
    Path("vec_normalize.pkl").write_bytes(b"\x80\x04")
    done = run("model.zip --env CartPole-v1")
    assert done.exit_code == 2
    assert re.search("Error: .*vec_normalize.pkl: it is damaged", done.stderr)


def test_a_zip_in_a_folder_that_cannot_be_searched_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    done = run("secret/model.zip")
    assert done.exit_code == 2
    assert "secret/model.zip cannot be read" in done.stderr
