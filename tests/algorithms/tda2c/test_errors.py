"""Invalid arguments, observations and rewards raise errors that name them, and leave the weights alone."""

import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TransformAction
from stable_baselines3.common.callbacks import StopTrainingOnMaxEpisodes
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecMonitor, VecNormalize

from sb3_a2c_td import TDA2C, GymnasiumVecEnv, MlpPolicy, RecurrentTDA2C
from sb3_a2c_td.algorithms.callbacks import PrintEpisodes
from tests.algorithms.comparing import assert_same_parameters
from tests.engines import CPU_ENGINES
from tests.environments import CountingEnv, FaultyEnv, RandomEnv

VECTOR = spaces.Box(-1, 1, (2,), np.float32)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"n_steps": 0},
        {"n_steps": 2.5},
        {"n_steps": 2.0},
        {"stats_window_size": -1},
        {"stats_window_size": 1.5},
        {"stats_window_size": 2**64},
        {"gamma": 10**400},
        {"gamma": 1.01},
        {"gamma": -0.1},
        {"gamma": float("nan")},
        {"reward_scale": 0.0},
        {"reward_scale": -1.0},
        {"reward_scale": float("inf")},
        {"learning_rate": -1e-3},
        {"critic_learning_rate": -1e-3},
        {"critic_learning_rate": float("nan")},
        {"critic_learning_rate": "fast"},
        {"ent_coef": float("nan")},
        {"max_grad_norm": 0.0},
        {"max_grad_norm": -1.0},
        {"update_on_episode_end": "no"},
        {"engine": "unknown"},
        {"seed": True},
        {"seed": -1},
        {"seed": 2**32},
        {"seed": 1.5},
        {"seed": "1"},
    ],
)
def test_invalid_arguments(kwargs: dict[str, Any]) -> None:
    (name, value), *_ = kwargs.items()
    with pytest.raises(ValueError, match=f"^{name}[ =].*{value!r}"):
        TDA2C("MlpPolicy", CountingEnv(), device="cpu", **kwargs)


@pytest.mark.parametrize("value", [-5, np.nan, np.inf, 10.5, "1000", None])
def test_learn_refuses_invalid_numbers_of_steps(value: Any) -> None:
    model = TDA2C("MlpPolicy", CountingEnv(), device="cpu")
    with pytest.raises(ValueError, match=f"^total_timesteps must be an integer of at least 0, got {value!r}"):
        model.learn(value)


@pytest.mark.parametrize("value", [1e2, np.float64(100), np.int64(100)])
def test_learn_takes_integer_values(value: Any) -> None:
    assert TDA2C("MlpPolicy", CountingEnv(), device="cpu").learn(value).num_timesteps == 100


def test_learn_refuses_a_log_interval_of_zero() -> None:
    with pytest.raises(ValueError, match="^log_interval=0: set 1 to log every rollout, or None"):
        TDA2C("MlpPolicy", CountingEnv(), device="cpu").learn(10, log_interval=0)


@pytest.mark.parametrize("callback", [3, (StopTrainingOnMaxEpisodes(1),), StopTrainingOnMaxEpisodes, [print]])
def test_learn_refuses_what_is_no_callback(callback: Any) -> None:
    with pytest.raises(ValueError, match="^callback=.* is not a callback, a list of callbacks, a function or None"):
        TDA2C("MlpPolicy", CountingEnv(), device="cpu").learn(10, callback)


def test_learn_needs_an_environment(tmp_path: Path) -> None:
    TDA2C("MlpPolicy", CountingEnv(), device="cpu").save(tmp_path / "model")
    model = TDA2C.load(tmp_path / "model", device="cpu")
    with pytest.raises(ValueError, match=r"^env=None: the model has no environment; pass one to load\(path, env\), or"):
        model.learn(10)
    model.set_env(CountingEnv())
    assert model.learn(10).num_timesteps == 10


@pytest.mark.parametrize("env", [CountingEnv, CountingEnv.step, [CountingEnv()], 3, DummyVecEnv])
def test_what_is_no_environment_is_refused(env: Any, tmp_path: Path) -> None:
    message = "^env=.* is not an environment: pass one, its name, a VecEnv or a gymnasium.vector environment. Call"
    with pytest.raises(ValueError, match=message):
        TDA2C("MlpPolicy", env, device="cpu")
    model = TDA2C("MlpPolicy", CountingEnv(), device="cpu")
    with pytest.raises(ValueError, match=message):
        model.set_env(env)
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=message):
        TDA2C.load(tmp_path / "model", env, device="cpu")


def test_a_new_model_needs_an_environment() -> None:
    with pytest.raises(ValueError, match="^env=None: a new model needs an environment"):
        TDA2C("MlpPolicy", None, device="cpu")
    with pytest.raises(ValueError, match="^env=None is not an environment"):
        TDA2C("MlpPolicy", CountingEnv(), device="cpu").set_env(None)


@pytest.mark.filterwarnings("ignore:The `render_mode` attribute is not defined")
@pytest.mark.parametrize("wrap", [VecNormalize, VecMonitor, lambda env: VecNormalize(VecMonitor(env))])
def test_sb3s_wrappers_need_an_adapter_around_gymnasiums_vector_environments(wrap: Any) -> None:
    env = wrap(gym.make_vec("CartPole-v1", 2))
    with pytest.raises(
        ValueError, match=r"^env: Vec\w+ does not support .* CartPoleVectorEnv.*: Vec\w+\(GymnasiumVecEnv\(env"
    ):
        TDA2C("MlpPolicy", env, device="cpu")


def test_wrappers_of_other_packages_may_adapt_vector_environments() -> None:
    """As SuperSuit's wrapper of PettingZoo's environments does."""

    class Adapter(VecEnvWrapper):
        def __init__(self, venv: Any) -> None:
            self.adapted = GymnasiumVecEnv(venv)
            super().__init__(self.adapted)
            self.venv = venv

        def reset(self) -> Any:
            return self.adapted.reset()

        def step_async(self, actions: np.ndarray) -> None:
            self.adapted.step_async(actions)

        def step_wait(self) -> Any:
            return self.adapted.step_wait()

        def seed(self, seed: int | None = None) -> Any:
            return self.adapted.seed(seed)

        def get_attr(self, name: str, indices: Any = None) -> Any:
            return self.adapted.get_attr(name, indices)

        def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
            return self.adapted.env_is_wrapped(wrapper_class, indices)

    env = Adapter(SyncVectorEnv([CountingEnv] * 2, autoreset_mode=AutoresetMode.SAME_STEP))
    assert TDA2C("MlpPolicy", env, device="cpu").learn(100).num_timesteps == 100


def test_a_missing_gpu_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SB3 uses the CPU in silence."""
    monkeypatch.setattr(th.cuda, "is_available", lambda: False)
    for device in ("cuda", "cuda:0", th.device("cuda")):
        with pytest.warns(UserWarning, match=f"^device='{device}': PyTorch finds no GPU, so the CPU is used") as caught:
            model = TDA2C("MlpPolicy", CountingEnv(), device=device)
        assert [warning.filename for warning in caught] == [__file__]
        assert model.device.type == "cpu"
    model.save(tmp_path / "model")
    with pytest.warns(UserWarning, match="PyTorch finds no GPU"):
        TDA2C.load(tmp_path / "model", device="cuda")
    # SB3's default takes a GPU if there is one
    TDA2C("MlpPolicy", CountingEnv(), device="auto")


def test_environments_are_needed() -> None:
    class Empty(DummyVecEnv):
        def __init__(self) -> None:
            super().__init__([CountingEnv])
            self.num_envs = 0

    with pytest.raises(ValueError, match="env=Empty has no environments: create it with at least one"):
        TDA2C("MlpPolicy", Empty(), device="cpu")


@pytest.mark.parametrize("name", ["learning_rate", "critic_learning_rate"])
def test_a_schedule_that_becomes_negative_stops_training(name: str) -> None:
    model = TDA2C("MlpPolicy", CountingEnv(), device="cpu", **{name: lambda progress: 1e-3 * progress - 7e-4})
    with pytest.raises(ValueError, match=f"^{name}: the schedule's value at progress_remaining=0.5 .*got -0.000(2|19)"):
        model.learn(20)
    assert (model.num_timesteps, model._n_updates) == (10, 1)


def test_double_softmax_needs_discrete_actions() -> None:
    for action_space in (VECTOR, spaces.MultiDiscrete([2, 2]), spaces.MultiBinary(2)):
        with pytest.raises(ValueError, match="double_softmax=True needs a Discrete action_space"):
            TDA2C("MlpPolicy", RandomEnv(VECTOR, action_space), double_softmax=True, device="cpu")


def test_unsupported_spaces() -> None:
    with pytest.raises(ValueError, match="observation_space=Tuple"):
        TDA2C("MlpPolicy", RandomEnv(spaces.Tuple([VECTOR]), spaces.Discrete(2)), device="cpu")
    with pytest.raises(ValueError, match="action_space=Tuple"):
        TDA2C("MlpPolicy", RandomEnv(VECTOR, spaces.Tuple([VECTOR])), device="cpu")
    unbounded = RandomEnv(VECTOR, spaces.Box(-np.inf, np.inf, (2,)))
    with pytest.raises(ValueError, match=r"action_space=Box.*set them with gymnasium.wrappers.TransformAction\(env"):
        TDA2C("MlpPolicy", unbounded, device="cpu")
    TDA2C("MlpPolicy", TransformAction(unbounded, lambda action: action, spaces.Box(-1, 1, (2,))), device="cpu")
    with pytest.raises(ValueError, match="action_space=MultiBinary.*one axis"):
        TDA2C("MlpPolicy", RandomEnv(VECTOR, spaces.MultiBinary([2, 3])), device="cpu")


def test_unsupported_policies() -> None:
    with pytest.raises(ValueError, match="policy=ActorCriticPolicy may share.*SeparateActorCriticPolicy"):
        TDA2C(ActorCriticPolicy, CountingEnv(), device="cpu")
    for policy in ("MLPPolicy", None, 3, MlpPolicy.forward):
        with pytest.raises(
            ValueError, match=r"^policy=.* use MlpPolicy, CnnPolicy, MultiInputPolicy or a class derived"
        ):
            TDA2C(policy, CountingEnv(), device="cpu")
    with pytest.raises(ValueError, match="^policy='MlpLstmPolicy' is unknown: use MlpPolicy, .*RecurrentTDA2C"):
        TDA2C("MlpLstmPolicy", CountingEnv(), device="cpu")
    with pytest.raises(ValueError, match="^policy='MlpPolicy' is unknown: use MlpLstmPolicy, CnnLstmPolicy, "):
        RecurrentTDA2C("MlpPolicy", CountingEnv(), device="cpu")
    with pytest.raises(ValueError, match="policy=MultiInputPolicy does not fit observation_space=Box"):
        TDA2C("MultiInputPolicy", CountingEnv(), device="cpu")
    with pytest.raises(ValueError, match="policy=MlpPolicy does not fit observation_space=Dict"):
        TDA2C(MlpPolicy, RandomEnv(spaces.Dict(a=VECTOR), spaces.Discrete(2)), device="cpu")
    with pytest.raises(ValueError, match="share_features_extractor=True"):
        TDA2C("MlpPolicy", CountingEnv(), device="cpu", policy_kwargs={"share_features_extractor": True})


def assert_stops_untouched(env: CountingEnv, message: str, last_update: int, **kwargs) -> None:
    """Check that training stops with this message, with the weights of the last update before it."""
    model = TDA2C("MlpPolicy", env, seed=0, device="cpu", **kwargs)
    with pytest.raises(ValueError, match=message):
        model.learn(1000)
    sound = TDA2C("MlpPolicy", CountingEnv(env.length, env.truncates), seed=0, device="cpu", **kwargs).learn(
        last_update
    )
    assert sound._n_updates == model._n_updates
    assert_same_parameters(model, sound)


@pytest.mark.parametrize("engine", CPU_ENGINES)
@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
def test_non_finite_rewards(fault: float, engine: str) -> None:
    message = f"reward={fault} of environment 0 at step 13 is not finite"
    assert_stops_untouched(FaultyEnv(13, reward=fault), message, last_update=10, engine=engine)


@pytest.mark.parametrize("engine", CPU_ENGINES)
@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_non_finite_observations(fault: float, engine: str) -> None:
    message = rf"^observation=\[{fault} .*of environment 0 at step 13 is not finite"
    assert_stops_untouched(FaultyEnv(13, observation=fault), message, last_update=10, engine=engine)


def test_non_finite_terminal_observations() -> None:
    message = r"terminal_observation=\[nan .*of environment 0 at step 14 is not finite"
    env = FaultyEnv(14, observation=np.nan, length=7, truncates=True)
    assert_stops_untouched(env, message, last_update=12, bootstrap_on_truncation=True)


def test_a_non_finite_observation_at_reset() -> None:
    class Broken(CountingEnv):
        def _observation(self) -> np.ndarray:
            return np.full(2, np.nan, np.float32)

    with pytest.raises(ValueError, match="observation=.* at step 0 is not finite"):
        TDA2C("MlpPolicy", Broken(), device="cpu").learn(10)


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_an_overflowing_loss(engine: str) -> None:
    message = "the loss is inf and its gradient norm .* at step 15, update 3: training stopped"
    assert_stops_untouched(FaultyEnv(13, reward=1e25), message, last_update=10, engine=engine)


def test_a_gradient_that_is_nan() -> None:
    """The loss is finite but not its gradient: d sqrt(x) / dx at 0."""

    class Rooted(BaseFeaturesExtractor):
        def __init__(self, observation_space: spaces.Box) -> None:
            super().__init__(observation_space, features_dim=2)
            self.scale = th.nn.Parameter(th.zeros(1))

        def forward(self, observations: th.Tensor) -> th.Tensor:
            return observations + (self.scale * observations).abs().sqrt()

    policy_kwargs = {"features_extractor_class": Rooted}
    model = TDA2C("MlpPolicy", CountingEnv(7), policy_kwargs=policy_kwargs, seed=0, device="cpu")
    before = [param.clone() for param in model.policy.parameters()]
    with pytest.raises(ValueError, match=r"the loss is \d.* gradient norm nan at step 5, update 1"):
        model.learn(10)
    assert all(th.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))


@pytest.mark.parametrize("engine", CPU_ENGINES)
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_a_policy_that_diverged(env_id: str, engine: str) -> None:
    """No action is drawn if the logits or the standard deviation are NaN."""
    model = TDA2C("MlpPolicy", env_id, engine=engine, seed=0, device="cpu").learn(12)
    with th.no_grad():
        broken = model.policy.log_std if env_id == "Pendulum-v1" else model.policy.action_net.bias
        broken.fill_(th.nan)
    message = "action distribution is not finite at step 12: training diverged. Lower the learning rates"
    with pytest.raises(ValueError, match=message):
        model.learn(20, reset_num_timesteps=False)


class ForgetfulVecEnv(VecEnvWrapper):
    """Violates SB3's interface: its infos lack the last observation of an episode."""

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            info.pop("terminal_observation", None)
        return observations, rewards, dones, infos


def test_a_truncated_episode_needs_its_last_observation() -> None:
    env = ForgetfulVecEnv(DummyVecEnv([lambda: CountingEnv(7, truncates=True)]))
    model = TDA2C("MlpPolicy", env, bootstrap_on_truncation=True, device="cpu")
    with pytest.raises(ValueError, match=r"infos\[0\] of step 7 .*'terminal_observation'"):
        model.learn(100)


def test_without_bootstrapping_a_missing_last_observation_is_a_warning() -> None:
    models = []
    for wrap in (ForgetfulVecEnv, lambda env: env):
        env = wrap(DummyVecEnv([lambda: CountingEnv(7, truncates=True)]))
        models.append(TDA2C("MlpPolicy", env, seed=0, device="cpu"))
    with pytest.warns(UserWarning, match="Nothing is learned from them, since bootstrap_on_truncation=False"):
        models[0].learn(100)
    assert_same_parameters(models[0], models[1].learn(100))


class ReshapingVecEnv(VecEnvWrapper):
    """Changes observations, but not those in the infos, like the example in SB3's documentation."""

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv, spaces.Box(-np.inf, np.inf, (3,)))

    def reset(self):
        return self._with_one(self.venv.reset())

    def step_wait(self):
        observations, *rest = self.venv.step_wait()
        return self._with_one(observations), *rest

    @staticmethod
    def _with_one(observations):
        return np.column_stack([observations, np.ones(len(observations))])


@pytest.mark.parametrize("bootstraps", [False, True])
def test_a_terminated_episode_needs_no_last_observation(bootstraps: bool) -> None:
    broken_at_end = FaultyEnv(7, observation=np.nan, length=7)
    for env in (
        ForgetfulVecEnv(DummyVecEnv([lambda: CountingEnv(7)])),
        ReshapingVecEnv(DummyVecEnv([lambda: CountingEnv(7)])),
        broken_at_end,
    ):
        arguments = {"bootstrap_on_truncation": bootstraps, "update_on_episode_end": False, "n_steps": 30}
        model = TDA2C("MlpPolicy", env, device="cpu", **arguments)
        rows = model.learn(9).rollout_buffer.transitions()
        assert rows.next_observations[6].tolist() == rows.observations[7].tolist()
        assert rows.terminated.tolist() == [i == 6 for i in range(9)]


def test_a_wrapper_that_changes_observations_must_change_the_last_ones_of_truncated_episodes() -> None:
    env = ReshapingVecEnv(DummyVecEnv([lambda: CountingEnv(7, truncates=True)]))
    model = TDA2C("MlpPolicy", env, bootstrap_on_truncation=True, device="cpu")
    with pytest.raises(ValueError, match=r"expected shape \(3,\), got shape \(2,\); .*the VecEnvWrapper that changes"):
        model.learn(20)


@pytest.mark.parametrize("value", [3, "first", {}, {"r": 1.0}])
def test_infos_must_not_report_an_episode_in_another_form(value: Any) -> None:
    """SB3's log fails without the name of the key."""

    class Numbered(CountingEnv):
        def step(self, action):
            *results, info = super().step(action)
            return *results, info | {"episode": value}

    message = re.escape(f"info['episode']={value!r}: Monitor writes the return 'r' and the length 'l' of")
    model = TDA2C("MlpPolicy", Numbered(), device="cpu")
    with pytest.raises(ValueError, match=f"^{message}.*use another key in the environment"):
        model.learn(10, log_interval=1)
    with pytest.raises(ValueError, match=f"^{message}"):
        model.learn(10, PrintEpisodes())


def test_infos_may_report_no_episode() -> None:
    class Silent(CountingEnv):
        def step(self, action):
            *results, info = super().step(action)
            return *results, info | {"episode": None}

    model = TDA2C("MlpPolicy", DummyVecEnv([Silent]), device="cpu").learn(10, PrintEpisodes(), log_interval=1)
    assert len(model.ep_info_buffer) == 0
