"""The commands of the speed benchmarks.

Absolute times differ from machine to machine and from minute to minute: compare the ratios.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import torch as th
import typer
from threadpoolctl import threadpool_limits

from benchmarks.conditions import conditions, describe
from benchmarks.speed import adapter, arithmetic, breakdown, footprint, scaling, soak, tabular, throughput
from benchmarks.speed.settings import DEFAULTS, SETTINGS
from benchmarks.tables import markdown_table

app = typer.Typer()

SettingNames = Annotated[
    list[str] | None, typer.Option("--setting", help=f"What to measure, any of: {', '.join(SETTINGS)}.")
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Rounds = Annotated[int, typer.Option(min=1, help="Turns that each arm takes; medians over them are shown.")]
Seconds = Annotated[float, typer.Option(min=0.0, help="About how long a turn takes.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of PyTorch and numpy, the same for all arms.")]
Output = Annotated[Path, typer.Option(help="Folder for the results.")]
RESULTS = Path("benchmarks/results")


@app.command("throughput")
def measure_throughput(
    setting: SettingNames = None,
    device: Device = "cpu",
    rounds: Rounds = 5,
    seconds: Seconds = 2.0,
    threads: Threads = 1,
    output: Output = RESULTS,
    ranks: Annotated[
        str | None,
        typer.Option(metavar="K,K,...", help="Processes that train together, on environments of 1 ms a step instead."),
    ] = None,
) -> None:
    """Steps per second of learn(), with Monitor, logger and a callback in place; the arms take turns."""
    _set_threads(threads)
    facts = conditions()
    if ranks is not None:
        _measure_scaling(_numbers(ranks, "--ranks"), rounds, seconds, output, facts)
        return
    measurements = []
    for name in _settings(setting, device):
        measurements += throughput.measure(SETTINGS[name], device, rounds, seconds)
        # as they come: a long run that is stopped has not been for nothing
        _save(output / f"throughput-{device}.json", facts, throughput.as_records(measurements))
    title = f"Training speed, {facts['gpu' if device == 'cuda' else 'cpu']}"
    throughput.plot(measurements, title, output / f"throughput-{device}.png")
    print(f"{describe(facts)}\n\n{throughput.table(measurements)}")


def _measure_scaling(ranks: list[int], rounds: int, seconds: float, output: Path, facts: dict[str, Any]) -> None:
    measurements = []
    for n_envs in scaling.N_ENVS:
        measurements += scaling.measure(ranks, n_envs, rounds, seconds)
        _save(output / "scaling-cpu.json", facts, scaling.as_records(measurements))
    scaling.plot(measurements, f"Processes that train together, {facts['cpu']}", output / "scaling-cpu.png")
    print(f"{describe(facts)}\n\n{scaling.table(measurements)}")


@app.command("breakdown")
def measure_breakdown(
    setting: SettingNames = None,
    device: Device = "cpu",
    rounds: Rounds = 5,
    seconds: Seconds = 2.0,
    threads: Threads = 1,
    output: Output = RESULTS,
) -> None:
    """Where a step's microseconds go: environments, acting, updating, and the rest."""
    _set_threads(threads)
    facts = conditions()
    found = []
    for name in _settings(setting, device):
        found += breakdown.measure(SETTINGS[name], device, rounds, seconds)
    _save(output / f"breakdown-{device}.json", facts, breakdown.as_records(found))
    print(f"{describe(facts)}\n\nMicroseconds for a step of all environments\n\n{breakdown.table(found)}")


@app.command("arithmetic")
def measure_arithmetic(device: Device = "cpu") -> None:
    """How many millions of operations a step of an image policy takes."""
    setting = SETTINGS["images-8"]
    found = arithmetic.megaflops_of_a_step(setting, device, n_steps=50 * setting.n_envs)
    rows = [[arm, f"{megaflops:.1f}"] for arm, megaflops in found.items()]
    print(markdown_table([f"arm ({setting.name})", "MFLOP a step"], rows))


@app.command("adapter")
def measure_adapter(rounds: Rounds = 50, threads: Threads = 1, output: Output = RESULTS) -> None:
    """What the adapter to SB3 adds to a step of 1,024 native environments in which no episode ends."""
    _set_threads(threads)
    facts = conditions()
    alone, added = adapter.microseconds(rounds)
    _save(output / "adapter.json", facts, [{"microseconds_alone": alone, "microseconds_added": added}])
    print(f"{describe(facts)}\n")
    print(f"A step of {adapter.N_ENVS:,} environments: {alone:.1f} µs alone; the adapter adds {added:.1f} µs.")


@app.command("footprint")
def measure_footprint(
    rounds: Rounds = 5,
    steps: Annotated[int, typer.Option(min=2, help="Steps of the run whose memory is watched.")] = 1_000_000,
    output: Output = RESULTS,
) -> None:
    """Seconds to import and to compile, and whether memory grows."""
    _set_threads(1)
    facts = conditions()
    sb3, package = footprint.import_seconds(rounds)
    cold, warm = footprint.first_interval_seconds(rounds)
    sizes = footprint.resident_megabytes(steps, every=max(1, steps // 10))
    rows = [
        ("importing SB3, seconds", sb3),
        ("importing sb3_a2c_td after it, seconds", package),
        ("first compiled interval, nothing on disk, seconds", cold),
        ("first compiled interval, compiled code on disk, seconds", warm),
        *((f"resident size after {n_steps:,} steps, MiB", size) for n_steps, size in sizes),
    ]
    _save(output / "footprint.json", facts, [{"what": what, "figure": figure} for what, figure in rows])
    table = markdown_table(["what", "figure"], [[what, f"{figure:.2f}"] for what, figure in rows])
    print(f"{describe(facts)}\n\n{table}")


@app.command("soak")
def measure_soak(
    steps: Annotated[
        int, typer.Option(min=soak.N_PARTS, help="Environment steps of each run; of SubprocVecEnv a fifth.")
    ] = 20_000_000,
    seconds_between_saves: Annotated[float, typer.Option(min=0.0, help="How often the model is saved.")] = 60.0,
    output: Output = RESULTS,
) -> None:
    """Long runs on CartPole-v1, SubprocVecEnv included: do memory or file descriptors grow, does it slow down?"""
    _set_threads(1)
    facts = conditions()
    samples: dict[str, list[soak.Sample]] = {}
    for run in soak.RUNS:
        for sample in soak.soak(run, steps, seconds_between_saves):
            samples.setdefault(run.name, []).append(sample)
            _save(output / "soak.json", facts, soak.as_records(samples))
    print(f"{describe(facts)}\n\n{soak.table(samples)}")


@app.command("tabular")
def measure_tabular(
    n_envs: Annotated[int, typer.Option(min=1, help="Copies in a vector environment.")] = 1024,
    rounds: Rounds = 5,
    seconds: Seconds = 1.0,
    output: Output = RESULTS,
) -> None:
    """Steps per second of the tabular vector environments; they take turns."""
    _set_threads(1)
    facts = conditions()
    measured = tabular.measure(n_envs, rounds, seconds)
    _save(output / "tabular.json", facts, tabular.as_records(measured))
    print(f"{describe(facts)}\n\n{tabular.table(measured)}")


def _set_threads(n_threads: int) -> None:
    """Limit PyTorch, and the library that numpy multiplies matrices with, for the rest of the run."""
    th.set_num_threads(n_threads)
    threadpool_limits(n_threads)


def _numbers(text: str, option: str) -> list[int]:
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise typer.BadParameter(f"{text!r} is not a list of numbers from 1 on, such as 1,2", param_hint=option)
    return numbers


def _settings(names: list[str] | None, device: str) -> list[str]:
    if device not in DEFAULTS:
        raise typer.BadParameter(f"{device!r} is not one of {', '.join(DEFAULTS)}", param_hint="--device")
    for name in names or []:
        if name not in SETTINGS:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(SETTINGS)}", param_hint="--setting")
    return names or DEFAULTS[device]


def _save(path: Path, facts: dict[str, Any], results: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**facts, "results": results}, indent=2) + "\n")
