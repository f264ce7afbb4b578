"""What is said, and cleaned up, when training ends by an exception.

An exception keeps its type and gets a note that names the step and, where it can be found out, the environment or the
callback. Where they were is read from the frames that the exception went through, so that steps without one cost
nothing.
"""

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from sb3_a2c_td.faults.interrupts import Interrupts
from sb3_a2c_td.faults.workers import PATIENCE, Workers, describe_exit_codes, workers_of
from sb3_a2c_td.rollout.validation import mismatch

INDEX_NAMES: dict[type, str] = {DummyVecEnv: "env_idx", SyncVectorEnv: "i", AsyncVectorEnv: "index"}
"""the local variable that holds the index of the environment in hand"""
STEPPING = ("step", "reset", "_save_obs")
"""functions that are called for one environment"""
REWARD = spaces.Box(-np.inf, np.inf, ())
WAY_OUT = (
    "The model can be saved; with a new environment, model.set_env(...), learn(..., reset_num_timesteps=False) goes on."
)
LESS_MEMORY = "Smaller n_steps, fewer environments or smaller networks (policy_kwargs) need less memory."


@contextmanager
def annotate_errors(env: VecEnv | None, step: Callable[[], int], interrupts: Interrupts) -> Iterator[None]:
    """Explain exceptions, and end the worker processes of environments that cannot go on.

    :param env: the training environments
    :param step: gives the number of environment steps taken, or begun, so far
    :param interrupts: Ctrl-C waits until the workers are ended
    :raises RuntimeError: if a worker process is lost
    """
    workers = workers_of(env)
    _check_alive(workers)
    with nullcontext() if workers is None else workers.hanging_up():
        try:
            yield
        except BaseException as error:
            with interrupts:
                explanation = _explain(error, workers, step())
            if explanation is not None:
                raise explanation from error
            raise


def _check_alive(workers: Workers | None) -> None:
    if workers is None:
        return
    if workers.env.closed:
        raise RuntimeError(f"{type(workers.env).__name__} is closed. {WAY_OUT}")
    codes = workers.ended()
    if codes:
        workers.end()
        raise _lost(workers, codes, "before training began")


def _explain(error: BaseException, workers: Workers | None, step: int) -> BaseException | None:
    """Add notes, or give the exception to raise in its place."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    pipe_broke = isinstance(error, EOFError | OSError) and _module_of(frames[-1]) == "multiprocessing.connection"
    if workers is not None and workers.cannot_go_on(frames):
        codes = workers.ended(PATIENCE if pipe_broke else 0.0)
        workers.end()
        if pipe_broke and codes:
            return _lost(workers, codes, f"in step {step}")
    # numba's C code calls Python, and is not prepared for Ctrl-C there
    is_interrupt = isinstance(error, SystemError) and isinstance(error.__cause__, KeyboardInterrupt)
    told = KeyboardInterrupt() if is_interrupt else error
    _add_notes(told, frames, step)
    if workers is not None and workers.env.closed:
        told.add_note(_closed(workers))
    return told if is_interrupt else None


def _lost(workers: Workers, codes: dict[int, int], when: str) -> RuntimeError:
    return RuntimeError(
        f"processes of {type(workers.env).__name__} ended {when}: {describe_exit_codes(codes)}. {_closed(workers)}"
    )


def _closed(workers: Workers) -> str:
    return f"{type(workers.env).__name__} cannot go on: all its processes are ended, and it is closed. {WAY_OUT}"


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def _add_notes(error: BaseException, frames: Sequence[FrameType], step: int) -> None:
    places = [text for text in (_callback_in(frames), _environment_in(frames)) if text is not None]
    # messages of this package name the step themselves
    if places or f"step {step}" not in str(error):
        error.add_note(" ".join([f"Raised at step {step}", *places]) + ".")
    if _is_out_of_memory(error):
        error.add_note(f"{LESS_MEMORY} The weights are those of the last update, and the model can be saved.")


def _is_out_of_memory(error: BaseException) -> bool:
    # on the CPU, PyTorch raises a bare RuntimeError
    return isinstance(error, MemoryError | th.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _callback_in(frames: Sequence[FrameType]) -> str | None:
    callbacks = [owner for frame in frames if isinstance(owner := frame.f_locals.get("self"), BaseCallback)]
    return f"in the callback {type(callbacks[-1]).__name__}" if callbacks else None


def _environment_in(frames: Sequence[FrameType]) -> str | None:
    """Name the environment that was in hand, or else the vector environment."""
    vector_envs = [
        (position, owner)
        for position, frame in enumerate(frames)
        if isinstance(owner := frame.f_locals.get("self"), VecEnv | VectorEnv)
    ]
    for position, owner in vector_envs:
        found = _in_hand(owner, frames[position:]) or _misfit(owner, frames[position].f_locals)
        if found is not None:
            return found
    return f"by {type(vector_envs[-1][1]).__name__}" if vector_envs else None


def _in_hand(owner: VecEnv | VectorEnv[Any, Any, Any], frames: Sequence[FrameType]) -> str | None:
    """Name the environment whose turn it was, if what was called for it has failed."""
    index = frames[0].f_locals.get(INDEX_NAMES.get(type(owner), ""))
    if index is None or (len(frames) > 1 and frames[1].f_code.co_name not in STEPPING):
        return None
    return f"by {_environment(owner, index)}"


def _misfit(owner: VecEnv | VectorEnv[Any, Any, Any], found: dict[str, Any]) -> str | None:
    """Name the environment whose observation or reward does not fit those of the others."""
    if isinstance(owner, SubprocVecEnv):
        space, observations, rewards = owner.observation_space, found.get("obs", ()), found.get("rews", ())
    elif isinstance(owner, AsyncVectorEnv):
        space, observations, rewards = owner.single_observation_space, (), found.get("rewards", ())
    elif isinstance(owner, SyncVectorEnv):
        space, observations, rewards = owner.single_observation_space, owner._env_obs, ()
    else:
        return None
    for name, expected, values in (("observation", space, observations), ("reward", REWARD, rewards)):
        for index, value in enumerate(values):
            difference = mismatch(expected, value)
            if difference is not None:
                return f"by {_environment(owner, index)}, whose {name} does not fit: {difference}"
    return None


def _environment(owner: VecEnv | VectorEnv[Any, Any, Any], index: int) -> str:
    envs = getattr(owner, "envs", None)
    if envs is None:
        return f"environment {index} of {type(owner).__name__}"
    env = envs[index].unwrapped
    name = type(env).__name__ if env.spec is None else env.spec.id
    return f"environment {index} ({name}) of {type(owner).__name__}"
