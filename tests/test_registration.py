import warnings

import gymnasium as gym

from sb3_a2c_td import registration
from sb3_a2c_td.compiled import making


def test_second_registration_changes_nothing() -> None:
    env_ids = [*registration.TABULAR, *registration.PARTIALLY_OBSERVED, *registration.COMPILED]
    specs = [gym.spec(env_id) for env_id in env_ids]
    registration.register()
    assert all(gym.spec(env_id) is spec for env_id, spec in zip(env_ids, specs, strict=True))


def test_compiled_environments_end_after_their_own_steps() -> None:
    assert registration.COMPILED.keys() == making.ENVS.keys()
    for env_id, (steps, _) in registration.COMPILED.items():
        assert making.ENVS[env_id].max_episode_steps == steps


def test_minatar_is_registered_once() -> None:
    registration.register_for("MinAtar/Breakout-v1")
    with warnings.catch_warnings(action="error"):
        registration.register_for("MinAtar/Breakout-v1")
    assert "MinAtar/Breakout-v1" in gym.registry
