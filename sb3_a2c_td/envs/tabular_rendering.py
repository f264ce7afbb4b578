"""A state of a finite MDP as a line of text and as a picture."""

import numpy as np
import numpy.typing as npt

from sb3_a2c_td.tabular.mdp import TabularMDP

COLUMNS = 25
CELL = 24
"""pixels"""
BACKGROUND, ORDINARY, TERMINAL, CURRENT = (255, 255, 255), (214, 220, 228), (96, 104, 116), (226, 112, 32)


def text(mdp: TabularMDP, state: int) -> str:
    """Name the state, and say whether the episode ends there."""
    return f"state {state} of 0 to {mdp.n_states - 1}{', terminal' if mdp.terminal[state] else ''}"


def picture(mdp: TabularMDP, state: int) -> npt.NDArray[np.uint8]:
    """Draw all states as squares, row by row, 25 to a row: terminal ones dark, a mark in the current one.

    :return: RGB, ``(height, width, 3)``, 24 pixels a square
    """
    columns = min(mdp.n_states, COLUMNS)
    rows = -(-mdp.n_states // columns)
    image = np.full((rows, CELL, columns, CELL, 3), BACKGROUND, np.uint8)
    for s in range(mdp.n_states):
        square = image[s // columns, :, s % columns]
        square[1:-1, 1:-1] = TERMINAL if mdp.terminal[s] else ORDINARY
        if s == state:
            square[6:-6, 6:-6] = CURRENT
    return image.reshape(rows * CELL, columns * CELL, 3)
