"""Saving, loading and resuming, as TDA2C and its variants share them."""

import io
import os
import pathlib
import warnings
from abc import abstractmethod
from collections.abc import Iterable
from operator import attrgetter
from typing import Any, ClassVar, Self

import torch as th
from gymnasium.vector import VectorEnv
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import load_from_zip_file, open_path
from stable_baselines3.common.type_aliases import GymEnv, TensorDict

from sb3_a2c_td.algorithms.constructor_arguments import REPLACEMENTS, unknown_argument
from sb3_a2c_td.algorithms.normalizing import NO_NORMALIZATION, NormalizingAlgorithm, check_kept
from sb3_a2c_td.engines.random_streams import RandomStreams
from sb3_a2c_td.policies.separate import SeparateNetworks
from sb3_a2c_td.saving import atomic, generators, training_state
from sb3_a2c_td.saving.checkpoints import Checkpoint, loading, read_attributes, read_checkpoint, read_parameters
from sb3_a2c_td.saving.errors import MAX_MESSAGE, UnreadableCheckpointError, printable
from sb3_a2c_td.saving.model_checks import check_finite_weights
from sb3_a2c_td.saving.optimizer_checks import check_optimizer
from sb3_a2c_td.saving.paths import file_name, zip_path
from sb3_a2c_td.saving.plain_forms import plain_forms
from sb3_a2c_td.saving.zip_entries import add_entries
from sb3_a2c_td.vec_env.normalization import RunningNormalization

Path = str | pathlib.Path | io.BufferedIOBase


class CheckpointedAlgorithm(NormalizingAlgorithm):
    """SB3's ``OnPolicyAlgorithm`` with atomic saves, loading that runs no code, and exact resuming."""

    policy_base: ClassVar[type[BasePolicy]]
    """the base class of this algorithm's policies"""
    _streams: RandomStreams
    """the random generators of this model's training"""

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed the model's own generators, the global ones, the action space and the environments.

        :param seed: the seed; ``None``: only the model has new generators, see :class:`RandomStreams`
        """
        super().set_random_seed(seed)
        self._streams = RandomStreams.from_seed(seed)

    @property
    def _writes_files(self) -> bool:
        """Whether :meth:`save` writes a file in this process."""
        return True

    def save(self, path: Path, exclude: Iterable[str] | None = None, include: Iterable[str] | None = None) -> None:
        """Save the model to a zip, with what :meth:`resume` needs. The zip is written atomically.

        :param path: the zip, its name with or without ``.zip``, or an open file. An earlier file of that name is
            replaced when the new one is complete
        :param exclude: attributes to leave out
        :param include: attributes to save that are left out by default
        :raises OSError: if the file cannot be written; an earlier one is then untouched
        """
        archive = io.BytesIO()
        super(CheckpointedAlgorithm, self._in_plain_form()).save(archive, exclude, include)
        add_entries(archive, training_state.dumps(self, self._streams))
        if isinstance(path, str | pathlib.Path):
            atomic.write(archive.getbuffer(), pathlib.Path(os.path.realpath(zip_path(path))))
        else:
            open_path(path, "w").write(archive.getbuffer())

    def _in_plain_form(self) -> Self:
        """Return a shallow copy whose attributes load without trust, as far as they have a plain form."""
        twin = object.__new__(type(self))
        vars(twin).update(vars(self) | plain_forms(vars(self)))
        return twin

    @classmethod
    def load(
        cls,
        path: Path,
        env: GymEnv | VectorEnv | str | None = None,
        device: th.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        *,
        trusted: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Load a saved model, without running code that the file holds.

        Global random generators stay as they are; :meth:`resume` restores them. A log folder in the file is ignored,
        with a warning: pass ``tensorboard_log``.

        The statistics of a ``VecNormalize`` that the model was trained in are not lost. If ``env`` is in
        ``VecNormalize``, :meth:`predict` takes normalized observations, as in SB3, and a ``VecNormalize`` that was
        never stepped takes over the statistics. Otherwise they are now inside the model, as with
        ``normalize_observations``: :meth:`predict` takes observations as the environment returns them. A warning says
        so.

        :param path: the zip, its name with or without ``.zip``, or an open file
        :param env: environments, or an environment's name, as in the constructor; not needed for predictions
        :param device: the device of the model
        :param custom_objects: replacements for attributes in the file, which are then not unpickled
        :param print_system_info: whether to print the systems that saved the model and that loads it
        :param force_reset: whether training begins with a reset of the environments
        :param trusted: whether to unpickle everything in the file, such as your own classes and functions. This can
            run any code: use it only with files that you made
        :param kwargs: attributes to change
        :raises UntrustedCheckpointError: if the file holds something that could run code, naming it
        :raises UnreadableCheckpointError: if the file is damaged, of another algorithm, or of a newer version of this
            package
        :raises TypeError: if ``kwargs`` has an argument of A2C or of the reference that TDA2C does not have
        :raises ValueError: if the environments have other spaces, or lack wrappers that normalized observations need;
            or if ``kwargs`` changes ``normalize_observations`` or ``normalize_rewards``
        """
        for name in kwargs.keys() & REPLACEMENTS.keys():
            raise unknown_argument(cls.__name__, name, kwargs[name])
        checkpoint = read_checkpoint(path, custom_objects, trusted, cls)
        if not trusted and "tensorboard_log" not in {**(custom_objects or {}), **kwargs}:
            _forget_log_folder(checkpoint, path)
        return cls._with_statistics(checkpoint, path, env, device, print_system_info, force_reset, **kwargs)

    @classmethod
    def _with_statistics(
        cls, checkpoint: Checkpoint, path: Path, env: GymEnv | VectorEnv | str | None, *args: Any, **kwargs: Any
    ) -> Self:
        """Build a model that keeps the statistics of the ``VecNormalize`` that it was trained in."""
        with loading(path, checkpoint):
            saved = cls._keep_statistics(checkpoint, path, env)
            check_kept({**NO_NORMALIZATION, **checkpoint.data}, kwargs)
        model = cls._from_checkpoint(checkpoint, path, env, *args, **kwargs)
        model._fill_vec_normalize(saved)
        return model

    @classmethod
    def resume(
        cls,
        path: Path,
        env: GymEnv | VectorEnv | str,
        device: th.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        *,
        trusted: bool = False,
    ) -> Self:
        """Load a saved model and continue its training exactly where it was.

        ``learn(..., reset_num_timesteps=False)`` then does what it would have done without the stop, bit for bit, if
        the training ends at the same step: schedules and ``engine="auto"`` depend on it. The global random generators,
        the environments and the statistics of ``VecNormalize`` return to their saved state. This is impossible for
        environments whose state lies outside of Python objects (in a physics engine, in worker processes): a warning
        says so, and they begin a new episode. Resume only files that you saved yourself: their content is written into
        the attributes of the environments.

        :param path: the zip, its name with or without ``.zip``, or an open file
        :param env: environments made like those that the model was saved with, or an environment's name
        :param device: the device of the model
        :param custom_objects: as in :meth:`load`
        :param trusted: as in :meth:`load`
        :raises ValueError: if the environments differ in number or in SB3's wrappers; and as in :meth:`load`
        """
        if env is None:
            raise ValueError("env=None: resume() needs environments made like those that the model was saved with")
        checkpoint = read_checkpoint(path, custom_objects, trusted, cls)
        model = cls._from_checkpoint(checkpoint, path, env, device, force_reset=False)
        training_state.restore(model, model._streams, checkpoint.training_state)
        model._detect_moves()
        return model

    @abstractmethod
    def _detect_moves(self) -> None:
        """Notice from now on when something else steps or resets the environments."""

    @classmethod
    def _continue(cls, path: Path, env: GymEnv, device: th.device | str, trusted: bool) -> Self:
        """Load a saved model for ``train_resumably``. An algorithm that cannot resume exactly overrides this."""
        return cls.resume(path, env, device, trusted=trusted)

    @classmethod
    def _from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        path: Path,
        env: GymEnv | VectorEnv | str | None,
        device: th.device | str,
        print_system_info: bool = False,
        force_reset: bool = True,
        **kwargs: Any,
    ) -> Self:
        cls._check_policy(checkpoint, path)
        with generators.untouched(), loading(path, checkpoint):
            model = super().load(
                checkpoint.file,
                env,  # type: ignore[arg-type]
                device,
                # SB3 unpickles nothing that is given here
                checkpoint.data,
                print_system_info,
                force_reset,
                **kwargs,
            )
            model._check_rollout()
        return model

    def set_parameters(
        self, load_path_or_dict: Path | TensorDict, exact_match: bool = True, device: th.device | str = "auto"
    ) -> None:
        """Replace the weights and the optimizer's state, without running code from a file.

        If both models normalize, the statistics in a file replace this model's, too. A dict from ``get_parameters`` has
        none: take them by ``model.normalization.take(other.normalization)``. After an error, the optimizer is as
        before; weights may have been replaced.

        :param load_path_or_dict: a saved model as in :meth:`load`, of which only tensors and statistics are read, or a
            dict from ``get_parameters``
        :param exact_match: whether all parameters must be given
        :param device: the device on which a file is read
        :raises UntrustedCheckpointError: if the file holds something that could run code, naming it
        :raises UnreadableCheckpointError: if the file is damaged, if weights or moments are not finite, or if the
            optimizer cannot take a step with them
        :raises ValueError: if parameters of other names are given
        """
        statistics: RunningNormalization | None = None
        if not isinstance(load_path_or_dict, dict):
            statistics = _saved_statistics(load_path_or_dict)
            self._check_statistics(statistics, file_name(load_path_or_dict))
            file = read_parameters(load_path_or_dict, type(self))
            _, load_path_or_dict, _ = load_from_zip_file(file, load_data=False, device=device)
        parts = [attrgetter(name)(self) for name in self._get_torch_save_params()[0]]
        before = [(part, dict(vars(part))) for part in parts if isinstance(part, th.optim.Optimizer)]
        try:
            super().set_parameters(load_path_or_dict, exact_match, device)
            for part in parts:
                if isinstance(part, th.optim.Optimizer):
                    check_optimizer(part)
                else:
                    check_finite_weights(part)
        except BaseException as error:
            for optimizer, attributes in before:
                vars(optimizer).update(attributes)
            if isinstance(error, ValueError) and "parameter group" in str(error):
                raise ValueError(
                    f"load_path_or_dict: its optimizer has other parameter groups than this model's ({error}). To take "
                    "only the weights, of another algorithm such as A2C: "
                    'set_parameters({"policy": A2C.load(path).get_parameters()["policy"]}, exact_match=False)'
                ) from error
            if isinstance(error, LookupError | TypeError | AttributeError):
                raise UnreadableCheckpointError(
                    f"the optimizer's state or the weights do not fit this model ({type(error).__name__}: {error})"
                ) from error
            raise
        if statistics is not None and self.normalization is not None:
            self.normalization.take(statistics)

    def _check_rollout(self) -> None:
        difference = self._rollout_mismatch()
        if difference is not None:
            raise UnreadableCheckpointError(
                f"its unfinished rollout does not fit its settings and spaces: {difference}"
            )

    @abstractmethod
    def _rollout_mismatch(self) -> str | None:
        """Describe how the transitions in the buffer differ from those that the model collects, if they do."""

    @classmethod
    def _check_policy(cls, checkpoint: Checkpoint, path: Path) -> None:
        """Check that a saved policy is not that of another algorithm of this package."""
        policy = checkpoint.data.get("policy_class")
        if not (isinstance(policy, type) and issubclass(policy, SeparateNetworks)):
            return
        if not issubclass(policy, cls.policy_base):
            raise UnreadableCheckpointError(
                f"{path}: its policy is a {policy.__name__}, so {cls.__name__} did not save it: load it with the "
                "algorithm that did"
            )


def _saved_statistics(path: Path) -> RunningNormalization | None:
    """Read the statistics of a saved model that normalizes; other zips of weights have none."""
    try:
        saved = read_attributes(path, ["normalization"]).get("normalization")
    except UnreadableCheckpointError:
        # what else is in the file does not matter
        return None
    return saved if isinstance(saved, RunningNormalization) else None


def _forget_log_folder(checkpoint: Checkpoint, path: Path) -> None:
    """Remove the log folder from the settings: an untrusted file must not choose where ``learn`` writes."""
    folder = checkpoint.data.get("tensorboard_log")
    if folder is None:
        return
    checkpoint.data["tensorboard_log"] = None
    warnings.warn(
        f"{file_name(path)}: its tensorboard_log={printable(folder, MAX_MESSAGE)!r} is ignored, so that the file does "
        "not choose where learn() writes: pass tensorboard_log=... to load(), None for no logs",
        stacklevel=3,
    )
