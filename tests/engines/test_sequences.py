import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sb3_a2c_td.engines.sequences import split_into_sequences

ROWS = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=30)


def split_row_by_row(env: list[int], episode_starts: list[bool]) -> list[list[int]]:
    """Append each row to its environment's last sequence, or begin a new one."""
    found: list[list[int]] = []
    last: dict[int, list[int]] = {}
    for row, (number, starts) in enumerate(zip(env, episode_starts, strict=True)):
        if starts or number not in last:
            last[number] = []
            found.append(last[number])
        last[number].append(row)
    return found


@given(ROWS)
def test_sequences_match_a_split_row_by_row(batch: list[tuple[int, bool]]) -> None:
    env, episode_starts = [list(column) for column in zip(*batch, strict=True)]
    sequences = split_into_sequences(np.array(env), np.array(episode_starts))
    expected = split_row_by_row(env, episode_starts)
    n, length = len(env), max(map(len, expected))
    assert sequences.padded_rows.shape == (len(expected), length + 1)
    found = []
    for row in sequences.padded_rows.tolist():
        size = sum(number < n for number in row)
        # the rows, the observation after the last one, and padding
        assert row[size:] == [n + row[size - 1]] * (length + 1 - size)
        found.append(row[:size])
    assert sorted(found) == sorted(expected)
    assert sequences.first_rows.tolist() == [rows[0] for rows in found]
    assert sequences.padded_rows[sequences.sequence, sequences.step].tolist() == list(range(n))


def test_two_environments_of_which_one_ends_an_episode() -> None:
    """Each takes three steps; the first step of the second environment ends an episode."""
    sequences = split_into_sequences(np.array([0, 1, 0, 1, 0, 1]), np.array([False, False, False, True, False, False]))
    assert sequences.padded_rows.tolist() == [[0, 2, 4, 10], [1, 7, 7, 7], [3, 5, 11, 11]]
