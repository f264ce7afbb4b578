"""``python -m sb3_a2c_td`` and ``sb3-a2c-td``: the command line, if the extra ``cli`` is installed."""

import sys

from sb3_a2c_td import extras


def main() -> None:
    """Run the command line, or say how to install what it needs."""
    try:
        with extras.needed("cli", "the command line"):
            from sb3_a2c_td import cli
    except ImportError as error:
        sys.exit(f"Error: {error}")
    cli.main()


if __name__ == "__main__":
    main()
