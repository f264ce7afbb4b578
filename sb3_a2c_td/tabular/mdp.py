"""Finite Markov decision processes as arrays."""

from dataclasses import dataclass, fields
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from sb3_a2c_td.arguments import check_number

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

SUM_TOLERANCE = 1e-8
"""largest valid deviation of a distribution's sum from one"""


@dataclass(frozen=True, eq=False)
class TabularMDP:
    r"""A Markov decision process of S states and A actions (Sutton & Barto, 2018, chapter 3).

    An episode ends on entering a terminal state. Terminal states must be absorbing, :math:`P(s|s,a) = 1`, must have
    zero reward, :math:`R(s,a) = 0`, and no episode may start in one.

    All arrays are copied and made read-only.

    :param transitions: :math:`P(s'|s,a)`, float64 ``(S, A, S)``
    :param rewards: expected rewards :math:`R(s,a)`, float64 ``(S, A)``
    :param initial: distribution of the first state, float64 ``(S,)``
    :param terminal: whether a state ends the episode, bool ``(S,)``
    :param gamma: discount factor :math:`\gamma` in [0, 1]; with 1, values exist only for policies under which episodes
        end with probability one
    :param transition_rewards: rewards :math:`r(s,a,s')` that depend on the next state too, float64 ``(S, A, S)``, with
        :math:`R(s,a) = \sum_{s'} P(s'|s,a)\, r(s,a,s')`; environments pay these, exact solutions need only R
    :raises ValueError: if an argument is invalid; the message names it and a solution
    """

    transitions: FloatArray
    rewards: FloatArray
    initial: FloatArray
    terminal: BoolArray
    gamma: float
    transition_rewards: FloatArray | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "gamma" and (field.name != "transition_rewards" or value is not None):
                object.__setattr__(self, field.name, _frozen_copy(field.name, value))
        check_number("gamma", self.gamma, low=0.0, high=1.0)
        object.__setattr__(self, "gamma", float(self.gamma))
        self._check_shapes()
        check_distributions("transitions", self.transitions)
        check_distributions("initial", self.initial)
        self._check_terminal_states()
        self._check_transition_rewards()

    @property
    def n_states(self) -> int:
        """Number of states S, including terminal ones."""
        return len(self.terminal)

    @property
    def n_actions(self) -> int:
        """Number of actions A."""
        return int(self.rewards.shape[1])

    @classmethod
    def from_toy_text(cls, env: gym.Env[Any, Any], gamma: float = 0.99) -> "TabularMDP":
        r"""Build an MDP from the tables of FrozenLake, CliffWalking or Taxi.

        States keep their indices. A state becomes terminal if every transition into it ends the episode. In Taxi some
        states are entered both with and without ending the episode; there the transitions that end it lead to an
        additional last state. If transitions between the same two states have different rewards (next to the slippery
        cliff), ``transition_rewards`` has their mean.

        :param env: one of Gymnasium's toy_text environments. Wrappers are ignored: what they change about rewards,
            actions or time limits is not in the tables
        :param gamma: discount factor :math:`\gamma`; the default is TDA2C's
        :raises ValueError: if the environment has no tables ``P`` and ``initial_state_distrib``, or if it is Taxi with
            ``fickle_passenger=True``, whose steps do not follow its table
        """
        tables = env.unwrapped
        if not hasattr(tables, "P") or not hasattr(tables, "initial_state_distrib"):
            raise ValueError(
                f"env={env} has no tables P and initial_state_distrib: use FrozenLake, CliffWalking or Taxi, or pass "
                "the arrays to TabularMDP"
            )
        if getattr(tables, "fickle_passenger", False):
            raise ValueError(
                f"env={env} has fickle_passenger=True: its step draws new destinations that are not in its table P; "
                "use fickle_passenger=False"
            )
        n_states, n_actions = len(tables.P), len(tables.P[0])
        outcomes = np.array(
            [
                (s, a, next_state, probability, reward, ended)
                for s in range(n_states)
                for a in range(n_actions)
                for probability, next_state, reward, ended in tables.P[s][a]
            ],
            dtype=np.float64,
        )
        s, a, next_state = outcomes[:, :3].T.astype(int)
        probability, reward = outcomes[:, 3:5].T
        ended = outcomes[:, 5] == 1

        initial = np.asarray(tables.initial_state_distrib, np.float64)
        entered_at_end, entered_otherwise = np.zeros((2, n_states), bool)
        entered_at_end[next_state[ended]] = True
        entered_otherwise[next_state[~ended]] = True
        entered_otherwise |= initial > 0
        if (entered_at_end & entered_otherwise).any():
            # an additional terminal state, with the index n_states
            next_state[ended & entered_otherwise[next_state]] = n_states
            initial = np.append(initial, 0.0)
            entered_at_end = np.append(entered_at_end, True)
            entered_otherwise = np.append(entered_otherwise, False)
        terminal = entered_at_end & ~entered_otherwise

        shape = (len(terminal), n_actions, len(terminal))
        transitions, weighted_rewards = np.zeros((2, *shape))
        # several outcomes of an action may have the same next state
        np.add.at(transitions, (s, a, next_state), probability)
        np.add.at(weighted_rewards, (s, a, next_state), probability * reward)
        transitions[terminal] = 0.0
        transitions[terminal, :, terminal] = 1.0
        weighted_rewards[terminal] = 0.0
        transition_rewards = np.divide(weighted_rewards, transitions, out=np.zeros(shape), where=transitions > 0)
        return cls(transitions, weighted_rewards.sum(axis=2), initial, terminal, gamma, transition_rewards)

    def _check_shapes(self) -> None:
        if self.transitions.ndim != 3 or 0 in self.transitions.shape:
            raise ValueError(f"transitions must have the shape (S, A, S), got {self.transitions.shape}")
        n_states, n_actions = self.transitions.shape[:2]
        shapes = {
            "transitions": (n_states, n_actions, n_states),
            "rewards": (n_states, n_actions),
            "initial": (n_states,),
            "terminal": (n_states,),
            "transition_rewards": (n_states, n_actions, n_states),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(
                    f"{name} must have the shape {shape} to match transitions of shape {self.transitions.shape}, got "
                    f"{array.shape}"
                )

    def _check_terminal_states(self) -> None:
        states = np.flatnonzero(self.terminal)
        leaving = states[(self.transitions[states, :, states] != 1.0).any(axis=1)]
        if len(leaving):
            raise ValueError(
                f"transitions: the terminal state {leaving[0]} must be absorbing, got {self.transitions[leaving[0]]}; "
                "set transitions[terminal] = 0, then transitions[terminal, :, terminal] = 1"
            )
        paying = states[self.rewards[states].any(axis=1)]
        if len(paying):
            raise ValueError(
                f"rewards: the terminal state {paying[0]} must have the reward 0, got {self.rewards[paying[0]]}; put "
                "the reward on the transitions into it"
            )
        starting = states[self.initial[states] > 0]
        if len(starting):
            raise ValueError(
                f"initial: no episode may start in the terminal state {starting[0]}, got the probability "
                f"{self.initial[starting[0]]}; set it to 0 and normalize the other probabilities"
            )

    def _check_transition_rewards(self) -> None:
        if self.transition_rewards is None:
            return
        expected = expected_rewards(self.transitions, self.transition_rewards)
        possible = np.where(self.transitions > 0, np.abs(self.transition_rewards), 0.0)
        rounding = 1e-8 * np.maximum(possible.max(axis=2), 1.0)
        error = np.abs(expected - self.rewards) - rounding
        s, a = np.unravel_index(error.argmax(), error.shape)
        if error[s, a] > 0:
            raise ValueError(
                f"rewards: state {s}, action {a} has {self.rewards[s, a]}, but the mean of transition_rewards is "
                f"{expected[s, a]}; use expected_rewards(transitions, transition_rewards)"
            )


def expected_rewards(transitions: FloatArray, transition_rewards: FloatArray) -> FloatArray:
    r"""Compute :math:`R(s,a) = \sum_{s'} P(s'|s,a)\, r(s,a,s')` (Sutton & Barto, eq. 3.5).

    :param transitions: :math:`P(s'|s,a)`, ``(S, A, S)``
    :param transition_rewards: :math:`r(s,a,s')`, ``(S, A, S)``
    :return: ``(S, A)``
    """
    rewards: FloatArray = np.einsum("ijk,ijk->ij", transitions, transition_rewards)
    return rewards


def _frozen_copy(name: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    try:
        array = np.array(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array, got {value!r}") from error
    if name == "terminal":
        if array.dtype != np.bool_:
            raise ValueError(f"terminal must be an array of bool, got the dtype {array.dtype}; use array.astype(bool)")
    else:
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{name} must be an array of floats, got {value!r}")
        array = array.astype(np.float64)
        if not np.isfinite(array).all():
            index = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
            raise ValueError(f"{name} must be finite, got {array[index]} at {index}")
    array.flags.writeable = False
    return array


def check_distributions(name: str, array: FloatArray) -> None:
    """Check that the last axis has probabilities that sum to one.

    :param name: name of the argument, for the error
    :param array: the probabilities
    :raises ValueError: if one is negative or NaN, or if they do not sum to one
    """
    if not (array >= 0).all():
        index = tuple(np.argwhere(~(array >= 0))[0].tolist())
        raise ValueError(f"{name} must not be negative, got {array[index]} at {index}")
    sums = array.sum(axis=-1)
    wrong = np.argwhere(np.abs(sums - 1.0) > SUM_TOLERANCE)
    if len(wrong):
        index = tuple(wrong[0].tolist())
        where = f" at {index}" if index else ""
        raise ValueError(
            f"{name} must sum to one over the last axis, got {sums[index]}{where}; convert to float64, then divide by "
            "the sum"
        )
