"""The unfinished rollout of a loaded model: its rows must be those of the algorithm and the spaces."""

import io
from typing import Any

import pytest

from sb3_a2c_td import TDA2C, UnreadableCheckpointError
from tests.saving.rollouts import CHANGES, MODELS, unfinished, with_rollout


def reloaded(model: TDA2C, rows: Any) -> TDA2C:
    return type(model).load(io.BytesIO(with_rollout(model, rows)), device="cpu")


@pytest.mark.parametrize("name", MODELS)
def test_an_intact_rollout_loads(name: str) -> None:
    model = unfinished(name)
    rows = model.rollout_buffer.transitions()
    assert len(reloaded(model, rows).rollout_buffer) == len(rows.rewards)


@pytest.mark.parametrize("name", CHANGES)
def test_rows_that_do_not_fit_are_refused(name: str) -> None:
    model_name, change, message = CHANGES[name]
    model = unfinished(model_name)
    with pytest.raises(UnreadableCheckpointError, match=f"its unfinished rollout does not fit.*{message}"):
        reloaded(model, change(model.rollout_buffer.transitions()))
