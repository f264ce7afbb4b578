"""Notes on exceptions that end training, and the clean-up of worker processes.

An exception keeps its type and gets a note with the step and, if known, the environment or the callback. These are read
from the frames that the exception went through, so that steps without an exception cost nothing.
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
from sb3_a2c_td.faults.workers import CLOSE_TIMEOUT, Workers, describe_exit_codes, workers_of
from sb3_a2c_td.rollout.validation import mismatch

AnyVecEnv = VecEnv | VectorEnv[Any, Any, Any]

INDEX_NAMES: dict[type, str] = {DummyVecEnv: "env_idx", SyncVectorEnv: "i", AsyncVectorEnv: "index"}
"""name of the local variable that holds the index of the environment being stepped"""
STEP_FUNCTIONS = ("step", "reset", "_save_obs")
"""functions that are called for one environment"""
REWARD_SPACE = spaces.Box(-np.inf, np.inf, ())
HOW_TO_CONTINUE = (
    "Save the model, or continue with a new environment: model.set_env(...), then "
    "model.learn(..., reset_num_timesteps=False)."
)
HOW_TO_SAVE_MEMORY = "Smaller n_steps, fewer environments or smaller networks (policy_kwargs) need less memory."

SB3_LOCALS = {
    "obs_tensor": "the last rows of rollout_buffer.observations are those of this step",
    "values": "call model.policy.predict_values(observations)",
    "log_probs": "call model.policy.evaluate_actions(observations, actions)",
    "n_steps": "read rollout_buffer.n_steps",
    "n_rollout_steps": "read model.n_steps",
    "iteration": "count the calls of _on_rollout_start()",
}
"""what to read instead of local variables of A2C that callbacks of TDA2C do not get"""


@contextmanager
def annotate_errors(env: VecEnv | None, step: Callable[[], int], interrupts: Interrupts) -> Iterator[None]:
    """Add notes to exceptions, and shut down worker processes of environments that became unusable.

    :param env: the training environments
    :param step: returns the number of environment steps taken, or begun, so far
    :param interrupts: delay stop signals until the workers are shut down
    :raises RuntimeError: if a worker process ended
    """
    workers = workers_of(env)
    _check_alive(workers)
    with nullcontext() if workers is None else workers.close_dead_pipes():
        try:
            yield
        except BaseException as error:
            with interrupts:
                replacement = _annotate(error, workers, step())
            if replacement is not None:
                raise replacement from error
            raise


def _check_alive(workers: Workers | None) -> None:
    if workers is None:
        return
    if workers.env.closed:
        raise RuntimeError(f"{type(workers.env).__name__} is closed. {HOW_TO_CONTINUE}")
    codes = workers.exit_codes()
    if codes:
        workers.shut_down()
        raise _workers_ended(workers, codes, "before training began")


def _annotate(error: BaseException, workers: Workers | None, step: int) -> BaseException | None:
    """Add notes to an exception, or return the exception to raise instead."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    pipe_broke = isinstance(error, EOFError | OSError) and _module_of(frames[-1]) == "multiprocessing.connection"
    if workers is not None and workers.is_unusable(frames):
        codes = workers.exit_codes(CLOSE_TIMEOUT if pipe_broke else 0.0)
        workers.shut_down()
        if pipe_broke and codes:
            return _workers_ended(workers, codes, f"in step {step}")
    replacement = _hidden_interrupt(error)
    reported = error if replacement is None else replacement
    _add_notes(reported, frames, step)
    if workers is not None and workers.env.closed:
        reported.add_note(_closed(workers))
    return replacement


def _hidden_interrupt(error: BaseException) -> BaseException | None:
    """Return a copy of the exception of a signal's handler that an error hides.

    numba's C code calls Python, and reports an exception there as a SystemError.
    """
    cause = error.__cause__
    if isinstance(error, SystemError) and isinstance(cause, KeyboardInterrupt | SystemExit):
        return type(cause)(*cause.args)
    return None


def _workers_ended(workers: Workers, codes: dict[int, int], when: str) -> RuntimeError:
    return RuntimeError(
        f"Processes of {type(workers.env).__name__} ended {when}: {describe_exit_codes(codes)}. {_closed(workers)}"
    )


def _closed(workers: Workers) -> str:
    return f"{type(workers.env).__name__} is now closed, and all its processes ended. {HOW_TO_CONTINUE}"


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def _add_notes(error: BaseException, frames: Sequence[FrameType], step: int) -> None:
    places = [text for text in (_find_callback(frames), _find_environment(frames)) if text is not None]
    # errors of this package already name the step
    if places or f"step {step}" not in str(error):
        error.add_note(" ".join([f"Raised at step {step}", *places]) + ".")
    hint = _find_replacement(error, frames)
    if hint is not None:
        error.add_note(hint)
    if _is_out_of_memory(error):
        error.add_note(f"{HOW_TO_SAVE_MEMORY} The weights are those of the last update, and the model can be saved.")


def _is_out_of_memory(error: BaseException) -> bool:
    # on the CPU, PyTorch raises a plain RuntimeError
    return isinstance(error, MemoryError | th.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _callbacks(frames: Sequence[FrameType]) -> list[BaseCallback]:
    owners = [frame.f_locals.get("self") for frame in frames]
    return [owner for owner in owners if isinstance(owner, BaseCallback)]


def _find_callback(frames: Sequence[FrameType]) -> str | None:
    callbacks = _callbacks(frames)
    return f"in the callback {type(callbacks[-1]).__name__}" if callbacks else None


def _find_replacement(error: BaseException, frames: Sequence[FrameType]) -> str | None:
    """Return what a callback can read instead of a local variable that only A2C has."""
    if not (isinstance(error, KeyError) and _callbacks(frames)):
        return None
    name = next((name for name in SB3_LOCALS if error.args == (name,)), None)
    return None if name is None else f"Callbacks of TDA2C have no locals[{name!r}]: {SB3_LOCALS[name]}."


def _find_environment(frames: Sequence[FrameType]) -> str | None:
    """Name the single environment that caused the exception, or else the vector environment."""
    innermost = None
    for position, frame in enumerate(frames):
        owner = frame.f_locals.get("self")
        if isinstance(owner, VecEnv | VectorEnv):
            innermost = owner
            found = _stepped_environment(owner, frames[position:]) or _mismatching_environment(owner, frame.f_locals)
            if found is not None:
                return found
    return None if innermost is None else f"by {type(innermost).__name__}"


def _stepped_environment(owner: AnyVecEnv, frames: Sequence[FrameType]) -> str | None:
    """Name the environment that raised while a vector environment stepped or reset it.

    :param owner: the vector environment
    :param frames: its own frame, and those of what it called
    """
    index = frames[0].f_locals.get(INDEX_NAMES.get(type(owner), ""))
    if index is None or (len(frames) > 1 and frames[1].f_code.co_name not in STEP_FUNCTIONS):
        return None
    return f"by {_name_environment(owner, index)}"


def _mismatching_environment(owner: AnyVecEnv, local_variables: dict[str, Any]) -> str | None:
    """Name the environment whose observation or reward does not match its space.

    :param owner: the vector environment
    :param local_variables: those of its method that failed
    """
    if isinstance(owner, SubprocVecEnv):
        space = owner.observation_space
        observations, rewards = local_variables.get("obs", ()), local_variables.get("rews", ())
    elif isinstance(owner, AsyncVectorEnv):
        space, observations, rewards = owner.single_observation_space, (), local_variables.get("rewards", ())
    elif isinstance(owner, SyncVectorEnv):
        space, observations, rewards = owner.single_observation_space, owner._env_obs, ()
    else:
        return None
    for name, expected, values in (("observation", space, observations), ("reward", REWARD_SPACE, rewards)):
        for index, value in enumerate(values):
            difference = mismatch(expected, value)
            if difference is not None:
                return f"by {_name_environment(owner, index)}, whose {name} does not match: {difference}"
    return None


def _name_environment(owner: AnyVecEnv, index: int) -> str:
    envs = getattr(owner, "envs", None)
    if envs is None:
        return f"environment {index} of {type(owner).__name__}"
    env = envs[index].unwrapped
    name = type(env).__name__ if env.spec is None else env.spec.id
    return f"environment {index} ({name}) of {type(owner).__name__}"
