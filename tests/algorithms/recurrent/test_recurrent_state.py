"""The recurrent state of every transition, compared with a reference that takes one step at a time."""

from typing import Any

import numpy as np
import pytest
import torch as th

from sb3_a2c_td import RecurrentTDA2C
from sb3_a2c_td.engines.recurrent import RecurrentEngine
from sb3_a2c_td.rollout.transitions import RecurrentTransitions
from tests.algorithms.recurrent.models import SMALL, make_cartpoles, make_model, make_native_cartpoles


class StepByStep:
    """Computes V(s), V(s') and log π(a|s) of every transition in turn, with a recurrent state for each environment.

    The state of an environment starts at zero after the end of an episode, and after a reset of all environments.
    """

    def __init__(self, model: RecurrentTDA2C) -> None:
        self.policy = model.policy
        self.states: dict[int, Any] = {}
        self.n_rows = 0
        self.reset_at = -1

    def zeros(self) -> Any:
        n_layers, _, hidden_size = self.policy.lstm_hidden_state_shape
        return [tuple(th.zeros(n_layers, 1, hidden_size) for _ in range(2)) for _ in range(2)]

    @th.no_grad()
    def evaluate(self, batch: RecurrentTransitions[th.Tensor]) -> np.ndarray:
        found = []
        no_start = th.zeros(1)
        for i, env in enumerate(batch.env.tolist()):
            if self.n_rows == self.reset_at:
                self.states.clear()
            self.n_rows += 1
            actor, critic = self.states.get(env) or self.zeros()
            obs, next_obs = batch.observations[i : i + 1], batch.next_observations[i : i + 1]
            distribution, actor = self.policy.get_distribution(obs, actor, no_start)
            log_prob = distribution.log_prob(batch.actions[i : i + 1])
            value = self.policy.predict_values(obs, critic, no_start)
            _, critic = self.policy.lstm_critic(self.policy.vf_features_extractor(obs)[None], critic)
            next_value = self.policy.predict_values(next_obs, critic, no_start)
            self.states[env] = [actor, critic]
            if batch.terminated[i] or batch.truncated[i]:
                del self.states[env]
            found.append([value.item(), next_value.item(), log_prob.item()])
        return np.array(found)


class Comparing(RecurrentTDA2C):
    """Records for every rollout what the engine computes and what the reference does, instead of updating.

    The weights stay as they are, so that the reference may keep its recurrent states.
    """

    def train(self) -> None:
        batch = self.rollout_buffer.tensors(self.device)
        engine = RecurrentEngine(self.policy)
        with th.no_grad():
            values, next_values = engine._values(self.rollout_buffer, batch)
            log_prob, _ = engine._log_prob_and_entropy(batch, False)
        self.found.append(th.stack([values, next_values, log_prob], dim=1).numpy())
        self.expected.append(self.reference.evaluate(batch))
        self.n_ends += int((batch.terminated | batch.truncated).sum())
        self.rollout_buffer.reset()


@pytest.mark.parametrize(
    ("make_env", "n_steps", "update_on_episode_end", "n_lstm_layers"),
    [
        (make_cartpoles, 1, False, 1),
        (make_cartpoles, 5, True, 2),
        (make_cartpoles, 20, False, 2),
        (make_native_cartpoles, 5, True, 1),
        (make_native_cartpoles, 20, False, 2),
    ],
)
def test_batches_match_the_step_by_step_reference(
    make_env: Any, n_steps: int, update_on_episode_end: bool, n_lstm_layers: int
) -> None:
    """Wherever episodes end within a batch, and with autoreset steps in between."""
    model = Comparing(
        "MlpLstmPolicy",
        make_env(),
        n_steps=n_steps,
        update_on_episode_end=update_on_episode_end,
        policy_kwargs=SMALL | {"n_lstm_layers": n_lstm_layers, "ortho_init": True},
        seed=0,
        device="cpu",
    )
    model.found, model.expected, model.n_ends, model.reference = [], [], 0, StepByStep(model)
    model.learn(450)
    # the second call begins with a reset, after what is left of a rollout
    model.reference.reset_at = model.reference.n_rows + len(model.rollout_buffer)
    model.learn(300)
    assert model.n_ends > 20
    np.testing.assert_allclose(np.concatenate(model.found), np.concatenate(model.expected), rtol=0, atol=1e-5)


def test_an_episode_starts_with_a_recurrent_state_of_zero() -> None:
    model = make_model(make_cartpoles(), n_steps=50, update_on_episode_end=False).learn(120)
    rows = model.rollout_buffer.transitions()
    starts = rows.episode_starts
    assert starts.sum() > 3
    assert not rows.lstm_states[starts].any()
    assert rows.lstm_states[~starts].any(axis=(1, 2)).all()


def test_gradients_reach_the_beginning_of_the_rollout() -> None:
    """The last value of a batch depends on all observations of the batch."""
    model = make_model(make_cartpoles(1), n_steps=6, update_on_episode_end=False)
    model.learn(10)
    batch = model.rollout_buffer.tensors(model.device)
    assert len(batch.rewards) == 4
    assert not batch.episode_starts.any()
    batch.observations.requires_grad_(True)
    values, _ = RecurrentEngine(model.policy)._values(model.rollout_buffer, batch)
    values[-1].backward()
    assert batch.observations.grad.any(dim=1).all()
