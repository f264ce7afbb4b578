"""Worker processes of vector environments: their exit codes, and how to shut them down."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import cast

from gymnasium.vector import AsyncVectorEnv
from gymnasium.vector.async_vector_env import AsyncState
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv

from sb3_a2c_td.vec_env.gymnasium_vec_env import GymnasiumVecEnv

CLOSE_TIMEOUT = 2.0
"""seconds that workers have to close their environments before they are terminated"""
SIGNAL_NAMES = {each.value: each.name for each in signal.Signals}
"""by number, without real-time signals, which have no names"""


class Workers:
    """The worker processes of a ``SubprocVecEnv`` or an ``AsyncVectorEnv``.

    :param env: the vector environment
    """

    def __init__(self, env: SubprocVecEnv | AsyncVectorEnv) -> None:
        self.env = env

    @property
    def _processes(self) -> Sequence[BaseProcess]:
        return self.env.processes

    @property
    def _pipes(self) -> list[Connection]:
        pipes = self.env.remotes if isinstance(self.env, SubprocVecEnv) else self.env.parent_pipes
        return [pipe for pipe in pipes if pipe is not None and not pipe.closed]

    def exit_codes(self, timeout: float = 0.0) -> dict[int, int]:
        """Return the exit codes of ended workers by the index of their environment.

        :param timeout: seconds to wait for a worker to end
        """
        codes = {}
        ready = wait([process.sentinel for process in self._processes], timeout)
        for index, process in enumerate(self._processes):
            if process.sentinel in ready:
                # the exit code comes a little later
                process.join(CLOSE_TIMEOUT)
                codes[index] = cast(int, process.exitcode)
        return codes

    def is_unusable(self, frames: Sequence[FrameType]) -> bool:
        """Check whether a worker ended, or may still send a reply that would be taken for the next one.

        :param frames: the frames that an exception went through
        """
        env = self.env
        running = {frame.f_code.co_name for frame in frames if frame.f_locals.get("self") is env}
        if isinstance(env, SubprocVecEnv):
            # its own flag covers steps only
            is_waiting = env.waiting or bool(running - {"step", "step_wait"})
        else:
            is_waiting = env._state != AsyncState.DEFAULT or bool(running)
        return is_waiting or bool(self.exit_codes())

    def shut_down(self) -> None:
        """End all workers, and close the vector environment.

        The workers first get the chance to close their environments; those that do not end in time are terminated.
        """
        pipes = self._pipes
        for pipe in pipes:
            with suppress(OSError):
                pipe.send(("close", None))
        _drain_until_ended(self._processes, pipes)
        for stop in (BaseProcess.terminate, BaseProcess.kill):
            _stop_running(self._processes, stop)
        for pipe in pipes:
            pipe.close()
        # close() of these classes would wait for replies
        if isinstance(self.env, SubprocVecEnv):
            self.env.waiting, self.env.closed = False, True
        else:
            self.env._state = AsyncState.DEFAULT
            self.env.close(terminate=True)

    @contextmanager
    def close_dead_pipes(self) -> Iterator[None]:
        """Close the pipe of each worker that dies within the context, so that nobody waits for its reply forever.

        ``SubprocVecEnv`` makes all pipes before the first worker. Forked workers therefore hold copies of the later
        workers' pipes, which stay open when such a worker dies.
        """
        if not isinstance(self.env, SubprocVecEnv) or not all(map(_is_forked, self._processes)):
            yield
            return
        pipes = {process.sentinel: pipe for process, pipe in zip(self.env.processes, self.env.remotes, strict=True)}
        stop_receiver, stop_sender = Pipe(duplex=False)
        thread = threading.Thread(target=_shut_dead_pipes, args=(pipes, stop_receiver), daemon=True)
        thread.start()
        try:
            yield
        finally:
            # a message, since a process forked meanwhile may hold a copy of this end and keep it open
            stop_sender.send(None)
            thread.join()
            stop_sender.close()
            stop_receiver.close()


def _shut_dead_pipes(pipes: dict[int, Connection], stop: Connection) -> None:
    """Shut the pipe of each worker that dies, until a message arrives.

    :param pipes: by the sentinels of the workers
    :param stop: receives the message
    """
    while stop not in (ready := wait([stop, *pipes])):
        for sentinel in ready:
            pipe = pipes.pop(cast(int, sentinel))
            # it may be closed already
            with suppress(OSError), socket.socket(fileno=os.dup(pipe.fileno())) as connection:
                connection.shutdown(socket.SHUT_RDWR)


def workers_of(env: VecEnv | None) -> Workers | None:
    """Return the workers of an environment in wrappers or not, or ``None`` if it has none."""
    innermost = None if env is None else env.unwrapped
    vector_env = innermost.env.unwrapped if isinstance(innermost, GymnasiumVecEnv) else innermost
    return Workers(vector_env) if isinstance(vector_env, SubprocVecEnv | AsyncVectorEnv) else None


def describe_exit_codes(codes: dict[int, int]) -> str:
    """Describe how workers ended, for an error message.

    :param codes: exit codes by the index of their environment
    """
    environments_by_code: dict[int, list[str]] = {}
    for index, code in codes.items():
        environments_by_code.setdefault(code, []).append(str(index))
    return "; ".join(
        f"environment {', '.join(indices)}: worker {_describe_exit_code(code)}"
        for code, indices in environments_by_code.items()
    )


def _describe_exit_code(code: int) -> str:
    if code == -signal.SIGKILL:
        return "killed by SIGKILL (as systems do when memory runs out)"
    if code < 0:
        return f"killed by {SIGNAL_NAMES.get(-code, f'signal {-code}')}"
    if code > 0:
        return f"ended with exit code {code} (see the exception that it printed above)"
    return "ended with exit code 0"


def _is_forked(process: BaseProcess) -> bool:
    return getattr(process, "_start_method", None) == "fork"


def _stop_running(processes: Sequence[BaseProcess], stop: Callable[[BaseProcess], None]) -> None:
    for process in processes:
        if process.exitcode is None:
            stop(process)
    for process in processes:
        process.join(CLOSE_TIMEOUT)


def _drain_until_ended(processes: Sequence[BaseProcess], pipes: list[Connection]) -> None:
    """Wait until all processes ended, but not longer than the timeout.

    Their pipes are read meanwhile, since a process cannot end before its last message was read.
    """
    open_pipes = list(pipes)
    deadline = time.monotonic() + CLOSE_TIMEOUT
    while True:
        running = [process.sentinel for process in processes if process.exitcode is None]
        time_left = deadline - time.monotonic()
        if not running or time_left <= 0:
            return
        for ready in wait([*open_pipes, *running], time_left):
            if isinstance(ready, Connection) and not _read_bytes(ready):
                open_pipes.remove(ready)


def _read_bytes(pipe: Connection) -> bool:
    """Read some bytes and return whether there were any.

    Not whole messages: an exception may have come in the middle of one.
    """
    try:
        return len(os.read(pipe.fileno(), 2**16)) > 0
    except OSError:
        return False
