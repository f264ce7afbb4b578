"""Random damage to saved models: an error, or the same model."""

import io
import zipfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_a2c_td import TDA2C, UnreadableCheckpointError, UntrustedCheckpointError
from sb3_a2c_td.saving import read_checkpoint
from tests.saving.models import ARCHIVE, SMALL, assert_same_model, assert_same_weights, load
from tests.saving.pickles import contents, pickle_of, with_pickle
from tests.saving.test_zips import central_headers


def headers(archive: bytes) -> list[int]:
    """List the bytes of a zip's headers; changing one of them changes nothing in about half of all cases."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        begins = [entry.header_offset for entry in opened.infolist()]
    local = [begin + i for begin in begins for i in range(60)]
    return local + list(range(central_headers(archive)[0], len(archive)))


PLACES = st.one_of(st.integers(0, len(ARCHIVE) - 1), st.sampled_from(headers(ARCHIVE)))
FLIPS = st.tuples(st.just("flip"), PLACES, st.integers(0, 7))
CUTS = st.tuples(st.just("cut"), PLACES, st.just(0))
REMOVALS = st.tuples(st.just("remove"), PLACES, st.integers(1, 100))
INSERTIONS = st.tuples(st.just("insert"), PLACES, st.binary(min_size=1, max_size=50))
DAMAGES = st.lists(st.one_of(FLIPS, FLIPS, FLIPS, CUTS, REMOVALS, INSERTIONS), min_size=1, max_size=2)


def damaged(content: bytes, damages: list[tuple[str, int, Any]]) -> bytes:
    changed = bytearray(content)
    for kind, place, how in damages:
        if kind == "flip" and place < len(changed):
            changed[place] ^= 1 << how
        elif kind == "cut":
            del changed[place:]
        elif kind == "remove":
            del changed[place : place + how]
        elif kind == "insert":
            changed[place:place] = how
    return bytes(changed)


def load_or_error(archive: bytes) -> TDA2C | ValueError:
    try:
        return load(archive)
    except ValueError as error:
        return error


@settings(max_examples=2 * settings.default.max_examples)
@given(DAMAGES)
def test_damage_to_a_zip_is_noticed(damages: list[tuple[str, int, Any]]) -> None:
    """Bits flipped, bytes removed and inserted: an error that names the file, or the same model."""
    result = load_or_error(damaged(ARCHIVE, damages))
    if isinstance(result, TDA2C):
        assert_same_model(result, SMALL)
    else:
        assert type(result) in (UnreadableCheckpointError, UntrustedCheckpointError)
        assert str(result).startswith("the file: ")


@given(st.sampled_from(["policy_class", "observation_space", "rollout_buffer", "lr_schedule", "_last_obs"]), st.data())
def test_damage_to_a_pickle_in_an_intact_zip_is_noticed(key: str, data: st.DataObject) -> None:
    """An error that names the file, or a model with the same weights."""
    changed = bytearray(pickle_of(ARCHIVE, key))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    result = load_or_error(with_pickle(ARCHIVE, key, bytes(changed)))
    if isinstance(result, TDA2C):
        assert_same_weights(result, SMALL)
    elif type(result) in (UnreadableCheckpointError, UntrustedCheckpointError):
        assert str(result).startswith("the file: ")
    else:
        # from SB3 or PyTorch, about a setting
        assert result.__notes__ == ["while the file was loaded"]


@pytest.mark.slow
def test_damage_to_each_byte_of_the_directory_is_noticed() -> None:
    """The directory at the end of a zip lists its entries."""
    begin = central_headers(ARCHIVE)[0]
    expected = contents(ARCHIVE)
    n_same = 0
    for place in range(begin, len(ARCHIVE)):
        changed = bytearray(ARCHIVE)
        changed[place] ^= 0xFF
        try:
            checkpoint = read_checkpoint(io.BytesIO(changed))
        except UnreadableCheckpointError:
            continue
        n_same += 1
        # a longer comment can hide the optional entries after it
        assert contents(checkpoint.file.getvalue()).items() <= expected.items()
    assert 0 < n_same < (len(ARCHIVE) - begin) / 2
