"""``export``: the actor of a saved model for other programs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sb3_a2c_td.cli import usage_errors
from sb3_a2c_td.cli.models import AsTheyAre, Statistics, Trusted, Zip, load, normalization_of
from sb3_a2c_td.export import export_actor
from sb3_a2c_td.export.checking import N_OBSERVATIONS


class Format(StrEnum):
    """What can be written."""

    onnx = "onnx"
    safetensors = "safetensors"


def export(
    path: Zip,
    to: Annotated[
        Format,
        typer.Option(help="onnx holds the computation, safetensors the named tensors.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option(help="The file to write, over an earlier one too.", show_default="beside the zip"),
    ] = None,
    normalize: Statistics = None,
    no_normalize: AsTheyAre = False,
    trusted: Trusted = False,
) -> None:
    """Write the deterministic actor of a saved model to a file that needs neither SB3 nor this package.

    It takes observations as the environment shows them and gives the actions of predict(..., deterministic=True).
    It normalises them where SB3 or RL Zoo saved the statistics of VecNormalize beside the zip, unless told otherwise.
    It is compared with the model on many observations first, and not written where it acts otherwise.

    \b
    Examples:
      sb3-a2c-td export tda2c_CartPole-v1.zip --to onnx
      sb3-a2c-td export models/pendulum.zip --to safetensors --output pendulum-actor.safetensors
      sb3-a2c-td export hopper.zip --to onnx --normalize vecnormalize.pkl
    """
    written = path.with_suffix(f".{to}") if output is None else output
    with usage_errors.reported():
        if written.exists() and written.samefile(path):
            raise ValueError(f"--output {written} is the model itself; name another file")
        normalization = normalization_of(path, normalize, no_normalize)
        export_actor(load(path, None, "cpu", trusted), written, to.value, normalization)
    print(f"Saved to {written}, which acts as the model does on {N_OBSERVATIONS} observations")
