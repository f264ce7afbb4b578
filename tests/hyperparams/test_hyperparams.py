"""Shipped settings, compared with the studies that found them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from sb3_contrib.common.envs import InvalidActionEnvDiscrete
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecCheckNan, VecFrameStack

from benchmarks.learning.arms import STUDIES, general_setting, study_path
from benchmarks.learning.environments import DEVELOPMENT_ENVIRONMENTS, ENVIRONMENTS
from benchmarks.learning.settings import Settings
from benchmarks.learning.training import make_env, make_model
from sb3_a2c_td import TDA2C, GymnasiumVecEnv, MaskableTDA2C, recommended, recommended_env
from sb3_a2c_td.compiled.making import make_compiled_vec_env
from sb3_a2c_td.hyperparams.tda2c import FOR_CONTINUOUS_ACTIONS, hyperparams
from tests.algorithms.comparing import assert_same_parameters
from tests.benchmarks.learning.environments import with_monitors
from tests.environments import CountingEnv, RandomEnv

PAGE = (Path(__file__).parents[2] / "docs" / "zoo.md").read_text()
TUNED = [name for name in hyperparams if name not in ("default", "atari")]


class AtariLikeEnv(gym.Env[np.ndarray, Any]):
    """Random images of the shape of preprocessed Atari frames."""

    observation_space = spaces.Box(0, 255, (84, 84, 1), np.uint8)
    action_space = spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        return self._frame(), {}

    def step(self, action):
        return self._frame(), float(action == 2), False, False, {}

    def _frame(self) -> np.ndarray:
        return self.np_random.integers(0, 256, (84, 84, 1), np.uint8)


def rows_of(name: str) -> list[str]:
    """Format an entry as in the two tables of the docs page."""
    entry = {"normalize": None, "gamma": 0.99, "n_steps": 5, "ent_coef": 0.0, "policy_kwargs": {}, **hyperparams[name]}
    normalizes = {None: "", False: "observations", True: "observations, rewards"}
    layers = entry["policy_kwargs"]
    others = ["orthogonal"] if layers.get("ortho_init", name == "atari") else []
    others += [
        f"`{argument}={value}`"
        for argument, value in [*entry.items(), *layers.items()]
        if argument in ("max_grad_norm", "normalize_advantage", "use_sde", "log_std_init", "frame_stack")
    ]
    cells = [
        f"{entry['n_timesteps']:,}",
        entry["n_envs"],
        normalizes[entry["normalize"] and entry["normalize"]["norm_reward"]],
        " ".join(map(str, layers["net_arch"])) + f" {layers['activation_fn'].__name__}" if layers else "Nature's CNN",
        ", ".join(others),
    ]
    numbers = ("learning_rate", "critic_learning_rate", "gamma", "n_steps", "reward_scale", "ent_coef")
    rows = (cells, [entry[number] for number in numbers])
    return [f"| `{name}` | {' | '.join(map(str, row))} |".replace("  ", " ") for row in rows]


def study_result(name: str) -> dict[str, Any]:
    return json.loads(study_path(STUDIES, ENVIRONMENTS[name]).read_text())


@pytest.mark.parametrize("name", hyperparams)
def test_docs_page_lists_the_settings(name: str) -> None:
    assert set(rows_of(name)) <= set(PAGE.splitlines())


def test_all_benchmark_environments_have_settings() -> None:
    assert set(TUNED) == set(ENVIRONMENTS)


def test_general_setting_matches_the_study() -> None:
    for environment in DEVELOPMENT_ENVIRONMENTS:
        found = json.loads((STUDIES / "general.json").read_text())["best"]["settings"][environment.name]
        shipped = asdict(general_setting(environment))
        # the study compiled in short runs, and left out what discrete actions do not use
        assert found["arguments"].pop("engine") == "numba"
        defaults = {"max_grad_norm": None, "normalize_advantage": False}
        if not environment.is_continuous:
            del shipped["arguments"]["policy_kwargs"]["log_std_init"]
        assert found == {**shipped, "arguments": {**defaults, **shipped["arguments"]}}


@pytest.mark.parametrize("name", TUNED)
def test_settings_match_the_study(name: str) -> None:
    """Training with them is bit-exact with training in the benchmark's VecNormalize, including the statistics."""
    study = study_result(name)
    settings = Settings(**study["best"]["settings"][name])
    # compiled environments and their engine would differ by rounding
    environment = with_monitors(ENVIRONMENTS[name])
    env = make_env(environment, settings, seed=3)
    # train each model before making the next, since making a model seeds the global random generators
    theirs = make_model(environment, settings, env, seed=3).learn(200)
    ours = TDA2C(env=recommended_env(name, seed=3), seed=3, device="cpu", **recommended(name)).learn(200)
    assert study["environments"] == {name: hyperparams[name]["n_timesteps"]}
    assert_same_parameters(ours, theirs)
    assert ours.num_timesteps == theirs.num_timesteps
    normalization, vec_normalize = ours.normalization, theirs.get_vec_normalize_env()
    assert (normalization is None) == (vec_normalize is None)
    if normalization is not None:
        np.testing.assert_array_equal(normalization.obs_rms["observation"].mean, vec_normalize.obs_rms.mean)
        np.testing.assert_array_equal(normalization.ret_rms.var, vec_normalize.ret_rms.var)
        assert normalization.gamma == vec_normalize.gamma


# gSDE, and a policy and a wrapper of this package
@pytest.mark.parametrize("name", ["Pendulum-v1", "MinAtar/Breakout-v1"])
def test_models_with_tuned_settings_can_be_loaded_and_trained(name: str, tmp_path: Path) -> None:
    model = TDA2C(env=recommended_env(name, seed=0), seed=0, device="cpu", **recommended(name)).learn(40)
    model.save(tmp_path / "model")
    loaded = TDA2C.load(tmp_path / "model", env=recommended_env(name), device="cpu")
    assert type(loaded.policy) is type(model.policy)
    assert loaded.lr_schedule(0.5) == model.lr_schedule(0.5)
    loaded.learn(40, reset_num_timesteps=False)
    assert loaded.num_timesteps == 80


def test_tuned_settings_normalize_on_a_plain_environment() -> None:
    """Without them, MountainCar is not learned at all."""
    model = TDA2C(env="MountainCar-v0", **recommended("MountainCar-v0"))
    assert (model.normalize_observations, model.normalize_rewards) == (True, False)
    assert not {"normalize_observations", "normalize_rewards"} & recommended("Acrobot-v1").keys()


def test_recommended_returns_a_copy() -> None:
    recommended("CartPole-v1")["policy_kwargs"]["net_arch"].append(8)
    assert recommended("CartPole-v1")["policy_kwargs"]["net_arch"] == [128, 128]


def test_recommended_arguments_can_be_replaced() -> None:
    model = TDA2C(env="CartPole-v1", **{**recommended("CartPole-v1"), "gamma": 0.5})
    assert model.gamma == 0.5
    assert model.n_steps == 2


def test_default_settings_train_on_another_environment() -> None:
    env = make_vec_env(CountingEnv, n_envs=hyperparams["default"]["n_envs"])
    assert TDA2C(env=env, **recommended("default")).learn(100).num_timesteps == 100


def test_atari_settings_train_on_images() -> None:
    env = VecFrameStack(make_vec_env(AtariLikeEnv, n_envs=2), n_stack=4)
    model = TDA2C(env=env, device="cpu", **recommended("atari")).learn(30)
    assert model.observation_space.shape == (4, 84, 84)
    assert model.num_timesteps == 30


def test_environments_without_tuned_settings_get_the_general_one() -> None:
    assert recommended() == recommended("default") == recommended(CountingEnv())
    assert recommended()["policy"] == "MlpPolicy"


def for_continuous_actions() -> dict[str, Any]:
    general = recommended()
    return general | FOR_CONTINUOUS_ACTIONS | {"policy_kwargs": {**general["policy_kwargs"], "log_std_init": -1.0}}


def test_continuous_actions_have_a_lower_actor_rate_and_a_first_standard_deviation() -> None:
    assert recommended("Reacher-v5") == recommended(gym.make("Reacher-v5")) == for_continuous_actions()


def test_the_general_setting_fits_policies_with_masks() -> None:
    env = InvalidActionEnvDiscrete()
    model = MaskableTDA2C(env=env, device="cpu", **recommended(env)).learn(20)
    assert model.num_timesteps == 20


def test_an_environment_with_other_arguments_gets_the_general_setting() -> None:
    assert recommended(gym.make("LunarLander-v3")) == recommended("LunarLander-v3")
    continuous = gym.make("LunarLander-v3", continuous=True, render_mode="rgb_array")
    assert recommended(continuous) == for_continuous_actions()
    short = [gym.make("Acrobot-v1", max_episode_steps=50)]
    short += [gym.make_vec("Acrobot-v1", num_envs=2, vectorization_mode="sync", max_episode_steps=50)]
    assert [recommended(env) for env in short] == [recommended()] * 2
    assert recommended(gym.make("FrozenLake-v1", map_name="8x8"))["learning_rate"] == recommended()["learning_rate"]


def test_names_of_minatar_are_known_and_unknown_ones_an_error() -> None:
    assert recommended("MinAtar/Asterix-v1") == recommended()
    with pytest.raises(gym.error.Error, match="Nope"):
        recommended("Nope-v0")


def test_an_environment_gets_the_settings_of_its_name() -> None:
    of_gymnasium = gym.make_vec("Acrobot-v1", num_envs=2, vectorization_mode="sync")
    in_same_step = {"autoreset_mode": AutoresetMode.SAME_STEP}
    in_other_mode = gym.make_vec("Acrobot-v1", num_envs=2, vectorization_mode="sync", vector_kwargs=in_same_step)
    for env in (gym.make("Acrobot-v1"), make_vec_env("Acrobot-v1"), of_gymnasium, in_other_mode):
        assert recommended(env) == recommended("Acrobot-v1")
    native = gym.make_vec("CartPole-v1", num_envs=2)
    # the autoreset steps have rewards, too
    expected = recommended("CartPole-v1")
    assert expected.pop("normalize_rewards")
    assert recommended(native) == recommended(GymnasiumVecEnv(native)) == expected
    checked = VecCheckNan(GymnasiumVecEnv(native))
    assert "normalize_rewards" not in recommended(checked)
    assert TDA2C(env=native, device="cpu", **recommended(native)).learn(20).num_timesteps == 20
    assert recommended(make_compiled_vec_env("sb3_a2c_td/Acrobot-v1", 2, seed=0)) == recommended()


@pytest.mark.parametrize(
    ("space", "policy", "normalizes"),
    [
        (spaces.Box(0, 255, (36, 36, 3), np.uint8), "CnnPolicy", False),
        (spaces.Discrete(4), "MlpPolicy", False),
        (spaces.Dict({"position": spaces.Box(-1, 1, (2,))}), "MultiInputPolicy", True),
    ],
)
def test_general_setting_fits_the_observations(space: spaces.Space, policy: str, normalizes: bool) -> None:
    env = RandomEnv(space, spaces.Discrete(2))
    settings = recommended(env)
    assert settings["policy"] == policy
    assert settings.get("normalize_observations", False) == normalizes
    assert TDA2C(env=env, **settings).learn(20).num_timesteps == 20


@pytest.mark.parametrize("shape", [(10, 10, 4), (400,)])
def test_a_network_for_images_with_channels_first_is_for_no_others(shape: tuple[int, ...]) -> None:
    """Breakout of MinAtar without the wrapper that its settings were tuned with."""

    class Breakout(RandomEnv):
        spec = EnvSpec("MinAtar/Breakout-v1", "minatar.gym:BaseEnv")

    env = Breakout(spaces.Box(0, 1, shape, np.float32), spaces.Discrete(3))
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(gym.registry, "MinAtar/Breakout-v1", Breakout.spec)
        settings = recommended(env)
    assert settings["policy"] == "MlpPolicy"
    assert settings["gamma"] == recommended()["gamma"]
    assert TDA2C(env=env, device="cpu", **settings).learn(20).num_timesteps == 20


def test_general_setting_fits_one_environment_of_several() -> None:
    images = SyncVectorEnv([AtariLikeEnv, AtariLikeEnv])
    assert recommended(images)["policy"] == "CnnPolicy"


def test_tuned_environments_exist_for_the_benchmark_only() -> None:
    with pytest.raises(ValueError, match=r"env_id='CartPole-v0': .*only for CartPole-v1.*recommended\(\).*--optimize"):
        recommended_env("CartPole-v0")


@pytest.mark.parametrize("name", ["default", "atari"])
def test_defaults_have_no_environment(name: str) -> None:
    with pytest.raises(ValueError, match=f"env_id='{name}' is not an environment: make one with SB3's make_vec_env"):
        recommended_env(name)
