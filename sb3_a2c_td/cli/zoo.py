"""``zoo``: RL Zoo's scripts, with this package's algorithms."""

from typing import Annotated

from cyclopts import Parameter


def zoo(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
    """Train, tune and benchmark with RL Zoo's scripts.

    Examples:

    ```
    sb3-a2c-td zoo train --algo tda2c --env CartPole-v1
    sb3-a2c-td zoo enjoy --algo tda2c --env CartPole-v1
    ```

    :param arguments: a script of RL Zoo, and its arguments
    """
    from sb3_a2c_td.zoo import launcher

    launcher.main(arguments or ("--help",), program="sb3-a2c-td zoo")
