"""Options of ``train`` that the reference program does not have."""

import dataclasses
import inspect
import json
import re
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE
from typing import Any, get_args

import gymnasium as gym
import numpy as np
import pytest
import yaml
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.envs.registration import EnvSpec
from sb3_contrib.common.envs import InvalidActionEnvDiscrete
from torch import nn

from sb3_a2c_td import TDA2C, MaskableTDA2C, RecurrentTDA2C, recommended, recommended_env
from sb3_a2c_td.cli.options import CHOICES, NOT_OPTIONS, Constructor, as_yaml, read_config
from sb3_a2c_td.engines import ENGINES
from tests.algorithms.comparing import assert_same_parameters
from tests.cli.processes import COMMAND, ENVIRONMENT
from tests.cli.running import run


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def succeed(command_line: str) -> str:
    done = run(f"train --timesteps 200 --eval-episodes 0 --quiet --device cpu {command_line}")
    assert done.exit_code == 0, done.output
    return done.stdout


def load(path: str) -> TDA2C:
    return TDA2C.load(path, device="cpu")


@pytest.mark.parametrize("algorithm", [TDA2C, MaskableTDA2C, RecurrentTDA2C])
def test_every_argument_of_the_constructor_is_an_option(algorithm: type[TDA2C]) -> None:
    arguments = inspect.signature(algorithm).parameters
    assert [field.name for field in dataclasses.fields(Constructor)] == [
        name for name in arguments if name not in NOT_OPTIONS
    ]


def test_help_has_the_defaults_and_descriptions_of_the_constructor() -> None:
    shown = " ".join(run("train --help").stdout.replace("│", " ").split())
    assert "--reward-scale NUMBER the factor of the rewards in the targets; the returns in the logs are not" in shown
    for name, argument in inspect.signature(TDA2C).parameters.items():
        if isinstance(argument.default, float):
            option = shown[shown.rindex(f" --{name.replace('_', '-')} ") :]
            assert option[option.index("[default: ") :].startswith(f"[default: {argument.default}]"), name


def test_the_options_reach_the_constructor() -> None:
    options = "--reward-scale 1 --no-update-on-episode-end --max-grad-norm 0.5 --learning-rate lin_1e-3 --n-steps 1e1"
    succeed(f"{options} --policy-kwargs '{{net_arch: [8], activation_fn: Tanh}}' --save model")
    model = load("model")
    assert (model.reward_scale, model.update_on_episode_end, model.max_grad_norm) == (1.0, False, 0.5)
    assert (model.lr_schedule(1.0), model.lr_schedule(0.5), model.n_steps) == (1e-3, 5e-4, 10)
    assert model.policy_kwargs == {"net_arch": [8], "activation_fn": nn.Tanh}


@pytest.mark.parametrize("suffix", ["yaml", "toml"])
def test_a_file_of_options_trains_the_same_model(suffix: str) -> None:
    succeed("Pendulum-v1 --env-kwargs '{g: 5.0}' --seed 3 --gamma 0.9 --policy-kwargs '{net_arch: [8]}' --save first")
    if suffix == "toml":
        options = yaml.safe_load(Path("first.options.yaml").read_text())
        assert options.pop("env_kwargs") == {"g": 5.0}
        assert options.pop("policy_kwargs") == {"net_arch": [8]}
        # numbers, text and booleans are written in TOML as in JSON
        lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
        Path("first.toml").write_text(
            "\n".join([*lines, "[env_kwargs]", "g = 5.0", "[policy_kwargs]", "net_arch = [8]"])
        )
    file = "first.options.yaml" if suffix == "yaml" else "first.toml"
    done = run(f"train --config {file} --save second")
    assert done.exit_code == 0, done.output
    assert_same_parameters(load("first"), load("second"))
    assert load("second").trained_on == {"id": "Pendulum-v1", "kwargs": {"g": 5.0}}
    # the command line wins
    assert run(f"train --config {file} --gamma 0.8 --save third").exit_code == 0
    assert load("third").gamma == 0.8


def test_an_unknown_option_in_a_file_is_an_error() -> None:
    Path("options.yaml").write_text("gama: 0.9\n")
    done = run("train --config options.yaml")
    assert done.exit_code == 2
    assert 'Unknown option: "[gama]" from' in done.stderr


@pytest.mark.parametrize("env_id", ["Acrobot-v1", "MountainCarContinuous-v0"])
def test_tuned_takes_the_recommended_settings(env_id: str) -> None:
    succeed(f"{env_id} --tuned --save model --gamma 0.5")
    model = load("model")
    settings = recommended(env_id)
    assert (model.gamma, model.n_steps, model.n_envs) == (0.5, settings["n_steps"], 1)
    assert model.normalize_observations == settings.get("normalize_observations", False)


def test_several_seeds_have_a_file_each() -> None:
    succeed("--n-seeds 2 --seed 5 --save model")
    succeed("--n-seeds 2")
    for name, seed in (("model_seed5", 5), ("model_seed6", 6), ("tda2c_CartPole-v1_seed1", 1)):
        assert load(name).seed == seed


@pytest.mark.filterwarnings("ignore:.*render_mode")
@pytest.mark.parametrize(
    ("options", "algorithm"),
    [
        ("CartPole-v1", TDA2C),
        ("CartPole-v1 --algo recurrent", RecurrentTDA2C),
        ("InvalidActions-v0 --algo maskable", MaskableTDA2C),
    ],
)
def test_models_are_evaluated_in_their_environment_by_their_algorithm(
    options: str, algorithm: type[TDA2C], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gym.registry, "InvalidActions-v0", EnvSpec("InvalidActions-v0", InvalidActionEnvDiscrete))
    succeed(f"{options} --save model")
    assert type(algorithm.load("model", device="cpu")) is algorithm
    done = run("evaluate model --episodes 1 --device cpu --trusted")
    assert done.exit_code == 0, done.output


def test_resume_continues_a_training() -> None:
    succeed("--seed 0 --save half --resume")
    options = "--timesteps 400 --eval-episodes 0 --quiet --device cpu --seed 0"
    for save in ("half --resume", "whole"):
        assert run(f"train {options} --save {save}").exit_code == 0
    assert load("half").num_timesteps == 400
    assert_same_parameters(load("half"), load("whole"))


def test_a_training_that_has_more_steps_already_is_left_as_it_is() -> None:
    succeed("--seed 0 --save whole --resume")
    kept = {name: Path(name).read_bytes() for name in ("whole.zip", "whole.options.yaml")}
    done = run("train --timesteps 10 --eval-episodes 0 --seed 0 --device cpu --save whole --resume")
    assert done.exit_code == 0
    assert "steps already: nothing is trained" in done.stderr
    assert {name: Path(name).read_bytes() for name in kept} == kept


def test_a_resumed_training_keeps_the_seed_that_was_drawn() -> None:
    succeed("--save half --resume")
    for arguments in ("--save half --resume", "--config half.options.yaml --save whole"):
        assert run(f"train --timesteps 400 --eval-episodes 0 --quiet --device cpu {arguments}").exit_code == 0
    assert_same_parameters(load("half"), load("whole"))


def test_evaluations_during_training_keep_the_best_model() -> None:
    done = run("train --timesteps 300 --eval-freq 100 --eval-episodes 1 --quiet --save model --device cpu")
    assert done.exit_code == 0, done.output
    assert load("model.evaluations/best_model").num_timesteps in (100, 200, 300)
    assert Path("model.evaluations/evaluations.npz").exists()


def test_a_resumed_training_continues_its_evaluations() -> None:
    options = "--quiet --device cpu --seed 0 --save model --resume --eval-freq 100 --eval-episodes 1"
    assert run(f"train {options} --timesteps 400").exit_code == 0
    best = load("model.evaluations/best_model")
    # no later model is better than that
    file = Path("model.evaluations/evaluations.npz")
    evaluations = dict(np.load(file))
    evaluations["results"][0] = 1_000.0
    np.savez(file, **evaluations)
    assert run(f"train {options} --timesteps 600").exit_code == 0
    assert np.load(file)["timesteps"].tolist() == [100, 200, 300, 400, 500, 600]
    assert_same_parameters(load("model.evaluations/best_model"), best)
    done = run(f"train {options.removesuffix('1')}2 --timesteps 700")
    assert done.exit_code == 2
    assert "have 1 episodes each" in done.stderr


def test_a_resumed_training_evaluates_in_the_same_steps() -> None:
    options = "--quiet --device cpu --seed 0 --save model --resume --eval-freq 100 --eval-episodes 1"
    for timesteps in (250, 420):
        assert run(f"train {options} --timesteps {timesteps}").exit_code == 0
    assert np.load("model.evaluations/evaluations.npz")["timesteps"].tolist() == [100, 200, 300, 400]


@pytest.mark.parametrize("content", [b"", b"PK half of a zip"])
def test_a_damaged_list_of_evaluations_is_replaced(content: bytes) -> None:
    """SB3 does not write it atomically, so a kill may leave a part of it."""
    options = "--quiet --device cpu --seed 0 --save model --resume --eval-freq 100 --eval-episodes 1"
    assert run(f"train {options} --timesteps 200").exit_code == 0
    Path("model.evaluations/evaluations.npz").write_bytes(content)
    done = run(f"train {options} --timesteps 400")
    assert done.exit_code == 0, done.output
    assert "evaluations.npz is damaged, so the earlier evaluations are lost" in done.stderr
    assert np.load("model.evaluations/evaluations.npz")["timesteps"].tolist() == [300, 400]


def test_texts_that_look_like_numbers_stay_texts() -> None:
    options = {"env_kwargs": {"name": "1e5", "number": 1e-5}, "tensorboard_log": "7e2"}
    Path("options.yaml").write_text(as_yaml(options))
    read = read_config(Path("options.yaml"))
    assert json.loads(read["env_kwargs"]) == options["env_kwargs"]
    assert read["tensorboard_log"] == "7e2"


def test_evaluations_after_the_last_save_are_repeated() -> None:
    options = "--quiet --device cpu --seed 0 --save model --resume --eval-freq 100 --eval-episodes 1"
    assert run(f"train {options} --timesteps 200").exit_code == 0
    evaluations = dict(np.load("model.evaluations/evaluations.npz"))
    evaluations["timesteps"] = np.array([100, 300])
    np.savez("model.evaluations/evaluations.npz", **evaluations)
    assert run(f"train {options} --timesteps 300").exit_code == 0
    assert np.load("model.evaluations/evaluations.npz")["timesteps"].tolist() == [100, 300]


@pytest.mark.parametrize(
    ("options", "message"),
    [("--gamma 0.5", "was saved with gamma="), ("--n-envs 2", "env: the model was saved with")],
)
def test_a_training_that_cannot_be_resumed_ends_with_a_message(options: str, message: str) -> None:
    succeed("--seed 0 --save model --resume")
    before = Path("model.zip").read_bytes()
    done = run(f"train --timesteps 400 --seed 0 --save model --resume --device cpu {options}")
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert Path("model.zip").read_bytes() == before


def test_a_damaged_zip_is_not_resumed() -> None:
    succeed("--seed 0 --save model --resume")
    Path("model.zip").write_bytes(Path("model.zip").read_bytes()[:1_000])
    done = run("train --timesteps 400 --seed 0 --save model --resume --device cpu")
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: ")


def test_a_training_that_learns_nothing_replaces_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, seed: int | None = None, options: Any = None) -> None:
        raise RuntimeError("the server is down")

    succeed("--seed 0 --save model")
    for method in ("reset", "step"):
        with monkeypatch.context() as patched:
            patched.setattr(CartPoleEnv, method, fail)
            done = run("train --timesteps 400 --seed 0 --save model --device cpu")
        assert isinstance(done.exception, RuntimeError)
        assert "before the first update. Nothing is saved" in done.stderr
        assert load("model").num_timesteps == 200


def test_options_are_saved_without_an_import_that_a_signal_could_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    succeed("--save model")
    assert Path("model.options.yaml").exists()


@pytest.mark.parametrize("mapping", ['{"optimizer_kwargs": {"eps": 1e-5}}', "{optimizer_kwargs: {eps: 1e-5}}"])
def test_small_numbers_in_mappings_are_numbers(mapping: str) -> None:
    succeed(f"--save first --seed 0 --policy-kwargs '{mapping}'")
    assert load("first").policy_kwargs["optimizer_kwargs"] == {"eps": 1e-5}
    done = run("train --config first.options.yaml --save second")
    assert done.exit_code == 0, done.output
    assert_same_parameters(load("first"), load("second"))


def test_a_policy_may_be_named_with_tuned_settings() -> None:
    succeed("--tuned --policy MlpPolicy --save model")
    assert load("model").gamma == recommended("CartPole-v1")["gamma"]


def test_a_broken_pipe_ends_the_training_with_a_line() -> None:
    command = [*COMMAND, "train", "--timesteps", "100000000", "--device", "cpu", "--save", "half"]
    with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=ENVIRONMENT) as process:
        assert next(process.stdout).startswith("EP0 ")
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 141
    assert err.endswith("The program that reads this output has ended, so this one ends, too.\n")
    assert "Saved to half.zip" in err
    assert "Traceback" not in err


def test_modules_of_the_current_folder_are_found() -> None:
    script = Path(sys.executable).with_name("sb3-a2c-td")
    if not script.exists():
        pytest.skip("python -m finds them anyway, and the package is not installed")
    Path("my_envs.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv as Corridor\n"
        "from torch.nn import ReLU\n"
        "class Activation(ReLU): pass\n"
        'gymnasium.register("Corridor-v0", "my_envs:Corridor", max_episode_steps=20)\n'
    )
    for arguments in (
        "train my_envs:Corridor-v0 --timesteps 50 --eval-episodes 0 --quiet --save corridor",
        "evaluate corridor --episodes 1 --env my_envs:Corridor-v0",
        "evaluate corridor --episodes 1 --trusted",
        'train --timesteps 50 --quiet --save own --policy-kwargs {"activation_fn":"my_envs.Activation"}',
        "evaluate own --episodes 1 --trusted",
    ):
        subprocess.run([script, *arguments.split()], check=True, env=ENVIRONMENT)


@pytest.mark.parametrize("command", ["inspect model", "evaluate model --episodes 1"])
def test_no_module_of_the_current_folder_is_imported_without_need(command: str) -> None:
    succeed("--save model")
    # SB3 imports it if it is installed
    Path("cv2.py").write_text("raise SystemExit('imported')")
    script = Path(sys.executable).with_name("sb3-a2c-td")
    if not script.exists() or find_spec("cv2") is not None:
        pytest.skip("needs the installed command, and no OpenCV")
    subprocess.run([script, *command.split()], check=True, env=ENVIRONMENT)


def test_tuned_says_that_it_takes_the_general_setting() -> None:
    done = run("train MountainCarContinuous-v0 --tuned --timesteps 10 --eval-episodes 0 --quiet")
    assert done.exit_code == 0, done.output
    assert "no settings were tuned for MountainCarContinuous-v0" in done.stderr
    assert load("tda2c_MountainCarContinuous-v0").normalize_observations


def test_an_unknown_environment_has_a_hint() -> None:
    done = run("train Corridor-v0")
    assert done.exit_code == 2
    assert "Modules in the current folder are found, too: my_envs:Corridor-v0" in done.stderr


@pytest.mark.parametrize("env_id", ["FrozenLake-v1", "MinAtar/Breakout-v1"])
def test_tuned_settings_have_the_wrapper_that_they_were_tuned_with(env_id: str) -> None:
    if env_id.startswith("MinAtar"):
        pytest.importorskip("minatar")
    done = run(f"train {env_id} --tuned --timesteps 20 --eval-freq 10 --eval-episodes 1 --quiet --save model")
    assert done.exit_code == 0, done.output
    assert load("model").observation_space.shape == recommended_env(env_id).observation_space.shape
    done = run(f"evaluate model --env {env_id} --tuned --episodes 1")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--resume", "--resume needs --save"),
        ("--n-seeds 2 --resume", "--resume needs --save"),
        ("--eval-freq 10 --eval-episodes 0", "--eval-freq needs at least one of --eval-episodes"),
        ("--tuned --algo recurrent", "no settings were tuned for --algo recurrent"),
        ("--algo maskable", "provides no masks of actions"),
        ("--timesteps inf", "inf is not an integer"),
        ("--timesteps 1.5", "1.5 is not an integer"),
        ("--policy-kwargs '{a'", "{a is not a mapping"),
        ("--policy-kwargs '{activation_fn: torch.nn.Tahn}'", "torch.nn.Tahn cannot be imported"),
        ("--policy-kwargs '{activation_fn: Tahn}'", "Tahn is no class"),
        ("--config nothing.yaml", "--config nothing.yaml cannot be read"),
        ("--engine warp", "--engine"),
    ],
)
def test_options_that_cannot_be_used_end_with_a_message(options: str, message: str) -> None:
    done = run(f"train {options}")
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert not list(Path().iterdir())


@pytest.mark.parametrize("options", ["--algo maskable", "--tuned", "--resume --save model"])
def test_torchrun_has_one_algorithm(options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    done = run(f"train {options}")
    assert done.exit_code == 2
    assert "under torchrun, leave out --algo, --tuned and --resume" in done.stderr


def test_a_signal_saves_a_training_that_resumes() -> None:
    command = [*COMMAND, "train", "--timesteps", "100000000", "--resume", "--save", "half", "--seed", "0"]
    with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        assert next(process.stdout).startswith("EP0 ")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped. Saved to half.zip. The same command line continues." in err
    assert Path("half.options.yaml").exists()
    # before the first regular save
    assert 0 < load("half").num_timesteps < 10_000


def test_a_drawn_seed_is_in_the_file_of_options() -> None:
    succeed("--save first")
    assert run("train --config first.options.yaml --save second").exit_code == 0
    assert_same_parameters(load("first"), load("second"))


def test_files_of_others_are_not_replaced() -> None:
    Path("model.yaml").write_text("gamma: 0.9  # chosen by hand\n")
    succeed("--config model.yaml --save model")
    assert Path("model.yaml").read_text() == "gamma: 0.9  # chosen by hand\n"


def test_help_shows_no_markup() -> None:
    assert not re.search(r"\\|:math:|``|None|a function", run("train --help").stdout)


def test_engines_are_those_of_the_package() -> None:
    assert get_args(CHOICES["engine"]) == ENGINES
