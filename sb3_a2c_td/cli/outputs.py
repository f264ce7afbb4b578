"""Where commands write their files."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile

from sb3_a2c_td.saving import atomic
from sb3_a2c_td.saving.locks import LockedError, reserved


def name_in_files(env_id: str) -> str:
    """Return an environment's name as a part of a file's name.

    :param env_id: the environment's name
    :return: the name without characters that separate folders or modules
    """
    return env_id.replace("/", "-").replace(":", "-")


@contextmanager
def new_file(stem: str, suffix: str, folder: Path = Path(), companions: Sequence[str] = ()) -> Iterator[Path]:
    """Reserve the name of a new file while the context lasts, also against commands that run at the same time.

    :param stem: the file's name; a number is appended if a file of this name exists
    :param suffix: what follows the number
    :param folder: the folder of the file
    :param companions: suffixes of what is written next to it, which does not exist yet either
    :return: the file, which does not exist yet
    :raises OSError: if the folder is not writable
    """
    with ExitStack() as reservation:
        yield _reserve_new(folder / stem, suffix, companions, reservation)


def _reserve_new(stem: Path, suffix: str, companions: Sequence[str], reservation: ExitStack) -> Path:
    for path in _numbered(stem, suffix):
        if path.exists() or any(path.with_suffix(companion).exists() for companion in companions):
            continue
        atomic.check_writable(path)
        with suppress(LockedError):
            reservation.enter_context(reserved(path))
            # the command that had reserved it may have written it meanwhile
            if not path.exists():
                return path
    raise AssertionError("numbers do not end")


@contextmanager
def replaced_file(path: Path, option: str) -> Iterator[Path]:
    """Check that a file can be written, and reserve its name while the context lasts.

    :param path: the file, which may exist
    :param option: the option that named it, for the error
    :return: the file
    :raises ValueError: if the file is not writable
    :raises LockedError: if another process writes it
    """
    writable_folder(path.parent, option)
    try:
        atomic.check_writable(path)
    except OSError as error:
        raise ValueError(f"{option} {path} cannot be written: {error}") from error
    with reserved(path):
        yield path


def new_folder(stem: str) -> Path:
    """Make a new folder, whose name no other command can take.

    :param stem: the folder's name; a number is appended if it exists
    :return: the folder
    :raises OSError: if the current folder is not writable
    """
    for path in _numbered(Path(stem), ""):
        with suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("numbers do not end")


def _numbered(stem: Path, suffix: str) -> Iterator[Path]:
    yield stem.with_name(f"{stem.name}{suffix}")
    for number in count(2):
        yield stem.with_name(f"{stem.name}_{number}{suffix}")


def writable_folder(folder: Path, option: str) -> Path:
    """Make a folder, unless it exists.

    :param folder: the folder
    :param option: the option that named it, for the error
    :return: the folder
    :raises ValueError: if the folder is not writable
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # permissions do not tell, for root, say
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(f"{option} {folder}: this folder cannot be written to; name another one") from error
    return folder
