"""Crafted files, each read in a process with limits. ``python -m tests.saving.attacks`` tries all and prints a table.

A file may be refused, or load and train without harm. ``test_attacks.py`` runs this file, which forks one process for
each file, because importing PyTorch takes seconds.
"""

import io
import json
import os
import pickle
import re
import resource
import select
import signal
import sys
import tempfile
import time
import warnings
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

# the profiles of hypothesis, for test_damage
import tests.conftest  # noqa: F401
from sb3_a2c_td import TDA2C, MlpPolicy, RecurrentTDA2C, UnreadableCheckpointError, UntrustedCheckpointError
from sb3_a2c_td.export.normalization import read_normalization
from sb3_a2c_td.rollout.transitions import MaskedTransitions
from tests.cli import running
from tests.environments import CountingEnv
from tests.saving import test_damage
from tests.saving.models import (
    ARCHIVE,
    SMALL,
    assert_same_weights,
    load,
    saved,
    small,
    tensors,
    with_overlapping_moments,
)
from tests.saving.pickles import (
    PAYLOADS,
    SERIALIZED,
    TAKEN_FOR_OTHERS,
    Dict,
    Reduced,
    Set,
    attributes_of,
    dumps,
    files_of,
    with_file,
    with_json,
    with_pickle,
    zipped,
)
from tests.saving.rollouts import CHANGES, unfinished, with_rollout

MAX_SECONDS = 10
"""CPU time that a file may take"""
MAX_MEGABYTES = 500
"""memory that it may take"""
GUARD_MEGABYTES = 3_000
"""more than that is refused by the operating system, to protect this machine"""

REFUSED, HARMLESS, HARMFUL = "refused", "harmless", "harmful"


class RefusedError(Exception):
    """Raised if a command refused a file with a message."""


REFUSALS = (UnreadableCheckpointError, UntrustedCheckpointError, RefusedError)
WORDED = re.compile(
    r"^(gamma|n_steps|reward_scale|ent_coef|max_grad_norm|learning_rate|critic_learning_rate|engine|seed|policy|"
    r"stats_window_size|net_arch|update_on_episode_end|observation_space|action_space|double_softmax)\b"
)
"""what other errors for the settings in a file begin with: those of the constructor, which names the argument"""


class Attack(NamedTuple):
    """A crafted file and what reads it."""

    name: str
    run: Callable[[], Any]
    """reads it in an empty folder; raises one of ``REFUSALS`` if the file is refused, and anything else for harm"""


class Result(NamedTuple):
    """What happened."""

    outcome: str
    seconds: float
    megabytes: float
    details: str


# One attack


def tried(attack: Attack) -> Result:
    """Run an attack in another process."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _limit_this_process()
        os.write(writer, json.dumps(_outcome(attack)).encode())
        os._exit(0)
    os.close(writer)
    # a process that waits for a pipe takes no CPU time
    is_done, _, _ = select.select([reader], [], [], 6 * MAX_SECONDS)
    if not is_done:
        os.kill(pid, signal.SIGKILL)
    report = b"".join(iter(lambda: os.read(reader, 65536), b""))
    os.close(reader)
    _, status, usage = os.wait4(pid, 0)
    if report:
        return Result(*json.loads(report))
    death = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
    return Result(HARMFUL, usage.ru_utime + usage.ru_stime, 0.0, f"the process ended with {death}")


def _limit_this_process() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS + 1, MAX_SECONDS + 2))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    n_bytes = pages * resource.getpagesize() + GUARD_MEGABYTES * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))
    # what C++ prints when it aborts
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _outcome(attack: Attack) -> Result:
    kilobytes, seconds = _peak_kilobytes(), time.process_time()
    outcome, details = HARMLESS, ""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        try:
            attack.run()
        except Exception as error:
            outcome = REFUSED if _is_refusal(error) and not _ran_out_of_memory(error) else HARMFUL
            details = f"{type(error).__name__}: {str(error)[:200]}"
    seconds = time.process_time() - seconds
    megabytes = (_peak_kilobytes() - kilobytes) / 1024
    if seconds > MAX_SECONDS or megabytes > MAX_MEGABYTES:
        outcome, details = HARMFUL, f"{seconds:.0f} s, {megabytes:.0f} MB; {details}"
    return Result(outcome, seconds, megabytes, details)


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, REFUSALS) or (isinstance(error, ValueError) and WORDED.match(str(error)) is not None)


def _peak_kilobytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _ran_out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError) or "allocate" in str(error):
            return True
        error = error.__context__
    return False


class HarmError(Exception):
    """Raised if a file got what it must not get."""


def require(condition: bool, harm: str) -> None:
    if not condition:
        raise HarmError(harm)


def trains(archive: bytes, algorithm: type[TDA2C] = TDA2C, env: Any = None, **kwargs: Any) -> Callable[[], None]:
    """Return a reader that loads a model and trains it; errors are fine while it loads, not later."""

    def run() -> None:
        classes = {base: set(vars(base)) for base in MlpPolicy.__mro__}
        model = algorithm.load(io.BytesIO(archive), env, device="cpu", **kwargs)
        require(model.device == th.device("cpu"), f"it chooses the device {model.device}")
        require(all(set(vars(base)) == names for base, names in classes.items()), "it changes classes")
        if env is not None:
            try:
                model.learn(50)
            except Exception as error:
                raise HarmError(f"learn() fails with {type(error).__name__}: {error}") from None
        require(all(th.isfinite(param).all() for param in model.policy.parameters()), "weights are not finite")
        require(os.listdir() == [], f"it writes {os.listdir()}")

    return run


def same_weights(archive: bytes) -> Callable[[], None]:
    """Return a reader that loads a model and compares the weights with those that were checked."""

    def run() -> None:
        model = load(archive)
        try:
            assert_same_weights(model, SMALL)
        except AssertionError:
            raise HarmError("other weights than were checked") from None
        model.set_env(DummyVecEnv([CountingEnv]))
        model.learn(50)

    return run


def command(name: str, archive: bytes) -> Callable[[], None]:
    def run() -> None:
        Path("model.zip").write_bytes(archive)
        done = running.run([*name.split(), "model.zip"])
        require("\x1b" not in done.output, "it controls the terminal")
        crash = done.exception
        require(crash is None or isinstance(crash, SystemExit), f"it crashes with {type(crash).__name__}: {crash}")
        if done.exit_code != 0:
            raise RefusedError(done.output)

    return run


def reads_statistics(content: bytes) -> Callable[[], None]:
    def run() -> None:
        Path("vecnormalize.pkl").write_bytes(content)
        read_normalization("vecnormalize.pkl")

    return run


# The attacks, by their kind


def other_rollouts() -> Iterator[Attack]:
    for name, (model_name, change, _) in CHANGES.items():
        model = unfinished(model_name)
        env = model.get_env()
        yield Attack(name, trains(with_rollout(model, change(model.rollout_buffer.transitions())), type(model), env))
    for width in (100, 2_000_000):
        model = TDA2C("MlpPolicy", "CartPole-v1", device="cpu", seed=0).learn(13)
        rows = model.rollout_buffer.transitions()
        masked = MaskedTransitions(*rows, np.ones((len(rows.rewards), width), bool))
        yield Attack(f"{width} masks", trains(with_rollout(model, masked), env="CartPole-v1", engine="numba"))


def overlapping_moments() -> Iterator[Attack]:
    for optimizer, name in ((th.optim.Adam, "exp_avg"), (th.optim.AdamW, "exp_avg_sq"), (th.optim.Adagrad, "sum")):
        for fused in (False, True):
            policy_kwargs = {"net_arch": [256, 256], "optimizer_class": optimizer}
            archive = with_overlapping_moments(policy_kwargs, name, fused)
            yield Attack(f"{optimizer.__name__}, fused={fused}", trains(archive, env=CountingEnv(7)))
            yield Attack(f"{optimizer.__name__}, fused={fused}, set_parameters", sets_parameters(archive))


def sets_parameters(archive: bytes) -> Callable[[], None]:
    """Return a reader that puts the tensors of a file into a model like the saved one, and trains it."""

    def run() -> None:
        settings = load(archive)
        model = TDA2C("MlpPolicy", CountingEnv(7), policy_kwargs=settings.policy_kwargs, device="cpu", seed=0)
        model.set_parameters(io.BytesIO(archive), device="cpu")
        model.learn(50)

    return run


def other_optimizers() -> Iterator[Attack]:
    settings = {"betas": (1.0, 1.0), "eps": "text", "weight_decay": float("nan"), "amsgrad": True, "capturable": True}
    for fused in (False, True):
        kwargs = {"net_arch": [2], "optimizer_class": th.optim.Adam, "optimizer_kwargs": {"fused": fused}}
        model = small(policy_kwargs=kwargs).learn(13)
        archive, state = saved(model), model.policy.optimizer.state_dict()
        crafted = {name: {**state, "param_groups": [{**group, name: value} for group in state["param_groups"]]}
                   for name, value in settings.items()}  # fmt: skip
        for name in ("exp_avg", "exp_avg_sq", "step"):
            crafted[f"no {name}"] = {**state, "state": {i: _without(one, name) for i, one in state["state"].items()}}
        for name, one in crafted.items():
            crafted_archive = with_file(archive, "policy.optimizer.pth", tensors(one))
            yield Attack(f"{name}, fused={fused}", trains(crafted_archive, env=CountingEnv(7)))


def _without(moments: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in moments.items() if key != name}


def other_tensors() -> Iterator[Attack]:
    for name in ("tensors.pth", "pytorch_variables.pth", "unknown.pth", "Policy.pth", "rollout_buffer.pth"):
        for key in ("policy_class", "policy.action_net.weight", "rollout_buffer", "device"):
            archive = with_file(ARCHIVE, name, tensors({key: th.ones(2, 2)}))
            yield Attack(f"{key} in {name}", trains(archive, env=CountingEnv(7)))


def other_entries() -> Iterator[Attack]:
    policy = files_of(ARCHIVE)["policy.pth"]
    files = files_of(policy)
    for other, name in TAKEN_FOR_OTHERS.items():
        # other numbers, and the names and shapes of other tensors
        content = bytes(len(files[name])) if "/data/" in name else files[name].replace(b"value_net", b"other_net")
        for crafted in ({other: content, **files}, {**files, other: content}):
            yield Attack(other, same_weights(with_file(ARCHIVE, "policy.pth", zipped(crafted))))
    # PyTorch converts moments to the dtype of their weights, and so copies them
    state = SMALL.policy.optimizer.state_dict()
    state["state"][0] = {**state["state"][0], "exp_avg": th.zeros(1, dtype=th.float64).expand(200_000_000)}
    other = files_of(tensors(state))["archive/data.pkl"]
    optimizer = files_of(files_of(ARCHIVE)["policy.optimizer.pth"])
    crafted = zipped({"archive/DATA.pkl": other, **optimizer})
    yield Attack("huge moments", same_weights(with_file(ARCHIVE, "policy.optimizer.pth", crafted)))


def huge_networks() -> Iterator[Attack]:
    huge_spaces = (
        spaces.Discrete(300_000_000),
        spaces.MultiDiscrete([2, 300_000_000]),
        spaces.MultiBinary(300_000_000),
    )
    for space in huge_spaces:
        for net_arch in ([0], [2], [0, 2]):
            archive = with_pickle(ARCHIVE, "policy_kwargs", dumps({"net_arch": net_arch}))
            for name in ("observation_space", "action_space"):
                yield Attack(f"{space}, {net_arch}", trains(with_pickle(archive, name, dumps(space))))
    numbers = th.zeros(100_000)
    views = {f"view{i}": numbers.view(-1) for i in range(22)}
    viewed = with_file(ARCHIVE, "policy.pth", tensors({**SMALL.policy.state_dict(), **views}))
    for net_arch in ([1] * 60_000, [3_000, 3_000], {"pi": [1] * 60_000, "vf": []}, [10**9]):
        yield Attack("views", trains(with_pickle(viewed, "policy_kwargs", dumps({"net_arch": net_arch}))))
    recurrent = unfinished("recurrent")
    for settings in ({"n_lstm_layers": 10**6}, {"lstm_hidden_size": 10**6}):
        archive = with_pickle(saved(recurrent), "policy_kwargs", dumps(settings))
        yield Attack(str(settings), trains(archive, RecurrentTDA2C))


def slow_keys() -> Iterator[Attack]:
    modulus = 2**61 - 1
    colliding = [modulus * i for i in range(64_000)]
    pickled = {f"attribute{i}": {SERIALIZED: b64encode(dumps(Dict(colliding[i::4]))).decode()} for i in range(4)}
    crafted = attributes_of(ARCHIVE) | pickled
    yield Attack("several attributes", trains(with_file(ARCHIVE, "data", json.dumps(crafted).encode())))
    large, long = (1 << 200_000,), tuple(range(10_000))
    contents = {
        "integers": Dict(colliding[:16_000]),
        "tuples": Dict((key,) for key in colliding[:50_000]),
        "a set": Set(colliding[:50_000]),
        "complex numbers": Dict(complex(-1_000_003.0 * i, i) for i in range(50_000)),
        "a large integer": [Dict([large])] * 100_000,
        "a long tuple": [Dict([long])] * 100_000,
    }
    for name, content in contents.items():
        pickled_content = dumps(content)
        yield Attack(name, trains(with_pickle(ARCHIVE, "attribute", pickled_content)))
        yield Attack(f"{name}, in statistics", reads_statistics(pickled_content))


def repeated_instructions() -> Iterator[Attack]:
    """Make pickles whose short instructions ask for much time or memory again and again."""

    def named(module: str, name: str) -> bytes:
        return b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name)) + b"\x93"

    def repeated_call(called: bytes, argument: bytes, n: int, filler: bytes = b"") -> bytes:
        padding = b"B" + len(filler).to_bytes(4, "little") + filler + b"0"
        return b"\x80\x04" + padding + called + b"\x940" + argument + b"\x940](" + b"h\x00h\x01R" * n + b"e."

    storage = io.BytesIO()
    th.save(th.zeros(0)._typed_storage(), storage, _use_new_zipfile_serialization=False)
    content = storage.getvalue()
    # the third pickle, which describes the system
    with_long_list = content.replace(b"u.", b"X\x01\x00\x00\x00x](" + b"K\x01" * 30_000 + b"esu.", 1)
    assert with_long_list != content
    read_tensor = named("torch.storage", "_load_from_bytes")
    pickles = {
        "a long path": repeated_call(named("pathlib", "PurePosixPath"), b"(" + b"\x8c\x00" * 20_000 + b"t", 20_000),
        "tensors": repeated_call(read_tensor, b"B" + len(content).to_bytes(4, "little") + content + b"\x85", 100_000),
        "described tensors": repeated_call(
            read_tensor, b"B" + len(with_long_list).to_bytes(4, "little") + with_long_list + b"\x85", 20_000
        ),
        "a long decimal": repeated_call(
            named("decimal", "Decimal"), b"X" + (60_000).to_bytes(4, "little") + b"0" * 60_000 + b"\x85", 20_000
        ),
        "deques": repeated_call(named("collections", "deque"), b")", 1_000_000),
        "lists": b"\x80\x04](" + b"]" * 3_000_000 + b"e.",
        "dicts": b"\x80\x04](" + b"}" * 3_000_000 + b"e.",
        "sets": b"\x80\x04](" + b"\x8f" * 3_000_000 + b"e.",
        "frozensets": b"\x80\x04](" + b"(\x91" * 1_500_000 + b"e.",
        "filled dicts": b"\x80\x04](" + b"}NNs" * 2_500_000 + b"e.",
        "memoized objects": b"\x80\x04N" + b"\x94" * 9_000_000 + b".",
        "generators": repeated_call(
            named("numpy.random._pickle", "__bit_generator_ctor"), b"\x8c\x05PCG64\x85", 500_000, b"x" * 2_500_000
        ),
        "references to a decimal": b"\x80\x04"
        + named("decimal", "Decimal")
        + b"X"
        + (60_002).to_bytes(4, "little")
        + b"1."
        + b"1" * 60_000
        + b"\x85R\x940]("
        + b"h\x00" * 200_000
        + b"e.",
    }
    for name, pickled in pickles.items():
        yield Attack(name, trains(with_pickle(ARCHIVE, "attribute", pickled)))
    for name, container in (("lists", []), ("dicts", {})):
        archive = with_json(ARCHIVE, "attribute", [container] * 4_000_000)
        yield Attack(f"{name} in JSON", trains(archive))
        yield Attack(f"{name} in JSON, inspect", command("inspect", archive))


def long_outputs() -> Iterator[Attack]:
    nested = pickle.dumps([[[0] * 40] * 40] * 40)
    many = attributes_of(ARCHIVE) | {f"attribute{i}": 0 for i in range(20_000)}
    shared_key = {"x" * 10**6: dict.fromkeys(range(20_000), th.zeros(1))}
    archives = {
        "lines": with_file(ARCHIVE, "system_info.txt", b"- \n" * 80_000),
        "a long line": with_file(ARCHIVE, "system_info.txt", b"- " + b"x" * 10**6 + b": y"),
        "lists": with_pickle(ARCHIVE, "attribute", nested),
        "dicts": with_pickle(ARCHIVE, "attribute", pickle.dumps([dict.fromkeys(range(40), [[0] * 40] * 40)] * 40)),
        "attributes": with_file(ARCHIVE, "data", json.dumps(many).encode()),
        "texts": with_json(ARCHIVE, "attribute", ["x" * 10**6] * 10),
        "a key of many tensors": with_file(ARCHIVE, "policy.pth", tensors(shared_key)),
    }
    for name, archive in archives.items():
        yield Attack(name, command("inspect", archive))
    bound = np.arange(900, dtype=np.uint8)
    box = {**vars(spaces.Box(0, bound, dtype=np.uint8)), "low_repr": "x", "high_repr": "x"}
    repeated = {
        "arrays": [[bound] * 40] * 40,
        "sets": [[set(range(40))] * 40] * 40,
        "boxes": [Reduced(spaces.Box, (), box) for _ in range(1_000)],
    }
    for name, content in repeated.items():
        attribute = {SERIALIZED: b64encode(dumps(content)).decode()}
        crafted = attributes_of(ARCHIVE) | {f"attribute{i}": attribute for i in range(60)}
        archive = with_file(ARCHIVE, "data", json.dumps(crafted).encode())
        yield Attack(f"{name}, inspect", command("inspect", archive))
        yield Attack(f"{name}, load", trains(archive))


def other_attributes() -> Iterator[Attack]:
    unsaved = set(SMALL._excluded_save_params()) - {"policy"} | {
        "_n_ranks", "_vec_normalize_env", "_logger", "policy_aliases", "replay_buffer", "__class__", "__dict__",
    }  # fmt: skip
    for name in sorted(unsaved):
        for value in (0, "text", {}):
            yield Attack(f"{name}={value!r}", trains(with_json(ARCHIVE, name, value), env=CountingEnv(7)))
    for name in sorted(attributes_of(ARCHIVE)):
        for value in (None, "text", [1], -1):
            yield Attack(f"{name}={value!r}", trains(with_json(ARCHIVE, name, value), env=CountingEnv(7)))
        attributes = attributes_of(ARCHIVE)
        del attributes[name]
        archive = with_file(ARCHIVE, "data", json.dumps(attributes).encode())
        yield Attack(f"no {name}", trains(archive, env=CountingEnv(7)))
    for device in ("meta", "cuda:7"):
        archive = with_pickle(ARCHIVE, "device", dumps(th.device(device)))
        yield Attack(f"device={device}", trains(archive, env=CountingEnv(7)))
    for name in ("seed", "verbose", "_stats_window_size", "gamma", "n_steps"):
        archive = with_pickle(ARCHIVE, name, pickle.dumps(1 << 200_000))
        yield Attack(f"a huge {name}", trains(archive, env=CountingEnv(7)))
    for infos in ([5], [{}], [{"r": "one", "l": 7}], [{"r": 1.0, "l": None}]):
        archive = with_pickle(ARCHIVE, "ep_info_buffer", pickle.dumps(deque(infos, maxlen=100)))
        yield Attack(f"ep_info_buffer={infos}", trains(archive, env=CountingEnv(7)))
    # the reader checks that its folder stays empty
    yield Attack("tensorboard_log", trains(with_json(ARCHIVE, "tensorboard_log", "logs"), env=CountingEnv(7)))


def numbers_that_are_not_finite() -> Iterator[Attack]:
    state = SMALL.policy.optimizer.state_dict()
    for value in (np.nan, np.inf, -np.inf):
        for name, tensor in SMALL.policy.state_dict().items():
            weights = {**SMALL.policy.state_dict(), name: th.full_like(tensor, value)}
            archive = with_file(ARCHIVE, "policy.pth", tensors(weights))
            yield Attack(f"{name}={value}", trains(archive, env=CountingEnv(7)))
        for i, moments in state["state"].items():
            crafted = {**moments, "exp_avg": th.full_like(moments["exp_avg"], value)}
            changed = {**state, "state": {**state["state"], i: crafted}}
            archive = with_file(ARCHIVE, "policy.optimizer.pth", tensors(changed))
            yield Attack(f"exp_avg={value}", trains(archive, env=CountingEnv(7)))
    normalizing = TDA2C(
        "MlpPolicy", CountingEnv(7), normalize_observations=True, policy_kwargs={"net_arch": [2]}, device="cpu"
    ).learn(13)
    for name, array in (("mean", np.full(2, np.nan)), ("var", np.full(2, -1.0)), ("var", np.ones(3))):
        env = VecNormalize(DummyVecEnv([CountingEnv]))
        setattr(env.obs_rms, name, array)
        yield Attack(f"{name}={array}", statistics_of(env))
        yield Attack(f"{name}={array} around a model", trains(saved(normalized_by(env)), env=CountingEnv(7)))
        with mock.patch.object(normalizing.normalization.obs_rms["observation"], name, array):
            yield Attack(f"{name}={array} in a model", trains(saved(normalizing), env=CountingEnv(7)))
    for name in ("epsilon", "gamma", "clip_obs", "clip_reward"):
        for number in (np.nan, -1.0, 10**400):
            env = VecNormalize(DummyVecEnv([CountingEnv]))
            setattr(env, name, number)
            yield Attack(f"{name}={number:.3}" if number != 10**400 else name, statistics_of(env))
            yield Attack(f"{name} around a model", trains(saved(normalized_by(env)), env=CountingEnv(7)))
            with mock.patch.object(normalizing.normalization, name, number):
                yield Attack(f"{name} in a model", trains(saved(normalizing), env=CountingEnv(7)))


def normalized_by(env: VecNormalize) -> TDA2C:
    return TDA2C("MlpPolicy", env, policy_kwargs={"net_arch": [2]}, device="cpu")


def statistics_of(env: VecNormalize) -> Callable[[], None]:
    with tempfile.NamedTemporaryFile() as file:
        env.save(file.name)
        return reads_statistics(Path(file.name).read_bytes())


def control_sequences() -> Iterator[Attack]:
    clear = "\x1b[2J"
    space = spaces.Box(0, np.inf, (2,), np.float32)
    label = dumps(Reduced(spaces.Box, (), {**vars(space), "low_repr": clear, "high_repr": clear}))
    archives = {
        "system_info.txt": with_file(ARCHIVE, "system_info.txt", f"- OS: {clear}\n".encode()),
        "a space": with_pickle(ARCHIVE, "observation_space", label),
        "a tensor": with_file(ARCHIVE, "policy.pth", tensors({**SMALL.policy.state_dict(), clear: th.zeros(1)})),
        "an attribute": with_json(ARCHIVE, clear, clear),
        "a name": with_pickle(ARCHIVE, "gamma", f"cevil{clear}\nname\n.".encode()),
    }
    for name, archive in archives.items():
        yield Attack(f"{name}, inspect", command("inspect", archive))
        yield Attack(f"{name}, load", printed(archive))


def printed(archive: bytes) -> Callable[[], None]:
    """Return a reader that prints everything about a model, warnings and notes of errors too."""

    def run() -> None:
        shown = io.StringIO()
        try:
            with redirect_stdout(shown), redirect_stderr(shown), warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                model = load(archive, print_system_info=True)
                print(model.observation_space, model.action_space)
        except Exception as error:
            print(error, *getattr(error, "__notes__", []), file=shown)
            raise
        finally:
            print(*(warning.message for warning in warned), file=shown)
            require("\x1b" not in shown.getvalue(), "it controls the terminal")

    return run


def other_files() -> Iterator[Attack]:
    def endless() -> None:
        Path("model.zip").symlink_to("/dev/zero")
        TDA2C.load("model", device="cpu")

    def endless_statistics() -> None:
        Path("vecnormalize.pkl").symlink_to("/dev/zero")
        read_normalization("vecnormalize.pkl")

    def pipe() -> None:
        os.mkfifo("model.zip")
        TDA2C.load("model.zip", device="cpu")

    def pipe_of_statistics() -> None:
        os.mkfifo("vecnormalize.pkl")
        read_normalization("vecnormalize.pkl")

    def link() -> None:
        Path("mine.txt").write_text("mine")
        Path("mine.txt").chmod(0o777)
        Path("model.safetensors").symlink_to("mine.txt")
        command("export --to safetensors", ARCHIVE)()
        require(Path("mine.txt").read_text() == "mine", "it replaces another file")
        require(os.stat("model.safetensors").st_mode & 0o111 == 0, "it chooses the mode of a file")

    for run in (endless, endless_statistics, pipe, pipe_of_statistics, link):
        yield Attack(run.__name__, run)


def code() -> Iterator[Attack]:
    """Return payloads that would create the folder ``canary``, in each place that is unpickled."""
    for name, payload in PAYLOADS.items():
        pickled = payload("canary")
        for entry in ("policy.pth", "policy.optimizer.pth"):
            crafted = zipped({**files_of(files_of(ARCHIVE)[entry]), "archive/data.pkl": pickled})
            yield Attack(f"{name} in {entry}", trains(with_file(ARCHIVE, entry, crafted)))
        for attribute in ("gamma", "policy_class", "attribute"):
            yield Attack(f"{name} as {attribute}", trains(with_pickle(ARCHIVE, attribute, pickled)))
        yield Attack(f"{name} in statistics", reads_statistics(pickled))


KINDS: dict[str, Callable[[], Iterator[Attack]]] = {
    "unfinished rollouts of other shapes, dtypes and algorithms": other_rollouts,
    "moments whose numbers overlap in memory": overlapping_moments,
    "optimizers of other settings, or without a part of their state": other_optimizers,
    "tensors under other names": other_tensors,
    "entries that PyTorch reads in place of checked ones": other_entries,
    "huge spaces and networks": huge_networks,
    "dict keys that take long to hash": slow_keys,
    "short instructions that ask for much time or memory": repeated_instructions,
    "long outputs of `inspect`": long_outputs,
    "attributes that no model saves, of other types, or missing": other_attributes,
    "weights, moments and statistics that are not finite": numbers_that_are_not_finite,
    "control sequences": control_sequences,
    "devices, pipes and links": other_files,
    "pickles that run code": code,
}


# All attacks


class Row(NamedTuple):
    """A row of the table: how many files had which outcome, and the most that one of them took."""

    kind: str
    n_files: int
    n_refused: int
    n_harmless: int
    max_seconds: float
    max_megabytes: float


def random_damage() -> Row:
    """Count what the tests of random damage do."""
    results = []
    load_or_error = test_damage.load_or_error

    def counted(archive: bytes) -> Any:
        kilobytes, seconds = _peak_kilobytes(), time.process_time()
        result = load_or_error(archive)
        outcome = REFUSED if isinstance(result, ValueError) else HARMLESS
        megabytes = (_peak_kilobytes() - kilobytes) / 1024
        results.append(Result(outcome, time.process_time() - seconds, megabytes, ""))
        return result

    with mock.patch.object(test_damage, "load_or_error", counted):
        test_damage.test_damage_to_a_zip_is_noticed()
        test_damage.test_damage_to_a_pickle_in_an_intact_zip_is_noticed()
    return row("random damage", results)


def row(kind: str, results: list[Result]) -> Row:
    return Row(
        kind,
        len(results),
        sum(result.outcome == REFUSED for result in results),
        sum(result.outcome == HARMLESS for result in results),
        max(result.seconds for result in results),
        max(result.megabytes for result in results),
    )


def check_that_harm_is_noticed() -> None:
    """Try attacks that succeed: a table in which nothing can be harmful would show nothing."""

    def writes() -> None:
        Path("file").touch()
        trains(ARCHIVE)()

    def crashes() -> None:
        with mock.patch("sb3_a2c_td.cli.inspect.read_contents", side_effect=KeyError("a bare error")):
            command("inspect", ARCHIVE)()

    def raises() -> None:
        raise ValueError("a bare error")

    for harm in (os.abort, lambda: bytearray(600 * 2**20), lambda: bytearray(2**40), writes, crashes, raises):
        assert tried(Attack("harm", harm)).outcome == HARMFUL


def main() -> int:
    """Try all attacks, or those whose kind contains the text on the command line, and return how many do harm."""
    th.set_num_threads(1)
    check_that_harm_is_noticed()
    print("| attack | files | refused | load and do no harm | harmful | CPU seconds | MB |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    harm = []
    for kind, attacks in KINDS.items():
        if len(sys.argv) > 1 and sys.argv[1] not in kind:
            continue
        named = [(attack.name, tried(attack)) for attack in attacks()]
        print_row(row(kind, [result for _, result in named]))
        harm += [f"{kind}, {name}: {result.details}" for name, result in named if result.outcome == HARMFUL]
    if len(sys.argv) == 1:
        print_row(random_damage())
    print(*harm, sep="\n")
    return len(harm)


def print_row(row: Row) -> None:
    n_harmful = row.n_files - row.n_refused - row.n_harmless
    print(
        f"| {row.kind} | {row.n_files:,} | {row.n_refused:,} | {row.n_harmless:,} | {n_harmful} "
        f"| {row.max_seconds:.1f} | {row.max_megabytes:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main() > 0)
