"""Types of the command line's options."""

import ast
import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from cyclopts import Parameter, Token, validators
from cyclopts.types import ExistingFile
from docstring_parser import parse

N_EVAL_EPISODES = 20

SOURCE = Path(__file__).parents[1] / "algorithms" / "tda2c.py"
"""the file of TDA2C, whose constructor's arguments are options"""
EXPONENTIAL = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$")
"""numbers with an exponent"""
NOT_OPTIONS = ("self", "policy", "env", "_init_setup_model")
"""arguments of the constructor that are no options, or have other names"""
OTHER_NAMES = {
    "learning_rate": ("--actor-lr", "--lr"),
    "critic_learning_rate": ("--critic-lr",),
    "n_steps": ("--update-interval",),
}
"""names that the reference program gives to options, and a common one"""


def _integer(_: Any, tokens: Sequence[Token]) -> int:
    """Convert ``100000`` and ``1e5``."""
    number = float(tokens[0].value)
    if not number.is_integer():
        raise ValueError(f"{tokens[0].value} is not an integer")
    return int(number)


def _mapping(_: Any, tokens: Sequence[Token]) -> dict[str, Any]:
    """Convert ``{net_arch: [64, 64]}``, in YAML or JSON."""
    try:
        value = _parsed(tokens[0].value)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"{tokens[0].value} is not a mapping: write '{{name: value}}', in YAML or JSON")
    return value


def _with_exponents(base: Any) -> Any:
    """Return a loader or dumper of YAML for which 1e-5 is a number; PyYAML has YAML 1.1, where it is a text."""
    kind: Any = type(base.__name__, (base,), {})
    kind.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENTIAL, list("+-0123456789"))
    return kind


def _parsed(text: str) -> Any:
    """Parse JSON or YAML.

    :raises ValueError: if it is neither
    """
    try:
        return json.loads(text)
    except ValueError:
        try:
            return yaml.load(text, _with_exponents(yaml.SafeLoader))
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error


def as_yaml(options: dict[str, Any]) -> str:
    """Write options in YAML, which :func:`read_config` reads.

    :param options: options by name
    """
    return str(yaml.dump(options, Dumper=_with_exponents(yaml.SafeDumper), sort_keys=False))


Integer = Annotated[int, Parameter(converter=_integer, metavar="N")]
Mapping = Annotated[dict[str, Any], Parameter(converter=_mapping, accepts_keys=False, n_tokens=1, metavar="MAPPING")]
Number = Annotated[float, Parameter(metavar="NUMBER")]


def _zip(_: Any, tokens: Sequence[Token]) -> Path:
    """Convert the name of a file, with or without ``.zip``, as SB3's ``load`` takes it."""
    path = Path(tokens[0].value)
    try:
        if path.suffix != ".zip" and not path.is_file():
            path = Path(f"{path}.zip")
        is_file = path.is_file()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not is_file:
        raise ValueError(f"there is no file {path}")
    return path


Algorithm = Literal["tda2c", "maskable", "recurrent"]
Steps = Annotated[Integer, Parameter(validator=validators.Number(gte=1), metavar="STEPS")]
Count = Annotated[Integer, Parameter(validator=validators.Number(gte=1))]
Episodes = Annotated[Integer, Parameter(validator=validators.Number(gte=0))]
EnvKwargs = Mapping | None
Seed = Annotated[
    Integer | None, Parameter(validator=validators.Number(gte=0, lt=2**32), help="seed of all random generators")
]
FirstSeed = Annotated[Integer, Parameter(validator=validators.Number(gte=0, lt=2**32))]
Zip = Annotated[Path, Parameter(converter=_zip, help="the saved model, with or without .zip")]
Device = Annotated[str, Parameter(help="cpu, cuda or auto")]
Normalize = Annotated[ExistingFile | None, Parameter(help="statistics that VecNormalize.save() wrote")]
NoNormalize = Annotated[bool, Parameter(help="do not normalize observations")]
Flag = Annotated[bool, Parameter(negative_bool="no-")]
"""an option that a file may set, and the command line take back"""
Tuned = Annotated[bool, Parameter(help="wrap the environment as train --tuned does")]
Trusted = Annotated[bool, Parameter(help="also load what could run code; use it only for files that you made")]
TYPES: dict[str, Any] = {
    "bool": bool,
    "bool | None": bool,
    "dict[str, Any] | None": Mapping,
    "float": Number,
    "float | None": Number,
    "float | str | Schedule": Annotated[float | str, Parameter(metavar="RATE")],
    "int": Integer,
    "int | None": Integer,
    "str": str,
    "str | None": str,
    "th.device | str": str,
}
"""types of the options, by the annotation of the argument"""
CHOICES: dict[str, Any] = {"engine": Literal["auto", "autograd", "numpy", "numba", "cuda"]}
"""arguments of type ``str`` that have few values"""
SHOWN = {
    r"\gamma": "γ",
    r"\lambda": "λ",
    r"\pi": "π",
    r"\log": "log",
    r"\theta": "θ",
    "``None``:": "without it,",
    ", or a function of the progress remaining (from 1 to 0)": "",
}
"""what docstrings say for Python, and what the help says for the command line"""


def constructor_options() -> type[Any]:
    """Make a dataclass with a field for each argument of TDA2C's constructor, ``None`` if it is not given.

    Types, defaults and descriptions are read from the constructor's source.
    """
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    algorithm = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "TDA2C")
    constructor = next(node for node in algorithm.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    described = {each.arg_name: each.description or "" for each in parse(ast.get_docstring(algorithm) or "").params}
    arguments = constructor.args
    defaults = [*arguments.defaults, *arguments.kw_defaults]
    fields = [
        (argument.arg, _option(argument, ast.literal_eval(default), described[argument.arg]), field(default=None))
        # arguments without a default come first
        for argument, default in zip([*arguments.args, *arguments.kwonlyargs][-len(defaults) :], defaults, strict=True)
        if argument.arg not in NOT_OPTIONS and default is not None
    ]
    made = make_dataclass("ConstructorOptions", fields, frozen=True)
    made.__module__ = __name__
    return made


def _option(argument: ast.arg, default: Any, description: str) -> Any:
    assert argument.annotation is not None
    parameter = Parameter(
        help=_plain(description, default),
        alias=OTHER_NAMES.get(argument.arg, ()),
        negative_bool="no-",
        show_default=lambda _: default,
    )
    kind = CHOICES.get(argument.arg, TYPES[ast.unparse(argument.annotation)])
    return Annotated[kind | None, parameter]


def _plain(text: str, default: Any) -> str:
    """Return an argument's description for the command line, without markup, and without a value that no option has."""
    if default is not None:
        text = re.sub(r"; ``None``: [^;.]*", "", text)
    without_roles = re.sub(r":[a-z:]+:`~?(?:sb3_a2c_td\.)?([^`]+)`", r"\1", text)
    for code, shown in SHOWN.items():
        without_roles = without_roles.replace(code, shown)
    return " ".join(without_roles.replace("``", "").split())


Constructor = constructor_options()
"""the options of TDA2C's constructor"""
NOT_WRITTEN = ("config", "constructor", "resume", "save")
"""options of ``train`` that are not in the file next to the zip"""


@dataclass(frozen=True)
class Training:
    """The options of ``train``.

    :param env: the environment's id; module:id imports a module first
    :param timesteps: environment steps to train for
    :param algo: the algorithm; the others are for environments with action masks, and with LSTMs
    :param policy: the policy; if none is named, one that fits the observations
    :param tuned: use the settings that a study chose, for the environment or for all, as recommended() does in Python
    :param n_envs: number of parallel environments; if none is given, 1, or the number that --tuned chooses
    :param env_kwargs: the environment's arguments, in YAML or JSON, such as '{continuous: true}'
    :param constructor: arguments of TDA2C's constructor
    :param n_seeds: number of trainings, one after another, with consecutive seeds: the first is --seed, or 0
    :param save: the zip to write; an existing one is replaced. If none is named, a new file in this folder
    :param save_freq: steps between two saves during training
    :param resume: continue the training that --save names, if the zip exists
    :param eval_freq: steps between two evaluations during training, of which the best model is kept
    :param eval_episodes: episodes of each evaluation; 0: no evaluation
    :param track: log to Weights & Biases
    :param config: take options from a file, in YAML or TOML
    :param quiet: print neither a progress bar nor the episodes
    """

    env: str = "CartPole-v1"
    _: KW_ONLY
    timesteps: Steps = 100_000
    algo: Algorithm = "tda2c"
    policy: str | None = None
    tuned: Flag = False
    n_envs: Count | None = None
    env_kwargs: EnvKwargs = None
    constructor: Annotated[Constructor, Parameter(name="*", group="Settings of TDA2C")] = Constructor()  # type: ignore[valid-type]  # noqa: RUF009
    n_seeds: Count = 1
    save: Path | None = None
    save_freq: Steps | None = None
    resume: bool = False
    eval_freq: Steps | None = None
    eval_episodes: Episodes = N_EVAL_EPISODES
    track: Flag = False
    config: ExistingFile | None = None
    quiet: Flag = False

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the constructor that were given, by name."""
        return {name: value for name, value in vars(self.constructor).items() if value is not None}

    @property
    def written(self) -> dict[str, Any]:
        """The options in the file next to the zip, by name: those of one training."""
        given = {name: value for name, value in vars(self).items() if name not in NOT_WRITTEN and value is not None}
        return given | self.arguments | {"n_seeds": 1}

    def with_seed(self, seed: int) -> "Training":
        """Return this training with a seed.

        :param seed: the seed
        """
        return replace(self, constructor=replace(self.constructor, seed=seed))


def read_config(path: Path) -> dict[str, Any]:
    """Read options from a file.

    :param path: a file in TOML, or else in YAML
    :return: options by name; mappings as JSON, since an option takes them as text
    :raises ValueError: if it cannot be read, or holds no mapping
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text) if path.suffix == ".toml" else _parsed(text)
    except (OSError, ValueError) as error:
        raise ValueError(f"--config {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"--config {path} holds no options: write one 'name: value' in a line")
    return {name: json.dumps(value) if isinstance(value, dict) else value for name, value in content.items()}
