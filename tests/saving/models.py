"""Saved models for the tests of loading, and comparisons of what was loaded."""

import io
from collections import deque
from typing import Any

import numpy as np
import pytest
import torch as th

from sb3_a2c_td import TDA2C, UnreadableCheckpointError
from sb3_a2c_td.rollout.transitions import TransitionBuffer
from tests.environments import CountingEnv
from tests.saving.pickles import attributes_of, dumps, with_file, with_pickle


def saved(model: Any) -> bytes:
    file = io.BytesIO()
    model.save(file)
    return file.getvalue()


def small(**kwargs: Any) -> TDA2C:
    settings = {"policy_kwargs": {"net_arch": [2]}, "seed": 0, "device": "cpu", **kwargs}
    return TDA2C("MlpPolicy", CountingEnv(7), **settings)


ARCHIVE = saved(small().learn(13))
"""a zip with an unfinished rollout"""
SMALL = TDA2C.load(io.BytesIO(ARCHIVE), device="cpu", trusted=True)
"""its model, whose spaces no test seeds"""


def load(archive: bytes, **kwargs: Any) -> TDA2C:
    return TDA2C.load(io.BytesIO(archive), device="cpu", **kwargs)


def tensors(thing: Any) -> bytes:
    file = io.BytesIO()
    th.save(thing, file)
    return file.getvalue()


def assert_unreadable(archive: bytes, match: str) -> None:
    """Check the error for damage, which trusted files give too."""
    for trusted in (False, True):
        with pytest.raises(UnreadableCheckpointError, match=match):
            load(archive, trusted=trusted)


def described(thing: Any) -> Any:
    """Describe an object by plain data that can be compared."""
    if isinstance(thing, dict):
        # a Box caches its text here
        return [(key, described(value)) for key, value in thing.items() if key not in ("low_repr", "high_repr")]
    if isinstance(thing, list | tuple | deque):
        return [type(thing), *map(described, thing)]
    if isinstance(thing, np.random.Generator):
        return described(thing.bit_generator.state)
    if isinstance(thing, np.ndarray | np.generic | th.Tensor):
        return [thing.dtype, thing.shape, thing.tolist()]
    if isinstance(thing, TransitionBuffer):
        return [thing.n_steps, described(thing.transitions()) if len(thing) > 0 else None]
    if hasattr(thing, "__dict__") and not isinstance(thing, type):
        return [type(thing), described(vars(thing))]
    return thing


def assert_same_weights(first: TDA2C, second: TDA2C) -> None:
    for a, b in zip(first.policy.state_dict().values(), second.policy.state_dict().values(), strict=True):
        assert th.equal(a, b)


def assert_same_model(first: TDA2C, second: TDA2C) -> None:
    assert_same_weights(first, second)
    assert described(first.policy.optimizer.state_dict()) == described(second.policy.optimizer.state_dict())
    for name in attributes_of(saved(first)):
        assert described(getattr(first, name)) == described(getattr(second, name)), name


def with_overlapping_moments(policy_kwargs: dict[str, Any], name: str, fused: bool) -> bytes:
    """Save a model whose moments of one name are views of one number each, at the end of a storage."""
    model = small(policy_kwargs=policy_kwargs).learn(13)
    state = model.policy.optimizer.state_dict()
    for moments in state["state"].values():
        shape = moments[name].shape
        storage = th.full((moments[name].numel(),), float(moments[name].flatten()[0]))
        moments[name] = th.as_strided(storage, shape, [0] * len(shape), len(storage) - 1)
    for group in state["param_groups"]:
        group["fused"] = fused
    archive = with_file(saved(model), "policy.optimizer.pth", tensors(state))
    return with_pickle(archive, "policy_kwargs", dumps({**policy_kwargs, "optimizer_kwargs": {"fused": fused}}))
