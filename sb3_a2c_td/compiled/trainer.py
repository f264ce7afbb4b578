"""Calls the compiled training loop with the parts of a model."""

import functools
from typing import Any, NamedTuple, cast

import numba
import numpy as np
from gymnasium import spaces
from numba import types
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from sb3_a2c_td.compiled.env import compiled_dtype
from sb3_a2c_td.compiled.functions import in_typed_list, load
from sb3_a2c_td.compiled.running_normalization import CompiledNormalization
from sb3_a2c_td.compiled.training_loop import (
    PROGRESS,
    Environments,
    Episodes,
    Networks,
    Optimizer,
    Progress,
    Rollout,
    Step,
    train,
)
from sb3_a2c_td.compiled.vec_env import CompiledVecEnv
from sb3_a2c_td.engines import LossConfig, Update, numba_kernels
from sb3_a2c_td.engines.mlp_parameters import MlpParameters
from sb3_a2c_td.engines.numba_mlp import as_numbers
from sb3_a2c_td.rollout.transitions import TransitionBuffer, Transitions

ANY_CONFIG = LossConfig(0.0, 1.0, False, False, 0.0, None, False)


class Trained(NamedTuple):
    """What a call of :func:`train_compiled` did."""

    progress: Progress
    step: Step
    """the last step"""
    episodes: Episodes
    """its first ``progress.n_episodes`` rows are filled"""
    observations: np.ndarray
    """what the policy sees after the last step"""
    update: Update
    """the last update, without targets and values; without a meaning if none was taken"""
    error: BaseException | None
    """what an environment raised in the last step"""


def fits(
    env: CompiledVecEnv,
    vec_normalize: VecNormalize | None,
    mlp: MlpParameters,
    buffer: TransitionBuffer,
    rollout_length: int,
) -> bool:
    """Check shapes and dtypes of the arrays, since compiled code checks no index.

    They differ where something was replaced after the training began. Python then steps, and says what is wrong.

    :param env: see :func:`train_compiled`
    :param vec_normalize: see :func:`train_compiled`
    :param mlp: see :func:`train_compiled`
    :param buffer: see :func:`train_compiled`
    :param rollout_length: see :func:`train_compiled`
    """
    n, n_inputs, storage = env.num_envs, int(mlp.actor_widths[0]), buffer.storage
    steps_left = max(rollout_length - buffer.n_steps, 0)
    space = env.compiled_env.action_space
    max_rows = max(len(buffer) + n * steps_left, n * rollout_length)
    if type(storage) is not Transitions or max_rows > buffer.capacity or mlp.actor_widths[-1] != spaces.flatdim(space):
        return False
    of_rows: list[tuple[Any, Any]] = [
        ((n_inputs,), np.float32),
        (space.shape, compiled_dtype(space)),
        ((), np.float32),
        ((n_inputs,), np.float32),
        ((), np.bool_),
        ((), np.bool_),
    ]
    expected: list[tuple[Any, Any, Any]] = [
        (array, (buffer.capacity, *shape), dtype) for array, (shape, dtype) in zip(storage, of_rows, strict=True)
    ]
    expected += [
        (env.states, (n, env.compiled_env.state_size), env.compiled_env.state_dtype),
        (env.n_steps, (n,), np.int64),
        (env.statistics.returns, (n,), np.float64),
    ]
    if vec_normalize is not None:
        expected.append((vec_normalize.returns, (n,), np.float64))
    if vec_normalize is not None and vec_normalize.norm_obs:
        rms = cast(RunningMeanStd, vec_normalize.obs_rms)
        expected += [(rms.mean, (n_inputs,), np.float64), (rms.var, (n_inputs,), np.float64)]
    return len(env.rngs) == n and all(
        isinstance(array, np.ndarray) and array.shape == shape and array.dtype == dtype and array.flags.carray
        for array, shape, dtype in expected
    )


def train_compiled(
    env: CompiledVecEnv,
    vec_normalize: VecNormalize | None,
    mlp: MlpParameters,
    config: LossConfig,
    buffer: TransitionBuffer,
    rollout_length: int,
    ends_with_episode: bool,
    observations: np.ndarray,
    noise: np.ndarray,
    rates: np.ndarray,
    max_updates: int,
) -> Trained:
    """Train in compiled code, as long as the noise lasts, or until a rollout is complete after ``max_updates``.

    Environments, statistics, parameters and buffer are changed as their own methods would change them.

    :param env: the environments; :func:`fits` is true for all these arguments
    :param vec_normalize: the wrapper around them; ``None`` without one
    :param mlp: the networks and their optimizer
    :param config: the settings of the loss
    :param buffer: the rollout so far
    :param rollout_length: steps of each environment in a rollout
    :param ends_with_episode: whether the end of an episode ends the rollout
    :param observations: what the policy sees now, ``(n_envs, n_inputs)`` float32
    :param noise: of the actions, ``(max_steps, n_envs, n_outputs)`` float64
    :param rates: the learning rates of actor and critic in an update after each step, ``(2, max_steps)`` float64
    :param max_updates: how many updates may be taken
    """
    storage = buffer.storage
    assert isinstance(storage, Transitions)
    rollout = Rollout(
        **storage._asdict(),
        action_rows=storage.actions.reshape(buffer.capacity, -1),
        length=rollout_length,
        ends_with_episode=bool(ends_with_episode),
    )
    n_inputs = observations.shape[1]
    step = _new_step(env.num_envs, n_inputs)
    episodes = _new_episodes(len(noise) * env.num_envs)
    observations = np.array(observations, np.float32)
    normalization = _normalization(vec_normalize, env.num_envs, n_inputs)
    networks = Networks(mlp.actor_widths, mlp.critic_widths, len(mlp.actor), mlp.flat, mlp.use_tanh, mlp.continuous)
    record, metrics = np.zeros(1, PROGRESS), np.zeros(len(Update._fields) - 2)
    record["n_rows"], record["n_rollout_steps"] = len(buffer), buffer.n_steps
    arguments = (
        env.function_list,
        _kernel_list(mlp.continuous),
        env.rngs,
        _environments(env),
        networks,
        _optimizer(mlp, rates),
        as_numbers(config),
        normalization,
        rollout,
        observations,
        noise,
        numba_kernels.NO_MASKS,
        max_updates,
        step,
        episodes,
        record,
        metrics,
    )
    _load_once(mlp.continuous, env.states.dtype.str, arguments)
    error: BaseException | None = None
    try:
        train(*arguments)
    except BaseException as raised:
        error = raised
    progress = Progress(*record[0].tolist())
    buffer.set_size(progress.n_rows, progress.n_rollout_steps)
    mlp.count_steps(progress.n_updates)
    if progress.n_steps > 0:
        env.count_steps(progress.n_steps)
        _write_back(normalization, vec_normalize, step)
    nothing = np.empty(0, np.float32)
    return Trained(progress, step, episodes, observations, Update(nothing, nothing, *metrics.tolist()), error)


def _load_once(continuous: bool, state_dtype: str, arguments: tuple[Any, ...]) -> None:
    """Compile the loop for arguments of these types, or load it from disk, without numba's warnings.

    :param continuous: whether actions are continuous
    :param state_dtype: the dtype of the environments' states
    :param arguments: the arguments, whose types follow from these two
    """
    if (continuous, state_dtype) not in _loaded:
        load(train, *arguments)
        _loaded.add((continuous, state_dtype))


_loaded: set[tuple[bool, str]] = set()


def _environments(env: CompiledVecEnv) -> Environments:
    space = env.compiled_env.action_space
    if isinstance(space, spaces.Box):
        low, high = space.low.copy(), space.high.copy()
    else:
        low, high = np.empty(0, np.float32), np.empty(0, np.float32)
    actions = np.zeros((env.num_envs, *cast(tuple[int, ...], space.shape)), compiled_dtype(space))
    return Environments(env.states, env.n_steps, env.max_episode_steps, env.statistics.returns, low, high, actions)


def _optimizer(mlp: MlpParameters, rates: np.ndarray) -> Optimizer:
    betas = [(float(group["betas"][0]), float(group["betas"][1])) for group in mlp.groups]
    eps = [float(group["eps"]) for group in mlp.groups]
    return Optimizer((betas[0], betas[1]), (eps[0], eps[1]), mlp.like_tensorflow, mlp.n_steps, rates)


def _new_step(n: int, n_inputs: int) -> Step:
    observations, next_observations, env_observations = (np.zeros((n, n_inputs), np.float32) for _ in range(3))
    terminated, truncated, ended = (np.zeros(n, bool) for _ in range(3))
    return Step(
        observations=observations,
        next_observations=next_observations,
        env_rewards=np.zeros(n),
        rewards=np.zeros(n, np.float32),
        terminated=terminated,
        truncated=truncated,
        ended=ended,
        env_observations=env_observations,
        lengths=np.zeros(n, np.int64),
    )


def _new_episodes(n: int) -> Episodes:
    return Episodes(np.empty(n), np.empty(n, np.int64), np.empty(n, np.int64))


def _normalization(env: VecNormalize | None, n: int, n_inputs: int) -> CompiledNormalization:
    """Copy the statistics of a wrapper; ``None`` normalizes nothing."""
    of_observations = RunningMeanStd(shape=(n_inputs,))
    if env is not None and env.norm_obs:
        of_observations = cast(RunningMeanStd, env.obs_rms)
    of_returns = RunningMeanStd(shape=()) if env is None else env.ret_rms
    return CompiledNormalization(
        is_wrapped=env is not None,
        updates=env is not None and bool(env.training),
        observations=env is not None and bool(env.norm_obs),
        rewards=env is not None and bool(env.norm_reward),
        observation_mean=np.array(of_observations.mean, np.float64),
        observation_var=np.array(of_observations.var, np.float64),
        observation_count=np.array([of_observations.count], np.float64),
        return_mean=np.array([of_returns.mean], np.float64),
        return_var=np.array([of_returns.var], np.float64),
        return_count=np.array([of_returns.count], np.float64),
        returns=np.zeros(n) if env is None else np.array(env.returns, np.float64),
        gamma=0.0 if env is None else float(env.gamma),
        clip_obs=0.0 if env is None else float(env.clip_obs),
        clip_reward=0.0 if env is None else float(env.clip_reward),
        epsilon=0.0 if env is None else float(env.epsilon),
    )


def _write_back(normalization: CompiledNormalization, env: VecNormalize | None, step: Step) -> None:
    """Replace the statistics of a wrapper, and what its last step returned before it was normalized."""
    if env is None:
        return
    env.returns = normalization.returns
    env.old_obs, env.old_reward = step.env_observations, step.env_rewards.astype(np.float32)
    if not normalization.updates:
        return
    _set(env.ret_rms, normalization.return_mean[0], normalization.return_var[0], normalization.return_count[0])
    if normalization.observations:
        _set(
            cast(RunningMeanStd, env.obs_rms),
            normalization.observation_mean,
            normalization.observation_var,
            normalization.observation_count[0],
        )


def _set(rms: RunningMeanStd, mean: Any, var: Any, count: float) -> None:
    rms.mean, rms.var, rms.count = mean, var, float(count)


@functools.cache
def _kernel_list(continuous: bool) -> Any:
    """Return ``(draw, update)`` in a typed list, and compile them if needed."""
    draw = numba_kernels.draw_gaussian if continuous else numba_kernels.draw_categorical_unmasked
    rows, bools = types.float32[:, ::1], types.boolean[::1]
    adam = types.Tuple((types.UniTuple(types.float64, 2), types.float64, types.float64))
    config = types.Tuple([numba.typeof(value) for value in as_numbers(ANY_CONFIG)])
    widths, actions = types.int64[::1], (types.float32 if continuous else types.int64)[:, ::1]
    arguments: dict[Any, tuple[Any, ...]] = {
        draw: (widths, types.float32[::1], types.boolean, rows, types.float64[:, ::1]),
        numba_kernels.update: (
            *(widths, widths, types.int64, rows, types.boolean, types.boolean),
            *(rows, actions, types.boolean[:, ::1], types.float32[::1], rows, bools, bools),
            *(config, adam, adam),
        ),
    }
    for kernel, signature in arguments.items():
        kernel.compile(signature)
    return in_typed_list(tuple(arguments), [kernel.overloads[key].signature for kernel, key in arguments.items()])
