"""New files and folders never replace others, and leave nothing behind."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sb3_a2c_td.cli import outputs
from sb3_a2c_td.saving.locks import LockedError


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def names() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def test_a_new_file_has_a_name_that_no_other_file_has() -> None:
    Path("model.zip").touch()
    with outputs.new_file("model", ".zip") as path:
        path.write_text("content")
    assert str(path) == "model_2.zip"
    assert names() == ["model.zip", "model_2.zip"]


def test_what_is_written_next_to_a_new_file_replaces_nothing_either() -> None:
    Path("model.options.yaml").touch()
    with outputs.new_file("model", ".zip", companions=[".options.yaml"]) as path:
        assert str(path) == "model_2.zip"


def test_a_new_file_that_was_not_written_leaves_nothing() -> None:
    with pytest.raises(KeyboardInterrupt), outputs.new_file("model", ".zip"):
        raise KeyboardInterrupt
    assert names() == []


def test_commands_at_the_same_time_get_different_files() -> None:
    with outputs.new_file("model", ".zip") as first, outputs.new_file("model", ".zip") as second:
        assert [str(first), str(second)] == ["model.zip", "model_2.zip"]
        with pytest.raises(LockedError), outputs.replaced_file(Path("model.zip"), "--save"):
            pass
    assert names() == []


def test_a_file_that_another_command_writes_meanwhile_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def reserved_late(path: Path) -> Iterator[None]:
        Path("model.zip").touch()
        yield

    monkeypatch.setattr(outputs, "reserved", reserved_late)
    with outputs.new_file("model", ".zip") as path:
        assert str(path) == "model_2.zip"


def test_a_new_folder_is_not_one_that_another_command_makes_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("comparison").mkdir()
    # as if it were made right after a check
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert outputs.new_folder("comparison") == Path("comparison_2")
    assert Path("comparison_2").is_dir()


def test_missing_folders_are_made() -> None:
    assert outputs.writable_folder(Path("a/b"), "--save").is_dir()


def test_a_folder_that_cannot_be_written_to_is_an_error() -> None:
    Path("file").touch()
    with pytest.raises(ValueError, match=re.escape("--save file/a: this folder cannot be written to; name another")):
        outputs.writable_folder(Path("file/a"), "--save")


@pytest.mark.parametrize(
    ("env_id", "name"), [("CartPole-v1", "CartPole-v1"), ("package:ALE/Pong-v5", "package-ALE-Pong-v5")]
)
def test_the_name_of_an_environment_is_part_of_a_files_name(env_id: str, name: str) -> None:
    assert outputs.name_in_files(env_id) == name
