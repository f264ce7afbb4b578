import numpy as np
import pytest

from sb3_a2c_td.rollout.observations import map_arrays, named_arrays, paired_arrays, select_rows

ARRAY = np.arange(6).reshape(3, 2)


def test_an_array_is_one_unnamed_observation() -> None:
    assert map_arrays(np.add, ARRAY, ARRAY).tolist() == (2 * ARRAY).tolist()
    assert [name for name, _ in named_arrays("observation", ARRAY)] == ["observation"]
    ((first, second),) = paired_arrays(ARRAY, -ARRAY)
    assert first is ARRAY
    assert second.tolist() == (-ARRAY).tolist()


def test_arrays_of_a_dict_are_matched_by_key() -> None:
    first, second = {"a": ARRAY, "b": 10 * ARRAY}, {"b": -ARRAY, "a": ARRAY, "unused": None}
    sums = map_arrays(np.add, first, second)
    assert {key: array.tolist() for key, array in sums.items()} == {
        "a": (2 * ARRAY).tolist(),
        "b": (9 * ARRAY).tolist(),
    }
    assert dict(named_arrays("observation", first)).keys() == {"observation['a']", "observation['b']"}
    assert [(int(a.sum()), int(b.sum())) for a, b in paired_arrays(first, second)] == [(15, 15), (150, -15)]


@pytest.mark.parametrize("index", [1, slice(2), np.array([2, 0])])
def test_select_rows_indexes_each_array(index: object) -> None:
    selected = select_rows({"a": ARRAY, "b": -ARRAY}, index)
    assert selected["a"].tolist() == select_rows(ARRAY, index).tolist() == ARRAY[index].tolist()
    assert selected["b"].tolist() == (-ARRAY[index]).tolist()
