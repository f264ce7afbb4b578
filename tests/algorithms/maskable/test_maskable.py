"""MaskableTDA2C through its public API: drawing actions, predicting, saving, and errors."""

from pathlib import Path

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.callbacks import MaskableEvalCallback
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_a2c_td import TDA2C, MaskableTDA2C, UnreadableCheckpointError
from sb3_a2c_td.export import ExportError, export_actor
from sb3_a2c_td.policies.maskable import MaskableMlpPolicy
from sb3_a2c_td.vec_env.action_masks import components
from tests.algorithms.maskable.models import (
    ACTION_SPACES,
    SPACES_AND_ENGINES,
    VECTOR,
    make_masked_env,
    make_model,
)
from tests.engines import MLP_ENGINES
from tests.saving.comparing import differences, everything

OBSERVATION_SPACES = {
    "MlpPolicy": VECTOR,
    "CnnPolicy": spaces.Box(0, 255, (36, 36, 1), np.uint8),
    "MultiInputPolicy": spaces.Dict({"a": VECTOR, "b": spaces.Discrete(3)}),
}


@pytest.mark.parametrize(("space", "engine"), SPACES_AND_ENGINES)
def test_none_of_100_000_actions_is_invalid(space: str, engine: str) -> None:
    """Even where the policy prefers the invalid actions by far."""
    action_space = ACTION_SPACES[space]
    model = make_model(make_masked_env(action_space), engine=engine)
    n_choices = components(action_space)
    firsts = np.cumsum([0, *n_choices[:-1]])
    with th.no_grad():
        # the first choice of every component
        model.policy.action_net.bias[firsts] = 20.0
    rng = np.random.default_rng(0)
    for _ in range(250):
        masks = rng.random((400, sum(n_choices))) < 0.5
        masks[:, firsts] = False
        masks[:, firsts + 1] = True
        actions = model._current_engine.act(rng.normal(size=(400, 3)).astype(np.float32), model._streams, masks)
        assert np.take_along_axis(masks, firsts + actions.reshape(400, -1), axis=1).all()


def test_actions_follow_the_masked_policy() -> None:
    model = make_model(make_masked_env(spaces.Discrete(4)))
    observation, mask = np.zeros((1, 3), np.float32), np.array([[True, False, True, True]])
    with th.no_grad():
        logits = model.policy.get_distribution(th.as_tensor(observation)).distribution.logits[0].numpy()
    expected = np.exp(logits) * mask[0] / (np.exp(logits) * mask[0]).sum()
    engine = model._current_engine
    actions = engine.act(np.tile(observation, (40_000, 1)), model._streams, np.tile(mask, (40_000, 1)))
    np.testing.assert_allclose(np.bincount(actions, minlength=4) / 40_000, expected, atol=0.015)


@pytest.mark.parametrize(
    ("space", "policy"),
    [*((space, "MlpPolicy") for space in ACTION_SPACES), ("discrete", "CnnPolicy"), ("discrete", "MultiInputPolicy")],
)
def test_training_takes_valid_actions_only(space: str, policy: str) -> None:
    """The environment refuses all others."""
    env = make_masked_env(ACTION_SPACES[space], observation_space=OBSERVATION_SPACES[policy])
    assert make_model(env, policy, n_steps=4).learn(60)._n_updates == 5


def test_predict_takes_masks() -> None:
    model = make_model(make_masked_env(spaces.Discrete(5)))
    for allowed in range(5):
        action, state = model.predict(np.zeros(3, np.float32), action_masks=np.arange(5) == allowed)
        assert (int(action), state) == (allowed, None)


def test_predictions_are_equal_after_loading(tmp_path: Path) -> None:
    model = make_model(make_masked_env(spaces.Discrete(5))).learn(300)
    model.save(tmp_path / "model")
    loaded = MaskableTDA2C.load(tmp_path / "model", device="cpu")
    rng = np.random.default_rng(0)
    observations, masks = rng.normal(size=(50, 3)).astype(np.float32), rng.random((50, 5)) < 0.5
    masks[:, 0] = True
    predictions = [m.predict(observations, deterministic=True, action_masks=masks)[0] for m in (model, loaded)]
    np.testing.assert_array_equal(*predictions)


def test_sb3_contribs_evaluation_callback_passes_masks() -> None:
    """The environment refuses invalid actions."""
    env = make_masked_env(spaces.Discrete(5))
    callback = MaskableEvalCallback(env, eval_freq=50, n_eval_episodes=3, verbose=0)
    make_model(make_masked_env(spaces.Discrete(5))).learn(300, callback)
    assert callback.n_calls == 100
    assert callback.best_mean_reward >= callback.last_mean_reward > -np.inf


def test_an_evaluation_without_masks_warns_once() -> None:
    """SB3's ``EvalCallback`` does not pass masks. A single prediction without masks is the user's choice."""
    evaluation = EvalCallback(make_masked_env(spaces.Discrete(5), takes_all=True), eval_freq=20, verbose=0)
    model = make_model(make_masked_env(spaces.Discrete(5)))
    with pytest.warns(UserWarning, match=r"without action masks.*maskable\.callbacks\.MaskableEvalCallback") as record:
        model.learn(300, evaluation)
    assert (evaluation.n_calls, len(record)) == (100, 1)
    # another warning would be an error
    evaluate_policy(model, evaluation.eval_env)
    make_model(make_masked_env(spaces.Discrete(5))).predict(np.zeros(3, np.float32))


@pytest.mark.parametrize("engine", MLP_ENGINES)
def test_a_resumed_training_is_the_uninterrupted_one(engine: str, tmp_path: Path) -> None:
    """Bit for bit, from the middle of a rollout, whose transitions and masks are saved."""

    def make() -> MaskableTDA2C:
        return make_model(make_masked_env(spaces.Discrete(5), takes_all=True), n_steps=7, engine=engine)

    expected = everything(make().learn(600))
    make().learn(285).save(tmp_path / "model")
    model = MaskableTDA2C.resume(tmp_path / "model", make().env, device="cpu")
    assert len(model.rollout_buffer) == 285 % 21
    found = everything(model.learn(600 - 285, reset_num_timesteps=False))
    assert differences(found, expected) == []


# Errors


def test_unsupported_arguments_are_errors() -> None:
    with pytest.raises(ValueError, match=r"action_space=Box.*: continuous actions cannot be masked; use TDA2C"):
        make_model("Pendulum-v1")
    with pytest.raises(ValueError, match="use_sde=True"):
        MaskableMlpPolicy(VECTOR, spaces.Discrete(5), lambda _: 1e-3, use_sde=True)


def test_policies_of_other_algorithms_are_errors() -> None:
    with pytest.raises(ValueError, match="policy=MlpPolicy is for another algorithm: MaskableTDA2C takes MaskableMlp"):
        make_model(make_masked_env(spaces.Discrete(5)), TDA2C.policy_aliases["MlpPolicy"])
    with pytest.raises(ValueError, match="policy=MaskableMlpPolicy is for another algorithm: TDA2C takes MlpPolicy"):
        TDA2C(MaskableMlpPolicy, "CartPole-v1")
    with pytest.raises(ValueError, match=r"class \w+\(SeparateMaskablePolicy, MaskableActorCriticPolicy\)"):
        make_model(make_masked_env(spaces.Discrete(5)), MaskablePPO.policy_aliases["MlpPolicy"])


def test_models_of_other_algorithms_are_not_loaded(tmp_path: Path) -> None:
    make_model(make_masked_env(spaces.Discrete(5))).save(tmp_path / "masked")
    TDA2C("MlpPolicy", "CartPole-v1", device="cpu").save(tmp_path / "plain")
    with pytest.raises(UnreadableCheckpointError, match="its policy is a MaskableMlpPolicy, so TDA2C did not save it"):
        TDA2C.load(tmp_path / "masked")
    with pytest.raises(UnreadableCheckpointError, match="its policy is a MlpPolicy, so MaskableTDA2C did not save it"):
        MaskableTDA2C.load(tmp_path / "plain")


def test_masked_actors_are_not_exported(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="policy=MaskableMlpPolicy"):
        export_actor(make_model(make_masked_env(spaces.Discrete(5))), tmp_path / "actor.onnx")
