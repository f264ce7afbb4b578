"""What does not work in RL Zoo with the packages of today or with TDA2C, each with its reason, mended while it runs.

Nothing is changed in the installed files. A mend goes when RL Zoo has one of its own.
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
from sb3_contrib.common.maskable.evaluation import evaluate_policy as evaluate_masked_policy
from stable_baselines3.common import callbacks
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td import MaskableTDA2C
from sb3_a2c_td.schedules import linear_schedule
from sb3_a2c_td.vec_env.action_masks import action_masks
from sb3_a2c_td.vec_env.gymnasium_vec_env import MASK_METHOD

# the package has a function of this name
push_to_hub = import_module("huggingface_sb3.push_to_hub")
_load_from_hub = huggingface_sb3.load_from_hub
_metadata_save = huggingface_hub.repocard.metadata_save
_show = plt.show
_evaluate_policy = callbacks.evaluate_policy
_create_test_env = utils.create_test_env
_predict = MaskableTDA2C.predict


def _generate_metadata(*args: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = push_to_hub._generate_metadata(*args).to_dict()
    return metadata


def _save_card(path: Path, metadata: dict[str, Any]) -> None:
    """Save a model card's metadata, and put commands that know TDA2C in the place of RL Zoo's."""
    card = path.read_text(encoding="utf-8")
    card = card.replace("python -m rl_zoo3.", "python -m sb3_a2c_td.zoo ")
    card = card.replace("pip install rl_zoo3", "pip install 'sb3-a2c-td[zoo]'")
    path.write_text(card, encoding="utf-8")
    _metadata_save(path, metadata)


def _load_or_http_error(repo_id: str, filename: str) -> str:
    """Load a file; for one that is not there, raise the error of the library that did this once."""
    try:
        path: str = _load_from_hub(repo_id, filename)
    except EntryNotFoundError as error:
        raise HTTPError(str(error)) from error
    return path


def _show_or_save() -> None:
    """Show the figures; save them where no display can show them."""
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
    """Make the environment that a model is shown on; a model that takes masks gets this one's."""
    env: VecEnv = _create_test_env(*args, **kwargs)
    if not env.has_attr(MASK_METHOD):
        return env

    def predict(model: MaskableTDA2C, *args: Any, **kwargs: Any) -> Any:
        return _predict(model, *args, **{"action_masks": action_masks(env, 0), **kwargs})

    setattr(MaskableTDA2C, "predict", predict)  # noqa: B010, mypy takes no other signature
    return env


PATCHES: list[tuple[ModuleType, str, Any]] = [
    # saved models would hold a class of RL Zoo's, which loading without trust refuses
    (exp_manager, "SimpleLinearSchedule", linear_schedule),
    # push_to_hub imports it by the name that it once had, and takes a dict
    (push_to_hub, "generate_metadata", _generate_metadata),
    # the cards of models would tell commands that do not know TDA2C
    (huggingface_hub.repocard, "metadata_save", _save_card),
    # models that take masks are evaluated with them
    (callbacks, "evaluate_policy", _evaluate),
    # and shown
    (utils, "create_test_env", _create_shown_env),
    (rl_zoo3, "create_test_env", _create_shown_env),
    # load_from_hub knows by this error that a model has no VecNormalize
    (huggingface_sb3, "load_from_hub", _load_or_http_error),
    # without a display, nothing would be left of most plots
    (plt, "show", _show_or_save),
]
"""module, name there, what takes its place"""


def apply() -> None:
    """Put all of it in place, before RL Zoo's scripts are run."""
    for module, name, replacement in PATCHES:
        setattr(module, name, replacement)
