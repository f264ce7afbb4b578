"""What a saved model holds, of any of SB3's algorithms, found without running code from it."""

import io
import pathlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch as th
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from sb3_a2c_td.saving.allowed import Refused
from sb3_a2c_td.saving.archives import (
    DATA,
    MANIFEST,
    OUTER_NAMES,
    attribute_of,
    content_of,
    files_of,
    inner_files,
    json_of,
    naming,
    shapes_of,
)
from sb3_a2c_td.saving.errors import UnreadableCheckpointError

SPACES = ("observation_space", "action_space")
STATE = frozenset(
    {
        *SPACES,
        *("num_timesteps", "start_time", "ep_info_buffer", "ep_success_buffer", "rollout_buffer"),
        *("lr_schedule", "critic_lr_schedule", "exploration_schedule", "exploration_rate"),
        *("batch_norm_stats", "batch_norm_stats_target"),
    }
)
"""public attributes of SB3's models that are no settings, or repeat one"""

FEATURES_EXTRACTOR = "features_extractor"
"""SB3's second name for what an actor or a critic has under a name of its own"""
NETWORKS = {
    **dict.fromkeys(("pi_features_extractor", "mlp_extractor.policy_net", "action_net", "log_std"), "actor"),
    **dict.fromkeys(("vf_features_extractor", "mlp_extractor.value_net", "value_net"), "critic"),
}
"""the parts of SB3's actor-critic policies"""


@dataclass(frozen=True)
class Contents:
    """What a saved model holds."""

    sizes: dict[str, int]
    """the bytes of each entry of the zip"""
    versions: dict[str, str]
    """the versions of what it was saved with, and the system, by SB3's names"""
    attributes: dict[str, Any]
    """the model's attributes that could be read"""
    unread: dict[str, str]
    """attributes and entries that could not be, and what they ask for, which could run code"""
    tensors: dict[str, dict[str, th.Tensor]]
    """the tensors of each entry, by their names with dots, on PyTorch's device "meta", that is without numbers"""

    @property
    def is_of_tda2c(self) -> bool:
        """Whether TDA2C saved it; of other algorithms, the file does not say which."""
        return "critic_learning_rate" in {**self.attributes, **self.unread}

    @property
    def settings(self) -> dict[str, Any]:
        """The attributes that are settings of the algorithm."""
        return {key: value for key, value in self.attributes.items() if not (key.startswith("_") or key in STATE)}

    @property
    def network_sizes(self) -> dict[str, int]:
        """How many numbers each network of the policy has, those that networks share counted once."""
        owners: defaultdict[tuple[int, int], set[str]] = defaultdict(set)
        n_numbers = {}
        for name, tensor in self.tensors.get("policy.pth", {}).items():
            place = tensor.untyped_storage()._cdata, int(tensor.storage_offset())
            owners[place].add(_network(name))
            n_numbers[place] = tensor.numel()
        sizes: Counter[str] = Counter()
        for place, networks in owners.items():
            sizes[" and ".join(sorted(networks - {FEATURES_EXTRACTOR} or networks))] += n_numbers[place]
        return dict(sizes)


def _network(tensor_name: str) -> str:
    part = next((part for part in NETWORKS if f"{tensor_name}.".startswith(f"{part}.")), None)
    return tensor_name.split(".")[0] if part is None else NETWORKS[part]


def read_contents(path: str | pathlib.Path | io.BufferedIOBase) -> Contents:
    """Read what a saved model holds, without running code that it holds.

    :param path: the zip, of any of SB3's algorithms, its name with or without ``.zip``, or an open file
    :raises UnreadableCheckpointError: if it is damaged, or no saved model
    :raises FileNotFoundError: if there is no such file
    """
    content = content_of(path)
    with naming(path):
        files = files_of(content, OUTER_NAMES)
        if DATA not in files:
            raise UnreadableCheckpointError(f"it is damaged, or no saved model: it has no entry {DATA!r}")
        unread: dict[str, str] = {}
        return Contents(
            {name: len(content) for name, content in files.items()},
            _versions(files),
            _attributes(json_of(files[DATA], DATA), unread),
            unread,
            _tensors(files, unread),
        )


def _versions(files: dict[str, bytes]) -> dict[str, str]:
    versions = {}
    if MANIFEST in files:
        # the first release did not say its version
        versions["sb3-a2c-td"] = str(json_of(files[MANIFEST], MANIFEST).get("version", "not said"))
    if "_stable_baselines3_version" in files:
        versions["Stable-Baselines3"] = files["_stable_baselines3_version"].decode(errors="replace").strip()
    system = files.get("system_info.txt", b"").decode(errors="replace")
    return versions | dict(re.findall("^- ([^:]+): (.*)$", system, re.MULTILINE))


def _attributes(attributes: dict[str, Any], unread: dict[str, str]) -> dict[str, Any]:
    read = {}
    for key, value in attributes.items():
        try:
            read[key] = attribute_of(key, value, OnPolicyAlgorithm)
        except Refused as what:
            unread[key] = str(what)
    return read


def _tensors(files: dict[str, bytes], unread: dict[str, str]) -> dict[str, dict[str, th.Tensor]]:
    found = {}
    for name, content in files.items():
        if name.endswith(".pth"):
            try:
                found[name] = dict(_named_tensors(shapes_of(name, inner_files(name, content))))
            except Refused as what:
                unread[name] = str(what)
    return found


def _named_tensors(saved: Any, name: str = "") -> Iterator[tuple[str, th.Tensor]]:
    if isinstance(saved, th.Tensor):
        yield name, saved
    elif isinstance(saved, dict):
        for key, item in saved.items():
            yield from _named_tensors(item, f"{name}.{key}".lstrip("."))
