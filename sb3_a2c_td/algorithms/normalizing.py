"""Normalization inside the model, as TDA2C and its variants share it."""

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.utils import is_vectorized_observation
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from sb3_a2c_td.algorithms.callbacks import nested_callbacks
from sb3_a2c_td.rollout.observations import Observations, named_arrays
from sb3_a2c_td.saving.checkpoints import Checkpoint
from sb3_a2c_td.saving.normalization import SavedNormalization, read_saved_normalization
from sb3_a2c_td.saving.paths import PathOrFile, file_name
from sb3_a2c_td.vec_env.normalization import (
    OBSERVATION,
    ModelVecNormalize,
    Normalization,
    RunningNormalization,
    check_same_observations,
    find_vec_normalize,
    normalizable_keys,
    spaces_by_key,
    take_over,
)

TRAINED = "was trained in VecNormalize"
NOW_INSIDE = (
    "Its statistics are now inside the model: predict() takes observations as the environment returns them, so "
    "evaluate it without VecNormalize, which would normalize twice. For predict() to take normalized ones, as in SB3, "
    "pass env=VecNormalize.load(...), or env=VecNormalize(...), which takes over the statistics"
)
NO_NORMALIZATION = {"normalize_observations": False, "normalize_rewards": False}
"""the settings of a model that does not normalize"""


class NormalizingAlgorithm(OnPolicyAlgorithm):
    """SB3's ``OnPolicyAlgorithm`` that can put its environments into a ``VecNormalize`` itself.

    ``env`` is then this wrapper, with the statistics of the model. Users see only the environments in it, as
    :meth:`get_env` returns them, and the model normalizes what :meth:`predict` takes.
    """

    normalize_observations: bool = False
    normalize_rewards: bool = False
    normalization: RunningNormalization | None = None
    """the running statistics; ``None`` if the model does not normalize"""
    _was_in_vec_normalize: bool = False
    """whether the statistics came from a ``VecNormalize``, and may return to one"""

    def get_env(self) -> VecEnv | None:
        """Return the environments, which return observations and rewards that are not normalized by the model."""
        return self.env.venv if isinstance(self.env, ModelVecNormalize) else self.env

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Replace the environments.

        If the former ones are in ``VecNormalize``, its statistics are kept: a new ``VecNormalize`` that was never
        stepped takes them over. Without one, they move into the model, which then normalizes as if it was created with
        ``normalize_observations``; a warning says so. From there, a new ``VecNormalize`` can take them over again.

        :param env: as many environments, with the same spaces, or an environment's name
        :param force_reset: whether training begins with a reset of the environments
        :raises ValueError: if both the model and ``VecNormalize`` would normalize, or none of them can
        """
        vec_normalize, _ = find_vec_normalize(env)
        returning = None if vec_normalize is None else _returning(vars(self), vec_normalize)
        saved = self._statistics_of_env() if returning is None else returning
        left_behind = saved if vec_normalize is None else None
        if left_behind is not None:
            _check_movable(left_behind, "the model")
        if self._normalizes and returning is None:
            self._check_not_in_vec_normalize(env)
        super().set_env(env, force_reset)
        if left_behind is not None:
            vars(self).update(_moved(left_behind, "the model", stacklevel=3))
        if returning is not None:
            vars(self).update(NO_NORMALIZATION)
        self._set_up_normalization()
        self._fill_vec_normalize(saved)

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Predict actions for observations. A model that normalizes takes them as its environments return them.

        :param observation: an observation, or a batch of them
        :param state: the recurrent states of a recurrent policy
        :param episode_start: where these states are to be reset
        :param deterministic: whether to return the most likely action instead of drawing one
        :return: the action, or a batch of them, and the next recurrent states
        """
        return super().predict(self._normalized(observation), state, episode_start, deterministic)

    def _normalizing(self, normalizes: bool = True) -> AbstractContextManager[None]:
        """Normalize what the environments return while the context lasts, or not, if the model normalizes."""
        return self.env.collecting(normalizes) if isinstance(self.env, ModelVecNormalize) else nullcontext()

    def _check_statistics(self, saved: RunningNormalization | None, name: str) -> None:
        """Check that a file's statistics can take the place of this model's.

        :param saved: the statistics; ``None``: the file has none
        :param name: the file, for messages
        :raises ValueError: if they are of other observations
        """
        if (saved is None) != (self.normalization is None):
            trained, now = ("with", "without") if self.normalization is None else ("without", "with")
            warnings.warn(
                f"{name} holds the weights of a model {trained} normalization inside it, and this model is one {now}: "
                "they fit other observations or rewards. Use load(), which keeps both",
                stacklevel=3,
            )
        elif saved is not None and not (
            saved.fits(self.observation_space) and saved.obs_rms.keys() == self._statistics.obs_rms.keys()
        ):
            raise ValueError(f"{name}: its statistics normalize other observations than this model's")

    def _prepare_normalization(self) -> None:
        """Check that the settings are those that the model was made with, and let ``gamma`` change."""
        self._check_normalization()
        if self.normalization is not None and not self._was_in_vec_normalize:
            assert isinstance(self.env, ModelVecNormalize)
            self.normalization.gamma = self.env.gamma = self.gamma

    def _check_normalization(self) -> None:
        normalization = self.normalization
        if (
            self._normalizes != (normalization is not None)
            or self.normalize_observations != bool(normalization and normalization.obs_rms)
            or (isinstance(self.env, ModelVecNormalize) and self.env.norm_reward != self.normalize_rewards)
        ):
            raise ValueError(
                f"normalize_observations={self.normalize_observations}, normalize_rewards={self.normalize_rewards}: "
                "one of them was changed after the model was made, whose weights fit other observations or rewards: "
                "set it back, or make a new model"
            )

    @property
    def _statistics(self) -> RunningNormalization:
        assert self.normalization is not None
        return self.normalization

    @property
    def _normalizes(self) -> bool:
        return self.normalize_observations or self.normalize_rewards

    def _normalized(self, observation: Any) -> Any:
        # the policy rejects tuples, in which reset() returns infos
        if not self.normalize_observations or isinstance(observation, tuple):
            return observation
        if self.normalization is None:
            self._check_normalization()
        observations: Observations = observation if isinstance(observation, dict) else np.asarray(observation)
        parts = dict(named_arrays(OBSERVATION, observations))
        for key, space in spaces_by_key(self.observation_space).items():
            if key in self._statistics.obs_rms and key in parts:
                # numpy would broadcast other shapes
                is_vectorized_observation(parts[key], space)
        return self._statistics.of_observations.normalized(observations)

    def _set_up_normalization(self) -> None:
        """Put the environments into the model's ``VecNormalize``, if the model normalizes."""
        if not self._normalizes:
            self.normalization = None
            self._was_in_vec_normalize = False
            return
        env = self.get_env()
        self._check_not_in_vec_normalize(env)
        if self.normalization is None:
            self.normalization = RunningNormalization(gamma=self.gamma)
        if self.normalize_observations and not self.normalization.obs_rms:
            self.normalization.obs_rms = self._fresh_statistics()
        if not self.normalization.fits(self.observation_space):
            raise ValueError(f"the model's statistics are not of observations of {self.observation_space}")
        if env is not None:
            self.env = ModelVecNormalize(env, self.normalization, self.normalize_observations, self.normalize_rewards)

    def _init_callback(self, callback: MaybeCallback, progress_bar: bool = False) -> BaseCallback:
        with self._normalizing(False):
            initialized = super()._init_callback(callback, progress_bar)
        if self.normalize_observations:
            for one in nested_callbacks([initialized]):
                if isinstance(one, EvalCallback) and find_vec_normalize(one.eval_env)[0] is not None:
                    raise ValueError(
                        f"eval_env of {type(one).__name__} is in VecNormalize, and the model normalizes observations "
                        "itself: pass eval_env without VecNormalize"
                    )
        return initialized

    def _check_not_in_vec_normalize(self, env: Any) -> None:
        if find_vec_normalize(env)[0] is not None:
            argument = "normalize_observations" if self.normalize_observations else "normalize_rewards"
            raise ValueError(
                f"{argument}=True: the model normalizes its environments itself, and env is in VecNormalize too. Pass "
                f"env without VecNormalize (or leave out {argument} in a new model)"
            )

    def _fresh_statistics(self) -> dict[str, RunningMeanStd]:
        keys = normalizable_keys(self.observation_space)
        if not keys:
            raise ValueError(
                f"normalize_observations=True: {self.observation_space} has no vectors of numbers (images are scaled "
                "by the policy); leave it out, or take recommended(env), which does"
            )
        parts = spaces_by_key(self.observation_space)
        return {key: RunningMeanStd(shape=parts[key].shape) for key in keys}  # type: ignore[arg-type]

    # The statistics of VecNormalize, which SB3 leaves behind

    @property
    def observation_normalization(self) -> Normalization | None:
        """How the policy's observations are normalized, by the model or by a ``VecNormalize`` around its environments.

        :raises ValueError: if another wrapper changes the normalized observations
        """
        if self.normalize_observations:
            return self._statistics.of_observations
        saved = self._statistics_of_env()
        if saved is None or not saved.norm_obs:
            return None
        _check_movable(saved, "the model")
        return saved.statistics.of_observations

    def _statistics_of_env(self) -> SavedNormalization | None:
        """Copy the statistics of the ``VecNormalize`` that the user put around the environments."""
        if self._vec_normalize_env is None:
            return None
        wrapper, obstacle = find_vec_normalize(self.env)
        assert wrapper is not None
        return SavedNormalization(RunningNormalization.of(wrapper), wrapper.norm_obs, wrapper.norm_reward, obstacle)

    @staticmethod
    def _keep_statistics(checkpoint: Checkpoint, path: PathOrFile, env: Any) -> SavedNormalization | None:
        """Move the statistics of ``VecNormalize`` into a saved model, unless the environments for it have one, too.

        :param checkpoint: the saved model, whose attributes are changed
        :param path: its file, for errors
        :param env: the environments for it; ``None``: it can only predict
        :return: the statistics in the file
        :raises ValueError: if the environments need a ``VecNormalize``
        """
        vec_normalize, _ = find_vec_normalize(env)
        if vec_normalize is not None:
            returning = _returning(checkpoint.data, vec_normalize)
            if returning is not None:
                checkpoint.data.update(NO_NORMALIZATION)
                return returning
        if any(checkpoint.data.get(name) for name in ("normalize_observations", "normalize_rewards")):
            return None
        saved = read_saved_normalization(checkpoint.training_state)
        if saved is None or vec_normalize is not None:
            return saved
        if env is not None:
            _check_movable(saved, file_name(path))
        checkpoint.data.update(_moved(saved, file_name(path), stacklevel=5))
        return saved

    def _fill_vec_normalize(self, saved: SavedNormalization | None) -> None:
        if saved is not None and self._vec_normalize_env is not None:
            take_over(self._vec_normalize_env, saved.statistics)


def check_kept(saved: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Check that a saved model is loaded with its own settings of the normalization.

    :param saved: its attributes
    :param changes: attributes to change
    :raises ValueError: if they change such a setting
    """
    for name in NO_NORMALIZATION:
        if changes.get(name, saved.get(name)) != saved.get(name):
            raise ValueError(
                f"{name}={changes[name]}: the weights fit other observations or rewards, since the model was trained "
                f"with {name}={saved.get(name)}; leave it out"
            )


def _check_movable(saved: SavedNormalization, name: str) -> None:
    if saved.norm_obs and saved.obstacle is not None:
        raise ValueError(
            f"env: {name} was trained in VecNormalize inside of {saved.obstacle}, which changes the normalized "
            "observations, so that the model cannot normalize by itself: wrap env as it was"
        )


def _moved(saved: SavedNormalization, name: str, stacklevel: int) -> dict[str, Any]:
    """Return the attributes of a model that normalizes as a ``VecNormalize`` did, and warn that it does.

    :param saved: the ``VecNormalize``
    :param name: the model, for the warning
    :param stacklevel: the user's call, for the warning
    :return: the attributes; none if the model cannot
    """
    if saved.norm_obs and saved.obstacle is not None:
        warnings.warn(f"{name} {TRAINED}, and predict() takes observations normalized by it", stacklevel=stacklevel)
        return {}
    if saved.norm_obs:
        warnings.warn(f"{name} {TRAINED}. {NOW_INSIDE}", stacklevel=stacklevel)
    return {
        "normalize_observations": saved.norm_obs,
        "normalize_rewards": saved.norm_reward,
        "normalization": saved.statistics,
        "_was_in_vec_normalize": True,
    }


def _returning(attributes: Mapping[str, Any], vec_normalize: VecNormalize) -> SavedNormalization | None:
    """Return the statistics that moved from a ``VecNormalize`` into a model, so that they can return to another one.

    :param attributes: those of the model
    :param vec_normalize: the other one
    :return: the statistics; ``None`` if the model was made with its own
    :raises ValueError: if the other one normalizes other observations
    """
    statistics = attributes.get("normalization")
    if not (attributes.get("_was_in_vec_normalize") and isinstance(statistics, RunningNormalization)):
        return None
    check_same_observations(vec_normalize, statistics)
    return SavedNormalization(
        statistics, attributes["normalize_observations"], attributes["normalize_rewards"], obstacle=None
    )
