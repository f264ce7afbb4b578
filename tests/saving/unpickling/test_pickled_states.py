"""States: which objects they may fill, and with which attributes."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule
from torch import nn

from sb3_a2c_td.policies.separate import MlpPolicy
from sb3_a2c_td.saving import UntrustedCheckpointError, restricted_loads
from sb3_a2c_td.schedules import robbins_monro_schedule
from tests.saving.pickles import Reduced, dumps


@pytest.mark.parametrize("thing", [nn.Tanh, MlpPolicy, spaces.Box, np.ndarray, [], {}, np.float32(1), 1, "text"])
def test_states_of_other_objects_are_refused(thing: Any) -> None:
    state = dumps({"__call__": 1})[2:]
    with pytest.raises(UntrustedCheckpointError, match="a state for"):
        restricted_loads(dumps(thing)[:-1] + state[:-1] + pickle.BUILD + pickle.STOP)


def with_attributes(thing: Any, **attributes: Any) -> Reduced:
    return Reduced(type(thing), (), {**vars(thing), **attributes})


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (with_attributes(FloatSchedule(1.0), value_schedule=nn.Tanh), "a FloatSchedule whose value_schedule is a type"),
        (with_attributes(FloatSchedule(1.0), value_schedule=1.0), "a FloatSchedule whose value_schedule is a float"),
        (with_attributes(LinearSchedule(1, 0, 1), start="1"), "a LinearSchedule whose start is a str"),
        (with_attributes(LinearSchedule(1, 0, 1), __class__=nn.Tanh), "a LinearSchedule with other attributes"),
        (with_attributes(ConstantSchedule(1), __call__=nn.Tanh), "a ConstantSchedule with other attributes"),
        (
            with_attributes(robbins_monro_schedule(1.0, 10.0, 0.6), steps=LinearSchedule(1, 0, 1)),
            "a RobbinsMonroSchedule whose steps is a LinearSchedule",
        ),
        (with_attributes(spaces.Discrete(2), sample=nn.Tanh), "a Discrete with other attributes"),
        (with_attributes(spaces.Discrete(2), n="2"), "a Discrete whose n is a str"),
        (with_attributes(spaces.Discrete(2), _shape=(10**10,)), "a Discrete whose parts do not match"),
        (
            with_attributes(spaces.Discrete(2), _np_random=spaces.Discrete(2)),
            "a Discrete whose _np_random is a Discrete",
        ),
        (with_attributes(spaces.Box(0, 1), _shape=(10**10,)), "a Box whose parts do not match"),
        (with_attributes(spaces.Box(0, 1), low=np.zeros(3)), "a Box whose parts do not match"),
        (with_attributes(spaces.Box(0, 1), dtype=th.float32), "a Box whose dtype is a dtype"),
        (with_attributes(spaces.MultiBinary(3), _shape=(10**10,)), "a MultiBinary whose parts do not match"),
        (with_attributes(spaces.MultiDiscrete([2, 2]), _shape=(10**10,)), "a MultiDiscrete whose parts do not match"),
        (with_attributes(spaces.Dict(a=spaces.Discrete(2)), spaces={"a": nn.Tanh}), "a Dict whose parts do not match"),
        (Reduced(spaces.Box, ()), "a Box with other attributes"),
        (Reduced(np.random.PCG64, ()), "a call of numpy.random._pcg64.PCG64"),
    ],
)
def test_objects_with_other_attributes_are_refused(thing: Any, message: str) -> None:
    with pytest.raises(UntrustedCheckpointError, match=f"the pickle asks for {message}"):
        restricted_loads(dumps([thing]))


def test_attributes_are_checked_at_the_end() -> None:
    """A dict can be filled after it became an attribute."""
    space = dumps(spaces.Dict(a=spaces.Discrete(2)))
    inner = {"a": 1}
    attributes = {**vars(spaces.Dict(a=spaces.Discrete(2))), "spaces": inner}
    pickled = dumps([Reduced(spaces.Dict, (), attributes), inner])
    assert restricted_loads(space)
    with pytest.raises(UntrustedCheckpointError, match="a Dict whose parts do not match"):
        restricted_loads(pickled)
