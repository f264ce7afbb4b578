"""Checks of how Gymnasium's vector environments reset environments whose episode ended."""

from typing import Any

from gymnasium.vector import (
    AsyncVectorEnv,
    AutoresetMode,
    SyncVectorEnv,
    VectorEnv,
    VectorObservationWrapper,
    VectorWrapper,
)

USE_ANOTHER_MODE = (
    'make the environments with gymnasium.make_vec(..., vectorization_mode="sync" or "async"), or with '
    "autoreset_mode=AutoresetMode.SAME_STEP where they offer it"
)
STATELESS_RESETS = (VectorWrapper.reset, VectorObservationWrapper.reset)
"""implementations of ``reset`` that pass the reset mask on, and reset no state of the wrapper"""


def autoreset_mode(env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """Return the autoreset mode of a vector environment.

    :raises ValueError: if its metadata do not tell
    """
    mode = env.metadata.get("autoreset_mode")
    try:
        return AutoresetMode(mode)
    except ValueError as error:
        raise ValueError(
            f"env.metadata['autoreset_mode'] of {env} is {mode!r}, so it is unknown which observation the environment "
            "returns at the end of an episode. Set env.metadata = {**env.metadata, 'autoreset_mode': mode} with the "
            f"mode that it implements, one of {', '.join(map(str, AutoresetMode))}."
        ) from error


def has_autoreset_steps(env: VectorEnv[Any, Any, Any]) -> bool:
    """Check whether a vector environment resets itself in the step after an episode's end.

    Gymnasium's ``SyncVectorEnv`` and ``AsyncVectorEnv`` do not have to.

    :param env: the vector environment
    :raises ValueError: as :func:`autoreset_mode` does
    """
    is_built_in = isinstance(env.unwrapped, SyncVectorEnv | AsyncVectorEnv)
    return autoreset_mode(env) == AutoresetMode.NEXT_STEP and not is_built_in


def check_partial_resets(env: VectorEnv[Any, Any, Any]) -> None:
    """Check that ``reset(options={"reset_mask": ...})`` resets ended environments only, and once only.

    :param env: a vector environment in the mode ``DISABLED`` or ``NEXT_STEP``, in wrappers or not
    :raises ValueError: if it does not
    """
    vector_env: VectorEnv[Any, Any, Any] = env
    while isinstance(vector_env, VectorWrapper):
        if type(vector_env).reset not in STATELESS_RESETS:
            raise ValueError(
                f"{type(vector_env).__name__} overrides reset(), and may reset its state for all environments when "
                "one episode ends: remove it (VecNormalize and the statistics of GymnasiumVecEnv replace Gymnasium's "
                "NormalizeObservation, NormalizeReward and RecordEpisodeStatistics), or use "
                "autoreset_mode=AutoresetMode.SAME_STEP"
            )
        vector_env = vector_env.env
    if autoreset_mode(env) == AutoresetMode.NEXT_STEP and _resets_twice(vector_env):
        raise ValueError(
            "AsyncVectorEnv with shared_memory=False or a custom worker resets an environment again after a partial "
            "reset: use autoreset_mode=AutoresetMode.SAME_STEP"
        )


def _resets_twice(vector_env: VectorEnv[Any, Any, Any]) -> bool:
    # in Gymnasium 1.4, a worker forgets that its episode ended only where it writes to shared memory
    return isinstance(vector_env, AsyncVectorEnv) and (not vector_env.shared_memory or vector_env.worker is not None)
