"""Inspects saved models of any SB3 algorithm without running code from them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch as th
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from sb3_a2c_td.saving.attributes import attributes_budget, decode_attribute
from sb3_a2c_td.saving.errors import NotAllowedError, naming_file
from sb3_a2c_td.saving.paths import PathOrFile
from sb3_a2c_td.saving.tensor_shapes import read_entry_shapes
from sb3_a2c_td.saving.zip_entries import (
    DATA,
    MANIFEST,
    OF_ANY_ALGORITHM,
    POLICY,
    SB3_VERSION,
    SYSTEM_INFO,
    check_few_containers,
    is_tensor_entry,
    read_json,
    read_tensor_entry,
)
from sb3_a2c_td.saving.zips import read_entries, read_zip

SPACES = ("observation_space", "action_space")
STATE = frozenset(
    {
        "observation_space",
        "action_space",
        "num_timesteps",
        "start_time",
        "ep_info_buffer",
        "ep_success_buffer",
        "rollout_buffer",
        "normalization",
        "lr_schedule",
        "critic_lr_schedule",
        "exploration_schedule",
        "exploration_rate",
        "batch_norm_stats",
        "batch_norm_stats_target",
    }
)
"""public attributes of SB3's models that are not settings, or repeat one"""
NOT_OF_TDA2C = frozenset({"action_noise", "gae_lambda", "rollout_buffer_class", "rollout_buffer_kwargs", "vf_coef"})
"""settings of SB3's base classes that TDA2C does not have"""

VERSION = re.compile("- ([^:]+): (.*)")
"""a line of SB3's system information"""
MAX_VERSIONS = 100
"""lines of it that are read"""
MAX_NAME = 1000
"""maximum length of a tensor's name"""

FEATURES_EXTRACTOR = "features_extractor"
"""SB3's alias for the features extractor of an actor or a critic"""
NETWORKS = {
    "pi_features_extractor": "actor",
    "mlp_extractor.policy_net": "actor",
    "action_net": "actor",
    "log_std": "actor",
    "vf_features_extractor": "critic",
    "mlp_extractor.value_net": "critic",
    "value_net": "critic",
}
"""the network to which each part of SB3's actor-critic policies belongs"""


@dataclass(frozen=True)
class Contents:
    """The contents of a saved model.

    :param sizes: bytes of each entry of the zip
    :param versions: versions of the packages that saved it, and the system, by SB3's names
    :param attributes: the model's attributes that could be read
    :param unread: the attributes and entries that could run code, and what they ask for
    :param tensors: the tensors of each entry by their dotted names, on PyTorch's device "meta", without numbers
    """

    sizes: dict[str, int]
    versions: dict[str, str]
    attributes: dict[str, Any]
    unread: dict[str, str]
    tensors: dict[str, dict[str, th.Tensor]]

    @property
    def is_of_tda2c(self) -> bool:
        """Whether TDA2C saved it. The files of other algorithms do not name theirs."""
        return "critic_learning_rate" in self.attributes or "critic_learning_rate" in self.unread

    @property
    def settings(self) -> dict[str, Any]:
        """The attributes that are settings of the algorithm."""
        others = STATE | NOT_OF_TDA2C if self.is_of_tda2c else STATE
        return {key: value for key, value in self.attributes.items() if not (key.startswith("_") or key in others)}

    @property
    def network_sizes(self) -> dict[str, int]:
        """The number of parameters of each network, those of shared parts listed once as ``"actor and critic"``."""
        owners: defaultdict[tuple[int, int], set[str]] = defaultdict(set)
        n_numbers: dict[tuple[int, int], int] = {}
        for name, tensor in self.tensors.get(POLICY, {}).items():
            place = tensor.untyped_storage()._cdata, int(tensor.storage_offset())
            owners[place].add(_network_of(name))
            n_numbers[place] = tensor.numel()
        sizes: Counter[str] = Counter()
        for place, networks in owners.items():
            networks_by_name = networks - {FEATURES_EXTRACTOR} or networks
            sizes[" and ".join(sorted(networks_by_name))] += n_numbers[place]
        return dict(sizes)


def _network_of(tensor_name: str) -> str:
    for part, network in NETWORKS.items():
        if f"{tensor_name}.".startswith(f"{part}."):
            return network
    return tensor_name.split(".")[0]


def read_contents(path: PathOrFile) -> Contents:
    """Read the contents of a saved model, without running code from it.

    :param path: the zip, of any of SB3's algorithms, its name with or without ``.zip``, or an open file
    :raises UnreadableCheckpointError: if it is damaged, or not a saved model
    :raises FileNotFoundError: if there is no such file
    """
    content = read_zip(path)
    with naming_file(path):
        files = read_entries(content, OF_ANY_ALGORITHM)
        check_few_containers(files)
        encoded = read_json(files, DATA)
        sizes = {name: len(entry) for name, entry in files.items()}
        versions = _versions(files)
        attributes, unread_attributes = _attributes(encoded)
        tensors, unread_entries = _tensors(files)
        return Contents(sizes, versions, attributes, unread_attributes | unread_entries, tensors)


def _versions(files: dict[str, bytes]) -> dict[str, str]:
    versions = {}
    if MANIFEST in files:
        # the first release did not save its version
        versions["sb3-a2c-td"] = str(read_json(files, MANIFEST).get("version", "unknown"))
    if SB3_VERSION in files:
        versions["Stable-Baselines3"] = files[SB3_VERSION].decode(errors="replace").strip()
    system = files.get(SYSTEM_INFO, b"").decode(errors="replace")
    # one line at a time: a pattern over all of them could take time in proportion to the square of their number
    matches = (VERSION.fullmatch(line) for line in system.splitlines()[:MAX_VERSIONS])
    return versions | {match[1]: match[2] for match in matches if match}


def _attributes(encoded: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the attributes that could be read, and what the others ask for."""
    attributes, unread = {}, {}
    budget = attributes_budget(encoded)
    for key, value in encoded.items():
        try:
            attributes[key] = decode_attribute(key, value, OnPolicyAlgorithm, budget)
        except NotAllowedError as error:
            unread[key] = str(error)
    return attributes, unread


def _tensors(files: dict[str, bytes]) -> tuple[dict[str, dict[str, th.Tensor]], dict[str, str]]:
    """Return the tensors of each entry that could be read, and what the other entries ask for."""
    tensors, unread = {}, {}
    for name, content in files.items():
        if not is_tensor_entry(name):
            continue
        try:
            shapes = read_entry_shapes(name, read_tensor_entry(name, content))
            tensors[name] = dict(_named_tensors(shapes))
        except NotAllowedError as error:
            unread[name] = str(error)
    return tensors, unread


def _named_tensors(saved: Any, name: str = "") -> Iterator[tuple[str, th.Tensor]]:
    """Iterate over the tensors in nested dicts, with their keys joined by dots.

    Long names are cut: many tensors can share the key of their dict.
    """
    if isinstance(saved, th.Tensor):
        yield name, saved
    elif isinstance(saved, dict):
        for key, item in saved.items():
            yield from _named_tensors(item, f"{name}.{key}".lstrip(".")[:MAX_NAME])
