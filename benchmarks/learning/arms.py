"""The arms: an algorithm with the settings that it has on each environment."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.learning.environments import ENVIRONMENTS, Environment
from benchmarks.learning.settings import Settings
from benchmarks.learning.zoo_settings import A2C_ZOO, PPO_ZOO

STUDIES = Path(__file__).parent.parent / "results" / "studies"
"""what ``python -m benchmarks tune`` found"""


@dataclass(frozen=True)
class Arm:
    """A contestant.

    :param name: its name in tables and folders
    :param summary: what it is, for a reader
    :param settings: its settings wherever ``settings_of`` has none; ``None``: not run there
    :param settings_of: its settings by environment, likewise
    """

    name: str
    summary: str
    settings: Settings | None = None
    settings_of: Mapping[str, Settings | None] = field(default_factory=dict)

    def settings_on(self, environment: Environment) -> Settings | None:
        """Give the settings on an environment; ``None``: not run there."""
        return self.settings_of.get(environment.name, self.settings)


def tda2c(**arguments: Any) -> Settings:
    """Give the settings of the seed, but for some arguments."""
    return Settings("TDA2C", arguments=arguments)


def power_law_from(rate: float, b: float = 10_000.0, power: float = 0.75) -> dict[str, dict[str, float]]:
    """Give Robbins-Monro steps that begin at ``rate``."""
    return {"robbins_monro": {"a": rate * b**power, "b": b, "power": power}}


def study_path(folder: Path, environment: Environment) -> Path:
    """Name the file of what the study of an environment found."""
    return folder / f"{environment.name.replace('/', '-')}.json"


def tuned_settings(studies: Path = STUDIES) -> dict[str, Settings]:
    """Read the settings that each environment's study found; those without a study are left out."""
    paths = {name: study_path(studies, environment) for name, environment in ENVIRONMENTS.items()}
    return {
        name: Settings(**json.loads(path.read_text())["best"]["settings"])
        for name, path in paths.items()
        if path.exists()
    }


ARMS = {
    arm.name: arm
    for arm in (
        Arm("random", "actions drawn uniformly", Settings("random")),
        Arm("tda2c", "TDA2C as the seed has it, the package's defaults", tda2c()),
        Arm(
            "tda2c-tuned",
            "TDA2C with one setting for each environment, found by a study on other seeds",
            settings_of=tuned_settings(),
        ),
        Arm(
            "tda2c-tuned-first",
            "what MinAtar's first study found, whose runs had 8 or 16 environments side by side",
            settings_of=tuned_settings(STUDIES / "first"),
        ),
        Arm(
            "tda2c-double-softmax",
            "the seed read literally: softmax of the softmax in the actor's loss",
            tda2c(double_softmax=True),
            # only for discrete actions
            settings_of={"Pendulum-v1": None, "Hopper-v5": None},
        ),
        Arm("a2c", "SB3's A2C, its defaults", Settings("A2C")),
        Arm(
            "a2c-zoo",
            "SB3's A2C as RL Zoo tuned it",
            settings_of=A2C_ZOO,
        ),
        Arm(
            "a2c-td0",
            "SB3's A2C made a one-step method: λ = 0, Adam at 1e-3, separate features, no clipping",
            Settings(
                "A2C",
                arguments={
                    "learning_rate": 1e-3,
                    "gae_lambda": 0.0,
                    "ent_coef": 0.0,
                    "vf_coef": 1.0,
                    "use_rms_prop": False,
                    "max_grad_norm": 1e9,
                    "policy_kwargs": {"share_features_extractor": False},
                },
            ),
        ),
        Arm(
            "ppo-zoo",
            "SB3's PPO as RL Zoo tuned it, for scale",
            settings_of=PPO_ZOO,
        ),
        Arm("tda2c-reward-scale-1", "rewards as they are, not a hundredth", tda2c(reward_scale=1.0)),
        Arm("tda2c-fixed-intervals", "an episode's end does not end the interval", tda2c(update_on_episode_end=False)),
        Arm("tda2c-truncation", "V(s') where a time limit cut the episode", tda2c(bootstrap_on_truncation=True)),
        Arm("tda2c-tanh", "tanh in place of ReLU", tda2c(policy_kwargs={"activation_fn": "Tanh"})),
        Arm("tda2c-n-steps-1", "intervals of 1 step, not 5", tda2c(n_steps=1)),
        Arm("tda2c-n-steps-20", "intervals of 20 steps, not 5", tda2c(n_steps=20)),
        Arm("tda2c-n-steps-64", "intervals of 64 steps, not 5", tda2c(n_steps=64)),
        Arm("tda2c-shared-rate", "the critic at the actor's rate, 5e-4", tda2c(critic_learning_rate=5e-4)),
        Arm(
            "tda2c-torch-adam",
            "PyTorch's Adam as SB3 sets it, not Keras's",
            tda2c(policy_kwargs={"optimizer_class": "Adam"}),
        ),
        Arm(
            "tda2c-robbins-monro",
            "both rates fall as (10,000 + t)^-0.75 from the seed's",
            tda2c(learning_rate=power_law_from(5e-4), critic_learning_rate=power_law_from(1e-3)),
        ),
    )
}

_SMALL_TANH = {"net_arch": [64], "activation_fn": "Tanh"}
_CARTPOLE: dict[str, Any] = {
    "learning_rate": "lin_5e-4",
    "critic_learning_rate": "lin_2e-3",
    "gamma": 0.99,
    "n_steps": 4,
    "reward_scale": 1.0,
    "ent_coef": 0.001,
    "max_grad_norm": 0.5,
    "normalize_advantage": True,
    "bootstrap_on_truncation": True,
    "update_on_episode_end": False,
}
_MAZE: dict[str, Any] = {
    "learning_rate": "lin_2e-3",
    "critic_learning_rate": "lin_4e-3",
    "gamma": 0.98,
    "n_steps": 12,
    "reward_scale": 1.0,
    "ent_coef": 0.01,
    "normalize_advantage": True,
    "bootstrap_on_truncation": True,
    "update_on_episode_end": False,
}


def _memory_settings(algorithm: str, on_cartpole: dict[str, Any], on_maze: dict[str, Any]) -> dict[str, Settings]:
    """Give the settings that only the policies differ in."""
    return {
        "sb3_a2c_td/CartPoleWithoutVelocities-v0": Settings(
            algorithm, 4, {"norm_reward": True}, {**_CARTPOLE, "policy_kwargs": on_cartpole}
        ),
        "sb3_a2c_td/TMaze-v0": Settings(algorithm, 4, None, {**_MAZE, "policy_kwargs": on_maze}),
    }


RECURRENT_PPO = Settings(
    "RecurrentPPO",
    n_envs=8,
    normalize={},
    arguments={
        "n_steps": 32,
        "batch_size": 256,
        "gae_lambda": 0.8,
        "gamma": 0.98,
        "n_epochs": 20,
        "ent_coef": 0.0,
        "learning_rate": "lin_1e-3",
        "clip_range": "lin_0.2",
        "policy_kwargs": {
            "ortho_init": False,
            "activation_fn": "ReLU",
            "lstm_hidden_size": 64,
            "enable_critic_lstm": True,
            "net_arch": {"pi": [64], "vf": [64]},
        },
    },
)
MASKED: dict[str, Any] = {
    "learning_rate": 3e-3,
    "gamma": 0.0,
    "normalize_advantage": True,
    "policy_kwargs": {"net_arch": [64, 64], "activation_fn": "Tanh", "ortho_init": True},
}
CONTRIB_ARMS = {
    arm.name: arm
    for arm in (
        Arm(
            "tda2c-lstm",
            "RecurrentTDA2C, set by hand on other seeds",
            settings_of=_memory_settings(
                "RecurrentTDA2C",
                {"lstm_hidden_size": 64, **_SMALL_TANH},
                {"lstm_hidden_size": 32, "net_arch": [], "activation_fn": "Tanh"},
            ),
        ),
        Arm(
            "tda2c-feed-forward",
            "TDA2C with the same settings, and two hidden layers in place of LSTM and layer",
            settings_of=_memory_settings(
                "TDA2C",
                {"net_arch": [64, 64], "activation_fn": "Tanh"},
                {"net_arch": [32, 32], "activation_fn": "Tanh"},
            ),
        ),
        Arm(
            "recurrent-ppo",
            "sb3-contrib's RecurrentPPO as RL Zoo tuned it for CartPole without velocities",
            RECURRENT_PPO,
        ),
        Arm(
            "tda2c-maskable",
            "MaskableTDA2C: an action's reward is all that matters there, so gamma is 0",
            Settings("MaskableTDA2C", 8, None, {**MASKED, "critic_learning_rate": 3e-3, "reward_scale": 1.0}),
        ),
        Arm(
            "maskable-ppo-as-a2c",
            "MaskablePPO with the same settings, made A2C: one epoch of one batch of 5 steps, no clipping",
            Settings(
                "MaskablePPO",
                8,
                None,
                {**MASKED, "n_steps": 5, "batch_size": 40, "n_epochs": 1, "vf_coef": 1.0, "max_grad_norm": 1e9},
            ),
        ),
        Arm(
            "maskable-ppo",
            "MaskablePPO's defaults but for gamma, and 512 rows to an update, not 2,048 of each environment",
            Settings("MaskablePPO", 8, None, {"gamma": 0.0, "n_steps": 64}),
        ),
    )
}
"""masked and recurrent arms, on environments of their own"""
