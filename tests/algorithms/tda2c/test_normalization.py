"""Models that normalize observations and rewards themselves, and models that were trained in ``VecNormalize``."""

import copy
import io
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback, EveryNTimesteps
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan, VecEnv, VecFrameStack, VecNormalize

from sb3_a2c_td import TDA2C, MaskableTDA2C, RecurrentTDA2C, train_resumably
from sb3_a2c_td.saving import restricted_loads
from sb3_a2c_td.vec_env.normalization import RunningNormalization
from tests.algorithms.comparing import assert_same_parameters
from tests.environments import DictCountingEnv, MaskedEnv, NextStepVectorEnv, RandomEnv, RandomEpisodesEnv
from tests.saving.comparing import differences, everything

BOTH = {"normalize_observations": True, "normalize_rewards": True}
FAR = spaces.Box(np.array([100, -0.1], np.float32), np.array([120, 0.1], np.float32))
IMAGE = spaces.Box(0, 255, (36, 36, 1), np.uint8)
MIXED = spaces.Dict({"far": FAR, "number": spaces.Discrete(3), "image": IMAGE})


def far(n_envs: int = 1, seed: int = 0) -> VecEnv:
    """Return environments in which a policy acts otherwise on observations that are not normalized."""
    return make_vec_env(lambda: RandomEpisodesEnv(FAR, spaces.Discrete(3), 0.05), n_envs, seed=seed)


def predicted(model: TDA2C, observations: Any) -> list[int]:
    return model.predict(observations, deterministic=True)[0].tolist()


def statistics_of(model: TDA2C) -> list[dict[str, Any]]:
    return [vars(rms) for rms in (*model.normalization.obs_rms.values(), model.normalization.ret_rms)]


def trained(env: VecEnv, **kwargs: Any) -> TDA2C:
    return TDA2C("MlpPolicy", env, seed=0, device="cpu", **kwargs).learn(300)


OBSERVATIONS = np.linspace(FAR.low, FAR.high, 40).astype(np.float32)

TRAININGS: dict[str, tuple[type[TDA2C], str, Callable[[], VecEnv], dict[str, Any], dict[str, Any]]] = {
    "discrete": (TDA2C, "MlpPolicy", lambda: make_vec_env("CartPole-v1", 2, seed=0), BOTH, {}),
    "continuous": (
        TDA2C,
        "MlpPolicy",
        lambda: make_vec_env("Pendulum-v1", seed=0),
        {"normalize_observations": True, "gamma": 0.9},
        {"norm_reward": False},
    ),
    "rewards": (
        TDA2C,
        "MlpPolicy",
        lambda: make_vec_env("Pendulum-v1", 2, seed=0),
        {"normalize_rewards": True, "gamma": 0.9},
        {"norm_obs": False},
    ),
    "dict": (TDA2C, "MultiInputPolicy", lambda: make_vec_env(lambda: DictCountingEnv(7), 2, seed=0), BOTH, {}),
    "mixed dict": (
        TDA2C,
        "MultiInputPolicy",
        lambda: make_vec_env(lambda: RandomEpisodesEnv(MIXED, spaces.Discrete(2)), 2, seed=0),
        BOTH,
        {"norm_obs_keys": ["far"]},
    ),
    "masked": (
        MaskableTDA2C,
        "MlpPolicy",
        lambda: make_vec_env(lambda: MaskedEnv(FAR, spaces.Discrete(4)), 2, seed=0),
        BOTH,
        {},
    ),
    "recurrent": (RecurrentTDA2C, "MlpLstmPolicy", lambda: make_vec_env("CartPole-v1", 2, seed=0), BOTH, {}),
}


@pytest.mark.parametrize("training", TRAININGS)
def test_training_equals_training_in_vec_normalize(training: str) -> None:
    algorithm, policy, make_env, settings, normalize = TRAININGS[training]
    gamma = settings.get("gamma", 0.99)
    # convolutions are slow
    n_steps = 300 if training != "mixed dict" else 30
    theirs = algorithm(
        policy, VecNormalize(make_env(), gamma=gamma, **normalize), gamma=gamma, seed=0, device="cpu"
    ).learn(n_steps)
    ours = algorithm(policy, make_env(), seed=0, device="cpu", **settings).learn(n_steps)
    assert_same_parameters(ours, theirs)
    np.testing.assert_equal(ours._last_obs, theirs._last_obs)
    raw = theirs.get_vec_normalize_env().get_original_obs()
    masks = {"action_masks": np.ones((2, 4), bool)} if algorithm is MaskableTDA2C else {}
    expected, _ = theirs.predict(theirs.env.normalize_obs(raw), deterministic=True, **masks)
    np.testing.assert_array_equal(ours.predict(raw, deterministic=True, **masks)[0], expected)


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_normalized_integers_are_not_rounded(is_wrapped: bool) -> None:
    """A2C's buffer has the dtype of the observation space, and rounds them."""
    integers = spaces.Box(0, 9, (3,), np.int64)
    env = make_vec_env(lambda: RandomEpisodesEnv(integers, spaces.Discrete(2)), 2, seed=0)
    settings = {} if is_wrapped else BOTH
    model = TDA2C("MlpPolicy", VecNormalize(env) if is_wrapped else env, n_steps=9, device="cpu", **settings).learn(8)
    stored = model.rollout_buffer.observations
    assert len(stored) == 8
    assert (stored != stored.round()).any()


@pytest.mark.parametrize("training", ["discrete", "dict", "recurrent"])
def test_a_resumed_training_is_the_uninterrupted_one(training: str, tmp_path: Path) -> None:
    algorithm, policy, make_env, settings, _ = TRAININGS[training]

    def make() -> TDA2C:
        return algorithm(policy, make_env(), seed=0, device="cpu", **settings)

    expected = everything(make().learn(606))
    make().learn(302).save(tmp_path / "model")
    # the environments of a model, and its own wrapper of them, are the same to the next model
    for env_of in (TDA2C.get_env, lambda model: model.env):
        model = algorithm.resume(tmp_path / "model", env_of(make().learn(50)), device="cpu")
        assert differences(everything(model.learn(304, reset_num_timesteps=False)), expected) == []


def test_a_copy_trains_like_the_original_without_changing_it() -> None:
    model = trained(far(2), normalize_observations=True, normalize_rewards=True)
    copied = copy.deepcopy(model)
    copied.learn(100, reset_num_timesteps=False)
    assert_same_parameters(copied, model.learn(100, reset_num_timesteps=False))


def test_a_resumable_training_keeps_its_statistics(tmp_path: Path) -> None:
    def make() -> TDA2C:
        return TDA2C("MlpPolicy", far(2), seed=0, device="cpu", **BOTH)

    expected = make().learn(600)
    train_resumably(make, 300, tmp_path / "model")
    found = train_resumably(make, 600, tmp_path / "model")
    assert_same_parameters(found, expected)
    np.testing.assert_array_equal(found.normalization.ret_rms.var, expected.normalization.ret_rms.var)


def test_statistics_are_saved_and_loaded(tmp_path: Path) -> None:
    """With environments or without, with other ones later, and again after the next save."""
    model = trained(far(), **BOTH)
    expected = predicted(model, OBSERVATIONS)
    assert len(set(expected)) > 1
    model.save(tmp_path / "model")
    alone = TDA2C.load(tmp_path / "model", device="cpu")
    assert predicted(alone, OBSERVATIONS) == expected
    assert [predicted(alone, observation) for observation in OBSERVATIONS[::9]] == expected[::9]
    alone.save(tmp_path / "again")
    loaded = TDA2C.load(tmp_path / "again", env=far(seed=1), device="cpu")
    assert predicted(loaded, OBSERVATIONS) == expected
    count = loaded.normalization.obs_rms["observation"].count
    loaded.learn(20, reset_num_timesteps=False)
    assert loaded.normalization.obs_rms["observation"].count == count + 21
    loaded.set_env(far(seed=2))
    loaded.learn(20, reset_num_timesteps=False)
    assert loaded.normalization.obs_rms["observation"].count == count + 42


def test_sb3_evaluates_the_model_on_its_environments(tmp_path: Path) -> None:
    """``get_env`` and callbacks see what the environments return: true observations and rewards."""
    model = TDA2C("MlpPolicy", far(), seed=0, device="cpu", **BOTH)
    assert type(model.get_env()) is DummyVecEnv
    assert model.get_vec_normalize_env() is None
    checkpoints = CheckpointCallback(100, str(tmp_path), save_vecnormalize=True)
    evaluation = EvalCallback(far(seed=3), eval_freq=100, n_eval_episodes=2, log_path=str(tmp_path), verbose=0)
    model.learn(200, [evaluation, checkpoints])
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".npz", ".zip", ".zip"]
    statistics = model.normalization.of_observations
    before = statistics.mean["observation"].copy()
    observations: list[np.ndarray] = []
    evaluate_policy(
        model,
        model.get_env(),
        n_eval_episodes=2,
        callback=lambda found, _: observations.append(found["observations"]),
        warn=False,
    )
    assert min(array[:, 0].min() for array in observations) >= 100
    np.testing.assert_array_equal(model.normalization.of_observations.mean["observation"], before)


def test_the_models_own_wrapper_normalizes_for_training_only() -> None:
    """As ``get_env()``, so that SB3's ``model.env`` scores the same. It changes no statistics."""
    model = TDA2C("MlpPolicy", far(), seed=0, device="cpu", **BOTH).learn(300)
    count = model.normalization.obs_rms["observation"].count
    rewards: dict[str, list[float]] = {}
    for name, env in (("env", model.env), ("get_env", model.get_env())):
        env.seed(5)
        rewards[name], _ = evaluate_policy(model, env, 5, return_episode_rewards=True)
    assert rewards["env"] == rewards["get_env"]
    assert FAR.contains(model.env.reset()[0])
    assert model.normalization.obs_rms["observation"].count == count
    model.learn(10, reset_num_timesteps=False)
    assert model.normalization.obs_rms["observation"].count > count


def test_callbacks_that_step_the_environment_change_no_statistics(tmp_path: Path) -> None:
    class Evaluates(BaseCallback):
        def _init_callback(self) -> None:
            self._evaluate()
            self.model.save(tmp_path / "model")

        def _on_step(self) -> bool:
            if self.n_calls == 20:
                self._evaluate()
            return True

        def _evaluate(self) -> None:
            before = statistics_of(self.model)[0]["count"]
            evaluate_policy(self.model, self.model.env, 2)
            assert statistics_of(self.model)[0]["count"] == before

    TDA2C("MlpPolicy", far(), seed=0, device="cpu", **BOTH).learn(40, Evaluates())
    resumed = TDA2C.resume(tmp_path / "model", far(), device="cpu")
    resumed.env.reset()
    assert statistics_of(resumed)[0]["count"] == pytest.approx(1.0, abs=0.001)


def test_set_parameters_takes_the_statistics_of_a_file(tmp_path: Path) -> None:
    model = trained(far(), **BOTH)
    model.save(tmp_path / "model")
    other = trained(far(seed=9), **BOTH).learn(50)
    assert statistics_of(other)[0]["count"] != statistics_of(model)[0]["count"]
    with zipfile.ZipFile(tmp_path / "model.zip", "a") as archive:
        # set_parameters() takes zips with other entries
        archive.writestr("README.md", "a model")
    other.set_parameters(tmp_path / "model")
    assert predicted(other, OBSERVATIONS) == predicted(model, OBSERVATIONS)
    np.testing.assert_equal(statistics_of(other), statistics_of(model))
    # and trains on with them
    assert other.env.obs_rms is other.normalization.obs_rms["observation"]


@pytest.mark.parametrize("settings", [BOTH, {}])
def test_set_parameters_warns_if_one_model_normalizes(settings: dict[str, bool], tmp_path: Path) -> None:
    trained(far(), **settings).save(tmp_path / "model")
    other = trained(far(), **({} if settings else BOTH))
    with pytest.warns(UserWarning, match="they fit other observations or rewards. Use load") as caught:
        other.set_parameters(tmp_path / "model")
    assert caught[0].filename == __file__


def test_set_parameters_refuses_statistics_of_other_observations(tmp_path: Path) -> None:
    trained(far(), normalize_rewards=True).save(tmp_path / "model")
    other = trained(far(), **BOTH)
    before = predicted(other, OBSERVATIONS)
    with pytest.raises(ValueError, match="its statistics normalize other observations than this model's"):
        other.set_parameters(tmp_path / "model")
    assert predicted(other, OBSERVATIONS) == before


@pytest.mark.filterwarnings("ignore:Training and eval env are not of the same type")
def test_environments_for_evaluation_are_not_normalized_twice() -> None:
    model = TDA2C("MlpPolicy", far(), device="cpu", **BOTH)
    evaluation = EvalCallback(VecNormalize(far(), norm_reward=False, training=False))
    with pytest.raises(ValueError, match="eval_env of EvalCallback is in VecNormalize.* pass eval_env without"):
        model.learn(20, [EveryNTimesteps(10, evaluation)])


def test_predict_refuses_observations_of_other_shapes() -> None:
    """numpy would broadcast them to the statistics."""
    model = TDA2C("MlpPolicy", far(), device="cpu", **BOTH)
    for observation in (np.zeros(1, np.float32), np.zeros((5, 1), np.float32)):
        with pytest.raises(ValueError, match="Unexpected observation shape"):
            model.predict(observation)
    with pytest.raises(ValueError, match="tuple"):
        model.predict((np.zeros(2, np.float32), {}))


@pytest.mark.parametrize("argument", BOTH)
def test_vec_normalize_is_refused_when_the_model_normalizes(argument: str, tmp_path: Path) -> None:
    message = rf"{argument}=True: the model normalizes .* and env is in VecNormalize too"
    with pytest.raises(ValueError, match=message):
        TDA2C("MlpPolicy", VecCheckNan(VecNormalize(far())), device="cpu", **{argument: True})
    model = TDA2C("MlpPolicy", far(), device="cpu", **{argument: True})
    env = model.env
    with pytest.raises(ValueError, match=message):
        model.set_env(VecNormalize(far()))
    assert model.env is env
    model.save(tmp_path / "model")
    for load in (TDA2C.load, TDA2C.resume):
        with pytest.raises(ValueError, match=message):
            load(tmp_path / "model", env=VecNormalize(far()))


@pytest.mark.parametrize(
    ("policy", "space"), [("CnnPolicy", IMAGE), ("MlpPolicy", spaces.Discrete(4)), ("MlpPolicy", spaces.MultiBinary(3))]
)
def test_observations_that_cannot_be_normalized_are_refused(policy: str, space: spaces.Space[Any]) -> None:
    with pytest.raises(ValueError, match="normalize_observations=True: .* has no vectors of numbers"):
        TDA2C(policy, RandomEnv(space, spaces.Discrete(2)), device="cpu", normalize_observations=True)


@pytest.mark.parametrize("argument", BOTH)
def test_native_environments(argument: str) -> None:
    env = NextStepVectorEnv([lambda: RandomEpisodesEnv(FAR, spaces.Discrete(2))] * 3)
    model = TDA2C("MlpPolicy", env, seed=0, device="cpu", **{argument: True})
    if argument == "normalize_rewards":
        with pytest.raises(ValueError, match="autoreset steps .* use normalize_rewards=False"):
            model.learn(30)
    else:
        assert np.abs(model.learn(30)._last_obs).max() < 5


# Models that were trained in VecNormalize


def in_vec_normalize(**kwargs: Any) -> TDA2C:
    return trained(VecNormalize(far(), **kwargs))


def saved(model: TDA2C) -> io.BytesIO:
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    return file


def normalized_predictions(model: TDA2C) -> list[int]:
    return predicted(model, model.get_vec_normalize_env().normalize_obs(OBSERVATIONS))


@pytest.mark.parametrize(
    "make_env", [far, lambda: None, lambda: VecCheckNan(far())], ids=["plain", "none", "VecCheckNan"]
)
def test_statistics_of_vec_normalize_move_into_the_model(make_env: Callable[[], Any], tmp_path: Path) -> None:
    model = in_vec_normalize(clip_obs=1.1, epsilon=0.1, clip_reward=3.0, gamma=0.5)
    expected = normalized_predictions(model)
    assert predicted(model, OBSERVATIONS) != expected
    model.save(tmp_path / "model")
    with pytest.warns(UserWarning, match=r"model was trained in VecNormalize.*pass env=VecNormalize.load\(") as warned:
        loaded = TDA2C.load(tmp_path / "model", env=make_env(), device="cpu")
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert predicted(loaded, OBSERVATIONS) == expected
    assert loaded.normalize_observations
    assert loaded.normalize_rewards
    assert (loaded.normalization.gamma, loaded.normalization.clip_reward) == (0.5, 3.0)
    # it is a model that normalizes now, so that nothing moves any more
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = TDA2C.load(saved(loaded), env=far(), device="cpu").learn(50, reset_num_timesteps=False)
    count = model.get_vec_normalize_env().ret_rms.count
    assert again.normalization.ret_rms.count == count + 50


def test_the_wrapper_of_another_model_is_no_vec_normalize() -> None:
    model = in_vec_normalize()
    other = TDA2C("MlpPolicy", far(), device="cpu", **BOTH)
    with pytest.warns(UserWarning, match="was trained in VecNormalize"):
        loaded = TDA2C.load(saved(model), other.env, device="cpu")
    assert predicted(loaded, OBSERVATIONS) == normalized_predictions(model)
    assert loaded.get_env() is other.get_env()
    assert loaded.normalization is not other.normalization


def test_rewards_alone_move_without_a_warning() -> None:
    """``predict`` takes the same observations as before, whatever changes them."""
    file = saved(trained(VecFrameStack(VecNormalize(far(), norm_obs=False), 2)))
    loaded = TDA2C.load(file, VecFrameStack(far(), 2), device="cpu")
    assert (loaded.normalize_observations, loaded.normalize_rewards) == (False, True)
    assert loaded.learn(20, reset_num_timesteps=False).normalization.ret_rms.count > 320


def test_frozen_statistics_stay_frozen_when_they_move() -> None:
    model = in_vec_normalize()
    model.env.training = False
    count = model.env.obs_rms.count
    with pytest.warns(UserWarning, match="statistics are now inside"):
        loaded = TDA2C.load(saved(model), env=far(), device="cpu")
    with pytest.warns(UserWarning, match="statistics are now inside"):
        model.set_env(far())
    for moved in (model, loaded, TDA2C.load(saved(loaded), env=far(), device="cpu")):
        assert moved.learn(100).normalization.obs_rms["observation"].count == count


def test_statistics_saved_before_they_could_be_frozen_are_not_frozen() -> None:
    statistics = RunningNormalization()
    del statistics.training
    assert restricted_loads(pickle.dumps(statistics)).training is True


def test_training_continues_with_the_statistics_that_moved() -> None:
    model = in_vec_normalize(norm_reward=False)
    file = saved(model)
    with pytest.warns(UserWarning, match="was trained in VecNormalize"):
        inside = TDA2C.load(file, far(seed=5), device="cpu")
    outside = TDA2C.load(file, VecNormalize(far(seed=5), norm_reward=False), device="cpu")
    for one in (inside, outside):
        one.set_random_seed(1)
        one.learn(100, reset_num_timesteps=False)
    assert_same_parameters(inside, outside)


def test_a_new_vec_normalize_takes_over_the_statistics() -> None:
    model = in_vec_normalize()
    file = saved(model)
    loaded = TDA2C.load(file, VecNormalize(far()), device="cpu")
    statistics = loaded.get_vec_normalize_env()
    assert not loaded.normalize_observations
    np.testing.assert_array_equal(statistics.obs_rms.mean, model.env.obs_rms.mean)
    np.testing.assert_array_equal(statistics.ret_rms.var, model.env.ret_rms.var)
    assert normalized_predictions(loaded) == normalized_predictions(model)
    loaded.learn(20, reset_num_timesteps=False)
    assert model.env.obs_rms.count + 21 == statistics.obs_rms.count


def test_a_vec_normalize_with_statistics_keeps_them() -> None:
    env = in_vec_normalize().env
    file = saved(trained(VecNormalize(far(seed=7))))
    before = env.obs_rms.mean.copy()
    TDA2C.load(file, env, device="cpu")
    np.testing.assert_array_equal(env.obs_rms.mean, before)


def test_a_new_vec_normalize_must_normalize_the_same() -> None:
    file = saved(in_vec_normalize(norm_obs=False))
    with pytest.raises(ValueError, match="env: its VecNormalize normalizes observations of the shapes"):
        TDA2C.load(file, VecNormalize(far()), device="cpu")


def test_set_env_keeps_the_statistics_of_vec_normalize() -> None:
    model = in_vec_normalize()
    expected, before = normalized_predictions(model), model.env
    model.set_env(VecNormalize(far()))
    assert normalized_predictions(model) == expected
    with pytest.warns(UserWarning, match="the model was trained in VecNormalize. Its statistics are now inside"):
        model.set_env(far())
    assert predicted(model, OBSERVATIONS) == expected
    assert model.learn(20, reset_num_timesteps=False).normalization.ret_rms.count == before.ret_rms.count + 20
    expected = predicted(model, OBSERVATIONS)
    model.set_env(VecNormalize(far()))
    assert not model.normalize_observations
    assert normalized_predictions(model) == expected
    model.learn(20, reset_num_timesteps=False)


@pytest.mark.parametrize("norm_obs", [True, False])
@pytest.mark.filterwarnings("ignore:.* was trained in VecNormalize")
def test_statistics_that_moved_into_the_model_return_to_vec_normalize(norm_obs: bool) -> None:
    model = in_vec_normalize(norm_obs=norm_obs)
    moved = TDA2C.load(saved(model), device="cpu")
    loaded = TDA2C.load(saved(moved), VecNormalize(far(), norm_obs=norm_obs), device="cpu")
    stepped = copy.deepcopy(model.env)
    stepped.set_venv(far())
    moved.set_env(stepped)
    assert moved.get_vec_normalize_env() is stepped
    for each in (loaded, moved):
        assert (each.normalize_observations, each.normalize_rewards) == (False, False)
        assert vars(each.get_vec_normalize_env().ret_rms) == vars(model.env.ret_rms)
        assert each.learn(20, reset_num_timesteps=False).env.ret_rms.count == model.env.ret_rms.count + 20


def test_statistics_stay_in_the_model_if_the_vec_normalize_is_a_different_one() -> None:
    model = in_vec_normalize()
    expected = normalized_predictions(model)
    with pytest.warns(UserWarning, match="was trained in VecNormalize"):
        model.set_env(far())
    with pytest.raises(ValueError, match="env: its VecNormalize normalizes observations of the shapes {}"):
        model.set_env(VecNormalize(far(), norm_obs=False))
    assert predicted(model, OBSERVATIONS) == expected
    assert model.learn(20, reset_num_timesteps=False).normalize_observations


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("value", [True, False])
def test_settings_that_change_after_the_model_was_made_are_refused(name: str, value: bool) -> None:
    model = TDA2C("MlpPolicy", far(), device="cpu", **{name: not value})
    setattr(model, name, value)
    with pytest.raises(ValueError, match=f"{name}={value}.*changed after the model was made"):
        model.learn(10)
    if name == "normalize_observations" and value:
        with pytest.raises(ValueError, match="changed after the model was made"):
            model.predict(OBSERVATIONS)


@pytest.mark.parametrize("name", ["normalize_observations", "normalize_rewards"])
def test_a_model_is_loaded_with_its_settings(name: str, tmp_path: Path) -> None:
    for setting in (False, True):
        TDA2C("MlpPolicy", "CartPole-v1", device="cpu", **{name: setting}).save(tmp_path / "model")
        with pytest.raises(ValueError, match=f"{name}={not setting}: .* trained with {name}={setting}"):
            TDA2C.load(tmp_path / "model", device="cpu", **{name: not setting})
        assert getattr(TDA2C.load(tmp_path / "model", device="cpu", **{name: setting}), name) == setting


def test_a_changed_gamma_scales_the_rewards() -> None:
    model = TDA2C("MlpPolicy", far(), gamma=0.9, seed=0, device="cpu", **BOTH)
    model.gamma = 0.5
    model.learn(50)
    assert_same_parameters(model, TDA2C("MlpPolicy", far(), gamma=0.5, seed=0, device="cpu", **BOTH).learn(50))
    loaded = TDA2C.load(saved(model), far(), device="cpu", gamma=0.7).learn(10)
    assert loaded.normalization.gamma == loaded.env.gamma == 0.7


def test_statistics_below_a_wrapper_that_changes_observations_do_not_move(tmp_path: Path) -> None:
    model = trained(VecFrameStack(VecNormalize(far()), 2))
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="model was trained in VecNormalize inside of VecFrameStack.*wrap env as it"):
        TDA2C.load(tmp_path / "model", env=VecFrameStack(far(), 2), device="cpu")
    with pytest.raises(ValueError, match="the model was trained in VecNormalize inside of VecFrameStack"):
        model.set_env(VecFrameStack(far(), 2))
    with pytest.warns(UserWarning, match=r"predict\(\) takes observations normalized by it"):
        alone = TDA2C.load(tmp_path / "model", device="cpu")
    rows = np.concatenate([OBSERVATIONS, OBSERVATIONS], axis=1)
    assert predicted(alone, rows) == predicted(model, rows)
    env = VecFrameStack(VecNormalize(far()), 2)
    TDA2C.load(tmp_path / "model", env=env, device="cpu")
    np.testing.assert_array_equal(env.venv.obs_rms.mean, model.env.venv.obs_rms.mean)


def test_files_saved_by_sb3_load_as_before() -> None:
    """They have no statistics, and nothing tells whether there were any."""
    file = io.BytesIO()
    model = in_vec_normalize()
    OnPolicyAlgorithm.save(model, file)
    file.seek(0)
    loaded = TDA2C.load(file, far(), device="cpu")
    assert predicted(loaded, OBSERVATIONS) == predicted(model, OBSERVATIONS)


def test_models_without_vec_normalize_load_as_before() -> None:
    loaded = TDA2C.load(saved(trained(far())), far(), device="cpu")
    assert loaded.normalization is None
    assert type(loaded.env) is DummyVecEnv


def test_a_loaded_model_scores_what_was_trained(tmp_path: Path) -> None:
    """Loaded as the README shows it, the model is the one that was trained."""
    env = VecNormalize(make_vec_env("Pendulum-v1", seed=0))
    model = TDA2C("MlpPolicy", env, 0.05, seed=0, device="cpu").learn(400)
    model.save(tmp_path / "model")
    with pytest.warns(UserWarning, match="was trained in VecNormalize"):
        loaded = TDA2C.load(tmp_path / "model", env=gym.make("Pendulum-v1"))
    evaluation = make_vec_env("Pendulum-v1", seed=1)
    found, _ = evaluate_policy(loaded, evaluation, n_eval_episodes=3)
    env = VecNormalize(make_vec_env("Pendulum-v1", seed=1), training=False, norm_reward=False)
    env.obs_rms = model.env.obs_rms
    expected, _ = evaluate_policy(model, env, n_eval_episodes=3)
    assert found == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:the file was trained in VecNormalize")
@pytest.mark.parametrize(
    ("damage", "of_model", "of_vec_normalize"),
    [
        (
            {"mean": np.array([np.nan, 0.0])},
            "a RunningNormalization whose parts do not match",
            "statistics that are not finite",
        ),
        (
            {"var": np.array([-1.0, 1.0])},
            "a RunningNormalization whose parts do not match",
            "statistics that are not finite",
        ),
        ({"mean": np.zeros(3)}, "a RunningNormalization whose parts do not match", "statistics that are not finite"),
        ({"count": -1}, "a RunningNormalization whose parts do not match", "statistics that are not finite"),
        (
            {"count": "many"},
            "a RunningNormalization whose parts do not match",
            "statistics of VecNormalize are damaged",
        ),
        (
            {"mean": np.zeros(3), "var": np.ones(3)},
            "the model's statistics are not of observations of Box",
            "the model's statistics are not of observations of Box",
        ),
    ],
)
def test_damaged_statistics_are_refused(damage: dict[str, Any], of_model: str, of_vec_normalize: str) -> None:
    inside, outside = trained(far(), **BOTH), in_vec_normalize()
    vars(inside.normalization.obs_rms["observation"]).update(damage)
    vars(outside.env.obs_rms).update(damage)
    for model, message in ((inside, of_model), (outside, of_vec_normalize)):
        with pytest.raises(ValueError, match=message):
            TDA2C.load(saved(model), far(), device="cpu")
