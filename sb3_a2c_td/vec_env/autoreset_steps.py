"""Dropping autoreset steps, which native vector environments of Gymnasium take after an episode's end.

They are no transitions. To step such environments, enter :func:`dropping_autoreset_steps`, and keep only the rows that
:func:`transition_rows` returns.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecExtractDictObs,
    VecNormalize,
    VecTransposeImage,
    VecVideoRecorder,
    unwrap_vec_normalize,
)

from sb3_a2c_td.vec_env.autoreset_modes import USE_ANOTHER_MODE
from sb3_a2c_td.vec_env.gymnasium_vec_env import GymnasiumVecEnv
from sb3_a2c_td.vec_env.normalization import ModelVecNormalize

ROW_BY_ROW_WRAPPERS = (VecNormalize, VecCheckNan, VecTransposeImage, VecExtractDictObs, VecVideoRecorder)
"""SB3's wrappers that keep nothing of an observation until the next step"""


def find_adapter(env: VecEnv | None) -> GymnasiumVecEnv | None:
    """Return the :class:`GymnasiumVecEnv` below SB3's wrappers, or ``None`` for other environments."""
    while isinstance(env, VecEnvWrapper):
        env = env.venv
    return env if isinstance(env, GymnasiumVecEnv) else None


@contextmanager
def dropping_autoreset_steps(env: VecEnv | None) -> Iterator[None]:
    """Allow stepping environments with autoreset steps. Keep only the rows of :func:`transition_rows` meanwhile.

    :param env: the environments to step; nothing changes if they have no autoreset steps
    :raises ValueError: if a wrapper around them may use autoreset steps
    """
    adapter = find_adapter(env)
    if adapter is None or not adapter.has_autoreset_steps:
        yield
        return
    _check_wrappers(env, adapter)
    before, adapter.autoreset_steps_are_dropped = adapter.autoreset_steps_are_dropped, True
    try:
        yield
    finally:
        adapter.autoreset_steps_are_dropped = before


def transition_rows(env: VecEnv) -> np.ndarray | None:
    """Return the indices of the environments whose last step was a transition.

    :param env: the environments, in wrappers or not
    :return: int ``(N,)``, or ``None`` for all environments
    """
    adapter = find_adapter(env)
    if adapter is None or not np.count_nonzero(adapter.autoreset_rows):
        return None
    return np.flatnonzero(~adapter.autoreset_rows)


def check_distributable(env: VecEnv | None) -> None:
    """Check that several processes can train one model, each on environments like these.

    :param env: the environments of one process
    :raises ValueError: if they have autoreset steps, so that rollouts differ in length between processes, or
        ``VecNormalize`` would normalize by the statistics of one process
    """
    adapter = find_adapter(env)
    if adapter is not None and adapter.has_autoreset_steps:
        raise ValueError(
            f"{adapter.env} has autoreset steps, so rollouts would differ in length between processes: "
            f"{USE_ANOTHER_MODE}."
        )
    if env is not None and unwrap_vec_normalize(env) is not None:
        raise ValueError(
            "VecNormalize would have different statistics in each process: leave out normalize_observations and "
            "normalize_rewards (or VecNormalize), and scale the observations in the environment "
            "(gymnasium.wrappers.TransformObservation), and the rewards by reward_scale."
        )


def _check_wrappers(env: VecEnv | None, adapter: GymnasiumVecEnv) -> None:
    while isinstance(env, VecEnvWrapper):
        if type(env) not in (*ROW_BY_ROW_WRAPPERS, ModelVecNormalize):
            names = ", ".join(wrapper.__name__ for wrapper in ROW_BY_ROW_WRAPPERS)
            raise ValueError(
                f"{type(env).__name__} may count the autoreset steps of {adapter.env}, or combine them with other "
                f"steps: use only {names} around it (it counts episodes without VecMonitor), or {USE_ANOTHER_MODE}."
            )
        if isinstance(env, VecNormalize) and env.training and env.norm_reward:
            raise ValueError(
                f"VecNormalize would include the autoreset steps of {adapter.env} in its statistics of the rewards: "
                "use normalize_rewards=False, or VecNormalize(norm_reward=False), and reward_scale or "
                "gymnasium.wrappers.vector.NormalizeReward."
            )
        env = env.venv
