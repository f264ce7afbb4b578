"""Commands of the speed benchmarks.

Absolute times vary between machines and over time. Compare the ratios instead.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import torch as th
import typer
from threadpoolctl import threadpool_limits

from benchmarks.conditions import conditions, describe
from benchmarks.speed import adapter, arithmetic, breakdown, footprint, many_seeds, scaling, soak, tabular, throughput
from benchmarks.speed.settings import DEFAULTS, SETTINGS
from benchmarks.tables import markdown_table

app = typer.Typer()

SettingNames = Annotated[
    list[str] | None,
    typer.Option("--setting", help=f"Setting to measure; repeatable. One of: {', '.join(SETTINGS)}."),
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Rounds = Annotated[int, typer.Option(min=1, help="Turns per arm; results are medians over them.")]
Seconds = Annotated[float, typer.Option(min=0.0, help="Approximate duration of a turn.")]
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
        typer.Option(
            metavar="K,K,...",
            help="Measure distributed training by these numbers of processes instead, with a 1 ms environment.",
        ),
    ] = None,
) -> None:
    """Measure steps per second of learn(), with Monitor, logger and a callback. The arms take turns."""
    _set_threads(threads)
    facts = conditions()
    if ranks is not None:
        _measure_scaling(_numbers(ranks, "--ranks"), rounds, seconds, output, facts)
        return
    measurements = []
    for name in _settings(setting, device):
        measurements += throughput.measure(SETTINGS[name], device, rounds, seconds)
        # after each setting, so that a stopped run keeps its results
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
    """Break the microseconds of a step down into environments, acting, updating, and the rest."""
    _set_threads(threads)
    facts = conditions()
    breakdowns = []
    for name in _settings(setting, device):
        breakdowns += breakdown.measure(SETTINGS[name], device, rounds, seconds)
    _save(output / f"breakdown-{device}.json", facts, breakdown.as_records(breakdowns))
    print(f"{describe(facts)}\n\nMicroseconds per step of all environments\n\n{breakdown.table(breakdowns)}")


@app.command("arithmetic")
def measure_arithmetic(device: Device = "cpu") -> None:
    """Count the floating-point operations per step of an image policy."""
    setting = SETTINGS["images-8"]
    megaflops = arithmetic.megaflops_per_step(setting, device, n_steps=50 * setting.n_envs)
    rows = [[arm, f"{value:.1f}"] for arm, value in megaflops.items()]
    print(markdown_table([f"arm ({setting.name})", "MFLOP per step"], rows))


@app.command("adapter")
def measure_adapter(rounds: Rounds = 50, threads: Threads = 1, output: Output = RESULTS) -> None:
    """Measure the time that the adapter to SB3 adds to a step of 1,024 native environments.

    No episode ends during the measurement.
    """
    _set_threads(threads)
    facts = conditions()
    alone, added = adapter.microseconds(rounds)
    _save(output / "adapter.json", facts, [{"microseconds_alone": alone, "microseconds_added": added}])
    print(f"{describe(facts)}\n")
    print(f"A step of {adapter.N_ENVS:,} environments: {alone:.1f} µs alone; the adapter adds {added:.1f} µs.")


@app.command("footprint")
def measure_footprint(
    rounds: Rounds = 5,
    steps: Annotated[int, typer.Option(min=2, help="Steps of the run that memory is measured in.")] = 1_000_000,
    output: Output = RESULTS,
) -> None:
    """Measure the seconds to import and to compile, and the growth of memory."""
    _set_threads(1)
    facts = conditions()
    sb3, package = footprint.import_seconds(rounds)
    cold, warm = footprint.first_rollout_seconds(rounds)
    sizes = footprint.resident_megabytes(steps, every=max(1, steps // 10))
    metrics = {
        "importing SB3, seconds": sb3,
        "importing sb3_a2c_td after it, seconds": package,
        "first compiled rollout without cache, seconds": cold,
        "first compiled rollout with cache, seconds": warm,
        **{f"resident size after {n_steps:,} steps, MiB": size for n_steps, size in sizes},
    }
    _save(output / "footprint.json", facts, [{"metric": name, "value": value} for name, value in metrics.items()])
    table = markdown_table(["metric", "value"], [[name, f"{value:.2f}"] for name, value in metrics.items()])
    print(f"{describe(facts)}\n\n{table}")


@app.command("soak")
def measure_soak(
    steps: Annotated[
        int, typer.Option(min=soak.N_PARTS, help="Environment steps of each run; SubprocVecEnv takes a fifth of them.")
    ] = 20_000_000,
    seconds_between_saves: Annotated[
        float, typer.Option(min=0.0, help="Seconds between two saves of the model.")
    ] = 60.0,
    output: Output = RESULTS,
) -> None:
    """Monitor memory, file descriptors and speed during long runs on CartPole-v1."""
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
    n_envs: Annotated[int, typer.Option(min=1, help="Copies per vector environment.")] = 1024,
    rounds: Rounds = 5,
    seconds: Seconds = 1.0,
    output: Output = RESULTS,
) -> None:
    """Measure steps per second of the tabular vector environments. They take turns."""
    _set_threads(1)
    facts = conditions()
    measured = tabular.measure(n_envs, rounds, seconds)
    _save(output / "tabular.json", facts, tabular.as_records(measured))
    print(f"{describe(facts)}\n\n{tabular.table(measured)}")


@app.command("many-seeds")
def measure_many_seeds(
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 8,
    steps: Annotated[int, typer.Option(min=1, help="Environment steps of each seed.")] = 400_000,
    workers: Annotated[int, typer.Option(min=2, help="Threads, and processes, to compare with one thread.")] = 2,
    rounds: Rounds = 5,
    output: Output = RESULTS,
) -> None:
    """Measure the seconds to train many seeds on a compiled environment. The arms take turns."""
    _set_threads(1)
    facts = conditions()
    measured = many_seeds.measure(seeds, steps, workers, rounds)
    _save(output / "many-seeds.json", facts, many_seeds.as_records(measured))
    title = f"{seeds} seeds of {many_seeds.ENV_ID}, {steps:,} steps each"
    print(f"{describe(facts)}\n\n{title}\n\n{many_seeds.table(measured)}")


def _set_threads(n_threads: int) -> None:
    """Limit the threads of PyTorch and of numpy's BLAS for the rest of the process."""
    th.set_num_threads(n_threads)
    threadpool_limits(n_threads)


def _numbers(text: str, option: str) -> list[int]:
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise typer.BadParameter(f"{text!r} is not a list of positive integers such as 1,2", param_hint=option)
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
