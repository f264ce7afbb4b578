"""The launcher's arguments, its errors and the algorithms that it registers."""

import importlib
import inspect
import sys

import pytest

from sb3_a2c_td.zoo import launcher


@pytest.mark.parametrize("argv", [["fly"], ["plots"], ["plots", "fly"], []])
def test_an_unknown_command_is_an_error(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        launcher.main(argv)
    assert exited.value.code == 2
    assert "command" in capsys.readouterr().err


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        launcher.main(["--help"])
    assert exited.value.code == 0
    assert "python -m sb3_a2c_td.zoo train --algo tda2c --env CartPole-v1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("env", "missing", "message"),
    [
        ("CartPole-v1", ["rl_zoo3"], "rl_zoo3 is not installed: pip install '.[zoo]'"),
        ("MinAtar/Breakout-v1", ["minatar", "minatar.gym"], "minatar is not installed: pip install minatar"),
    ],
)
def test_a_missing_package_is_named(
    env: str, missing: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "rl_zoo3" not in missing:
        # importing RL Zoo changes Gymnasium for the whole process
        monkeypatch.setattr(launcher, "register", lambda: None)
    for module in missing:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit) as exited:
        launcher.main(["train", "--algo", "tda2c", "--env", env])
    assert exited.value.code == 2
    assert message in capsys.readouterr().err


FILE = "--conf-file sb3_a2c_td.hyperparams.tda2c"
TABLES = "--log-interval 1000"


@pytest.mark.parametrize(
    ("arguments", "added"),
    [
        ("--algo tda2c", f"{FILE} {TABLES}"),
        ("--algo=tda2c --env CartPole-v1 -params gamma:0.9", f"{FILE} {TABLES}"),
        ("--env CartPole-v1", ""),
        ("--algo ppo", ""),
        ("--algo tda2c --log-interval 10", FILE),
        ("--algo tda2c --conf-file mine.yml", TABLES),
        ("--algo tda2c -conf mine.yml", TABLES),
        ("--conf-file=mine.yml --algo tda2c", TABLES),
    ],
)
def test_settings_are_added_unless_others_are_named(arguments: str, added: str) -> None:
    assert launcher.with_our_settings(arguments.split()) == f"{arguments} {added}".split()


@pytest.mark.parametrize("algo", launcher.ALGORITHMS)
def test_the_settings_of_each_algorithm_are_its_arguments(algo: str) -> None:
    algorithm, module = launcher.ALGORITHMS[algo]
    assert launcher.with_our_settings(["--algo", algo])[2:4] == ["--conf-file", module]
    for settings in importlib.import_module(module).hyperparams.values():
        arguments = settings.keys() - {"n_timesteps", "n_envs", "normalize", "env_wrapper", "frame_stack"}
        assert arguments <= inspect.signature(algorithm).parameters.keys()


@pytest.mark.parametrize("sequence", [list, tuple])
def test_plots_have_a_name_of_their_own(sequence: type, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    monkeypatch.setattr(launcher, "register", lambda: None)
    monkeypatch.setattr(launcher, "_run", lambda module, arguments: ran.append((module, arguments)))
    launcher.main(sequence(["plots", "plot_train", "-a", "tda2c"]))
    assert ran == [("rl_zoo3.plots.plot_train", ["-a", "tda2c"])]
