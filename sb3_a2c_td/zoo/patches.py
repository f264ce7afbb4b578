"""Patches for RL Zoo where it does not work with TDA2C or with current versions of its dependencies.

They are applied while its scripts run; installed files stay unchanged. Remove a patch once RL Zoo has fixed the fault.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub.repocard
import huggingface_sb3
import rl_zoo3
from huggingface_hub.errors import EntryNotFoundError
from matplotlib import pyplot as plt
from matplotlib.backends.registry import BackendFilter, backend_registry
from requests.exceptions import HTTPError
from rl_zoo3 import exp_manager, utils
from rl_zoo3.exp_manager import ExperimentManager
from sb3_contrib.common.maskable.evaluation import evaluate_policy as evaluate_masked_policy
from stable_baselines3.common import callbacks
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from sb3_a2c_td import MaskableTDA2C, extras
from sb3_a2c_td.schedules import linear_schedule
from sb3_a2c_td.vec_env.gymnasium_vec_env import MASK_METHOD
from sb3_a2c_td.vec_env.normalization import normalizable_keys
from sb3_a2c_td.zoo import masks, shown

# huggingface_sb3 has a function of the same name
push_to_hub = import_module("huggingface_sb3.push_to_hub")
_load_from_hub = huggingface_sb3.load_from_hub
_metadata_save = huggingface_hub.repocard.metadata_save
_show = plt.show
_evaluate_policy = callbacks.evaluate_policy
_create_test_env = utils.create_test_env
_maybe_normalize = ExperimentManager._maybe_normalize


def _generate_metadata(*args: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = push_to_hub._generate_metadata(*args).to_dict()
    return metadata


def _save_card(path: Path, metadata: dict[str, Any]) -> None:
    """Save a model card's metadata, and replace RL Zoo's commands in the card by ones that support TDA2C."""
    card = path.read_text(encoding="utf-8")
    card = card.replace("python -m rl_zoo3.", "python -m sb3_a2c_td.zoo ")
    card = card.replace("pip install rl_zoo3", extras.install("zoo"))
    path.write_text(card, encoding="utf-8")
    _metadata_save(path, metadata)


def _load_or_http_error(repo_id: str, filename: str) -> str:
    """Load a file; if it is missing, raise the error of ``requests``, which the Hub's client once used."""
    try:
        path: str = _load_from_hub(repo_id, filename)
    except EntryNotFoundError as error:
        raise HTTPError(str(error)) from error
    return path


def _show_or_save() -> None:
    """Show the figures, or save them if there is no display."""
    if plt.get_backend().lower() not in backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE):  # type: ignore[no-untyped-call]
        _show()
        return
    for label in plt.get_figlabels():
        path = Path(f"{label.replace('/', '-')}.png")
        plt.figure(label).savefig(path)
        print(f"No display: saved {path}")


def _evaluate(model: Any, *args: Any, **kwargs: Any) -> Any:
    evaluate = evaluate_masked_policy if isinstance(model, MaskableTDA2C) else _evaluate_policy
    return evaluate(model, *args, **kwargs)


def _create_shown_env(*args: Any, **kwargs: Any) -> VecEnv:
    """Make the environment that a script shows, for models to find its masks and its statistics."""
    env: VecEnv = _create_test_env(*args, **kwargs)
    shown.ShownModel.shown_normalize = unwrap_vec_normalize(env)
    masks.MaskableTDA2C.shown_env = env if env.has_attr(MASK_METHOD) else None
    return env


def _normalize_what_can_be(manager: ExperimentManager, env: VecEnv, eval_env: bool) -> VecEnv:
    """Put environments into ``VecNormalize``, which takes no observations other than vectors of numbers."""
    if not normalizable_keys(env.observation_space):
        manager.normalize_kwargs = {**manager.normalize_kwargs, "norm_obs": False}
    normalized: VecEnv = _maybe_normalize(manager, env, eval_env)
    return normalized


PATCHES: list[tuple[ModuleType | type, str, Any]] = [
    # the general setting normalizes observations, of which numbers of states are none
    (ExperimentManager, "_maybe_normalize", _normalize_what_can_be),
    # saved models would hold a class of RL Zoo, which only trusted files may
    (exp_manager, "SimpleLinearSchedule", linear_schedule),
    # push_to_hub imports it by a former name, and expects a dict
    (push_to_hub, "generate_metadata", _generate_metadata),
    # model cards would name commands that do not support TDA2C
    (huggingface_hub.repocard, "metadata_save", _save_card),
    # masked models would be evaluated without masks
    (callbacks, "evaluate_policy", _evaluate),
    # and shown without them, and all models with other statistics than their own
    (utils, "create_test_env", _create_shown_env),
    (rl_zoo3, "create_test_env", _create_shown_env),
    # load_from_hub expects this error if a model has no VecNormalize
    (huggingface_sb3, "load_from_hub", _load_or_http_error),
    # without a display, most plots would be lost
    (plt, "show", _show_or_save),
]
"""module or class, name in it, replacement"""


def apply() -> None:
    """Apply all patches. Call this before running one of RL Zoo's scripts."""
    for module, name, replacement in PATCHES:
        setattr(module, name, replacement)
