"""The random numbers of one model's training, apart from all global generators."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch as th


@dataclass(frozen=True)
class RandomStreams:
    """A model's own random generators.

    An environment or a callback that seeds or uses the global generators does not change a training, and a training
    does not change theirs.

    :param actions: draws the noise of actions, the same in every engine
    :param torch: seeds PyTorch's global generators for what PyTorch draws by itself: dropout, and actions of
        distributions that are not SB3's. They belong to all threads: another one that draws meanwhile changes it
    """

    actions: np.random.Generator
    torch: np.random.Generator

    @classmethod
    def from_seed(cls, seed: int | None) -> Self:
        """Start both streams.

        :param seed: the model's seed; ``None``: PyTorch's global generator draws one, as it draws the initial weights
        """
        entropy = int(th.randint(2**62, (), device="cpu")) if seed is None else seed
        # its children, since environments draw from SeedSequence(seed)
        children = np.random.SeedSequence(entropy).spawn(2)
        return cls(*map(np.random.default_rng, children))

    @contextmanager
    def seeding_torch(self, device: th.device) -> Iterator[None]:
        """Let PyTorch draw from the model's stream, and restore its global generators at the end.

        :param device: the policy's device
        """
        seed = int(self.torch.integers(2**62))
        with th.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            # th.manual_seed also seeds all GPUs, which takes a hundred times longer
            th.default_generator.manual_seed(seed)
            if device.type == "cuda":
                th.cuda.manual_seed(seed)
            yield
