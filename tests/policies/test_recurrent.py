from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from sb3_a2c_td.policies.recurrent import MlpLstmPolicy


def make_policy(**kwargs: Any) -> MlpLstmPolicy:
    kwargs = {"lstm_hidden_size": 8, "net_arch": [8]} | kwargs
    return MlpLstmPolicy(spaces.Box(-1, 1, (4,)), spaces.Discrete(2), lambda _: 1e-3, **kwargs)


def test_lstms_are_initialized_like_keras() -> None:
    """Orthogonal recurrent weights; biases of 1 for the forget gates, the second of four, and of 0 for the others."""
    policy = make_policy(n_lstm_layers=2)
    for lstm in (policy.lstm_actor, policy.lstm_critic):
        for layer in range(2):
            gates = [getattr(lstm, f"{name}_l{layer}").detach() for name in ("bias_ih", "bias_hh")]
            np.testing.assert_array_equal(sum(gates).reshape(4, 8), np.repeat([[0.0], [1.0], [0.0], [0.0]], 8, axis=1))
            recurrent = getattr(lstm, f"weight_hh_l{layer}").detach()
            np.testing.assert_allclose(recurrent.T @ recurrent, np.eye(8), atol=1e-5)
    assert not make_policy(enable_critic_lstm=False).critic.bias.any()


def test_ortho_init_keeps_pytorchs_initialization_of_lstms() -> None:
    assert make_policy(ortho_init=True).lstm_actor.bias_ih_l0.detach().unique().numel() > 20


@pytest.mark.parametrize("n_layers", [1, 2])
def test_packed_states_hold_each_environments_hidden_and_cell_states(n_layers: int) -> None:
    policy = make_policy(n_lstm_layers=n_layers)
    assert policy.packed_states_shape == (4 * n_layers, 8)
    packed = th.arange(3 * 4 * n_layers * 8.0).reshape(3, 4 * n_layers, 8)
    states = policy.unpack_states(packed)
    for i, state in enumerate((*states.pi, *states.vf)):
        assert state.shape == (n_layers, 3, 8)
        for layer in range(n_layers):
            np.testing.assert_array_equal(state[layer], packed[:, i * n_layers + layer])
    np.testing.assert_array_equal(policy.pack_states(states), packed)


def test_a_loaded_policy_has_the_lstms_of_the_saved_one(tmp_path: Path) -> None:
    policy = make_policy(n_lstm_layers=2, lstm_kwargs={"dropout": 0.1, "bias": False}).eval()
    policy.save(tmp_path / "policy")
    loaded = MlpLstmPolicy.load(tmp_path / "policy", device="cpu").eval()
    assert (loaded.lstm_actor.dropout, loaded.lstm_critic.bias) == (0.1, False)
    observations, states = th.rand(3, 4), policy.unpack_states(th.rand(3, *policy.packed_states_shape))
    values = [each.predict_values(observations, states.vf, th.zeros(3)) for each in (policy, loaded)]
    assert th.equal(*values)


def test_shared_lstms_are_errors() -> None:
    with pytest.raises(ValueError, match="shared_lstm=True: the actor and the critic must not share"):
        make_policy(shared_lstm=True)


def test_other_arguments_of_lstms_are_errors() -> None:
    with pytest.raises(ValueError, match=r"lstm_kwargs=.*only bias and dropout are supported, not \['proj_size'\]"):
        make_policy(lstm_kwargs={"proj_size": 8})
