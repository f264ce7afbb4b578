"""What goes wrong while training says where, leaves the weights of the last update, and no process behind."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
import torch as th
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecNormalize

import sb3_a2c_td
from sb3_a2c_td import TDA2C, GymnasiumVecEnv, MlpPolicy
from sb3_a2c_td.engines.cuda_graph import CudaEngine
from sb3_a2c_td.faults import workers
from tests.engines import CPU_ENGINES
from tests.environments import CountingEnv, DictCountingEnv

pytestmark = [
    # what Gymnasium prints of an exception in a worker
    pytest.mark.filterwarnings("ignore:.*ERROR.*:UserWarning"),
    # from Python 3.12 on, where there are threads
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]

KINDS: dict[str, Callable[[list[Callable[[], gym.Env]]], VecEnv]] = {
    "dummy": DummyVecEnv,
    "sync": lambda env_fns: GymnasiumVecEnv(SyncVectorEnv(env_fns)),
    "async": lambda env_fns: GymnasiumVecEnv(AsyncVectorEnv(env_fns)),
    "fork": lambda env_fns: SubprocVecEnv(env_fns, start_method="fork"),
    "forkserver": SubprocVecEnv,
}
# "forkserver" takes a second for each process, and differs in how it ends only
QUICK = ("dummy", "sync", "async", "fork")
Step = list[Any]
Fault = Callable[[Step], None]


@pytest.fixture(autouse=True)
def _no_test_hangs() -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise TimeoutError("this hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    # far more than any takes
    signal.setitimer(signal.ITIMER_REAL, 300, 5)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    for process in active_children():
        process.kill()
        process.join()


class Faulty(CountingEnv):
    """Has something done to what it returns at the ``fault_at``-th of its steps, and pays for its actions."""

    def __init__(self, fault: Fault | None = None, fault_at: int = 7, length: int | None = None) -> None:
        super().__init__(length)
        self.fault, self.fault_at = fault, fault_at
        self.n_steps = 0

    def step(self, action):
        self.n_steps += 1
        step = list(super().step(action))
        step[1] += float(action)
        if self.n_steps == self.fault_at and self.fault is not None:
            self.fault(step)
        return tuple(step)


def boom(step: Step) -> None:
    raise LookupError("boom")


def die(step: Step) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def replaced(index: int, value: Any) -> Fault:
    def replace(step: Step) -> None:
        step[index] = value

    return replace


def make_env(kind: str, fault: Fault | None, culprits: tuple[int, ...] = (1,), n_envs: int = 3, **kwargs) -> VecEnv:
    return KINDS[kind](
        [lambda i=i: Faulty(fault if i in culprits else None, **kwargs) for i in range(n_envs)]  # type: ignore[misc]
    )


def make(env: VecEnv | gym.Env, engine: str = "autograd", **kwargs) -> TDA2C:
    return TDA2C("MlpPolicy", env, engine=engine, seed=0, device="cpu", **kwargs)


def vector(model: TDA2C) -> th.Tensor:
    return th.nn.utils.parameters_to_vector(model.policy.parameters()).detach().clone()


def weights_after(n_updates: int, n_envs: int = 3, policy: Any = "MlpPolicy") -> th.Tensor:
    model = TDA2C(policy, make_env("dummy", None, n_envs=n_envs), engine="autograd", seed=0, device="cpu")
    return vector(model.learn(n_updates * 5 * n_envs))


def processes_of(env: VecEnv) -> list[Any]:
    return list((env.env if isinstance(env, GymnasiumVecEnv) else env).processes)


def assert_all_ended(processes: list[Any]) -> None:
    assert [process.exitcode is not None for process in processes] == [True] * len(processes)


def assert_goes_on(model: TDA2C, path: Path, env: VecEnv | None = None) -> None:
    """The model can be saved, what is loaded is the same, and both go on; ``env`` is in its environment's place."""
    model.save(path / "model")
    fresh, own = make_env("dummy", None, n_envs=model.n_envs), {"policy_class": model.policy_class}
    loaded = TDA2C.load(path / "model", env=fresh, device="cpu", custom_objects=own)
    assert th.equal(vector(loaded), vector(model))
    if env is not None:
        model.set_env(env)
    for each in (loaded, model):
        n_updates = each._n_updates
        each.learn(10 * each.n_envs, reset_num_timesteps=False)
        assert each._n_updates > n_updates
        assert vector(each).isfinite().all()


# An environment that raises, and one whose process dies


@pytest.mark.parametrize("kind", ["dummy", "sync"])
def test_an_environment_that_raises(kind: str, tmp_path: Path) -> None:
    model = make(make_env(kind, boom))
    with pytest.raises(LookupError, match=r"(?s)^boom\n.* step 21 by environment 1 \(Faulty\) of") as caught:
        model.learn(60)
    # its own traceback is there
    assert caught.traceback[-1].name == "boom"
    assert th.equal(vector(model), weights_after(1))
    assert len(model.rollout_buffer) == 3
    assert_goes_on(model, tmp_path)


@pytest.mark.parametrize(
    ("kind", "culprit", "fault"),
    [(kind, culprit, fault) for kind in ("async", "fork") for culprit in (0, 2) for fault in (boom, die)]
    + [("forkserver", 2, die)],
)
def test_a_process_that_is_lost(kind: str, culprit: int, fault: Fault, tmp_path: Path) -> None:
    """Also the last of forked ones: the others hold its pipe open, and whoever reads it waits for ever."""
    env = make_env(kind, fault, (culprit,))
    processes = processes_of(env)
    model = make(env)
    # AsyncVectorEnv hands exceptions on
    is_told = (kind, fault) == ("async", boom)
    if is_told:
        kind_of_error, cause = LookupError, rf"step 21 by environment {culprit} of AsyncVectorEnv"
    else:
        fate = "ended with exit code 1" if fault is boom else "killed by SIGKILL"
        kind_of_error, cause = RuntimeError, rf"in step 21: environment {culprit}: worker {fate}"
    with pytest.raises(kind_of_error, match=rf"(?s){cause}.* closed.*model.set_env\(...\)"):
        model.learn(60)
    assert_all_ended(processes)
    env.close()

    assert th.equal(vector(model), weights_after(1))
    assert len(model.rollout_buffer) == 3
    with pytest.raises(RuntimeError, match=r"is closed.*model.set_env\(...\)"):
        model.learn(3, reset_num_timesteps=False)
    assert_goes_on(model, tmp_path, make_env("dummy", None))


def test_a_process_that_was_lost_before(tmp_path: Path) -> None:
    env = make_env("fork", None)
    processes = processes_of(env)
    model = make(env).learn(18)
    processes[2].kill()
    processes[2].join()
    with pytest.raises(RuntimeError, match="before training began: environment 2: worker killed by SIGKILL"):
        model.learn(3, reset_num_timesteps=False)
    assert_all_ended(processes)
    assert_goes_on(model, tmp_path, make_env("dummy", None))


@pytest.mark.parametrize("kind", QUICK)
def test_an_environment_that_raises_when_it_is_reset(kind: str) -> None:
    class Unready(Faulty):
        def reset(self, **kwargs):
            raise LookupError("not ready")

    env = KINDS[kind]([Faulty, Unready])
    model = make(env)
    with pytest.raises(RuntimeError if kind == "fork" else LookupError, match="step 0.* environment 1"):
        model.learn(10)
    if kind in ("async", "fork"):
        assert_all_ended(processes_of(env))
    assert len(model.rollout_buffer) == 0


def test_a_reset_that_fails_is_not_forgotten() -> None:
    """What was observed before it must not be joined to what comes after."""

    class Once(Faulty):
        def reset(self, **kwargs):
            if self.episode == 0:
                self.episode += 1
                raise LookupError("not now")
            return super().reset(**kwargs)

    model = make(Once()).learn(3)
    with pytest.raises(LookupError, match="not now"):
        model.learn(3)
    model.learn(2, reset_num_timesteps=False)
    rows = model.rollout_buffer.transitions()
    np.testing.assert_array_equal(rows.next_observations - rows.observations, [[0, 1]] * len(rows.rewards))


def test_an_exception_of_any_kind_stays_what_it_is() -> None:
    """Also one that generators, and with them contexts, take for their end."""

    def stop(step: Step) -> None:
        raise StopIteration("over")

    model = make(make_env("dummy", stop))
    with pytest.raises(StopIteration, match="over"):
        model.learn(60)


def test_an_environment_is_named_as_it_was_registered() -> None:
    env = gym.make("CartPole-v1")
    env.unwrapped.step = lambda action: boom([])
    with pytest.raises(LookupError, match=r"step 1 by environment 0 \(CartPole-v1\) of DummyVecEnv"):
        make(env).learn(10)


# What environments return


@pytest.mark.parametrize("kind", QUICK)
@pytest.mark.parametrize(
    ("index", "value", "message"),
    [
        (0, np.array([np.nan, 0], np.float32), r"observation=\[nan +0.\] of environment 1 at step 21 is not finite"),
        (1, np.nan, "reward=nan of environment 1 at step 21 is not finite"),
        (1, -np.inf, "reward=-inf of environment 1 at step 21 is not finite"),
    ],
)
def test_numbers_that_are_not_finite(kind: str, index: int, value: Any, message: str, tmp_path: Path) -> None:
    env = make_env(kind, replaced(index, value))
    model = make(env)
    with pytest.raises(ValueError, match=message):
        model.learn(60)
    assert th.equal(vector(model), weights_after(1))
    assert len(model.rollout_buffer) == 3
    # nobody waits for a reply, so the environment goes on
    assert_goes_on(model, tmp_path)
    env.close()


ALL = (0, 1, 2)
BY_ONE = r"step 21 by environment 1 \(Faulty\) of"
FAULTS = [
    ("fork", 0, np.zeros(3, np.float32), ALL, r"^observations .*step 21: expected .*\(3, 2\), got float.* \(3, 3\)"),
    ("fork", 0, np.zeros(1, np.float32), ALL, r"^observations .*step 21: expected .*\(3, 2\), got float.* \(3, 1\)"),
    (
        "fork",
        0,
        np.zeros(3),
        (1,),
        r"step 21 by environment 1 of.*observation .*expected .*\(2,\), got float64 .*\(3,\)",
    ),
    ("sync", 0, np.zeros(3), (1,), BY_ONE + r".*observation .*expected .*\(2,\), got float64 .*\(3,\)"),
    ("async", 0, np.zeros(3), (1,), r"from shape \(3,\) into shape \(2,\).*step 21 by environment 1 of"),
    ("dummy", 0, np.zeros(3), (1,), r"from shape \(3,\) into shape \(2,\).*" + BY_ONE),
    ("fork", 0, np.array([1, None]), (1,), r"^observation=.*\[1 None\].* at step 21.*object"),
    ("sync", 0, np.array([1, None]), (1,), BY_ONE + ".*got object"),
    ("fork", 0, np.array(["1", "2"]), (1,), "^observation=.*'1' '2'.* at step 21.*<U32, which is not one of numbers"),
    ("dummy", 0, np.array(["a", "b"]), (1,), "could not convert string.*'a'.*" + BY_ONE),
    ("fork", 0, np.array([1j, 0]), (1,), "^observation=.*at step 21.*complex128, which is not one of numbers"),
    ("fork", 0, np.array([1e39, 0]), (1,), "^observation=.*e.39.* of environment 1 at step 21 is beyond .*float32"),
    ("fork", 1, None, (1,), "^reward=.*None.* at step 21.*object, which is not one of numbers"),
    ("dummy", 1, None, (1,), "^reward=nan of environment 1 at step 21"),
    ("fork", 1, "1.5", ALL, "^reward=.*'1.5' '1.5' '1.5'.* at step 21.*<U3, which is not one of numbers"),
    ("async", 1, "much", (1,), "could not convert string.*step 21 by environment 1 of.*reward .*got <U4"),
    ("dummy", 1, "much", (1,), "could not convert string.*" + BY_ONE),
    ("fork", 1, np.ones(1), ALL, r"^rewards .*step 21: expected shape \(3,\), got shape \(3, 1\)"),
    ("fork", 1, np.ones(1), (1,), r"step 21 by environment 1 of.*reward .*got float64 of shape \(1,\)"),
    ("dummy", 1, np.ones(2), (1,), "sequence.*" + BY_ONE),
    ("fork", 1, 1e39, (1,), r"^reward=1e\+39 of environment 1 at step 21 is beyond the range of float32"),
]
"""environments, what is wrong in a step, which environments it is wrong in, and what is said of it"""


@pytest.mark.parametrize(("kind", "index", "value", "culprits", "message"), FAULTS)
def test_what_does_not_fit(kind: str, index: int, value: Any, culprits: tuple[int, ...], message: str) -> None:
    env = make_env(kind, replaced(index, value), culprits)
    model = make(env)
    with pytest.raises((ValueError, TypeError), match=f"(?s){message}"):
        model.learn(60)
    assert th.equal(vector(model), weights_after(1))
    assert len(model.rollout_buffer) == 3
    env.close()


@pytest.mark.parametrize("fault_at", [1, 6])
def test_what_does_not_fit_where_an_interval_begins(fault_at: int) -> None:
    """The buffer is empty there, and takes rows of any kind."""
    for index, value, message in ((0, np.zeros(3), "observations"), (1, np.ones(1), "rewards")):
        env = make_env("fork", replaced(index, value), (0, 1, 2), fault_at=fault_at)
        model = make(env)
        with pytest.raises(ValueError, match=rf"^{message} of 3 environment\(s\) at step {3 * fault_at}: expected"):
            model.learn(60)
        assert len(model.rollout_buffer) == 0
        env.close()


def test_what_does_not_fit_at_reset() -> None:
    class Square(Faulty):
        def _observation(self) -> np.ndarray:
            return np.zeros((2, 2), np.float32)

    env = KINDS["fork"]([Square])
    with pytest.raises(ValueError, match=r"^observations .*step 0: expected .*\(1, 2\), got float32 .*\(1, 2, 2\)"):
        make(env).learn(10)
    env.close()


def test_dict_observations_that_do_not_fit() -> None:
    class Short(DictCountingEnv):
        def _observation(self) -> dict[str, np.ndarray]:
            observation = super()._observation()
            return observation if self.t < 3 else observation | {"step": np.zeros(2, np.float32)}

    env = KINDS["fork"]([Short])
    model = TDA2C("MultiInputPolicy", env, device="cpu")
    with pytest.raises(ValueError, match=r"^observations .*step 3: \['step'\] expected .*\(1, 1\), got .*\(1, 2\)"):
        model.learn(10)
    env.close()


@pytest.mark.parametrize("kind", ["dummy", "sync", "fork"])
def test_a_last_observation_that_does_not_fit(kind: str) -> None:
    """SB3 hands it on as it is, and numpy would have copied its number to both places."""
    env = make_env(kind, replaced(0, np.zeros(1, np.float32)), length=7)
    model = make(env)
    message = "step 21 by environment 1" if kind == "sync" else "^terminal_observation of environment 1 at step 21: "
    with pytest.raises(ValueError, match=message):
        model.learn(60)
    assert len(model.rollout_buffer) == 3
    env.close()


@pytest.mark.parametrize("kind", ["dummy", "async"])
@pytest.mark.parametrize(
    "fault",
    [replaced(0, np.full(1, 9, np.float32)), replaced(0, 9.0), replaced(0, np.array(["9", "9"])), replaced(1, "1.5")],
)
def test_what_cannot_be_seen(kind: str, fault: Fault) -> None:
    """DummyVecEnv and AsyncVectorEnv copy into arrays of their own: numpy broadcasts, and reads numbers in strings."""
    env = make_env(kind, fault)
    rows = make(env, n_steps=25).learn(60).rollout_buffer.transitions()
    assert 1.5 in rows.rewards or [9, 9] in rows.next_observations.tolist()
    env.close()


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64, bool])
def test_other_dtypes_of_numbers_are_taken(dtype: type) -> None:
    class Other(Faulty):
        def _observation(self) -> np.ndarray:
            return (super()._observation() % 2).astype(dtype)

        def step(self, action):
            observation, reward, *rest = super().step(action)
            return observation, dtype(reward % 2), *rest

    for wrap in (lambda env: env, lambda env: VecNormalize(env, norm_reward=False)):
        env = KINDS["fork"]([Other] * 2)
        assert make(wrap(env)).learn(40)._n_updates == 4
        env.close()


# Callbacks


class Raising(BaseCallback):
    """Does something at a step."""

    def __init__(self, at: int, act: Callable[[], None]) -> None:
        super().__init__()
        self.at, self.act = at, act

    def _on_step(self) -> bool:
        if self.num_timesteps == self.at:
            self.act()
        return True


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("kind", QUICK)
@pytest.mark.parametrize("at", [15, 21])
def test_a_callback_that_raises(kind: str, at: int, tmp_path: Path) -> None:
    """The step's transition is kept, and training goes on as if nothing had been."""
    error = LookupError("boom")

    def raise_it() -> None:
        raise error

    env = make_env(kind, None, length=6)
    model = make(env)
    with pytest.raises(LookupError, match=rf"(?s)^boom\n.*step {at} in the callback Raising") as caught:
        model.learn(60, Raising(at, raise_it))
    assert caught.value is error
    assert model.num_timesteps == at
    model.learn(60 - at, reset_num_timesteps=False)
    assert th.equal(vector(model), vector(make(make_env("dummy", None, length=6)).learn(60)))
    assert_goes_on(model, tmp_path)
    env.close()


@pytest.mark.parametrize("kind", ["async", "fork"])
def test_ctrl_c_in_a_callback_that_waits_for_an_environment(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reply would be taken for that to the next step."""
    monkeypatch.setattr(workers, "PATIENCE", 0.1)

    class Silent(Faulty):
        def answer(self) -> None:
            time.sleep(60)

    class Asked(Silent):
        def answer(self) -> None:
            # one of them: a second Ctrl-C may come while the first is explained
            os.kill(os.getppid(), signal.SIGINT)
            super().answer()

    env = KINDS[kind]([Asked, Silent])
    processes = processes_of(env)
    model = make(env)
    with pytest.raises(KeyboardInterrupt, match=r"(?s)in the callback Raising.*closed.*model.set_env\(...\)"):
        model.learn(60, Raising(4, lambda: env.env_method("answer")))
    assert_all_ended(processes)


# Ctrl-C


@pytest.mark.parametrize("kind", ["async", "fork"])
@pytest.mark.parametrize("patience", [0.1, 10.0])
def test_ctrl_c_while_processes_step(
    kind: str, patience: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Those that reply in time close their environments; those that hang are ended."""
    monkeypatch.setattr(workers, "PATIENCE", patience)
    closed = tmp_path / "closed"

    class Slow(Faulty):
        def close(self) -> None:
            closed.touch()

    def interrupt(step: Step) -> None:
        os.kill(os.getppid(), signal.SIGINT)
        # a reply so large that it has to be read, for the worker to end
        step[4]["ballast"] = np.zeros(10**6)
        time.sleep(0.2 if patience > 1 else 60)

    env = KINDS[kind]([lambda: Slow(interrupt)])
    processes = processes_of(env)
    closed.unlink(missing_ok=True)
    model = make(env)
    with pytest.raises(KeyboardInterrupt, match=r"(?s)step 7 by .*closed.*model.set_env\(...\)"):
        model.learn(60)
    assert_all_ended(processes)
    assert closed.exists() == (patience > 1)
    env.close()
    assert th.equal(vector(model), weights_after(1, n_envs=1))
    assert_goes_on(model, tmp_path, make_env("dummy", None, n_envs=1))


def test_ctrl_c_that_reaches_the_processes_too(tmp_path: Path) -> None:
    """As in a terminal, here between two steps: they end, and the next learn() says so."""
    env = make_env("fork", None)
    processes = processes_of(env)

    def ctrl_c_for_all() -> None:
        for process in processes:
            os.kill(process.pid, signal.SIGINT)
        ctrl_c()

    model = make(env)
    with pytest.raises(KeyboardInterrupt, match="step 21 in the callback Raising"):
        model.learn(60, Raising(21, ctrl_c_for_all))
    for process in processes:
        process.join()
    assert len(model.rollout_buffer) == 6
    with pytest.raises(RuntimeError, match="before training began: environment 0, 1, 2: worker ended with exit code 0"):
        model.learn(3, reset_num_timesteps=False)
    assert_goes_on(model, tmp_path, make_env("dummy", None))


class Recorder(TDA2C):
    """Keeps s and s' of every interval that it was updated with, and the parameters after each update."""

    def _setup_model(self) -> None:
        super()._setup_model()
        self.batches: list[np.ndarray] = []
        self.history = [vector(self)]

    def train(self) -> None:
        rows, n_updates = self.rows(), self._n_updates
        try:
            super().train()
        finally:
            if self._n_updates > n_updates:
                self.batches.append(rows)
                self.history.append(vector(self))

    def rows(self) -> np.ndarray:
        held = self.rollout_buffer.transitions()
        return np.concatenate([held.observations, held.next_observations], axis=1)

    def assert_every_row_once(self) -> None:
        rows = np.concatenate([*self.batches, self.rows()])
        assert len({tuple(row) for row in rows}) == len(rows)
        assert (rows[:, 2:] - rows[:, :2] == [0, 1]).all()
        assert len(self.rollout_buffer) == self.rollout_buffer.n_steps


def recorder(engine: str) -> Recorder:
    return Recorder("MlpPolicy", Faulty(length=7), engine=engine, seed=0, device="cpu")


PACKAGES = tuple(str(Path(package.__file__).parent) + os.sep for package in (sb3_a2c_td, stable_baselines3))


def moments(run: Callable[[], object], at: int | None = None) -> list[Any]:
    """Run something, with a Ctrl-C at the ``at``-th moment, a line or a return in these packages; list the moments."""
    passed: list[Any] = []

    def trace(frame, event, arg):
        if not frame.f_code.co_filename.startswith(PACKAGES):
            return None
        if event in ("line", "return"):
            if len(passed) == at:
                sys.settrace(None)
                ctrl_c()
            passed.append((frame.f_code, frame.f_lineno, event))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return passed


@pytest.mark.parametrize("engine", ["autograd", "numpy", "numba"])
def test_ctrl_c_at_any_moment(engine: str, tmp_path: Path) -> None:
    """The model is as after one of its updates, no transition is learned from twice, and none is invented."""
    sound, model = recorder(engine).learn(13), recorder(engine)
    # every line once, where it is run for the last time
    last = {moment: at for at, moment in enumerate(moments(lambda: model.learn(13)))}
    assert len(last) > 300
    for i, at in enumerate(last.values()):
        model = recorder(engine)
        with pytest.raises(KeyboardInterrupt):
            moments(lambda model=model: model.learn(13), at)
        assert th.equal(vector(model), sound.history[model._n_updates]), at
        assert len(model.batches) == model._n_updates
        if i % 10 == 0:
            assert_goes_on(model, tmp_path)
        model.learn(10, reset_num_timesteps=False)
        model.assert_every_row_once()


def test_ctrl_c_that_numba_did_not_expect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its C code calls Python, and Python takes an exception there for an error of the C code."""
    model = make(Faulty()).learn(7)

    def interrupted(observations: np.ndarray) -> np.ndarray:
        raise SystemError("returned a result with an exception set") from KeyboardInterrupt()

    monkeypatch.setattr(model._engine, "act", interrupted)
    with pytest.raises(KeyboardInterrupt, match="at step 7"):
        model.learn(60, reset_num_timesteps=False)


@pytest.mark.parametrize("n_times", [1, 2])
def test_ctrl_c_waits_for_an_update(n_times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one does not."""
    model = make(Faulty())
    update = model._engine.update

    def interrupted(*args: Any) -> Any:
        for _ in range(n_times):
            ctrl_c()
        return update(*args)

    monkeypatch.setattr(model._engine, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.learn(60)
    n_updates = 1 if n_times == 1 else 0
    assert (model._n_updates, len(model.rollout_buffer)) == (n_updates, 5 - 5 * n_updates)
    assert th.equal(vector(model), weights_after(n_updates, n_envs=1))


def test_sigint_is_handed_on_and_back() -> None:
    """Whoever handles it, within a learn() that is within another's callback too."""
    seen: list[int] = []

    def handler(signum: int, frame: object) -> None:
        seen.append(signum)

    before = signal.signal(signal.SIGINT, handler)
    try:
        inner = Raising(3, ctrl_c)
        make(Faulty()).learn(10, Raising(7, lambda: make(Faulty()).learn(10, inner)))
        assert seen == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        make(Faulty()).learn(10, Raising(7, ctrl_c))
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_callback_may_take_sigint_over() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        make(Faulty()).learn(10, Raising(7, lambda: signal.signal(signal.SIGINT, signal.SIG_IGN) and None))
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_in_another_thread() -> None:
    """Only the main thread handles signals."""
    model = make(Faulty())
    thread = threading.Thread(target=model.learn, args=(60,))
    thread.start()
    thread.join()
    assert th.equal(vector(model), weights_after(12, n_envs=1))


# Out of memory


class Forgetful(MlpPolicy):
    """Runs out of memory when it is told to."""

    runs_out: Callable[[], None] | None = None

    def get_distribution(self, obs):
        if self.runs_out is not None and (not self.in_updates_only or th.is_grad_enabled()):
            self.runs_out()
        return super().get_distribution(obs)


def cuda_is_full() -> None:
    raise th.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def memory_is_full() -> None:
    np.empty(2**50)


def torchs_memory_is_full() -> None:
    th.empty(2**50)


@pytest.mark.parametrize("in_updates_only", [False, True])
@pytest.mark.parametrize(
    ("runs_out", "error"),
    [(cuda_is_full, th.OutOfMemoryError), (memory_is_full, MemoryError), (torchs_memory_is_full, RuntimeError)],
)
def test_memory_that_runs_out(
    runs_out: Callable[[], None], error: type[Exception], in_updates_only: bool, tmp_path: Path
) -> None:
    """Once there is enough again, training goes on as if nothing had been."""
    model = TDA2C(Forgetful, make_env("dummy", None), seed=0, device="cpu").learn(27)
    weights, n_rows = vector(model), len(model.rollout_buffer)
    Forgetful.runs_out, Forgetful.in_updates_only = staticmethod(runs_out), in_updates_only
    try:
        with pytest.raises(error, match=r"at step (27|30).*\nSmaller n_steps, fewer environments or smaller networks"):
            model.learn(60, reset_num_timesteps=False)
    finally:
        Forgetful.runs_out = None
    assert th.equal(vector(model), weights)
    assert len(model.rollout_buffer) == n_rows + 3 * in_updates_only
    model.learn(90 - model.num_timesteps, reset_num_timesteps=False)
    assert th.equal(vector(model), weights_after(6, policy=Forgetful))
    assert_goes_on(model, tmp_path)


class HalfAStep(th.optim.SGD):
    """Runs out of memory with half of the parameters moved."""

    def step(self, closure=None):
        for group in self.param_groups:
            group["params"][0].data.add_(1.0)
        cuda_is_full()


def test_memory_that_runs_out_within_a_step(tmp_path: Path) -> None:
    model = make(Faulty(), policy_kwargs={"optimizer_class": HalfAStep})
    weights = vector(model)
    with pytest.raises(th.OutOfMemoryError, match="at step 5"):
        model.learn(60)
    assert th.equal(vector(model), weights)
    assert len(model.rollout_buffer) == 5


# Divergence


class OwnPolicy(MlpPolicy):
    """Not taken for a plain MLP: PyTorch differentiates it, and its optimiser takes the steps."""


MODELS: dict[str, Callable[..., TDA2C]] = {
    **{engine: lambda engine=engine, **kwargs: make(Faulty(), engine, **kwargs) for engine in CPU_ENGINES},
    "autograd": lambda **kwargs: TDA2C(OwnPolicy, Faulty(), seed=0, device="cpu", **kwargs),
    "cuda on cpu": lambda **kwargs: not_recorded(make(Faulty(), **kwargs)),
}


def not_recorded(model: TDA2C) -> TDA2C:
    model.engine, model._engine = "cuda", CudaEngine(model.policy, lambda compute: compute)
    return model


OVERFLOW = "^an update would make parameters infinite or NaN at step {}: training diverged. Lower the learning rates"


class Before(BaseCallback):
    """Keeps the parameters and the optimiser's state before each update."""

    def _on_rollout_end(self) -> None:
        self.weights = vector(self.model)
        states = self.model.policy.optimizer.state.values()
        self.states = [{name: th.as_tensor(value).clone() for name, value in state.items()} for state in states]

    def _on_step(self) -> bool:
        return True


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", ["learning_rate", "critic_learning_rate"])
def test_parameters_that_would_overflow(kind: str, name: str) -> None:
    """Losses and gradients are fine, the step is too large for float32: in one network, and the other waits too."""
    model = MODELS[kind](**{name: lambda progress: 1e-3 if progress > 1 - 14 / 60 else 1e39})
    before = Before()
    with pytest.raises(ValueError, match=OVERFLOW.format(15)):
        model.learn(60, before)
    assert (model._n_updates, len(model.rollout_buffer)) == (2, 5)
    assert th.equal(vector(model), before.weights)
    if kind != "autograd":
        # an optimiser of PyTorch's kind keeps its moments to itself
        for ours, theirs in zip(model.policy.optimizer.state.values(), before.states, strict=True):
            assert all(th.equal(th.as_tensor(ours[name]), value) for name, value in theirs.items())


@pytest.mark.parametrize("kind", MODELS)
def test_parameters_that_would_be_divided_by_zero(kind: str) -> None:
    """Adam without an epsilon, and a gradient so small that its square is none."""
    model = MODELS[kind](policy_kwargs={"optimizer_kwargs": {"eps": 0.0}}, max_grad_norm=1e-30)
    weights = vector(model)
    with pytest.raises(ValueError, match=OVERFLOW.format(5)):
        model.learn(60)
    assert th.equal(vector(model), weights)


def test_an_optimizer_of_pytorch_that_overflows() -> None:
    model = make(Faulty(), policy_kwargs={"optimizer_class": th.optim.SGD}, learning_rate=1e38, reward_scale=1e3)
    weights = vector(model)
    with pytest.raises(ValueError, match=OVERFLOW.format(5)):
        model.learn(60)
    assert th.equal(vector(model), weights)


@pytest.mark.parametrize("kind", MODELS)
def test_huge_parameters_are_not_infinite(kind: str) -> None:
    """Their squares are."""
    model = MODELS[kind]()
    with th.no_grad():
        model.policy.mlp_extractor.policy_net[0].bias.fill_(-1e20)
    assert model.learn(10)._n_updates == 2
