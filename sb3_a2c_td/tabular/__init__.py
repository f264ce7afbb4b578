"""Finite MDPs, their exact solutions, stochastic approximation, and diagnostics of TDA2C on them."""

from sb3_a2c_td.tabular.diagnostics import TabularDiagnosticsCallback
from sb3_a2c_td.tabular.exact import (
    action_values,
    objective,
    optimal_policy,
    policy_gradient,
    state_values,
    transition_matrix,
    visitation,
)
from sb3_a2c_td.tabular.mdp import TabularMDP
from sb3_a2c_td.tabular.problems import chain, garnet, random_walk
from sb3_a2c_td.tabular.stochastic_approximation import q_learning, robbins_monro, td0

__all__ = [
    "TabularDiagnosticsCallback",
    "TabularMDP",
    "action_values",
    "chain",
    "garnet",
    "objective",
    "optimal_policy",
    "policy_gradient",
    "q_learning",
    "random_walk",
    "robbins_monro",
    "state_values",
    "td0",
    "transition_matrix",
    "visitation",
]
