"""sb3-contrib's policies for masked actions, with separate actor and critic networks."""

from typing import Any

from sb3_contrib.common.maskable.policies import (
    MaskableActorCriticCnnPolicy,
    MaskableActorCriticPolicy,
    MaskableMultiInputActorCriticPolicy,
)

from sb3_a2c_td.policies.separate import SeparateCnns, SeparateCombinedNetworks, SeparateNetworks


class SeparateMaskablePolicy(SeparateNetworks, MaskableActorCriticPolicy):
    """sb3-contrib's ``MaskableActorCriticPolicy`` with :class:`~sb3_a2c_td.policies.separate.SeparateNetworks`.

    Derive your own policy as ``class MyPolicy(SeparateMaskablePolicy, YourPolicy)``.

    :param args: arguments of :class:`~sb3_a2c_td.policies.separate.SeparateNetworks`
    :param use_sde: must be ``False``
    :param kwargs: further arguments of :class:`~sb3_a2c_td.policies.separate.SeparateNetworks`, and
        ``features_extractor_kwargs``, ``normalize_images`` and ``optimizer_kwargs`` of sb3-contrib's policy
    :raises ValueError: for ``use_sde=True``, and if the actor and the critic share parameters
    """

    def __init__(self, *args: Any, use_sde: bool = False, **kwargs: Any) -> None:
        if use_sde:
            raise ValueError(
                f"use_sde={use_sde}: gSDE explores continuous actions, which cannot be masked; leave the argument out"
            )
        super().__init__(*args, **kwargs)


class MaskableMlpPolicy(SeparateMaskablePolicy):
    """The reference networks, for vector observations."""


class MaskableCnnPolicy(SeparateCnns, SeparateMaskablePolicy, MaskableActorCriticCnnPolicy):
    """For images, see :class:`~sb3_a2c_td.policies.separate.SeparateCnns`."""


class MaskableMultiInputPolicy(SeparateCombinedNetworks, SeparateMaskablePolicy, MaskableMultiInputActorCriticPolicy):
    """For dict observations, see :class:`~sb3_a2c_td.policies.separate.SeparateCombinedNetworks`."""
