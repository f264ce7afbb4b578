"""Methods of engines that keep PyTorch to one thread for small networks."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sb3_a2c_td.policies.separate import SeparateNetworks
from sb3_a2c_td.policies.threads import n_rows, one_thread_if_small


class HasPolicy(Protocol):
    """An engine."""

    @property
    def policy(self) -> SeparateNetworks: ...  # noqa: D102


EngineT = TypeVar("EngineT", bound=HasPolicy)
Batch = TypeVar("Batch")
P = ParamSpec("P")
Result = TypeVar("Result")


def single_threaded_if_small(
    method: Callable[Concatenate[EngineT, Batch, P], Result],
) -> Callable[Concatenate[EngineT, Batch, P], Result]:
    """Let a method of an engine compute in one thread if the policy and the batch are small.

    :param method: takes observations or a buffer first
    """

    @wraps(method)
    def limited(engine: EngineT, batch: Batch, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        with one_thread_if_small(engine.policy, n_rows(batch)):
            return method(engine, batch, *args, **kwargs)

    return limited
