"""Checks of policies' arguments, for which PyTorch's own errors name no argument."""

import inspect
from collections.abc import Iterable
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import CombinedExtractor, NatureCNN
from torch import nn

from sb3_a2c_td.arguments import is_integer

MIN_IMAGE_SIZE = 36
"""pixels along each axis that the three convolutions of ``NatureCNN`` need"""


def check_activation(activation_fn: Any) -> None:
    """Check an activation function.

    :param activation_fn: must make a module when it is called without arguments
    :raises ValueError: if it cannot be called so
    """
    if isinstance(activation_fn, nn.Module) or not _is_callable_without_arguments(activation_fn):
        raise ValueError(
            f"activation_fn={activation_fn!r} must be a class such as torch.nn.Tanh, not its name, a module or a "
            "function such as torch.tanh"
        )


def _is_callable_without_arguments(value: Any) -> bool:
    try:
        inspect.signature(value).bind()
    # ValueError: PyTorch's built-in functions have no signature
    except (TypeError, ValueError):
        return False
    return True


def check_methods(policy: type) -> None:
    """Check that a policy replaces no method of SB3's that TDA2C does not call.

    :param policy: the class
    :raises ValueError: if it does
    """
    for name in ("forward", "evaluate_actions", "extract_features"):
        defining = next(each for each in policy.__mro__ if name in vars(each))
        if not defining.__module__.startswith(("stable_baselines3.", "sb3_contrib.")):
            raise ValueError(
                f"{policy.__name__}.{name} would have no effect: TDA2C acts by the policy's get_distribution(), and "
                "learns by it and predict_values(). Put the code there, or into a features extractor, or, for other "
                "actions in training, into sample_actions() of a subclass of TDA2C"
            )


def check_optimizer_kwargs(optimizer_class: Any, optimizer_kwargs: dict[str, Any] | None) -> None:
    """Check the names of an optimizer's arguments.

    :param optimizer_class: makes the optimizer
    :param optimizer_kwargs: its arguments besides the parameters and the learning rate
    :raises ValueError: if it does not take them
    """
    try:
        parameters = inspect.signature(optimizer_class).parameters
    # a built-in function
    except ValueError:
        return
    names = [name for name in parameters if name not in ("params", "lr")]
    unknown = [name for name in optimizer_kwargs or {} if name not in names]
    takes_any = any(parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    if unknown and (not takes_any or unknown[0] in ("params", "lr")):
        raise ValueError(
            f"optimizer_kwargs has {unknown[0]!r}, and {getattr(optimizer_class, '__name__', optimizer_class)} takes "
            f"{', '.join(names)}, with learning_rate and critic_learning_rate of TDA2C. Another optimizer is set by "
            'policy_kwargs={"optimizer_class": torch.optim.Adam}'
        )


def check_net_arch(net_arch: Any) -> None:
    """Check the hidden layers.

    :param net_arch: must be widths, or a dict of widths with keys ``"pi"`` and ``"vf"`` (one may be missing)
    :raises ValueError: if it is something else
    """
    networks = net_arch if isinstance(net_arch, dict) else {"pi": net_arch}
    if not (networks.keys() <= {"pi", "vf"} and all(map(_are_widths, networks.values()))):
        raise ValueError(
            f"net_arch={net_arch!r}: use a list of widths such as [64, 64], or dict(pi=[32, 16], vf=[32, 16, 16]) for "
            "different ones; actor and critic share no layers"
        )


def _are_widths(widths: Any) -> bool:
    return isinstance(widths, list | tuple) and all(is_integer(width, low=1) for width in widths)


def check_image_sizes(
    features_extractor_class: Any, observation_space: spaces.Space[Any], normalize_images: bool
) -> None:
    """Check that images are large enough for SB3's CNN.

    :param features_extractor_class: the features extractor; others than SB3's own are not checked
    :param observation_space: the observation space, with the channels of images first
    :param normalize_images: whether the policy divides images by 255
    :raises ValueError: if an image is too small
    """
    for space in _inputs_of_cnns(features_extractor_class, observation_space):
        # SB3's CNN raises an error for what is no image
        if not is_image_space(space, normalized_image=not normalize_images):
            continue
        _, height, width = space.shape  # type: ignore[misc]
        if min(height, width) < MIN_IMAGE_SIZE:
            raise ValueError(
                f"observation_space={observation_space} has images of {height}x{width} pixels, but NatureCNN needs at "
                f"least {MIN_IMAGE_SIZE}x{MIN_IMAGE_SIZE}: set a smaller features_extractor_class in policy_kwargs, "
                "enlarge them (gymnasium.wrappers.ResizeObservation), or use MlpPolicy"
            )


def _inputs_of_cnns(features_extractor_class: Any, observation_space: spaces.Space[Any]) -> Iterable[spaces.Space[Any]]:
    if features_extractor_class is NatureCNN:
        return [observation_space]
    if features_extractor_class is CombinedExtractor and isinstance(observation_space, spaces.Dict):
        return observation_space.values()
    return []
