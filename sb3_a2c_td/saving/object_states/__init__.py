"""Reads Python objects as plain data, and restores other objects like them from it.

An object is read as its attributes, down to numbers, arrays, random number generators, and further objects of this
kind. Objects that refer to something outside of Python (a physics engine, a worker process, a window), and objects that
would not come back as they were (sets, whose order depends on earlier insertions) raise an error, so that nothing is
left out silently.
"""

from sb3_a2c_td.saving.object_states.format import CannotRestoreError
from sb3_a2c_td.saving.object_states.reader import Reader
from sb3_a2c_td.saving.object_states.writer import Writer

__all__ = ["CannotRestoreError", "Reader", "Writer"]
