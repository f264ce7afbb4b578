"""Decodes the attributes of a saved model from the entry ``data``: JSON, with pickles in base64."""

import base64
import pickle
from typing import Any

from stable_baselines3.common.save_util import json_to_data

from sb3_a2c_td.saving.errors import NotAllowedError, UnreadableCheckpointError, UntrustedCheckpointError
from sb3_a2c_td.saving.saved_attributes import check_is_saved, check_type
from sb3_a2c_td.saving.unpickling import Budget, loads
from sb3_a2c_td.saving.zip_entries import DATA

ENV = "env"
"""an attribute that no model saves; SB3 would create the environment with that name, and import the module in it"""

SERIALIZED = ":serialized:"
"""the key under which SB3 stores the pickle of an attribute"""


def decode_attributes(attributes: dict[str, Any], custom_objects: dict[str, Any], algorithm: type) -> dict[str, Any]:
    """Unpickle the attributes that are pickled.

    :param attributes: the attributes from the entry ``data``
    :param custom_objects: values of attributes that are not unpickled
    :param algorithm: the class of the model
    :return: the attributes
    :raises UntrustedCheckpointError: if some ask for anything that could run code; the message names all of them
    :raises UnreadableCheckpointError: if one is damaged
    """
    decoded: dict[str, Any] = {}
    refused: dict[str, str] = {}
    budget = attributes_budget(attributes)
    for key, value in attributes.items():
        if key in custom_objects:
            decoded[key] = custom_objects[key]
            continue
        try:
            decoded[key] = decode_attribute(key, value, algorithm, budget)
            check_is_saved(key, algorithm)
            check_type(key, decoded[key])
        except NotAllowedError as error:
            refused[key] = str(error)
    if refused:
        raise _untrusted(refused)
    return decoded


def _untrusted(refused: dict[str, str]) -> UntrustedCheckpointError:
    listed = ", ".join(f"{key} holds {_explained(asked_for)}" for key, asked_for in refused.items())
    places = ", ".join(f"{key!r}: ..." for key in refused)
    return UntrustedCheckpointError(
        f"it asks for more than models of TDA2C need, and loading it could run code: {listed}. Replace these "
        f"attributes with custom_objects={{{places}}}, or, if you made the file yourself, load it with trusted=True"
    )


def _explained(asked_for: str) -> str:
    is_code = asked_for.startswith("cloudpickle.")
    return f"the code of a function or class ({asked_for})" if is_code else asked_for


def attributes_budget(attributes: dict[str, Any]) -> Budget:
    """Return the budget of all pickles in the entry ``data``.

    :param attributes: the attributes from that entry
    """
    pickles = (value.get(SERIALIZED) for value in attributes.values() if isinstance(value, dict))
    return Budget(sum(len(pickled) for pickled in pickles if isinstance(pickled, str)))


def decode_attribute(key: str, value: Any, algorithm: type, budget: Budget) -> Any:
    """Unpickle an attribute, if it is pickled.

    :param key: its name
    :param value: its value in the entry ``data``
    :param algorithm: the class of the model, whose methods no attribute may replace
    :param budget: the budget of all attributes
    :raises NotAllowedError: if it asks for anything that could run code; the message names it
    :raises UnreadableCheckpointError: if it is damaged
    """
    if key == ENV:
        raise NotAllowedError("the name of an environment to create")
    if callable(getattr(algorithm, key, None)):
        raise NotAllowedError("a replacement of a method")
    if not isinstance(value, dict) or SERIALIZED not in value:
        return value
    try:
        return loads(base64.b64decode(value[SERIALIZED], validate=True), budget)
    except UnreadableCheckpointError as error:
        raise UnreadableCheckpointError(f"its attribute {key!r} is {error}") from error.__cause__
    except (TypeError, ValueError) as error:
        raise UnreadableCheckpointError(f"its attribute {key!r} is damaged ({error})") from error


def decode_trusted_attributes(content: bytes, custom_objects: dict[str, Any]) -> dict[str, Any]:
    """Unpickle all attributes as SB3 does, which can run code.

    :param content: the entry ``data``
    :param custom_objects: values of attributes that are not unpickled
    :return: the attributes
    :raises UnreadableCheckpointError: if one is damaged
    """
    try:
        attributes: dict[str, Any] = json_to_data(content.decode(), custom_objects)
    except (pickle.UnpicklingError, EOFError, ValueError) as error:
        raise UnreadableCheckpointError(f"its entry {DATA!r} is damaged ({error})") from error
    return attributes
