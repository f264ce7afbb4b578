"""Record a command in a terminal as a GIF: python docs/figures/terminal.py docs/figures/terminal.gif make demo.

What the command prints is shown at its own pace, with pauses cut to half a second.
"""

import argparse
import os
import pty
import shlex
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pyte
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

COLUMNS, ROWS = 112, 24
FONT = ImageFont.truetype(font_manager.findfont("DejaVu Sans Mono"), 14)
CELL_WIDTH, CELL_HEIGHT, MARGIN = FONT.getlength("M"), 18, 10
BACKGROUND, TEXT = (30, 30, 36), (220, 220, 220)
LONGEST_PAUSE = 0.5
"""seconds"""
LAST_PAUSE = 5.0
"""seconds of the last picture"""


def output_of(command: list[str]) -> Iterator[tuple[float, bytes]]:
    """Run a command in a terminal; yield what it prints, and the seconds since the start.

    :param command: the command
    """
    pid, terminal = pty.fork()
    if pid == 0:
        size = {"COLUMNS": str(COLUMNS), "LINES": str(ROWS), "TERM": "linux"}
        os.execvpe(command[0], command, os.environ | size)
    start = time.monotonic()
    while True:
        try:
            text = os.read(terminal, 1 << 16)
        except OSError:
            # Linux ends a terminal's output with an error
            break
        if not text:
            break
        yield time.monotonic() - start, text
    os.waitpid(pid, 0)


def picture_of(screen: pyte.Screen) -> Image.Image:
    """Draw a terminal's screen.

    :param screen: the screen
    """
    size = (round(COLUMNS * CELL_WIDTH) + 2 * MARGIN, ROWS * CELL_HEIGHT + 2 * MARGIN)
    picture = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(screen.display):
        draw.text((MARGIN, MARGIN + number * CELL_HEIGHT), line.rstrip(), TEXT, FONT)
    return picture.quantize(16)


def main() -> None:
    """Record a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gif", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    stream.feed(f"$ {shlex.join(arguments.command)}\r\n".encode())
    times, pictures = [0.0], [picture_of(screen)]
    for seconds, text in output_of(arguments.command):
        stream.feed(text)
        times.append(seconds)
        pictures.append(picture_of(screen))
    pauses = [min(later - earlier, LONGEST_PAUSE) for earlier, later in pairwise(times)]
    durations = [max(20, round(1000 * pause)) for pause in [*pauses, LAST_PAUSE]]
    first, *others = pictures
    first.save(arguments.gif, save_all=True, append_images=others, duration=durations, loop=0, optimize=True)


if __name__ == "__main__":
    main()
