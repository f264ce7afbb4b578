"""Models with an unfinished rollout, and other rows for it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from sb3_a2c_td import TDA2C
from sb3_a2c_td.rollout.transitions import MaskedTransitions, TransitionBuffer, Transitions
from tests.algorithms.maskable.models import make_masked_env
from tests.algorithms.maskable.models import make_model as make_maskable
from tests.algorithms.recurrent.models import make_cartpoles
from tests.algorithms.recurrent.models import make_model as make_recurrent
from tests.environments import DictCountingEnv, RandomEnv
from tests.saving.models import saved, small

VECTOR = spaces.Box(-1, 1, (2,))


def on(actions: spaces.Space[Any], observations: spaces.Space[Any] = VECTOR) -> TDA2C:
    policy = "MultiInputPolicy" if isinstance(observations, spaces.Dict) else "MlpPolicy"
    return TDA2C(policy, RandomEnv(observations, actions), policy_kwargs={"net_arch": [2]}, device="cpu")


MODELS: dict[str, Callable[[], TDA2C]] = {
    "plain": small,
    "dict": lambda: TDA2C("MultiInputPolicy", DictCountingEnv(7), policy_kwargs={"net_arch": [2]}, device="cpu"),
    "multi-discrete": lambda: on(spaces.MultiDiscrete([2, 3])),
    "multi-binary": lambda: on(spaces.MultiBinary(2), spaces.MultiDiscrete([2, 3])),
    "discrete": lambda: on(spaces.Discrete(2), spaces.Discrete(3)),
    "discrete in a dict": lambda: on(spaces.Discrete(2), spaces.Dict({"a": spaces.MultiBinary(2)})),
    "continuous": lambda: on(spaces.Box(-1, 1, (2,))),
    "maskable": lambda: make_maskable(make_masked_env(spaces.Discrete(3))),
    "recurrent": lambda: make_recurrent(make_cartpoles()),
}


def unfinished(name: str) -> TDA2C:
    model = MODELS[name]().learn(8)
    assert len(model.rollout_buffer) > 0
    return model


def with_rollout(model: TDA2C, rows: Any) -> bytes:
    """Save a model after its rollout was replaced."""
    buffer = TransitionBuffer(len(rows.rewards))
    buffer.add(rows)
    model.rollout_buffer = buffer
    return saved(model)


CHANGES: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "masks of another algorithm": (
        "plain",
        lambda rows: MaskedTransitions(*rows, np.ones((len(rows.rewards), 100), bool)),
        "MaskedTransitions in place of Transitions",
    ),
    "no masks": ("maskable", lambda rows: Transitions(*rows[:6]), "Transitions in place of MaskedTransitions"),
    "wide masks": (
        "maskable",
        lambda rows: rows._replace(action_masks=np.ones((len(rows.rewards), 100), bool)),
        "action_masks",
    ),
    "masks of numbers": (
        "maskable",
        lambda rows: rows._replace(action_masks=rows.action_masks.astype(np.int64)),
        "action_masks",
    ),
    "wide observations": (
        "plain",
        lambda rows: rows._replace(observations=np.ones((len(rows.rewards), 3), np.float32)),
        "observations",
    ),
    "wide next observations": (
        "plain",
        lambda rows: rows._replace(next_observations=np.ones((len(rows.rewards), 3), np.float32)),
        "next_observations",
    ),
    "another key": (
        "dict",
        lambda rows: rows._replace(
            observations={**rows.observations, "other": rows.rewards},
            next_observations={**rows.next_observations, "other": rows.rewards},
        ),
        "observations",
    ),
    "observations that are not finite": (
        "plain",
        lambda rows: rows._replace(observations=rows.observations * np.float32(np.nan)),
        "observations.*not finite",
    ),
    "actions beyond the space": ("plain", lambda rows: rows._replace(actions=rows.actions + 2), "actions"),
    "negative actions": ("plain", lambda rows: rows._replace(actions=rows.actions - 2), "actions"),
    "fractional actions": ("plain", lambda rows: rows._replace(actions=rows.actions + 0.5), "actions"),
    "actions beyond a component": (
        "multi-discrete",
        lambda rows: rows._replace(actions=rows.actions * 0 + 2),
        "actions",
    ),
    "fractional bits": ("multi-binary", lambda rows: rows._replace(actions=rows.actions * 0 + 0.5), "actions"),
    "bits beyond 1": ("multi-binary", lambda rows: rows._replace(actions=rows.actions + 2), "actions"),
    "observations beyond a component": (
        "multi-binary",
        lambda rows: rows._replace(observations=rows.observations * 0 + 2),
        "observations.*MultiDiscrete",
    ),
    "observations beyond the space": (
        "discrete",
        lambda rows: rows._replace(next_observations=rows.next_observations + 3),
        "next_observations",
    ),
    "fractional observations": (
        "discrete",
        lambda rows: rows._replace(observations=rows.observations * 0 + 0.5),
        "observations",
    ),
    "observations beyond a space in a dict": (
        "discrete in a dict",
        lambda rows: rows._replace(observations={"a": rows.observations["a"] + 2}),
        "observations",
    ),
    "a negative environment": ("recurrent", lambda rows: rows._replace(env=rows.env - 5), "env"),
    "an environment that does not exist": ("recurrent", lambda rows: rows._replace(env=rows.env + 10**15), "env"),
    "wide actions": (
        "continuous",
        lambda rows: rows._replace(actions=np.zeros((len(rows.rewards), 3), np.float32)),
        "actions",
    ),
    "rewards with an axis": ("plain", lambda rows: rows._replace(rewards=rows.rewards[:, None]), "rewards"),
    "rewards that are not finite": (
        "plain",
        lambda rows: rows._replace(rewards=rows.rewards * np.float32(np.inf)),
        "rewards.*not finite",
    ),
    "ends of numbers": ("plain", lambda rows: rows._replace(terminated=rows.rewards), "terminated"),
    "wide hidden states": (
        "recurrent",
        lambda rows: rows._replace(lstm_states=np.zeros((len(rows.rewards), 4, 1000), np.float32)),
        "lstm_states",
    ),
}
"""other rows by what is wrong with them: the model, the change, and the name in the error"""
