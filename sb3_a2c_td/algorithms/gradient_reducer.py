"""Collective operations of the ranks that train one policy: they average gradients and exchange objects."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch as th
import torch.distributed as dist

# its functions have the current process group as a default argument: PyTorch would import it with the first optimizer,
# and keep the group, whose threads can abort the process at its exit if they outlive the group's destruction
import torch.distributed.nn.functional

from sb3_a2c_td.rollout.observations import ArrayT

T = TypeVar("T")


@dataclass
class Flags:
    """What a rank reports to the others together with its gradients."""

    stop: bool = False
    """a callback asked to stop training"""
    saved: bool = False
    """the model was saved"""


class ProcessGroupReducer:
    """Averages gradients over the default process group of ``torch.distributed``.

    It is a :class:`~sb3_a2c_td.engines.interface.GradientReducer`.
    """

    flags: Flags
    """reported by this rank in the next update"""
    flags_of_any: Flags
    """reported by at least one rank in the last update"""

    def __init__(self) -> None:
        self.rank: int = dist.get_rank()
        self.n_ranks: int = dist.get_world_size()
        self.flags = Flags()
        self.flags_of_any = Flags()

    def reduce(self, parameters: Iterable[th.Tensor], metrics: th.Tensor, n_rows: int) -> None:
        """Replace gradients and metrics by their means over all ranks, weighted by rows, in place.

        One all-reduce sums gradients, metrics, the number of rows and the flags. A parameter without a gradient on
        this rank counts as zero; without one on every rank, its gradient stays ``None``.

        :param parameters: the policy's parameters; frozen ones are skipped
        :param metrics: ``(n_metrics,)``, means over this rank's rows
        :param n_rows: the number of transitions in this rank's batch
        :raises RuntimeError: if a rank has ended
        """
        trained = [param for param in parameters if param.requires_grad]
        gradients = [th.zeros_like(param) if param.grad is None else param.grad for param in trained]
        have_gradient = metrics.new_tensor([param.grad is not None for param in trained])
        counts = metrics.new_tensor([n_rows, self.flags.stop, self.flags.saved])

        means = [*gradients, metrics]
        tensors = [n_rows * mean for mean in means] + [counts, have_gradient]
        flat = flatten(tensors)
        all_reduce(flat)

        sums = unflatten(flat, tensors)
        n_with_gradient = sums.pop().tolist()
        n_rows_of_all, n_stop, n_saved = sums.pop().tolist()
        for mean, total in zip(means, sums, strict=True):
            mean.copy_(total / n_rows_of_all)
        for param, gradient, n in zip(trained, gradients, n_with_gradient, strict=True):
            param.grad = gradient if n > 0 else None
        self.flags = Flags()
        self.flags_of_any = Flags(stop=n_stop > 0, saved=n_saved > 0)

    def normalize(self, advantages: ArrayT) -> ArrayT:
        """Normalize advantages by the mean and the standard deviation over all ranks.

        See :func:`~sb3_a2c_td.losses.normalized`. It takes an all-reduce of three numbers.

        :param advantages: this rank's, ``(N,)``
        :return: ``(N,)``
        :raises RuntimeError: if a rank has ended
        """
        rows = th.as_tensor(advantages).double()
        sums = th.stack([th.ones_like(rows), rows, rows**2]).sum(dim=1)
        all_reduce(sums)
        n, total, total_of_squares = sums.tolist()
        if n == 1:
            return advantages
        variance = max(total_of_squares - total**2 / n, 0.0) / (n - 1)
        normalized: ArrayT = (advantages - total / n) / (variance**0.5 + 1e-8)
        return normalized

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in their order.

        :param value: this rank's; it can be pickled
        :raises RuntimeError: if a rank has ended
        """
        values: list[Any] = [None] * self.n_ranks
        with explain_lost_ranks():
            dist.all_gather_object(values, value)
        return values

    def check_same(self, values: dict[str, Any]) -> None:
        """Check that this rank's values are those of rank 0.

        :param values: this rank's, by their names
        :raises ValueError: on all ranks, if one has other values than rank 0
        :raises RuntimeError: if a rank has ended
        """
        values_of_ranks = self.gather(values)
        expected = values_of_ranks[0]
        for rank, found in enumerate(values_of_ranks):
            for name in expected | found:
                if found.get(name) != expected.get(name):
                    raise ValueError(
                        f"rank {rank} has {name}={found.get(name)}, but rank 0 has {name}={expected.get(name)}: "
                        "they must match"
                    )


def flatten(tensors: Sequence[th.Tensor]) -> th.Tensor:
    """Concatenate tensors to one vector."""
    return th.cat([tensor.flatten() for tensor in tensors])


def unflatten(flat: th.Tensor, like: Sequence[th.Tensor]) -> list[th.Tensor]:
    """Split a vector into tensors; the inverse of :func:`flatten`.

    :param flat: the vector
    :param like: tensors of the wanted shapes
    :return: views of the vector
    """
    parts = flat.split([tensor.numel() for tensor in like])
    return [part.view(tensor.shape) for part, tensor in zip(parts, like, strict=True)]


def all_reduce(tensor: th.Tensor) -> None:
    """Sum a tensor over all ranks, in place.

    :raises RuntimeError: if a rank has ended
    """
    with explain_lost_ranks():
        dist.all_reduce(tensor)


@contextmanager
def explain_lost_ranks() -> Iterator[None]:
    """Explain the errors that collective operations raise when a rank has ended."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(
            f"a collective operation failed, probably because another rank ended: {error}. Restart all ranks; "
            "DistributedTDA2C.continue_from loads the last saved model."
        ) from error
