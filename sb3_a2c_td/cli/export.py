"""``export``: write the actor of a saved model for other programs."""

from pathlib import Path
from typing import Literal

from sb3_a2c_td.cli.options import NoNormalize, Normalize, Trusted, Zip


def export(
    path: Zip,
    *,
    to: Literal["onnx", "safetensors"],
    output: Path | None = None,
    normalize: Normalize = None,
    no_normalize: NoNormalize = False,
    trusted: Trusted = False,
) -> None:
    """Write the deterministic actor of a saved model to a file that needs neither SB3 nor this package.

    The actor takes observations as the environment returns them, and returns the actions of
    predict(..., deterministic=True). It normalizes observations by the same statistics as evaluate does, with the same
    options. The file is written only if the actor acts as the model does on many observations.

    Examples:

    ```
    sb3-a2c-td export tda2c_CartPole-v1 --to onnx
    sb3-a2c-td export models/pendulum.zip --to safetensors --output pendulum-actor.safetensors
    sb3-a2c-td export hopper --to onnx --normalize vecnormalize.pkl
    ```

    :param to: onnx stores the computation, safetensors the named tensors
    :param output: the file to write; an existing one is replaced. If none is named, it stands next to the zip
    """
    from sb3_a2c_td.cli import models, usage_errors
    from sb3_a2c_td.export import export_actor
    from sb3_a2c_td.export.checking import N_OBSERVATIONS

    output = path.with_suffix(f".{to}") if output is None else output
    with usage_errors.reported():
        if output.exists() and output.samefile(path):
            raise ValueError(f"--output {output} is the model itself; name another file")
        model = models.load(path, None, "cpu", trusted)
        normalization = models.detach_normalization(model, path, normalize, no_normalize, trusted)
        export_actor(model, output, to, normalization)
    print(f"Saved to {output}, which acts as the model does on {N_OBSERVATIONS} observations")
