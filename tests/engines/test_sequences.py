import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sb3_a2c_td.engines.sequences import sequences

ROWS = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=30)


def cut_row_by_row(env: list[int], episode_starts: list[bool]) -> list[list[int]]:
    """Append each row to its environment's last sequence, or begin one with it."""
    found: list[list[int]] = []
    last: dict[int, list[int]] = {}
    for row, (number, starts) in enumerate(zip(env, episode_starts, strict=True)):
        if starts or number not in last:
            last[number] = []
            found.append(last[number])
        last[number].append(row)
    return found


@given(ROWS)
def test_rows_are_in_sequences_of_one_environment_and_episode(batch: list[tuple[int, bool]]) -> None:
    env, episode_starts = [list(column) for column in zip(*batch, strict=True)]
    cut = sequences(np.array(env), np.array(episode_starts))
    expected = cut_row_by_row(env, episode_starts)
    n, length = len(env), max(map(len, expected))
    assert cut.rows.shape == (len(expected), length + 1)
    found = []
    for row in cut.rows.tolist():
        size = sum(number < n for number in row)
        # the states, the one behind the last, and padding
        assert row[size:] == [n + row[size - 1]] * (length + 1 - size)
        found.append(row[:size])
    assert sorted(found) == sorted(expected)
    assert cut.firsts.tolist() == [rows[0] for rows in found]
    assert cut.rows[cut.sequence, cut.step].tolist() == list(range(n))


def test_an_example() -> None:
    """Two environments take three steps; an episode of the second one ends with its first."""
    cut = sequences(np.array([0, 1, 0, 1, 0, 1]), np.array([False, False, False, True, False, False]))
    assert cut.rows.tolist() == [[0, 2, 4, 10], [1, 7, 7, 7], [3, 5, 11, 11]]
