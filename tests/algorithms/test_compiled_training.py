"""Training in compiled code equals the same training step by step, bit for bit."""

import itertools
import os
import random
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from gymnasium.wrappers.vector import ClipReward
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    ProgressBarCallback,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.utils import FloatSchedule, LinearSchedule
from stable_baselines3.common.vec_env import VecCheckNan, VecNormalize

from sb3_a2c_td import TDA2C
from sb3_a2c_td.algorithms import compiled_training
from sb3_a2c_td.algorithms.callbacks import PrintEpisodes, ProgressBar, SaveEvery, StopOnRequest
from sb3_a2c_td.compiled import CompiledEnv, CompiledVecEnv, make_compiled_vec_env
from sb3_a2c_td.compiled.classic_control import CARTPOLE, PENDULUM
from sb3_a2c_td.compiled.inventory import INVENTORY
from sb3_a2c_td.compiled.trainer import fits
from sb3_a2c_td.engines import mlp_parameters
from sb3_a2c_td.engines.mlp_parameters import MlpParameters
from sb3_a2c_td.faults.interrupts import Interrupts, StopRequest
from tests.algorithms.comparing import assert_same_parameters
from tests.algorithms.tda2c.test_traces import TRACES, actor_layers, critic_layers, flat, set_weights

ALL_OPTIONS = {
    "learning_rate": "lin_1e-3",
    "critic_learning_rate": lambda progress: 1e-3 * progress**2,
    "max_grad_norm": 0.5,
    "ent_coef": 0.01,
    "normalize_advantage": True,
    "bootstrap_on_truncation": True,
    "update_on_episode_end": True,
}


def int32_choices(n: int) -> spaces.Discrete:
    space = spaces.Discrete(n)
    # older versions of Gymnasium have no argument for it
    space.dtype = np.dtype(np.int32)
    return space


class EveryStep(BaseCallback):
    """Does nothing, in every step."""

    def _on_step(self) -> bool:
        return True


class EpisodesAndSteps(PrintEpisodes):
    """Receives the episodes, and does something in every step."""

    def _on_step(self) -> bool:
        return super()._on_step()


class EpisodesAndRollouts(PrintEpisodes):
    """Receives the episodes, and does something at the end of every rollout."""

    def _on_rollout_end(self) -> None:
        pass


class Recorder(KVWriter):
    """Keeps what is logged, except the times."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        kept = {key: value for key, value in key_values.items() if key not in ("time/fps", "time/time_elapsed")}
        self.rows.append({"step": step, **kept})

    def close(self) -> None: ...


def new_model(
    env: CompiledEnv = CARTPOLE, n_envs: int = 1, wrap: Callable[[Any], Any] = lambda env: env, **arguments: Any
) -> TDA2C:
    arguments = {"seed": 3, "device": "cpu", **arguments}
    return TDA2C("MlpPolicy", wrap(CompiledVecEnv(env, n_envs)), **arguments)


def state_of(model: TDA2C) -> dict[str, Any]:
    """Return all that a training changes."""
    env = model.env.unwrapped
    state = {
        "parameters": {name: param.detach().numpy() for name, param in model.policy.named_parameters()},
        "optimizer": [
            {name: np.asarray(value) for name, value in moments.items()}
            for moments in model.policy.optimizer.state.values()
        ],
        "rates": [group["lr"] for group in model.policy.optimizer.param_groups],
        "counts": (model.num_timesteps, model._n_updates, model._current_progress_remaining),
        "rollout": [np.array(rows) for rows in model.rollout_buffer.transitions()],
        "last": (model._last_obs, model._last_episode_starts),
        "episodes": [(episode["r"], episode["l"]) for episode in model.ep_info_buffer],
        "actions": model._streams.actions.bit_generator.state,
        "env": (env.states, env.n_steps, env.statistics.returns, env.n_moves),
        "rngs": [generator.bit_generator.state for generator in env._batch.generators],
        "logged": {name: value for name, value in model.logger.name_to_value.items() if not name.startswith("time/")},
    }
    if isinstance(model.env, VecNormalize):
        all_rms = [model.env.ret_rms, *([model.env.obs_rms] if model.env.norm_obs else [])]
        state["statistics"] = [(rms.mean, rms.var, rms.count) for rms in all_rms]
        state["last step"] = (model.env.returns, model.env.old_obs, model.env.old_reward)
    return state


def learn(model: TDA2C, n_steps: int, callbacks: list[BaseCallback], **arguments: Any) -> list[dict[str, Any]]:
    """Train a model, and return what was logged."""
    recorder = Recorder()
    model.set_logger(Logger(None, [recorder]))
    model.learn(n_steps, callbacks, **arguments)
    return recorder.rows


@pytest.fixture
def python_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the steps that are taken in Python."""
    steps: list[int] = []
    collect_step = TDA2C._collect_step

    def recorded(model: TDA2C, *args: Any) -> bool:
        steps.append(model.num_timesteps)
        return collect_step(model, *args)

    monkeypatch.setattr(TDA2C, "_collect_step", recorded)
    return steps


CASES = {
    "one environment": {},
    "the last rollout incomplete": {"n_envs": 3, "n_steps": 7},
    "continuous": {"env": PENDULUM, "n_envs": 2},
    "all options": {"env": PENDULUM, "n_envs": 4, **ALL_OPTIONS},
    "double softmax": {"n_envs": 2, "double_softmax": True},
    "PyTorch's Adam": {"n_envs": 2, "policy_kwargs": {"optimizer_class": th.optim.Adam}},
    "VecNormalize": {"n_envs": 3, "wrap": VecNormalize},
    "VecNormalize, one environment": {"wrap": lambda env: VecNormalize(env, clip_obs=1.0, clip_reward=0.5)},
    "VecNormalize, not in training": {"wrap": lambda env: VecNormalize(env, training=False, norm_obs=False)},
    "normalization in the model": {"n_envs": 2, "normalize_observations": True, "normalize_rewards": True},
    # numpy adds more than 8 numbers, and more than 128, in other orders
    "VecNormalize, 9 environments": {"n_envs": 9, "wrap": VecNormalize},
    "VecNormalize, 131 environments": {"n_envs": 131, "wrap": VecNormalize},
    "VecNormalize, one dimension": {"env": INVENTORY, "n_envs": 11, "wrap": VecNormalize},
    "all episodes in the statistics": {"stats_window_size": None},
    "actions of 32 bits": {"env": replace(CARTPOLE, action_space=int32_choices(2))},
}


@pytest.mark.parametrize("case", CASES)
def test_it_equals_the_training_step_by_step(case: str, python_steps: list[int]) -> None:
    compiled, stepwise = new_model(**CASES[case]), new_model(**CASES[case])
    n_steps = 1_000 * compiled.n_envs if compiled.n_envs <= 4 else 200 * compiled.n_envs
    logged = learn(compiled, n_steps + 1, [], log_interval=10)
    n_compiled = len(python_steps)
    expected = learn(stepwise, n_steps + 1, [EveryStep()], log_interval=10)

    assert len(python_steps) - n_compiled == int(np.ceil((n_steps + 1) / stepwise.n_envs))
    assert n_compiled < 0.05 * len(python_steps)
    np.testing.assert_equal(logged, expected)
    assert len(logged) >= n_steps // (10 * compiled.n_steps * compiled.n_envs)
    np.testing.assert_equal(state_of(compiled), state_of(stepwise))


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_the_reference_is_reproduced(path: Path, python_steps: list[int]) -> None:
    """The recorded TensorFlow runs, on an environment that replays their transitions."""
    trace = dict(np.load(path))
    n = len(trace["actions"])
    next_observations, rewards = trace["next_observations"], trace["rewards"].astype(np.float64)
    first_observations = np.concatenate([trace["observations"], next_observations[-1:]])
    ends = trace["terminated"] | trace["truncated"]

    def reset(state, rng):
        state[1] = 0.0

    def step(state, action, rng):
        t = int(state[0])
        state[0] += 1.0
        state[1] = 1.0
        return rewards[t], ends[t]

    def observe(state, out):
        t = int(state[0])
        source = first_observations[t] if state[1] == 0.0 else next_observations[t - 1]
        for i in range(len(out)):
            out[i] = source[i]

    env = CompiledEnv(
        observation_space=spaces.Box(-np.inf, np.inf, trace["observations"].shape[1:], np.float32),
        action_space=spaces.Discrete(trace["probs"].shape[1]),
        state_size=2,
        reset=reset,
        step=step,
        observe=observe,
    )
    model = new_model(
        env,
        learning_rate=float(trace["cfg_actor_lr"]),
        critic_learning_rate=float(trace["cfg_critic_lr"]),
        n_steps=int(trace["cfg_update_interval"]),
        gamma=float(trace["cfg_gamma"]),
        reward_scale=float(trace["cfg_reward_scale"]),
        double_softmax=bool(trace["cfg_double_softmax"]),
    )
    set_weights(actor_layers(model), "actor", trace)
    set_weights(critic_layers(model), "critic", trace)
    object.__setattr__(model._streams, "actions", NoiseOfActions(trace["actions"], env.action_space.n))

    found: dict[str, list[Any]] = {"actor_params": [], "critic_params": []}
    for update in trace["param_update"].tolist():
        model.learn(int(trace["update_end"][update - 1]) - model.num_timesteps, reset_num_timesteps=False)
        assert model._n_updates == update
        found["actor_params"].append(flat(actor_layers(model)))
        found["critic_params"].append(flat(critic_layers(model)))
    assert len(python_steps) < 0.5 * n
    for name, values in found.items():
        np.testing.assert_allclose(values, trace[name], rtol=0, atol=1e-5, err_msg=name)


class NoiseOfActions:
    """Gumbel noise with which given actions are drawn."""

    def __init__(self, actions: np.ndarray, n_actions: int) -> None:
        self._noise = 1e9 * (actions[:, None] == np.arange(n_actions))
        self._begin = 0
        self.bit_generator = self

    @property
    def state(self) -> int:
        return self._begin

    @state.setter
    def state(self, value: int) -> None:
        self._begin = value

    def gumbel(self, size: tuple[int, int]) -> np.ndarray:
        begin, self._begin = self._begin, self._begin + size[0]
        return self._noise[begin : self._begin]


CARTPOLE_ID = "sb3_a2c_td/CartPole-v1"


def loaded(path: Path, env: Any) -> TDA2C:
    TDA2C("MlpPolicy", "CartPole-v1", seed=3, device="cpu").save(path)
    return TDA2C.load(path, env, device="cpu")


def with_env(env: Any) -> TDA2C:
    model = TDA2C("MlpPolicy", "CartPole-v1", seed=3, device="cpu")
    model.set_env(env)
    return model


WAYS = {
    "constructor": lambda path, env: TDA2C("MlpPolicy", env, seed=3, device="cpu"),
    "load": loaded,
    "set_env": lambda path, env: with_env(env),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_name_makes_environments_for_compiled_code(way: str, tmp_path: Path, python_steps: list[int]) -> None:
    envs = (CARTPOLE_ID, make_compiled_vec_env(CARTPOLE_ID))
    models = [WAYS[way](tmp_path / "model", env) for env in envs]
    for model in models:
        # load() does not seed
        model.set_random_seed(3)
        model.learn(2_000)
    assert len(python_steps) < 0.1 * 4_000
    np.testing.assert_equal(*map(state_of, models))


def test_a_name_trains_as_the_single_environment(python_steps: list[int]) -> None:
    arguments = {"engine": "numba", "seed": 3, "device": "cpu"}
    named = TDA2C("MlpPolicy", CARTPOLE_ID, **arguments).learn(1_000)
    n_compiled = len(python_steps)
    single = TDA2C("MlpPolicy", gym.make(CARTPOLE_ID), **arguments).learn(1_000)
    assert n_compiled < 0.1 * len(python_steps)
    assert_same_parameters(named, single)
    assert [e["r"] for e in named.ep_info_buffer] == [e["r"] for e in single.ep_info_buffer]


def test_native_environments_are_trained_in_compiled_code(python_steps: list[int]) -> None:
    """The model and the user have the same environments, so that it notices when the user steps them."""
    native = gym.make_vec(CARTPOLE_ID, 4)
    models = [TDA2C("MlpPolicy", env, seed=3, device="cpu") for env in (native, make_compiled_vec_env(CARTPOLE_ID, 4))]
    for model in models:
        model.learn(4_000)
    assert len(python_steps) < 0.1 * 2_000
    np.testing.assert_equal(*map(state_of, models))
    native.reset(seed=9)
    models[1].env.seed(9)
    models[1].env.reset()
    for model in models:
        model.learn(100, reset_num_timesteps=False)
    np.testing.assert_equal(*map(state_of, models))


@pytest.mark.parametrize("n_envs", [1, 3])
def test_all_episodes_are_printed(n_envs: int, python_steps: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for extra in ([], [EveryStep()]):
        new_model(n_envs=n_envs).learn(3_000, [PrintEpisodes(), *extra])
        printed.append(capsys.readouterr().out)
        n_steps = len(python_steps)
        python_steps.clear()
    assert n_steps == 3_000 // n_envs
    assert printed[0] == printed[1]
    assert len(printed[0].splitlines()) > 50


@pytest.mark.parametrize("make_bar", [ProgressBarCallback, lambda: ProgressBar(Interrupts())])
def test_progress_bars_follow_the_steps(make_bar: Callable[[], ProgressBarCallback]) -> None:
    bar, model, shown = make_bar(), new_model(), []

    class ReadingBar(Recorder):
        def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
            shown.append((step, bar.pbar.n))

    model.set_logger(Logger(None, [ReadingBar()]))
    model.learn(3_000, bar)
    assert len(shown) >= 5
    assert all(step == n for step, n in shown)


def test_a_stop_request_ends_training_soon() -> None:
    request, model = StopRequest(), new_model()
    threading.Timer(0.3, setattr, (request, "signum", signal.SIGTERM)).start()
    model.learn(1_000_000, StopOnRequest(request.is_set))
    assert 0 < model.num_timesteps < 500_000


def test_a_callback_that_fails_leaves_complete_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The printed lines may go to a program that ends early."""
    model, uninterrupted = new_model(n_envs=2), new_model(n_envs=2).learn(1_000)

    def fail(*args: Any) -> None:
        if model.num_timesteps > 100:
            raise BrokenPipeError

    monkeypatch.setattr(PrintEpisodes, "on_episodes", fail)
    with pytest.raises(BrokenPipeError):
        model.learn(1_000, PrintEpisodes())
    assert 100 < model.num_timesteps < 1_000
    model.learn(1_000 - model.num_timesteps, reset_num_timesteps=False)
    np.testing.assert_equal(state_of(model)["parameters"], state_of(uninterrupted)["parameters"])


def callbacks_in(folder: Path) -> list[BaseCallback]:
    eval_env = CompiledVecEnv(CARTPOLE, 2)
    eval_env.seed(1)
    evaluation = EvalCallback(
        eval_env,
        callback_on_new_best=StopTrainingOnRewardThreshold(1e9),
        eval_freq=700,
        n_eval_episodes=2,
        log_path=str(folder),
        verbose=0,
    )
    every = EveryNTimesteps(1_000, CheckpointCallback(1, str(folder), name_prefix="every"))
    return [evaluation, CallbackList([CheckpointCallback(900, str(folder))]), every, ProgressBarCallback()]


def test_callbacks_are_called_in_the_same_steps(tmp_path: Path, python_steps: list[int]) -> None:
    models = [new_model(n_envs=2), new_model(n_envs=2)]
    for model, extra, name in zip(models, ([], [EveryStep()]), ("compiled", "stepwise"), strict=True):
        model.learn(4_000, [*callbacks_in(tmp_path / name), *extra], log_interval=50)
    assert len(python_steps) < 1.2 * 2_000
    np.testing.assert_equal(state_of(models[0]), state_of(models[1]))
    names = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("compiled", "stepwise")]
    assert names[0] == names[1]
    assert {"evaluations.npz", "rl_model_3600_steps.zip", "every_4000_steps.zip"} <= set(names[0])
    evaluations = [dict(np.load(tmp_path / name / "evaluations.npz")) for name in ("compiled", "stepwise")]
    np.testing.assert_array_equal(evaluations[0]["timesteps"], [1_400, 2_800])
    np.testing.assert_equal(evaluations[0], evaluations[1])
    assert_same_parameters(
        *(TDA2C.load(tmp_path / name / "rl_model_3600_steps", device="cpu") for name in ("compiled", "stepwise"))
    )


@pytest.mark.parametrize("n_envs", [1, 3])
def test_training_stops_at_the_same_episode(n_envs: int, python_steps: list[int]) -> None:
    compiled, stepwise = new_model(n_envs=n_envs), new_model(n_envs=n_envs)
    compiled.learn(10_000, StopTrainingOnMaxEpisodes(20))
    n_compiled = len(python_steps)
    stepwise.learn(10_000, [StopTrainingOnMaxEpisodes(20), EveryStep()])
    assert n_compiled < 0.5 * (len(python_steps) - n_compiled)
    assert compiled.num_timesteps < 10_000
    np.testing.assert_equal(state_of(compiled), state_of(stepwise))


def test_saves_are_made_at_the_same_steps() -> None:
    saved_at: list[int] = []
    model = new_model(n_envs=2)
    model.learn(1_000, SaveEvery(300, lambda: saved_at.append(model.num_timesteps)))
    assert saved_at == [300, 600, 900]


@pytest.mark.parametrize("wrap", [lambda env: env, VecNormalize], ids=["plain", "VecNormalize"])
def test_a_resumed_training_equals_an_uninterrupted_one(wrap: Callable[[Any], Any], tmp_path: Path) -> None:
    uninterrupted, interrupted = (new_model(n_envs=2, n_steps=7, wrap=wrap) for _ in range(2))
    uninterrupted.learn(4_000)
    # schedules depend on the end of training, but here none does
    interrupted.learn(1_502).save(tmp_path / "model")
    resumed = TDA2C.resume(tmp_path / "model", wrap(CompiledVecEnv(CARTPOLE, 2)), device="cpu")
    resumed.learn(4_000 - resumed.num_timesteps, reset_num_timesteps=False)
    expected, found = state_of(uninterrupted), state_of(resumed)
    for state in (expected, found):
        # a continued training counts its progress from its own start
        state["counts"] = state["counts"][:2]
        del state["logged"]
    np.testing.assert_equal(found, expected)


MANY: list[dict[str, Any]] = [
    {"n_envs": 2, "seed": 0},
    {"n_envs": 2, "seed": 1},
    {"env": PENDULUM, "wrap": VecNormalize},
    {"normalize_observations": True, "max_grad_norm": 0.5},
    {"engine": "numpy"},
    {"policy_kwargs": {"activation_fn": th.nn.ELU}},
]


def train_with_evaluation(model: TDA2C) -> dict[str, Any]:
    env = CompiledVecEnv(model.env.unwrapped.compiled_env)
    eval_env = VecNormalize(env) if isinstance(model.get_env(), VecNormalize) else env
    eval_env.seed(1)
    callback = EvalCallback(eval_env, eval_freq=300, n_eval_episodes=1, verbose=0)
    model.learn(900, callback, log_interval=20)
    return {**state_of(model), "evaluation": (callback.last_mean_reward, callback.evaluations_timesteps)}


def test_trainings_in_threads_equal_those_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = [train_with_evaluation(new_model(**case)) for case in MANY]
    models = [new_model(**case) for case in MANY]
    n_threads = th.get_num_threads()
    monkeypatch.setattr(compiled_training, "SECONDS", 0.001)
    with ThreadPoolExecutor(3) as threads:
        in_threads = list(threads.map(train_with_evaluation, models))
    np.testing.assert_equal(in_threads, alone)
    assert th.get_num_threads() == n_threads


def env_of_two_numbers(reset: Any, step: Any, max_episode_steps: int | None = None) -> CompiledEnv:
    space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    return CompiledEnv(space, spaces.Discrete(2), 2, reset, step, max_episode_steps=max_episode_steps)


def failing_env(at_step: int, place: str) -> CompiledEnv:
    """Return an environment whose reward or observation becomes NaN."""
    in_reward = place == "reward"

    def reset(state, rng):
        state[0] = rng.uniform(-1.0, 1.0)

    def step(state, action, rng):
        state[1] += 1.0
        is_due = state[1] == at_step
        if is_due and not in_reward:
            state[0] = np.nan
        return np.nan if is_due and in_reward else 1.0, False

    return env_of_two_numbers(reset, step)


@pytest.mark.parametrize("place", ["reward", "observation"])
def test_numbers_that_are_not_finite_stop_training(place: str) -> None:
    compiled, stepwise = (new_model(failing_env(500, place), n_envs=2) for _ in range(2))
    with pytest.raises(ValueError, match=f"{place}.*step 1000") as found:
        compiled.learn(10_000)
    with pytest.raises(ValueError) as expected:
        stepwise.learn(10_000, EveryStep())
    assert str(found.value) == str(expected.value)
    states = [state_of(model) for model in (compiled, stepwise)]
    np.testing.assert_equal(states[0]["parameters"], states[1]["parameters"])
    assert states[0]["counts"] == states[1]["counts"]
    # the next training resets the environments
    assert compiled.learn(100).num_timesteps == 100


def breaking_env(terminates: bool) -> CompiledEnv:
    """Return an environment whose episodes of 7 steps end with NaN."""

    def reset(state, rng):
        state[0] = rng.uniform(-1.0, 1.0)
        state[1] = 0.0

    def step(state, action, rng):
        state[1] += 1.0
        ends = state[1] == 7.0
        if ends:
            state[0] = np.nan
        return float(action), ends and terminates

    return env_of_two_numbers(reset, step, max_episode_steps=8 if terminates else 7)


@pytest.mark.parametrize(("terminates", "bootstraps"), [(True, False), (True, True), (False, False)])
@pytest.mark.filterwarnings("ignore:.*Nothing is learned from them")
def test_last_observations_that_are_not_learned_from_need_not_be_finite(terminates: bool, bootstraps: bool) -> None:
    arguments = {"env": breaking_env(terminates), "n_envs": 2, "bootstrap_on_truncation": bootstraps}
    compiled, stepwise = new_model(**arguments).learn(1_006), new_model(**arguments).learn(1_006, EveryStep())
    np.testing.assert_equal(state_of(compiled), state_of(stepwise))


def test_last_observations_that_are_learned_from_must_be_finite() -> None:
    arguments = {"env": breaking_env(terminates=False), "n_envs": 2, "bootstrap_on_truncation": True}
    for callback in (None, EveryStep()):
        with pytest.raises(ValueError, match=r"^terminal_observation=\[nan +7.\] of environment 0 at step 14 is not"):
            new_model(**arguments).learn(100, callback)


def test_divergence_stops_training_with_the_last_weights() -> None:
    arguments = {"env": PENDULUM, "n_envs": 2, "learning_rate": 1e37, "reward_scale": 1e30}
    compiled, stepwise = new_model(**arguments), new_model(**arguments)
    with pytest.raises(ValueError) as found:
        compiled.learn(10_000)
    with pytest.raises(ValueError) as expected:
        stepwise.learn(10_000, EveryStep())
    assert str(found.value) == str(expected.value)
    np.testing.assert_equal(state_of(compiled)["parameters"], state_of(stepwise)["parameters"])


def test_an_interrupted_training_continues_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C takes effect where compiled code returns to Python."""
    monkeypatch.setattr(compiled_training, "SECONDS", 0.01)
    model, uninterrupted = new_model(n_envs=2).learn(100), new_model(n_envs=2).learn(100)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        model.learn(10_000_000, log_interval=None)
    assert 0 < model.num_timesteps < 10_000_000
    n_steps = model.num_timesteps + 1_000
    model.learn(1_000, reset_num_timesteps=False)
    uninterrupted.learn(n_steps)
    np.testing.assert_equal(state_of(model)["parameters"], state_of(uninterrupted)["parameters"])


WAY_OUT = "use make_compiled_vec_env, with no wrapper or in VecNormalize"


def with_own_step() -> EvalCallback:
    callback = EvalCallback(make_compiled_vec_env(CARTPOLE))
    callback._on_step = lambda: True
    return callback


class Subclass(TDA2C):
    """Overrides nothing."""


@pytest.mark.parametrize(
    ("make", "callback", "reason"),
    [
        (lambda: new_model(verbose=1), EveryStep(), "EveryStep must be called at every step"),
        (lambda: new_model(verbose=1), EpisodesAndSteps(), "EpisodesAndSteps must be called at every step"),
        (lambda: new_model(verbose=1), EpisodesAndRollouts(), "EpisodesAndRollouts must be called at every step"),
        (lambda: new_model(verbose=1), with_own_step(), "EvalCallback must be called at every step"),
        (lambda: new_model(verbose=1, wrap=VecCheckNan), None, f"Python has to step VecCheckNan: {WAY_OUT}"),
        (
            lambda: TDA2C("MlpPolicy", gym.make(CARTPOLE_ID), verbose=1, normalize_observations=True),
            None,
            f"Python has to step DummyVecEnv: {WAY_OUT}",
        ),
        (
            lambda: TDA2C("MlpPolicy", ClipReward(gym.make_vec(CARTPOLE_ID), 0.0, 1.0), verbose=1),
            None,
            f"Python has to step GymnasiumVecEnv: {WAY_OUT}",
        ),
        (lambda: TDA2C("MlpPolicy", "CartPole-v1", verbose=1, device="cpu"), None, None),
        (lambda: new_model(verbose=1, engine="numpy"), None, "the engine is numpy, not numba"),
        (lambda: new_model(verbose=1, policy_kwargs={"activation_fn": th.nn.ELU}), None, "the engine is autograd"),
        (
            lambda: new_model(verbose=1, n_steps=300, policy_kwargs={"net_arch": [256]}),
            None,
            "numpy takes less time for batches of this size",
        ),
        (
            lambda: Subclass("MlpPolicy", CompiledVecEnv(CARTPOLE), verbose=1, device="cpu"),
            None,
            "Subclass may do something in every step that TDA2C does not",
        ),
    ],
)
def test_other_trainings_go_step_by_step(
    make: Callable[[], TDA2C],
    callback: BaseCallback | None,
    reason: str | None,
    python_steps: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    make().learn(50, callback)
    assert python_steps == list(range(50))
    output = capsys.readouterr().out
    assert (f"Training step by step, since {reason}" in output) if reason else ("Training" not in output)


def test_copies_of_an_environment_have_to_be_made() -> None:
    with pytest.raises(ValueError, match="env is a CompiledEnv, .*pass make_compiled_vec_env"):
        TDA2C("MlpPolicy", CARTPOLE)


def test_the_first_run_is_short_and_later_ones_at_most_twice_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that Ctrl-C takes effect soon if each step takes long."""
    run, lengths = compiled_training.CompiledTraining._run, []
    monkeypatch.setattr(
        compiled_training.CompiledTraining, "_run", lambda self, n, *rest: lengths.append(n) or run(self, n, *rest)
    )
    new_model(n_envs=2).learn(2_000, log_interval=None)
    assert lengths[0] == 8
    assert all(later <= 2 * earlier for earlier, later in itertools.pairwise(lengths))


@pytest.mark.parametrize("schedule", [LinearSchedule(1e-3, 1e-4, 0.3), LinearSchedule(0.0, 1e-3, 1.0)])
def test_linear_schedules_give_the_same_rates_at_once(
    schedule: LinearSchedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_training, "_rates_one_by_one", None)
    steps = np.arange(1, 400)
    found = compiled_training._rates("learning_rate", FloatSchedule(schedule), steps, total_steps=300.0)
    expected = [float(schedule(1.0 - min(step, 300.0) / 300.0)) for step in steps.tolist()]
    np.testing.assert_array_equal(found, expected)


def test_a_linear_schedule_below_zero_is_an_error() -> None:
    with pytest.raises(ValueError, match="learning_rate: the schedule's value at progress_remaining=0.4"):
        new_model(learning_rate=LinearSchedule(1e-3, -1e-3, 1.0)).learn(1_000)


def test_a_replaced_method_is_called_in_every_step(python_steps: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    model = new_model(verbose=1)
    sample_actions, calls = model.sample_actions, []
    model.sample_actions = lambda observations: calls.append(1) or sample_actions(observations)
    model.learn(50)
    assert len(calls) == 50
    assert "since the model's method sample_actions was replaced" in capsys.readouterr().out


def test_compiled_training_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    new_model(verbose=1).learn(50)
    assert "Using the engine numba" in (output := capsys.readouterr().out)
    assert "Training in compiled code" in output


@pytest.mark.parametrize("like_tensorflow", [True, False])
def test_step_sizes_equal_those_of_python(like_tensorflow: bool) -> None:
    from sb3_a2c_td.compiled.training_loop import Optimizer, adam_settings

    model = new_model(policy_kwargs={} if like_tensorflow else {"optimizer_class": th.optim.Adam})
    mlp = mlp_parameters.MlpParameters(model.policy)
    rates = np.array([[5e-4], [1e-3]])
    for group, rate in zip(mlp.groups, rates[:, 0].tolist(), strict=True):
        group["lr"] = rate
    for t in range(3_000):
        optimizer = Optimizer(((0.9, 0.999),) * 2, (mlp.groups[0]["eps"],) * 2, like_tensorflow, (t, t), rates)
        assert adam_settings(optimizer, 0, 0, 1) == mlp.actor_adam()
        assert adam_settings(optimizer, 1, 0, 1) == mlp.critic_adam()
        mlp.count_steps()


# Where a training stops and continues


def two_trainings(model: TDA2C, extra: list[BaseCallback], folder: Path) -> TDA2C:
    model.learn(1_002, extra)
    return model.learn(1_000, extra)


def after_the_last_episode(model: TDA2C, extra: list[BaseCallback], folder: Path) -> TDA2C:
    model.learn(10_000, [StopTrainingOnMaxEpisodes(20), *extra])
    return model.learn(500, extra, reset_num_timesteps=False)


def after_a_move(model: TDA2C, extra: list[BaseCallback], folder: Path) -> TDA2C:
    model.learn(53, extra)
    model.env.reset()
    return model.learn(53, extra, reset_num_timesteps=False)


def after_cloning(model: TDA2C, extra: list[BaseCallback], folder: Path) -> TDA2C:
    """The actor has taken more steps than the critic."""
    observations, actions = th.ones(8, 4), th.ones(8)
    for _ in range(20):
        _, log_prob, _ = model.policy.evaluate_actions(observations, actions)
        model.policy.optimizer.zero_grad()
        (-log_prob.mean()).backward()
        model.policy.optimizer.step()
    return model.learn(503, extra)


def from_a_checkpoint(model: TDA2C, extra: list[BaseCallback], folder: Path) -> TDA2C:
    """Its rollout is complete, without an update."""
    model.learn(100 * model.n_envs, [CheckpointCallback(100, str(folder)), *extra])
    (path,) = folder.iterdir()
    resumed = TDA2C.resume(path, CompiledVecEnv(CARTPOLE, model.n_envs), device="cpu")
    assert len(resumed.rollout_buffer) == resumed.n_steps * model.n_envs
    return resumed.learn(100 * model.n_envs, extra, reset_num_timesteps=False)


@pytest.mark.parametrize(
    ("train", "n_envs"),
    [
        (two_trainings, 1),
        (after_the_last_episode, 1),
        (after_a_move, 1),
        (after_cloning, 1),
        (from_a_checkpoint, 16),
    ],
)
def test_it_continues_as_step_by_step(train: Callable[..., TDA2C], n_envs: int, tmp_path: Path) -> None:
    states = []
    for name, extra in (("compiled", []), ("stepwise", [EveryStep()])):
        (tmp_path / name).mkdir()
        states.append(state_of(train(new_model(n_envs=n_envs), extra, tmp_path / name)))
    np.testing.assert_equal(*states)


def test_saved_models_are_equal(tmp_path: Path) -> None:
    contents = []
    for extra in ([], [EveryStep()]):
        new_model(n_envs=2, wrap=VecNormalize).learn(2_003, extra).save(tmp_path / "model")
        loaded = TDA2C.resume(tmp_path / "model", VecNormalize(CompiledVecEnv(CARTPOLE, 2)), device="cpu")
        loaded.set_logger(Logger(None, []))
        contents.append(state_of(loaded))
    np.testing.assert_equal(*contents)


def test_trainings_with_random_settings_equal_those_step_by_step(tmp_path: Path) -> None:
    rng = random.Random(0)
    for _ in range(8):
        env, n_envs, n_steps = rng.choice([CARTPOLE, PENDULUM]), rng.choice([1, 2, 9]), rng.choice([1, 5, 16])
        arguments = {
            "n_steps": n_steps,
            "update_on_episode_end": rng.choice([None, True, False]),
            "normalize_advantage": rng.random() < 0.5,
            "learning_rate": rng.choice([1e-3, "lin_1e-3"]),
            "normalize_observations": rng.random() < 0.5,
            "normalize_rewards": rng.random() < 0.5,
            "policy_kwargs": rng.choice([{}, {"activation_fn": th.nn.Tanh}, {"optimizer_class": th.optim.Adam}]),
        }
        log_interval, n_total, n_callbacks = rng.choice([1, 3, None]), rng.choice([1, n_envs, 999]), rng.randrange(5)
        states = []
        for extra in ([], [EveryStep()]):
            model = new_model(env, n_envs, **arguments)
            callbacks = [
                EvalCallback(model.get_env(), eval_freq=37, n_eval_episodes=1, verbose=0, warn=False),
                EveryNTimesteps(50, CheckpointCallback(2, str(tmp_path))),
                CallbackList([CheckpointCallback(101, str(tmp_path))]),
                StopTrainingOnMaxEpisodes(7),
            ][:n_callbacks]
            logged = learn(model, n_total, [*callbacks, *extra], log_interval=log_interval)
            states.append((logged, state_of(model)))
        np.testing.assert_equal(*states, err_msg=str((n_envs, n_callbacks, arguments)))


def test_long_rollouts_are_collected_in_compiled_code(python_steps: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_training, "SECONDS", 0.001)
    new_model(n_steps=20_000, update_on_episode_end=False).learn(60_000)
    assert len(python_steps) < 20


# Errors


def with_an_error(n_steps: int) -> CompiledEnv:
    """Make an environment that writes beyond its state in some step of each episode."""

    def reset(state, rng):
        state[0], state[1] = rng.uniform(-1.0, 1.0), 0.0

    def step(state, action, rng):
        state[1] += 1.0
        if state[1] == n_steps:
            state[int(state[1])] = 1.0
        return 1.0, False

    space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    return CompiledEnv(space, spaces.Discrete(2), state_size=2, reset=reset, step=step, max_episode_steps=300)


@pytest.mark.parametrize("wrap", [lambda env: env, VecNormalize])
def test_an_error_in_compiled_code_leaves_complete_updates(wrap: Callable[[Any], Any]) -> None:
    models = []
    for extra in ([], [EveryStep()]):
        model = new_model(with_an_error(203), n_envs=2, wrap=wrap)
        with pytest.raises(IndexError, match="out of bounds") as raised:
            model.learn(10_000, extra)
        assert "Raised at step 406" in raised.value.__notes__[0]
        assert (model.num_timesteps, model._n_updates, model._last_obs) == (406, 40, None)
        assert {int(state["step"]) for state in model.policy.optimizer.state.values()} == {40}
        models.append(model)
    assert_same_parameters(*models)
    for model in models:
        model.learn(100, reset_num_timesteps=False)
    np.testing.assert_equal(*map(state_of, models))


class ChangeSteps(BaseCallback):
    """Changes the length of a rollout."""

    def _on_step(self) -> bool:
        self.model.n_steps = 2_000
        return True


def test_rollouts_that_do_not_fit_raise_an_error() -> None:
    model = new_model(n_envs=64)
    with pytest.raises(ValueError, match="do not fit into a buffer"):
        model.learn(1_000_000, EveryNTimesteps(1_000, ChangeSteps()))


def replace_rollout(model: TDA2C) -> None:
    model.rollout_buffer.capacity -= 1


def replace_states(model: TDA2C) -> None:
    model.env.unwrapped._batch.states = np.zeros((3, 3))


def replace_returns(model: TDA2C) -> None:
    model.env.unwrapped.statistics.returns = np.zeros(2)


def replace_discounted_returns(model: TDA2C) -> None:
    model.env.returns = np.zeros(2)


def replace_mean(model: TDA2C) -> None:
    model.env.obs_rms.mean = np.zeros(4, np.float32)


@pytest.mark.parametrize(
    "replace", [replace_rollout, replace_states, replace_returns, replace_discounted_returns, replace_mean]
)
def test_arrays_of_another_shape_or_dtype_are_not_passed_to_compiled_code(replace: Callable[[TDA2C], None]) -> None:
    model = new_model(n_envs=3, wrap=VecNormalize).learn(100)
    arguments = model.env.unwrapped, model.env, MlpParameters(model.policy), model.rollout_buffer, model.n_steps
    assert fits(*arguments)
    replace(model)
    assert not fits(*arguments)
