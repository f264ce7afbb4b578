"""``python -m sb3_a2c_td.zoo`` runs RL Zoo's scripts with TDA2C as ``--algo tda2c``.

MaskableTDA2C is ``--algo tda2c_maskable``, and RecurrentTDA2C is ``--algo tda2c_lstm``.

``train``, ``enjoy``, ``record`` and the others are RL Zoo's own scripts, with all their options; ``--help`` after a
command lists them.
"""

import argparse
import runpy
import sys
import warnings
from collections.abc import Sequence

from sb3_a2c_td import extras, registration
from sb3_a2c_td.zoo import masks, shown

ALGORITHMS = {
    "tda2c": (shown.TDA2C, "sb3_a2c_td.hyperparams.tda2c"),
    "tda2c_maskable": (masks.MaskableTDA2C, "sb3_a2c_td.hyperparams.maskable"),
    "tda2c_lstm": (shown.RecurrentTDA2C, "sb3_a2c_td.hyperparams.recurrent"),
}
"""``--algo``: the algorithm and the module with its settings"""
COMMANDS = {
    "train": "train",
    "enjoy": "enjoy",
    "record": "record_video",
    "load_from_hub": "load_from_hub",
    "push_to_hub": "push_to_hub",
    "plots.all_plots": "plots.all_plots",
    "plots.plot_train": "plots.plot_train",
    "plots.plot_from_file": "plots.plot_from_file",
}
"""command: RL Zoo's module"""
LOG_INTERVAL = 1000
"""rollouts between two tables of the log; they are short, and SB3's 100 print hundreds of tables"""
EXAMPLES = """\
examples:
  {program} train --algo tda2c --env CartPole-v1
  {program} train --algo tda2c_lstm --env sb3_a2c_td/TMaze-v0
  {program} enjoy --algo tda2c --env CartPole-v1 -f logs
  {program} plots plot_train -a tda2c -e CartPole-v1 -f logs
  {program} train --help
"""


def main(argv: Sequence[str] | None = None, program: str = "python -m sb3_a2c_td.zoo") -> None:
    """Run one of RL Zoo's scripts.

    :param argv: the command and its arguments; ``None``: those of the process
    :param program: the name of this program in its help
    :raises SystemExit: for an unknown command, and if a package is missing
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description=f"RL Zoo's scripts, with --algo {', '.join(ALGORITHMS)} in addition to its own.",
        epilog=EXAMPLES.format(program=program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, help="'plots NAME' is the same as 'plots.NAME'")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="arguments of RL Zoo's script")
    args = parser.parse_args(_joined(sys.argv[1:] if argv is None else argv))
    try:
        register()
        for argument in args.arguments:
            registration.register_for(argument.rpartition("=")[2])
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        command = "pip install minatar" if missing == "minatar" else extras.install("zoo")
        parser.exit(2, f"{parser.prog}: {missing} is not installed: {command}\n")
    arguments = with_our_settings(args.arguments) if args.command == "train" else args.arguments
    _run(f"rl_zoo3.{COMMANDS[args.command]}", arguments)


def _joined(argv: Sequence[str]) -> list[str]:
    return [".".join(argv[:2]), *argv[2:]] if list(argv[:1]) == ["plots"] else list(argv)


def register() -> None:
    """Register the algorithms and their search space with RL Zoo, and patch RL Zoo.

    :raises ImportError: if RL Zoo is not installed
    """
    from rl_zoo3 import hyperparams_opt, utils

    from sb3_a2c_td.hyperparams import search_space
    from sb3_a2c_td.zoo import patches

    # in place, since RL Zoo's modules have imported these dicts
    for name, (algorithm, _) in ALGORITHMS.items():
        utils.ALGOS[name] = algorithm
        hyperparams_opt.HYPERPARAMS_SAMPLER[name] = search_space.sample_tda2c_params
        hyperparams_opt.HYPERPARAMS_CONVERTER[name] = search_space.convert_tda2c_params
    patches.apply()


def with_our_settings(arguments: Sequence[str]) -> list[str]:
    """Add ``--conf-file`` with the algorithm's settings, and ``--log-interval``, to the arguments of ``train``.

    :param arguments: the arguments of ``train``
    :return: the arguments, without additions for RL Zoo's own algorithms, and for what they name themselves
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--algo")
    parser.add_argument("-conf", "--conf-file")
    parser.add_argument("--log-interval")
    known, _ = parser.parse_known_args(arguments)
    if known.algo not in ALGORITHMS:
        return list(arguments)
    conf_file = [] if known.conf_file else ["--conf-file", ALGORITHMS[known.algo][1]]
    log_interval = [] if known.log_interval else ["--log-interval", str(LOG_INTERVAL)]
    return [*arguments, *conf_file, *log_interval]


def _run(module: str, arguments: Sequence[str]) -> None:
    # importing RL Zoo imports some of its scripts
    warnings.filterwarnings("ignore", message=".*found in sys.modules after import of package", category=RuntimeWarning)
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)
