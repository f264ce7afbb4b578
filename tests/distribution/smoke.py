"""Check an installed package. Run with the Python that it is installed in, in an empty folder: ``smoke.py VERSION``."""

import subprocess
import sys
from importlib import metadata
from importlib.resources import files
from pathlib import Path

import gymnasium as gym
import numpy as np

import sb3_a2c_td
from sb3_a2c_td import TDA2C

COMMANDS = ([sys.executable, "-I", "-m", "sb3_a2c_td"], [str(Path(sys.executable).with_name("sb3-a2c-td"))])
PRINTED_VERSIONS = ("stable-baselines3", "sb3-contrib", "gymnasium", "torch", "numpy", "pandas", "cyclopts")


def main(version: str) -> None:
    """Check the first things a user does."""
    print(f"Python {sys.version.split()[0]}:", *(f"{name} {metadata.version(name)}" for name in PRINTED_VERSIONS))
    check_package(version)
    check_training()
    check_command_line(version)


def check_package(version: str) -> None:
    """Check that the built package is imported and complete, and that its environments are registered."""
    assert sb3_a2c_td.__version__ == metadata.version("sb3-a2c-td") == version
    assert files(sb3_a2c_td).joinpath("py.typed").is_file()
    assert Path(sb3_a2c_td.__file__).is_relative_to(sys.prefix)
    for name in ("RandomWalk-v0", "Garnet-v0", "Chain-v0"):
        gym.make(f"sb3_a2c_td/{name}").reset(seed=0)
        gym.make_vec(f"sb3_a2c_td/{name}", num_envs=2).reset(seed=0)


def check_training() -> None:
    """Check that a model trains, and that it acts the same after saving and loading."""
    model = TDA2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu")
    before = model.policy.action_net.weight.detach().clone()
    model.learn(1_000)
    assert model.num_timesteps == 1_000
    assert not model.policy.action_net.weight.equal(before)
    model.save("model")
    observations = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    actions, _ = model.predict(observations, deterministic=True)
    loaded, _ = TDA2C.load("model", device="cpu").predict(observations, deterministic=True)
    np.testing.assert_array_equal(actions, loaded)
    assert set(actions) <= {0, 1}

    from sb3_a2c_td.plotting.learning_curves import plot_learning_curve

    assert len(plot_learning_curve("model").lines) == 2


def check_command_line(version: str) -> None:
    """Check that both ways to start the command line work."""
    for number, command in enumerate(COMMANDS):
        assert "--env" in output([*command, "train", "--help"])
        assert version in output([*command, "--version"])
        output([*command, "train", "--timesteps", "100", "--device", "cpu", "--save", f"cli-{number}.zip"])
        assert TDA2C.load(f"cli-{number}", device="cpu").num_timesteps == 100


def output(command: list[str]) -> str:
    """Run a command and return its output."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main(sys.argv[1])
