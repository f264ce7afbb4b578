"""``python -m sb3_a2c_td.zoo``."""

from sb3_a2c_td.zoo.launcher import main

if __name__ == "__main__":
    main()
