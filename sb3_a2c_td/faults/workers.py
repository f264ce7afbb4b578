"""The processes in which a vector environment keeps its environments: who ended, and how to end all."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import cast

from gymnasium.vector import AsyncVectorEnv
from gymnasium.vector.async_vector_env import AsyncState
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, VecEnvWrapper

from sb3_a2c_td.vec_env.gymnasium_vec_env import GymnasiumVecEnv

PATIENCE = 2.0
"""seconds that workers get to close their environments, before they are terminated"""


class Workers:
    """The processes of a ``SubprocVecEnv`` or an ``AsyncVectorEnv``.

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

    def ended(self, patience: float = 0.0) -> dict[int, int]:
        """Give the exit codes of those that ended, by the index of their environment.

        :param patience: seconds to wait for one to end
        """
        codes = {}
        ready = wait([process.sentinel for process in self._processes], patience)
        for index, process in enumerate(self._processes):
            if process.sentinel in ready:
                # the exit code comes a little later
                process.join(PATIENCE)
                codes[index] = cast(int, process.exitcode)
        return codes

    def cannot_go_on(self, frames: Sequence[FrameType]) -> bool:
        """Say whether a worker is lost, or may still reply to a command that nobody waits for any more.

        :param frames: those that an exception went through
        """
        env = self.env
        asked = {frame.f_code.co_name for frame in frames if frame.f_locals.get("self") is env}
        if isinstance(env, SubprocVecEnv):
            # it keeps track of steps, and of nothing else
            is_waiting = env.waiting or bool(asked - {"step", "step_wait"})
        else:
            is_waiting = env._state != AsyncState.DEFAULT or bool(asked)
        return is_waiting or bool(self.ended())

    def end(self) -> None:
        """End all: let them close their environments, terminate those that do not, and close the vector environment."""
        pipes = self._pipes
        for pipe in pipes:
            with suppress(OSError):
                pipe.send(("close", None))
        _let_them_end(self._processes, pipes)
        for stop in (BaseProcess.terminate, BaseProcess.kill):
            for process in self._processes:
                if process.exitcode is None:
                    stop(process)
            for process in self._processes:
                process.join(PATIENCE)
        for pipe in pipes:
            pipe.close()
        # their own close() would wait for replies
        if isinstance(self.env, SubprocVecEnv):
            self.env.waiting, self.env.closed = False, True
        else:
            self.env._state = AsyncState.DEFAULT
            self.env.close(terminate=True)

    @contextmanager
    def hanging_up(self) -> Iterator[None]:
        """See that nobody waits for a dead worker for ever, as long as the context lasts.

        ``SubprocVecEnv`` makes all pipes before the first worker. Where workers are forked, each holds the ends of the
        later ones' pipes, which then stay open when such a one dies.
        """
        if not isinstance(self.env, SubprocVecEnv) or not all(map(_is_forked, self._processes)):
            yield
            return
        pipes = {process.sentinel: pipe for process, pipe in zip(self.env.processes, self.env.remotes, strict=True)}
        ends, until = Pipe(duplex=False)
        thread = threading.Thread(target=_hang_up, args=(pipes, ends), daemon=True)
        thread.start()
        try:
            yield
        finally:
            # a process that was forked meanwhile may hold this end too: closing it would not be seen
            until.send(None)
            thread.join()
            until.close()
            ends.close()


def _hang_up(pipes: dict[int, Connection], ends: Connection) -> None:
    """Shut the pipe of each worker that dies, given by its sentinel, until there is something to read in ``ends``."""
    while ends not in (ready := wait([ends, *pipes])):
        for sentinel in ready:
            # one that was closed needs nothing
            with suppress(OSError), socket.socket(fileno=os.dup(pipes.pop(cast(int, sentinel)).fileno())) as end:
                end.shutdown(socket.SHUT_RDWR)


def workers_of(env: VecEnv | None) -> Workers | None:
    """Find the workers of an environment in wrappers or not; ``None`` if it has none."""
    while isinstance(env, VecEnvWrapper):
        env = env.venv
    innermost = env.env.unwrapped if isinstance(env, GymnasiumVecEnv) else env
    return Workers(innermost) if isinstance(innermost, SubprocVecEnv | AsyncVectorEnv) else None


def describe_exit_codes(codes: dict[int, int]) -> str:
    """Put into words how workers ended.

    :param codes: exit codes, by the index of their environment
    """
    by_code: dict[int, list[str]] = {}
    for index, code in codes.items():
        by_code.setdefault(code, []).append(str(index))
    return "; ".join(f"environment {', '.join(indices)}: worker {_fate(code)}" for code, indices in by_code.items())


def _fate(code: int) -> str:
    if code < 0:
        # real-time signals have no name
        name = {each.value: each.name for each in signal.Signals}.get(-code, f"signal {-code}")
        return f"killed by {name}" + " (as systems do when memory runs out)" * (name == "SIGKILL")
    return f"ended with exit code {code}" + " (an exception in it is printed above)" * (code > 0)


def _is_forked(process: BaseProcess) -> bool:
    return getattr(process, "_start_method", None) == "fork"


def _let_them_end(processes: Sequence[BaseProcess], pipes: list[Connection]) -> None:
    """Wait until all have ended, but not for ever, and read what they still have to say, so that they can."""
    unread = list(pipes)
    deadline = time.monotonic() + PATIENCE
    while (running := [process.sentinel for process in processes if process.exitcode is None]) and (
        left := deadline - time.monotonic()
    ) > 0:
        for ready in wait([*unread, *running], left):
            if isinstance(ready, Connection) and not _read(ready):
                unread.remove(ready)


def _read(pipe: Connection) -> bool:
    """Read some bytes, whatever message they are from, since an exception may have come in its middle; say if any."""
    try:
        return len(os.read(pipe.fileno(), 2**16)) > 0
    except OSError:
        return False
