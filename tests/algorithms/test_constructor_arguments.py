"""Errors about the names of constructor arguments say what to write instead."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from stable_baselines3 import A2C

from sb3_a2c_td import TDA2C, MaskableTDA2C, RecurrentTDA2C, recommended
from sb3_a2c_td.algorithms.constructor_arguments import REPLACEMENTS
from tests.environments import CountingEnv


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gae_lambda": 1.0}, "no argument gae_lambda=1.0: leave it out, since targets are one-step"),
        ({"vf_coef": 0.5}, "no argument vf_coef=0.5: set critic_learning_rate"),
        ({"use_rms_prop": True}, "no argument use_rms_prop=True: set policy_kwargs=.*RMSpropTFLike"),
        ({"actor_lr": 1e-3}, "no argument actor_lr=0.001: set learning_rate"),
        ({"critic_lr": 1e-3}, "no argument critic_lr=0.001: set critic_learning_rate"),
        ({"update_interval": 5}, "no argument update_interval=5: set n_steps"),
        ({"critic_learnig_rate": 1e-3}, r"no argument critic_learnig_rate=0.001: did you mean critic_learning_rate\?"),
        ({"n_envs": 4}, "no argument n_envs=4: it has policy, env, learning_rate, .*, device$"),
    ],
)
def test_an_unknown_argument_is_named_with_its_replacement(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^TDA2C has {message}"):
        TDA2C("MlpPolicy", CountingEnv(), device="cpu", **arguments)


def test_every_argument_of_a2c_is_an_argument_or_has_a_replacement() -> None:
    own = inspect.signature(TDA2C).parameters
    missing = inspect.signature(A2C).parameters.keys() - own.keys()
    assert missing <= REPLACEMENTS.keys()
    assert own.keys().isdisjoint(REPLACEMENTS)


@pytest.mark.parametrize("algorithm", [MaskableTDA2C, RecurrentTDA2C])
def test_other_algorithms_name_themselves(algorithm: type[TDA2C]) -> None:
    with pytest.raises(TypeError, match=f"^{algorithm.__name__} has no argument actor_lr=0.001: set learning_rate"):
        algorithm(next(iter(algorithm.policy_aliases)), CountingEnv(), actor_lr=1e-3)


def test_a_subclass_may_add_arguments() -> None:
    class Mine(TDA2C):
        def __init__(self, *args: Any, mine: int, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.mine = mine

    assert Mine("MlpPolicy", CountingEnv(), mine=3, device="cpu").mine == 3
    with pytest.raises(TypeError, match="^Mine has no argument vf_coef=0.5"):
        Mine("MlpPolicy", CountingEnv(), mine=3, vf_coef=0.5)


def test_a_policy_next_to_recommended_settings_is_refused() -> None:
    settings = recommended("CartPole-v1")
    with pytest.raises(TypeError, match=re.escape("write TDA2C(env=env, **recommended(env))")):
        TDA2C("MlpPolicy", CountingEnv(), **settings)
    TDA2C(env=CountingEnv(), device="cpu", **settings)


def test_positional_and_missing_arguments_are_named() -> None:
    with pytest.raises(TypeError, match="^TDA2C: too many positional arguments: pass those after gamma by name"):
        TDA2C("MlpPolicy", CountingEnv(), 7e-4, 5, 0.99, 1.0)
    with pytest.raises(TypeError, match="^TDA2C: missing a required argument: 'env'"):
        TDA2C("MlpPolicy")


def test_the_signature_lists_the_arguments() -> None:
    """RL Zoo, documentation and editors read it."""
    parameters = inspect.signature(TDA2C).parameters
    assert list(parameters)[:5] == ["policy", "env", "learning_rate", "n_steps", "gamma"]
    assert not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    assert inspect.signature(RecurrentTDA2C) == inspect.signature(TDA2C)


def test_load_refuses_arguments_that_have_a_replacement(tmp_path: Path) -> None:
    """SB3 would set an attribute that nothing reads."""
    TDA2C("MlpPolicy", CountingEnv(), device="cpu").save(tmp_path / "model")
    with pytest.raises(TypeError, match="^TDA2C has no argument actor_lr=0.001: set learning_rate"):
        TDA2C.load(tmp_path / "model", actor_lr=1e-3)
    assert TDA2C.load(tmp_path / "model", device="cpu", critic_learning_rate=2e-3).critic_learning_rate == 2e-3
