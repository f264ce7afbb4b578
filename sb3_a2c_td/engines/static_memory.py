"""Arrays on a GPU at addresses that stay, filled from the CPU by one copy."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch as th

Layout = Mapping[str, tuple[tuple[int, ...], npt.DTypeLike]]
"""shape and dtype of each array"""

ALIGNMENT = 64
"""bytes that every array begins at a multiple of"""


class StaticMemory:
    """Holds arrays twice, on the host and on a device, each time in one block.

    :param layout: the arrays
    :param device: the device
    """

    host: dict[str, np.ndarray]
    """to be written to"""
    device: dict[str, th.Tensor]
    """what :meth:`upload` copies it to, of the same shapes and dtypes"""

    def __init__(self, layout: Layout, device: th.device) -> None:
        sizes = {name: int(np.prod(shape)) * np.dtype(dtype).itemsize for name, (shape, dtype) in layout.items()}
        places, end = {}, 0
        for name, size in sizes.items():
            places[name] = slice(end, end + size)
            end += -(-size // ALIGNMENT) * ALIGNMENT
        self._host_block = th.zeros(end, dtype=th.uint8, device="cpu", pin_memory=device.type == "cuda")
        self._device_block = th.zeros(end, dtype=th.uint8, device=device)
        self.host, self.device = {}, {}
        for name, (shape, dtype) in layout.items():
            self.host[name] = self._host_block[places[name]].numpy().view(dtype).reshape(shape)
            torch_dtype = th.from_numpy(np.empty(0, dtype)).dtype
            self.device[name] = self._device_block[places[name]].view(torch_dtype).view(shape)

    def upload(self) -> None:
        """Copy all arrays to the device."""
        self._device_block.copy_(self._host_block, non_blocking=True)
