"""Kill a training in the middle, go on, and get the model of a training that nobody killed, to the bit."""

import subprocess
import sys
import time
from pathlib import Path

import torch

from sb3_a2c_td import TDA2C, train_resumably

N_STEPS = 10_000


def train(path: Path) -> TDA2C:
    """Begin, or go on where it was saved last."""
    return train_resumably(lambda: TDA2C("MlpPolicy", "CartPole-v1", seed=0), N_STEPS, path, save_freq=1_000)


def main() -> None:
    """Train twice, the first time with a kill."""
    path = Path("killed.zip")
    path.unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, __file__, str(path)])
    while not path.exists():
        time.sleep(0.01)
    process.kill()
    process.wait()
    print(f"Killed; saved were {TDA2C.load(path).num_timesteps} of {N_STEPS} steps")

    resumed = train(path)
    undisturbed = TDA2C("MlpPolicy", "CartPole-v1", seed=0).learn(N_STEPS)
    pairs = zip(resumed.policy.parameters(), undisturbed.policy.parameters(), strict=True)
    same = all(torch.equal(one, other) for one, other in pairs)
    print(f"Gone on to {resumed.num_timesteps} steps; the same weights as without a kill: {same}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(Path(sys.argv[1]))
    else:
        main()
