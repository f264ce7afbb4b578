"""Commands of the speed benchmarks.

Absolute times vary between machines and over time. Compare the ratios instead.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import torch as th
import typer
from threadpoolctl import threadpool_limits

from benchmarks.conditions import conditions, describe
from benchmarks.speed import (
    adapter,
    arithmetic,
    breakdown,
    chart,
    footprint,
    jax_comparison,
    many_seeds,
    sb3_algorithms,
    scaling,
    soak,
    tabular,
    throughput,
)
from benchmarks.speed.settings import DEFAULTS, SETTINGS
from benchmarks.tables import markdown_table
from sb3_a2c_td.saving.atomic import write

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
    """Measure steps per second of learn(), with Monitor and logger. The arms take turns.

    Earlier results of other settings stay in the file.
    """
    _set_threads(threads)
    facts = conditions()
    if ranks is not None:
        _measure_scaling(_numbers(ranks, "--ranks"), rounds, seconds, output, facts)
        return
    path = output / f"throughput-{device}.json"
    for name in _settings(setting, device):
        # after each setting, so that a stopped run keeps its results
        new = throughput.as_records(throughput.measure(SETTINGS[name], device, rounds, seconds))
        _replace(path, facts, new, key="setting")
    measurements = throughput.from_records(_results(path))
    title = f"Training speed, {facts['gpu' if device == 'cuda' else 'cpu']}"
    throughput.plot(measurements, title, output / f"throughput-{device}.png")
    print(f"{describe(facts)}\n\n{throughput.table(measurements)}\n")
    print(f"Ratios to A2C\n\n{throughput.summary(measurements)}")


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


@app.command("jax")
def measure_jax(
    python: Annotated[
        Path,
        typer.Option(
            exists=True, dir_okay=False, help="Python of an environment with jax, and with rejax if possible."
        ),
    ],
    n_envs: Annotated[
        list[int] | None,
        typer.Option(
            "--n-envs",
            help=f"Number of environments; repeatable. One of: {', '.join(map(str, jax_comparison.N_STEPS))}.",
        ),
    ] = None,
    rounds: Rounds = 5,
    output: Output = RESULTS,
) -> None:
    """Compare TDA2C on compiled environments with algorithms in JAX. The arms take turns.

    Earlier results of other numbers of environments stay in the file.
    """
    for number in n_envs or []:
        if number not in jax_comparison.N_STEPS:
            raise typer.BadParameter(
                f"{number} is not one of {', '.join(map(str, jax_comparison.N_STEPS))}", param_hint="--n-envs"
            )
    _set_threads(1)
    path = output / "jax-cpu.json"
    with jax_comparison.started_arms(python) as arms:
        facts = {**conditions(), "programs": arms.versions}
        for number in n_envs or jax_comparison.N_STEPS:
            measured = jax_comparison.measure(arms.turns, number, rounds)
            _replace(path, facts, jax_comparison.as_records(measured), key="n_envs")
    print(f"{describe(facts)}\n{json.dumps(arms.versions)}\n")
    print(jax_comparison.table(jax_comparison.from_records(_results(path))))


@app.command("sb3")
def measure_sb3_algorithms(rounds: Rounds = 5, seconds: Seconds = 2.0, output: Output = RESULTS) -> None:
    """Measure SB3's A2C, PPO and DQN on compiled and on Gymnasium's environments. They take turns."""
    _set_threads(1)
    facts = conditions()
    measurements = []
    for measurement in sb3_algorithms.measure(rounds, seconds):
        measurements.append(measurement)
        _save(output / "sb3-cpu.json", facts, sb3_algorithms.as_records(measurements))
    print(f"{describe(facts)}\n\n{sb3_algorithms.table(measurements)}")


@app.command("chart")
def draw_chart(output: Output = RESULTS) -> None:
    """Draw the speeds on CartPole-v1, from the results of the commands throughput and jax."""
    measured = throughput.from_records(_results(output / "throughput-cpu.json"))
    in_jax = jax_comparison.from_records(_results(output / "jax-cpu.json"))
    chart.draw(chart.speeds(measured, in_jax)).savefig(output / "speed-cpu.png", dpi=150)


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
        int,
        typer.Option(
            min=soak.N_PARTS,
            help="Environment steps of each run; SubprocVecEnv takes a fifth of them, compiled code five times.",
        ),
    ] = 20_000_000,
    run: Annotated[
        list[str] | None,
        typer.Option("--run", help=f"Run to take; repeatable. One of: {', '.join(soak.RUNS)}."),
    ] = None,
    seconds_between_saves: Annotated[
        float, typer.Option(min=0.0, help="Seconds between two saves of the model.")
    ] = 60.0,
    output: Output = RESULTS,
) -> None:
    """Monitor memory, file descriptors and speed during long runs on CartPole-v1.

    Earlier results of other runs stay in the file.
    """
    for name in run or []:
        _check_name(name, soak.RUNS, "--run")
    _set_threads(1)
    facts = conditions()
    path = output / "soak.json"
    for name in run or soak.RUNS:
        samples = []
        for sample in soak.soak(soak.RUNS[name], steps, seconds_between_saves):
            samples.append(sample)
            _replace(path, facts, soak.as_records({name: samples}), key="environments")
    print(f"{describe(facts)}\n\n{soak.table(soak.from_records(_results(path)))}")


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
    steps: Annotated[int, typer.Option(min=1, help="Environment steps of each seed.")] = 200_000,
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
    _check_name(device, DEFAULTS, "--device")
    for name in names or []:
        _check_name(name, SETTINGS, "--setting")
    return names or DEFAULTS[device]


def _check_name(name: str, known: Iterable[str], option: str) -> None:
    if name not in known:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(known)}", param_hint=option)


def _save(path: Path, facts: dict[str, Any], results: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(f"{json.dumps({**facts, 'results': results}, indent=2)}\n".encode(), path)


def _replace(path: Path, facts: dict[str, Any], results: list[dict[str, Any]], key: str) -> None:
    """Save results, and keep the earlier ones that they do not replace, if all conditions but the command are equal.

    :param path: the file
    :param facts: the conditions
    :param results: the new results
    :param key: results with the same value replace each other
    """
    earlier = json.loads(path.read_text()) if path.exists() else {"results": []}
    of_both = {name: value for name, value in facts.items() if name != "command"}
    is_comparable = all(earlier.get(name) == value for name, value in of_both.items())
    replaced = {result[key] for result in results}
    kept = [result for result in earlier["results"] if result[key] not in replaced]
    if kept and not is_comparable:
        print(f"{path}: dropped results from other conditions", file=sys.stderr)
        kept = []
    _save(path, facts, kept + results)


def _results(path: Path) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = json.loads(path.read_text())["results"]
    return results
