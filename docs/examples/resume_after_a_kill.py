"""Kill a training, resume it, and compare it bit for bit with a training that was not killed."""

import subprocess
import sys
import time
from pathlib import Path

import torch

from sb3_a2c_td import TDA2C, train_resumably

N_STEPS = 10_000


def train(path: Path) -> TDA2C:
    """Start the training, or resume it from the last save."""
    return train_resumably(lambda: TDA2C("MlpPolicy", "CartPole-v1", seed=0), N_STEPS, path, save_freq=1_000)


def main() -> None:
    """Train with and without a kill, and compare the weights."""
    path = Path("killed.zip")
    path.unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, __file__, str(path)])
    while not path.exists():
        time.sleep(0.01)
    process.kill()
    process.wait()
    print(f"Killed after a save at {TDA2C.load(path).num_timesteps} of {N_STEPS} steps")

    resumed = train(path)
    uninterrupted = TDA2C("MlpPolicy", "CartPole-v1", seed=0).learn(N_STEPS)
    pairs = zip(resumed.policy.parameters(), uninterrupted.policy.parameters(), strict=True)
    same = all(torch.equal(one, other) for one, other in pairs)
    print(f"Resumed to {resumed.num_timesteps} steps; same weights as without a kill: {same}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(Path(sys.argv[1]))
    else:
        main()
