"""Arms: algorithms with their settings on each environment."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.learning.environments import (
    DEVELOPMENT_ENVIRONMENTS,
    ENVIRONMENTS,
    HELD_OUT_ENVIRONMENTS,
    Environment,
)
from benchmarks.learning.settings import NO_CLIPPING, Settings
from benchmarks.learning.zoo_settings import A2C_ZOO, PPO_ZOO
from sb3_a2c_td.hyperparams import recurrent as recurrent_hyperparams
from sb3_a2c_td.hyperparams import tda2c as tda2c_hyperparams
from sb3_a2c_td.hyperparams.search_space import rate_setting, rounded
from sb3_a2c_td.hyperparams.tda2c import NOT_ARGUMENTS, arguments_of
from sb3_a2c_td.schedules import LINEAR_PREFIX

STUDIES = Path(__file__).parent.parent / "results" / "studies"
"""results of ``python -m benchmarks tune``"""


LABELS = {
    "tda2c-general": "TDA2C with the general setting",
    "tda2c-tuned": "tuned TDA2C",
    "tda2c-tuned-first": "TDA2C of the first study",
    "tda2c": "TDA2C with reference settings",
    "tda2c-double-softmax": "TDA2C with double softmax",
    "a2c": "A2C",
    "a2c-tuned": "tuned A2C",
    "a2c-tuned-first": "A2C of the first study",
    "a2c-matched": "A2C with TDA2C's tuned settings",
    "a2c-zoo": "A2C with RL Zoo's settings",
    "a2c-td0": "A2C with λ = 0",
    "ppo": "PPO",
    "ppo-zoo": "PPO with RL Zoo's settings",
}
"""names of arms in tables and figures; the other arms have the names of their folders"""


def label(name: str) -> str:
    """Return the name of an arm in tables and figures.

    :param name: its name in folders
    """
    return LABELS.get(name, f"`{name}`")


@dataclass(frozen=True)
class Arm:
    """An algorithm with settings, to compare with others.

    :param name: name in folders and commands
    :param summary: short description
    :param settings: settings on environments without an entry in ``settings_of``; ``None`` to skip these
    :param settings_of: settings by environment; ``None`` to skip an environment
    """

    name: str
    summary: str
    settings: Settings | None = None
    settings_of: Mapping[str, Settings | None] = field(default_factory=dict)

    def settings_on(self, environment: Environment) -> Settings | None:
        """Return the settings on an environment; ``None`` if the arm does not run there."""
        return self.settings_of.get(environment.name, self.settings)


def tda2c(**arguments: Any) -> Settings:
    """Return the reference settings with some arguments replaced.

    :param arguments: arguments of TDA2C
    """
    return Settings("TDA2C", arguments=arguments)


def power_law_from(rate: float) -> dict[str, dict[str, float]]:
    """Return Robbins–Monro step sizes that start at ``rate``, see :class:`Settings`.

    :param rate: initial learning rate
    """
    b, power = 10_000.0, 0.75
    return {"robbins_monro": {"a": rate * b**power, "b": b, "power": power}}


def study_path(folder: Path, environment: Environment) -> Path:
    """Return the path of a study's result."""
    return folder / f"{environment.name.replace('/', '-')}.json"


def tuned_settings(studies: Path = STUDIES) -> dict[str, Settings]:
    """Read the tuned settings of all environments that have a study.

    :param studies: folder of the studies' results
    :return: settings by environment
    """
    paths = {name: study_path(studies, environment) for name, environment in ENVIRONMENTS.items()}
    return {
        name: Settings(**json.loads(path.read_text())["best"]["settings"][name])
        for name, path in paths.items()
        if path.exists()
    }


def general_setting(environment: Environment) -> Settings:
    """Return the package's general setting for an environment."""
    arguments = arguments_of(tda2c_hyperparams.hyperparams["default"])
    if environment.is_continuous:
        arguments |= tda2c_hyperparams.FOR_CONTINUOUS_ACTIONS
    del arguments["policy"]
    policy_kwargs = arguments["policy_kwargs"]
    policy_kwargs["activation_fn"] = policy_kwargs["activation_fn"].__name__
    return Settings("TDA2C", arguments=arguments)


FIRST_TUNED_A2C = Settings(
    "A2C",
    n_envs=8,
    arguments={
        "learning_rate": "lin_0.00302",
        "gamma": 0.999,
        "n_steps": 8,
        "gae_lambda": 0.211,
        "vf_coef": 0.96,
        "use_rms_prop": True,
        "ent_coef": 0.00325,
        "max_grad_norm": NO_CLIPPING,
        "normalize_advantage": False,
        "policy_kwargs": {"activation_fn": "Tanh", "net_arch": [64, 64], "ortho_init": True},
    },
)
"""what the first study of A2C on FrozenLake chose; its trials were not kept"""
ARMS = {
    arm.name: arm
    for arm in (
        Arm("random", "uniformly random actions", Settings("random")),
        Arm(
            "tda2c-general",
            "TDA2C with the general setting, also where `recommended(env)` returns tuned settings",
            settings_of={
                each.name: general_setting(each) for each in (*DEVELOPMENT_ENVIRONMENTS, *HELD_OUT_ENVIRONMENTS)
            },
        ),
        Arm("tda2c", "TDA2C with the reference settings, the package's defaults", tda2c()),
        Arm(
            "tda2c-tuned",
            "TDA2C with settings tuned for each environment on other seeds",
            settings_of=tuned_settings(),
        ),
        Arm(
            "tda2c-tuned-first",
            "TDA2C with the settings of MinAtar's first study, whose runs had 8 or 16 parallel environments",
            settings_of=tuned_settings(STUDIES / "first"),
        ),
        Arm(
            "tda2c-double-softmax",
            "the reference read literally: softmax of the softmax in the actor's loss",
            tda2c(double_softmax=True),
            # only for discrete actions
            settings_of={"Pendulum-v1": None, "Hopper-v5": None},
        ),
        Arm("a2c", "SB3's A2C with its defaults", Settings("A2C")),
        Arm(
            "a2c-tuned",
            "SB3's A2C with settings tuned in the same way as those of `tda2c-tuned`",
            settings_of=tuned_settings(STUDIES / "a2c"),
        ),
        Arm(
            "a2c-tuned-first",
            "SB3's A2C with the settings of FrozenLake's first study, in which A2C rounded normalized observations",
            settings_of={"FrozenLake-v1": FIRST_TUNED_A2C},
        ),
        Arm(
            "a2c-zoo",
            "SB3's A2C with RL Zoo's tuned settings",
            settings_of=A2C_ZOO,
        ),
        Arm(
            "a2c-td0",
            "SB3's A2C as a one-step method: λ = 0, Adam at 1e-3, separate features extractors, no clipping",
            Settings(
                "A2C",
                arguments={
                    "learning_rate": 1e-3,
                    "gae_lambda": 0.0,
                    "ent_coef": 0.0,
                    "vf_coef": 1.0,
                    "use_rms_prop": False,
                    "max_grad_norm": NO_CLIPPING,
                    "policy_kwargs": {"share_features_extractor": False},
                },
            ),
        ),
        Arm("ppo", "SB3's PPO with its defaults", Settings("PPO")),
        Arm(
            "ppo-zoo",
            "SB3's PPO with RL Zoo's tuned settings, for scale",
            settings_of=PPO_ZOO,
        ),
        Arm("tda2c-reward-scale-1", "unscaled rewards instead of a hundredth", tda2c(reward_scale=1.0)),
        Arm(
            "tda2c-fixed-intervals",
            "the end of an episode does not end the rollout",
            tda2c(update_on_episode_end=False),
        ),
        Arm(
            "tda2c-truncation",
            "bootstrapping from V(s') if a time limit truncates the episode",
            tda2c(bootstrap_on_truncation=True),
        ),
        Arm("tda2c-tanh", "tanh instead of ReLU", tda2c(policy_kwargs={"activation_fn": "Tanh"})),
        Arm("tda2c-n-steps-1", "rollouts of 1 step instead of 5", tda2c(n_steps=1)),
        Arm("tda2c-n-steps-20", "rollouts of 20 steps instead of 5", tda2c(n_steps=20)),
        Arm("tda2c-n-steps-64", "rollouts of 64 steps instead of 5", tda2c(n_steps=64)),
        Arm(
            "tda2c-shared-rate", "the actor's learning rate, 5e-4, for the critic too", tda2c(critic_learning_rate=5e-4)
        ),
        Arm(
            "tda2c-torch-adam",
            "PyTorch's Adam with SB3's settings instead of Keras's Adam",
            tda2c(policy_kwargs={"optimizer_class": "Adam"}),
        ),
        Arm(
            "tda2c-robbins-monro",
            "both learning rates decay as (10,000 + t)^-0.75 from the reference's",
            tda2c(learning_rate=power_law_from(5e-4), critic_learning_rate=power_law_from(1e-3)),
        ),
    )
}

_SMALL_TANH = {"net_arch": [64], "activation_fn": "Tanh"}


def _partially_observed_settings(
    algorithm: str, cartpole_policy: dict[str, Any], maze_policy: dict[str, Any]
) -> dict[str, Settings]:
    """Return RecurrentTDA2C's settings for an algorithm, with its own ``policy_kwargs``, by environment."""
    policy_kwargs = {
        "sb3_a2c_td/CartPoleWithoutVelocities-v0": cartpole_policy,
        "sb3_a2c_td/TMaze-v0": maze_policy,
    }
    settings = {}
    for environment, layers in policy_kwargs.items():
        shipped = recurrent_hyperparams.hyperparams[environment]
        arguments = {name: value for name, value in shipped.items() if name not in (*NOT_ARGUMENTS, "policy")}
        arguments["policy_kwargs"] = layers
        settings[environment] = Settings(algorithm, shipped["n_envs"], shipped.get("normalize"), arguments)
    return settings


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
            "RecurrentTDA2C with settings found by hand on other seeds",
            settings_of=_partially_observed_settings(
                "RecurrentTDA2C",
                {"lstm_hidden_size": 64, **_SMALL_TANH},
                {"lstm_hidden_size": 32, "net_arch": [], "activation_fn": "Tanh"},
            ),
        ),
        Arm(
            "tda2c-feed-forward",
            "TDA2C with the same settings, and two hidden layers instead of an LSTM and a layer",
            settings_of=_partially_observed_settings(
                "TDA2C",
                {"net_arch": [64, 64], "activation_fn": "Tanh"},
                {"net_arch": [32, 32], "activation_fn": "Tanh"},
            ),
        ),
        Arm(
            "recurrent-ppo",
            "sb3-contrib's RecurrentPPO with RL Zoo's settings for CartPole without velocities",
            RECURRENT_PPO,
        ),
        Arm(
            "tda2c-maskable",
            "MaskableTDA2C with gamma 0, since only an action's own reward matters there",
            Settings("MaskableTDA2C", 8, None, {**MASKED, "critic_learning_rate": 3e-3, "reward_scale": 1.0}),
        ),
        Arm(
            "maskable-ppo-as-a2c",
            "MaskablePPO with the same settings as A2C: one epoch of one batch of 5 steps, no clipping",
            Settings(
                "MaskablePPO",
                8,
                None,
                {
                    **MASKED,
                    "n_steps": 5,
                    "batch_size": 40,
                    "n_epochs": 1,
                    "vf_coef": 1.0,
                    "max_grad_norm": NO_CLIPPING,
                },
            ),
        ),
        Arm(
            "maskable-ppo",
            "MaskablePPO with its defaults except for gamma 0 and 512 transitions per update instead of 2,048 per "
            "environment",
            Settings("MaskablePPO", 8, None, {"gamma": 0.0, "n_steps": 64}),
        ),
    )
}
"""arms of the suites for masked and recurrent algorithms"""


def matched_to(tuned: Settings, n_steps: int, gae_lambda: float) -> Settings:
    """Return settings of A2C that differ from tuned ones of TDA2C in rollouts and returns only, as far as A2C can.

    A2C has one learning rate: the geometric mean of the two. It has no reward scale: the entropy coefficient is divided
    by it instead, which leaves the direction of the actor's gradient unchanged, and Adam ignores its length. But the
    values that A2C's critic learns are as many times larger.

    :param tuned: settings of TDA2C
    :param n_steps: length of a rollout
    :param gae_lambda: weight of the n-step returns: 0 for one-step, 1 for the longest ones
    """
    ours = tuned.arguments
    actor, critic = (str(ours[name]) for name in ("learning_rate", "critic_learning_rate"))
    rate = math.sqrt(_number(actor) * _number(critic))
    ent_coef = ours["ent_coef"] if ours["normalize_advantage"] else ours["ent_coef"] / ours["reward_scale"]
    arguments = {
        "learning_rate": rate_setting(rate, decays=actor.startswith(LINEAR_PREFIX)),
        "n_steps": n_steps,
        "gamma": ours["gamma"],
        "gae_lambda": gae_lambda,
        "ent_coef": rounded(ent_coef),
        "max_grad_norm": NO_CLIPPING if ours["max_grad_norm"] is None else ours["max_grad_norm"],
        "normalize_advantage": ours["normalize_advantage"],
        "use_rms_prop": False,
        "use_sde": ours.get("use_sde", False),
        # as in TDA2C, the actor and the critic share nothing
        "policy_kwargs": {**ours["policy_kwargs"], "share_features_extractor": False},
    }
    return Settings("A2C", tuned.n_envs, tuned.normalize, arguments)


def _number(rate: str) -> float:
    return float(rate.removeprefix(LINEAR_PREFIX))


def matched_name(n_steps: int, gae_lambda: float) -> str:
    """Return the name of an arm of A2C with the settings of ``tda2c-tuned`` and different returns.

    :param n_steps: length of a rollout, one of :data:`MATCHED_N_STEPS`
    :param gae_lambda: 0, 0.95 or 1
    """
    return f"a2c-matched-{n_steps}-{gae_lambda:g}"


def _matched_arm(name: str, summary: str, n_steps: int, gae_lambda: float) -> Arm:
    tuned = tuned_settings()
    return Arm(name, summary, settings_of={on: matched_to(tuned[on], n_steps, gae_lambda) for on in tuned})


MATCHED_N_STEPS = (2, 8, 32)
MATCHED_ARMS = {
    arm.name: arm
    for arm in (
        _matched_arm(
            "a2c-matched",
            "SB3's A2C with the settings of tda2c-tuned, and its own returns: n = 5, λ = 1",
            n_steps=5,
            gae_lambda=1.0,
        ),
        *(
            _matched_arm(
                matched_name(n_steps, gae_lambda),
                f"SB3's A2C with the settings of tda2c-tuned, and returns with n = {n_steps}, λ = {gae_lambda:g}",
                n_steps,
                gae_lambda,
            )
            for n_steps in MATCHED_N_STEPS
            for gae_lambda in (0.0, 0.95, 1.0)
        ),
    )
}
"""A2C with the settings of ``tda2c-tuned`` and different returns"""


def varied(settings: Settings, argument: str, factor: float) -> Settings:
    """Multiply a rate, or the length of a rollout, by a factor.

    :param settings: settings of TDA2C
    :param argument: name of the argument
    :param factor: the factor
    """
    value = settings.arguments[argument]
    if isinstance(value, str):
        changed: Any = rate_setting(_number(value) * factor, decays=True)
    else:
        changed = type(value)(rounded(value * factor))
    return replace(settings, arguments={**settings.arguments, argument: changed})


VARIED_ARMS = {
    name: Arm(
        name,
        f"the general setting with `{argument}` times {factor:g}",
        settings_of={each.name: varied(general_setting(each), argument, factor) for each in DEVELOPMENT_ENVIRONMENTS},
    )
    for argument, factors in (
        ("learning_rate", (0.25, 0.5, 2.0, 4.0)),
        ("critic_learning_rate", (0.25, 0.5, 2.0, 4.0)),
        ("n_steps", (0.5, 2.0, 4.0, 8.0)),
    )
    for factor in factors
    for name in [f"{argument}-x{factor:g}"]
}
"""the general setting with one number changed"""


def _with_part(name: str, summary: str, change: Callable[[Environment], dict[str, Any] | None]) -> Arm:
    """Return an arm with the general setting but for one part.

    :param name: name of the arm
    :param summary: the new part
    :param change: returns the new arguments on an environment, or ``None`` if it lacks the part
    """

    def settings_on(environment: Environment) -> Settings | None:
        general = general_setting(environment)
        changes = change(environment)
        if changes is None:
            return None
        policy_kwargs = general.arguments["policy_kwargs"] | changes.get("policy_kwargs", {})
        return replace(general, arguments={**general.arguments, **changes, "policy_kwargs": policy_kwargs})

    return Arm(
        name,
        f"the general setting with {summary}",
        settings_of={each.name: settings_on(each) for each in DEVELOPMENT_ENVIRONMENTS},
    )


def _to(**changes: Any) -> Callable[[Environment], dict[str, Any]]:
    return lambda _: changes


def _for_continuous_actions(**changes: Any) -> Callable[[Environment], dict[str, Any] | None]:
    return lambda environment: changes if environment.is_continuous else None


def _constant_rates(environment: Environment) -> dict[str, float]:
    arguments = general_setting(environment).arguments
    return {name: _number(arguments[name]) for name in ("learning_rate", "critic_learning_rate")}


PART_ARMS = {
    arm.name: arm
    for arm in (
        _with_part("raw-observations", "raw observations", _to(normalize_observations=False)),
        _with_part("raw-rewards", "raw rewards", _to(normalize_rewards=False)),
        _with_part("constant-rates", "learning rates that stay as they begin", _constant_rates),
        _with_part("relu", "ReLU instead of tanh", _to(policy_kwargs={"activation_fn": "ReLU"})),
        _with_part("keras-init", "Keras's initial weights", _to(policy_kwargs={"ortho_init": False})),
        _with_part("normalized-advantages", "normalized advantages", _to(normalize_advantage=True)),
        _with_part("clipped-gradients", "gradients clipped to a norm of 0.5", _to(max_grad_norm=0.5)),
        _with_part(
            "layer-norm",
            "layer normalization before each tanh",
            _to(policy_kwargs={"activation_fn": "LayerNormTanh"}),
        ),
        _with_part(
            "discrete-rate",
            "the actor's learning rate of discrete actions for continuous ones",
            _for_continuous_actions(learning_rate=tda2c_hyperparams.hyperparams["default"]["learning_rate"]),
        ),
        _with_part(
            "std-1",
            "an initial standard deviation of 1",
            _for_continuous_actions(policy_kwargs={"log_std_init": 0.0}),
        ),
        _with_part("gsde", "gSDE, with the same initial `log_std`", _for_continuous_actions(use_sde=True)),
    )
}
"""the general setting with one part changed"""
GENERAL_VARIANTS = VARIED_ARMS | PART_ARMS
