"""sb3-contrib's policies for masked actions, with an actor and a critic that share nothing."""

from typing import Any

from sb3_contrib.common.maskable.policies import (
    MaskableActorCriticCnnPolicy,
    MaskableActorCriticPolicy,
    MaskableMultiInputActorCriticPolicy,
)

from sb3_a2c_td.policies.separate import SeparateCnns, SeparateCombinedNetworks, SeparateNetworks


class SeparateMaskablePolicy(SeparateNetworks, MaskableActorCriticPolicy):
    """sb3-contrib's ``MaskableActorCriticPolicy`` with :class:`~sb3_a2c_td.policies.separate.SeparateNetworks`.

    A policy of your own fits in as ``class Mine(SeparateMaskablePolicy, YourPolicy)``.

    :param args: arguments of :class:`~sb3_a2c_td.policies.separate.SeparateNetworks`
    :param use_sde: must be ``False``
    :param kwargs: the same, and ``features_extractor_kwargs``, ``normalize_images`` and ``optimizer_kwargs``
    :raises ValueError: for gSDE, or parameters that actor and critic share
    """

    def __init__(self, *args: Any, use_sde: bool = False, **kwargs: Any) -> None:
        if use_sde:
            raise ValueError(f"use_sde={use_sde}: gSDE is noise for continuous actions, and these have no masks")
        super().__init__(*args, **kwargs)


class MaskableMlpPolicy(SeparateMaskablePolicy):
    """The seed's networks, for observations that are vectors."""


class MaskableCnnPolicy(SeparateCnns, SeparateMaskablePolicy, MaskableActorCriticCnnPolicy):
    """For images, see :class:`~sb3_a2c_td.policies.separate.SeparateCnns`."""


class MaskableMultiInputPolicy(SeparateCombinedNetworks, SeparateMaskablePolicy, MaskableMultiInputActorCriticPolicy):
    """For dict observations, see :class:`~sb3_a2c_td.policies.separate.SeparateCombinedNetworks`."""
