"""Models and environments that commands name."""

import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any

from sb3_contrib.common.maskable import evaluation as maskable_evaluation
from stable_baselines3.common import evaluation
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td import (
    TDA2C,
    MaskableTDA2C,
    RecurrentTDA2C,
    SeparateMaskablePolicy,
    SeparateRecurrentPolicy,
    UntrustedCheckpointError,
    registration,
)
from sb3_a2c_td.algorithms.normalizing import TRAINED
from sb3_a2c_td.arguments import is_missing_gpu
from sb3_a2c_td.compiled.making import is_compiled, make_compiled_vec_env
from sb3_a2c_td.export import Normalization, read_normalization
from sb3_a2c_td.hyperparams.tda2c import hyperparams, recommended_wrapper
from sb3_a2c_td.saving.checkpoints import read_attributes
from sb3_a2c_td.saving.errors import MAX_MESSAGE, printable
from sb3_a2c_td.saving.normalization import records_environments, saved_normalization_of
from sb3_a2c_td.vec_env.action_masks import check_masks_available


def has_tuned_settings(env_id: str, env_kwargs: dict[str, Any]) -> bool:
    """Check whether settings were tuned for an environment, rather than for all.

    :param env_id: the environment's id
    :param env_kwargs: its arguments; settings were tuned without any
    """
    return env_id in hyperparams and not env_kwargs.keys() - {"render_mode"}


def make_env(
    env_id: str,
    env_kwargs: dict[str, Any],
    n_envs: int | None = None,
    seed: int | None = None,
    is_tuned: bool = False,
) -> VecEnv:
    """Make environments, compiled ones if the id is that of a compiled environment.

    :param env_id: the environment's id
    :param env_kwargs: its arguments
    :param n_envs: how many copies; ``None``: 1, or for tuned settings the number that they were tuned with
    :param seed: seed of the first copy
    :param is_tuned: whether they are for recommended settings, so that they have their wrapper
    """
    if ":" in env_id:
        find_modules_here()
    registration.register_for(env_id)
    if is_tuned and has_tuned_settings(env_id, env_kwargs):
        n_envs = n_envs or hyperparams[env_id]["n_envs"]
        return make_vec_env(env_id, n_envs, seed, env_kwargs=env_kwargs, wrapper_class=recommended_wrapper(env_id))
    if is_compiled(env_id) and not env_kwargs:
        return make_compiled_vec_env(env_id, n_envs or 1, seed)
    return make_vec_env(env_id, n_envs or 1, seed, env_kwargs=env_kwargs)


def find_modules_here() -> None:
    """Find modules in the current folder, as ``python -m`` does, unless Python shall not.

    Call it only where the user names a module or trusts a file: a folder may hold files of others.
    """
    if not sys.flags.safe_path and os.getcwd() not in sys.path:
        # at the end: no file here takes the place of an installed module
        sys.path.append(os.getcwd())


def make_recorded_env(
    path: Path,
    env_id: str | None,
    env_kwargs: dict[str, Any] | None,
    trusted: bool,
    is_tuned: bool,
    render_mode: str | None = None,
) -> VecEnv:
    """Make the environment that a zip records, or another one.

    :param path: the zip
    :param env_id: an environment's id; ``None``: the recorded one
    :param env_kwargs: its arguments; ``None``: the recorded ones, if the id is the recorded one. They are printed
    :param trusted: whether the file is trusted
    :param is_tuned: whether the model has recommended settings, whose environment may have a wrapper
    :param render_mode: how to show the environment
    :raises ValueError: if no id is given, and the zip records none; or if what it records may name a module or a file,
        and the zip is not trusted
    """
    recorded_id, recorded_kwargs = _recorded_env(path, trusted)
    if env_id is None and recorded_id is None:
        raise ValueError(
            f"{path} records no environment that Gymnasium can make without more code: name it with --env, and with "
            "--tuned if it was trained so"
        )
    takes_kwargs = env_kwargs is None and (env_id is None or _without_module(env_id) == _without_module(recorded_id))
    names_module = env_id is None and ":" in str(recorded_id)
    if not trusted and (names_module or (takes_kwargs and not _is_harmless(recorded_kwargs))):
        raise ValueError(
            f"{path} records the environment {printable(str(recorded_id), MAX_MESSAGE)} with the arguments "
            f"{printable(repr(recorded_kwargs), MAX_MESSAGE)}, which may name a module or a file: confirm them with "
            "--env and --env-kwargs, or with --trusted"
        )
    if takes_kwargs and recorded_kwargs:
        print(f"The environment has the arguments in {path}: {printable(repr(recorded_kwargs), MAX_MESSAGE)}")
    kwargs = recorded_kwargs if takes_kwargs else env_kwargs or {}
    shown = {} if render_mode is None else {"render_mode": render_mode}
    return make_env(str(recorded_id) if env_id is None else env_id, kwargs | shown, 1, is_tuned=is_tuned)


def _without_module(env_id: Any) -> str:
    return str(env_id).rpartition(":")[2]


def _recorded_env(path: Path, trusted: bool) -> tuple[Any, Any]:
    """Return the id and the arguments that a zip records, which anybody may have written, or ``(None, {})``."""
    recorded = read_attributes(path, ["trained_on"], trusted).get("trained_on")
    return (recorded.get("id"), recorded.get("kwargs") or {}) if isinstance(recorded, dict) else (None, {})


def _is_harmless(value: Any) -> bool:
    """Check whether an argument is made of what models record, without text that may name a file or a module."""
    if isinstance(value, dict):
        return all(map(_is_harmless, [*value.keys(), *value.values()]))
    if isinstance(value, list):
        return all(map(_is_harmless, value))
    if isinstance(value, str):
        return not any(character in value for character in "/\\.:")
    return value is None or isinstance(value, bool | int | float)


def available_device(device: str) -> str:
    """Return a device, or the CPU in place of a GPU that PyTorch does not find, which a line then says.

    :param device: the value of ``--device``
    """
    if not is_missing_gpu(device):
        return device
    print(f"--device {device}: PyTorch finds no GPU, so the CPU is used", file=sys.stderr)
    return "cpu"


def load(path: Path, env: VecEnv | None, device: str, trusted: bool) -> TDA2C:
    """Load a model.

    :param path: the zip
    :param env: environments for the model; ``None``: it can only predict
    :param device: where to put the model
    :param trusted: whether to load also what could run code
    :return: the model
    :raises ValueError: if the file holds what could run code and is not trusted, naming the option ``--trusted``
    """
    if trusted:
        find_modules_here()
    try:
        with warnings.catch_warnings():
            # detach_normalization() prints it
            warnings.filterwarnings("ignore", f".*{TRAINED}")
            algorithm = _algorithm_of(path, trusted)
            return algorithm.load(path, env, device, trusted=trusted, verbose=0, tensorboard_log=None)
    except UntrustedCheckpointError as error:
        raise ValueError(f"{error} (on the command line: --trusted)") from error


def load_with_env(
    path: Path, env: VecEnv, device: str, normalize: Path | None, no_normalize: bool, trusted: bool
) -> tuple[TDA2C, VecEnv]:
    """Load a model to run episodes, and normalize its environment's observations.

    :param path: the zip
    :param env: the environment
    :param device: the value of ``--device``
    :param normalize: see :func:`detach_normalization`
    :param no_normalize: see there
    :param trusted: whether the zip is trusted
    :return: the model, and the environment, normalized if the model needs that
    """
    model = load(path, env, available_device(device), trusted)
    if isinstance(model, MaskableTDA2C):
        check_masks_available(env)
    normalization = detach_normalization(model, path, normalize, no_normalize, trusted)
    return model, env if normalization is None else normalization.around(env)


def seed_episodes(env: VecEnv, seed: int | None) -> None:
    """Seed the episodes of a loaded model: loading has seeded its environment as for training.

    :param env: the environment
    :param seed: the seed; ``None``: random episodes
    """
    env.seed(seed)
    if seed is not None:
        set_random_seed(seed)


def _algorithm_of(path: Path, trusted: bool) -> type[TDA2C]:
    """Choose the algorithm that fits the saved policy."""
    try:
        policy = read_attributes(path, ["policy_class"], trusted).get("policy_class")
    except UntrustedCheckpointError:
        # a policy of the user's own
        return TDA2C
    if isinstance(policy, type) and issubclass(policy, SeparateMaskablePolicy):
        return MaskableTDA2C
    if isinstance(policy, type) and issubclass(policy, SeparateRecurrentPolicy):
        return RecurrentTDA2C
    return TDA2C


def evaluate(model: TDA2C, env: VecEnv, n_episodes: int, deterministic: bool = True) -> tuple[float, float]:
    """Return the mean and the standard deviation of a model's returns.

    :param model: the model
    :param env: the environments
    :param n_episodes: how many episodes
    :param deterministic: whether to take the most likely actions
    """
    run_episodes = maskable_evaluation if isinstance(model, MaskableTDA2C) else evaluation
    mean, std = run_episodes.evaluate_policy(model, env, n_episodes, deterministic)
    assert isinstance(mean, float)
    assert isinstance(std, float)
    return mean, std


def detach_normalization(
    model: TDA2C, path: Path, normalize: Path | None, no_normalize: bool, trusted: bool
) -> Normalization | None:
    """Choose the statistics for a model's observations, and print where they are from.

    :param model: the model, whose ``predict`` takes normalized observations from now on
    :param path: its zip
    :param normalize: a file that ``VecNormalize.save`` wrote; ``None``: take the statistics in the zip. If it does not
        say how the model was trained, look for a file next to it
    :param no_normalize: whether observations are not to be normalized
    :param trusted: whether the zip is trusted
    :return: the normalization; ``None``: observations are not normalized
    :raises ValueError: if both options were given, the file is invalid, or the model needs more than statistics
    """
    if no_normalize and normalize is not None:
        raise ValueError(f"--normalize {normalize} and --no-normalize exclude each other: leave one out")
    own, model.normalize_observations = model.observation_normalization, False
    if no_normalize:
        return None
    if normalize is not None:
        return _read_statistics(normalize)
    if own is not None:
        print(f"Observations are normalized by the statistics in {path}")
        return own
    if records_environments(path, trusted):
        _check_not_normalized(path, trusted)
        return None
    found = _statistics_next_to(path)
    return None if found is None else _read_statistics(found, f", since {path} does not say how it was trained")


def _read_statistics(path: Path, reason: str = "") -> Normalization:
    print(f"Observations are normalized by {path}{reason}")
    return read_normalization(path)


def _check_not_normalized(path: Path, trusted: bool) -> None:
    saved = saved_normalization_of(path, trusted)
    if saved is not None and saved.norm_obs:
        raise ValueError(
            f"{path} {TRAINED} inside of {saved.obstacle}, which changes the normalized observations: use "
            "--no-normalize, with an environment that returns them, or Python"
        )


def _statistics_next_to(path: Path) -> Path | None:
    """Find the statistics where SB3's examples, its CheckpointCallback or RL Zoo save them."""
    names = ["vec_normalize.pkl", "vecnormalize.pkl"]
    # CheckpointCallback writes rl_model_vecnormalize_400_steps.pkl for rl_model_400_steps.zip
    of_checkpoint = re.sub(r"_(?=[0-9]+_steps$)", "_vecnormalize_", path.stem)
    if of_checkpoint != path.stem:
        names.insert(0, f"{of_checkpoint}.pkl")
    # RL Zoo saves them with its config.yml, in a folder named after the environment
    of_zoo = [config.with_name("vecnormalize.pkl") for config in path.parent.glob("*/config.yml")]
    candidates = [*map(path.with_name, names), *of_zoo]
    return next((file for file in candidates if file.exists()), None)
