"""``python -m benchmarks.speed``: the commands of the speed benchmarks, without what those of learning import."""

from benchmarks.speed.commands import app

if __name__ == "__main__":
    app()
