"""SIGKILL and SIGTERM while models are saved or trained lose nothing."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.saving import killed

pytestmark = pytest.mark.slow


def run(what: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.saving.killed", what, "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_kills_lose_no_saved_model() -> None:
    counts = run("saves")
    assert counts["kills"] == counts["whole"] == killed.N_KILLS_OF_SAVES
    assert counts["lost"] == 0
    # many processes were killed in the middle of writing, and each save removed the file of the one before
    assert counts["unfinished files"] > 5
    assert counts["most unfinished files"] == 1


def test_the_same_kills_lose_models_of_a2c() -> None:
    """So the test above can fail."""
    assert run("saves of A2C")["lost"] > 0


@pytest.mark.parametrize("what", ["cartpole", "pendulum", "cartpole, SIGTERM"])
def test_a_killed_and_rerun_training_ends_like_an_undisturbed_one(what: str) -> None:
    counts = run(what)
    # a machine that becomes faster meanwhile ends the training before the last kills
    assert counts["kills"] > killed.N_KILLS_OF_TRAINING / 2
    assert counts["differences"] == []
    # most of the kills came after a save, or caused one
    steps = counts["steps when killed"]
    assert steps == sorted(steps)
    assert len(set(steps)) > 5
