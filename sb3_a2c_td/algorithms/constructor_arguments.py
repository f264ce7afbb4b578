"""Errors about arguments of a constructor that name the right ones."""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec

P = ParamSpec("P")

REPLACEMENTS = {
    "gae_lambda": "leave it out, since targets are one-step, as with gae_lambda=0",
    "vf_coef": "set critic_learning_rate, since the critic has its own learning rate",
    "use_rms_prop": 'set policy_kwargs={"optimizer_class": RMSpropTFLike} for RMSprop, from '
    "stable_baselines3.common.sb2_compat.rmsprop_tf_like; Adam is the default",
    "rms_prop_eps": 'set policy_kwargs={"optimizer_kwargs": {"eps": ...}}',
    "rollout_buffer_class": "leave it out, since the buffer holds one-step transitions",
    "rollout_buffer_kwargs": "leave it out, since the buffer holds one-step transitions",
    "actor_lr": "set learning_rate, the actor's",
    "critic_lr": "set critic_learning_rate",
    "update_interval": "set n_steps",
}
"""what to do instead of passing these arguments of A2C and of the reference"""


def explain_errors(init: Callable[P, None]) -> Callable[P, None]:
    """Decorate a constructor, so that errors about the names of its arguments say what to write instead.

    :param init: the constructor
    :return: the same, with the same signature
    """
    signature = inspect.signature(init)

    @functools.wraps(init)
    def explained(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            algorithm = type(args[0]).__name__
            unknown = [name for name in kwargs if name not in signature.parameters]
            if unknown:
                raise unknown_argument(algorithm, unknown[0], kwargs[unknown[0]], signature.parameters) from None
            raise TypeError(f"{algorithm}: {_describe(str(error), algorithm)}") from None
        init(*args, **kwargs)

    return explained


def unknown_argument(algorithm: str, name: str, value: Any, known: Iterable[str] = ()) -> TypeError:
    """Return the error about an argument that does not exist.

    :param algorithm: the name of the algorithm
    :param name: the name of the argument
    :param value: its value
    :param known: the names of the arguments that exist
    """
    names = [each for each in known if each != "self" and not each.startswith("_")]
    similar = difflib.get_close_matches(name, names, n=1, cutoff=0.8)
    if name in REPLACEMENTS:
        advice = REPLACEMENTS[name]
    elif similar:
        advice = f"did you mean {similar[0]}?"
    else:
        advice = f"it has {', '.join(names)}"
    return TypeError(f"{algorithm} has no argument {name}={value!r}: {advice}")


def _describe(error: str, algorithm: str) -> str:
    if error == "multiple values for argument 'policy'":
        return (
            f"{error}, one of them by position. The settings of recommended() include the policy: write "
            f"{algorithm}(env=env, **recommended(env))"
        )
    if error == "too many positional arguments":
        return f"{error}: pass those after gamma by name"
    return error
