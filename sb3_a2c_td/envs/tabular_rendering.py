"""Rendering of a finite MDP's state as text and as a picture."""

import math

import numpy as np
import numpy.typing as npt

from sb3_a2c_td.tabular.mdp import TabularMDP

MAX_COLUMNS = 25
CELL_SIZE = 24
"""pixels per side of a cell"""
BACKGROUND_COLOR, STATE_COLOR, TERMINAL_COLOR = (255, 255, 255), (214, 220, 228), (96, 104, 116)
MARK_COLOR = (226, 112, 32)


def text(mdp: TabularMDP, state: int) -> str:
    """Describe a state in a line of text.

    :param mdp: the MDP
    :param state: index of the state
    :return: the index, and whether the state is terminal
    """
    return f"state {state} of 0 to {mdp.n_states - 1}{', terminal' if mdp.terminal[state] else ''}"


def picture(mdp: TabularMDP, state: int) -> npt.NDArray[np.uint8]:
    """Draw all states as cells, up to 25 per row. Terminal states are dark, and the current state has a mark.

    :param mdp: the MDP
    :param state: index of the current state
    :return: RGB, ``(height, width, 3)``, 24 x 24 pixels per cell
    """
    columns = min(mdp.n_states, MAX_COLUMNS)
    rows = math.ceil(mdp.n_states / columns)
    image = np.full((rows, CELL_SIZE, columns, CELL_SIZE, 3), BACKGROUND_COLOR, np.uint8)
    for s in range(mdp.n_states):
        cell = image[s // columns, :, s % columns]
        cell[1:-1, 1:-1] = TERMINAL_COLOR if mdp.terminal[s] else STATE_COLOR
        if s == state:
            cell[6:-6, 6:-6] = MARK_COLOR
    return image.reshape(rows * CELL_SIZE, columns * CELL_SIZE, 3)
