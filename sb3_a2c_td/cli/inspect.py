"""``inspect``: show what a saved model holds, without running code from it."""

from sb3_a2c_td.cli.options import Zip


def inspect(path: Zip) -> None:
    """Show what a saved model holds: versions, environment, spaces, settings, networks, sizes.

    It runs no code from the file, so untrusted files are safe to inspect. The model may be of any SB3 algorithm. What
    cannot be shown without running code is listed, with the function or class that it asks for.

    Examples:

    ```
    sb3-a2c-td inspect tda2c_CartPole-v1
    sb3-a2c-td inspect tda2c_CartPole-v1.zip | less
    ```

    :param path: the saved model, with or without .zip
    """
    from sb3_a2c_td.cli import inspecting

    inspecting.show(path)
