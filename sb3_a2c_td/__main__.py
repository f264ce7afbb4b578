"""``python -m sb3_a2c_td``: the command line."""

from sb3_a2c_td.cli import main

if __name__ == "__main__":
    main()
