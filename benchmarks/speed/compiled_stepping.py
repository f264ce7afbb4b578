"""Steps compiled environments in one compiled loop, without an algorithm."""

from collections.abc import Callable
from functools import partial

import numpy as np

from sb3_a2c_td.compiled import CompiledVecEnv, stepping
from sb3_a2c_td.compiled.functions import load
from sb3_a2c_td.compiled.stepping import step_all
from sb3_a2c_td.engines.kernel_cache import kernel_compiler


def compiled_steps(env: CompiledVecEnv, actions: np.ndarray) -> Callable[[], None]:
    """Compile a loop that steps all environments once for each row of actions, and resets those whose episode ended.

    :param env: the environments, which must have been reset
    :param actions: int64 ``(n_steps, n_envs)``, or float32 ``(n_steps, n_envs, action_width)``
    :return: runs the loop
    """
    n = env.num_envs
    shape = (n, *env.observation_space.shape)  # type: ignore[misc]
    observations, next_observations = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    arguments = (
        env.function_list,
        env.states,
        env.rngs,
        env.n_steps,
        env.max_episode_steps,
        actions,
        next_observations,
        observations,
        np.zeros(n),
        np.zeros(n, bool),
        np.zeros(n, bool),
    )
    load(_step_for_each_row, *arguments)
    return partial(_step_for_each_row, *arguments)


@kernel_compiler(stepping)
def _step_for_each_row(
    function_list,
    states,
    rngs,
    n_steps,
    max_episode_steps,
    actions,
    next_observations,
    observations,
    rewards,
    terminated,
    truncated,
):
    functions = function_list[0]
    for i in range(len(actions)):
        step_all(
            functions,
            states,
            rngs,
            n_steps,
            max_episode_steps,
            actions[i],
            next_observations,
            observations,
            rewards,
            terminated,
            truncated,
        )
