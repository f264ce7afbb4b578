"""Unpickling without running code from the pickle.

Python's own unpickler, in the version written in Python, executes a pickle instruction by instruction. Here, each
instruction that can name, call or change something follows a list:

- :mod:`~sb3_a2c_td.saving.unpickling.allowed_types`: the names in a pickle that are resolved. Add further classes here.
- :mod:`~sb3_a2c_td.saving.unpickling.checked_calls`: the functions that run in place of those that it calls.
- :mod:`~sb3_a2c_td.saving.unpickling.pickled_states`: the objects that it may fill with a state, and their attributes.
- :mod:`~sb3_a2c_td.saving.unpickling.unpickler`: the instructions.
- :mod:`~sb3_a2c_td.saving.unpickling.budget`: the time and memory that the pickles of one file may take.
- :mod:`~sb3_a2c_td.saving.unpickling.content_checks`: the checks of the finished object.

A pickle takes time and memory in proportion to its length.
"""

from sb3_a2c_td.saving.unpickling.budget import Budget
from sb3_a2c_td.saving.unpickling.content_checks import check_content
from sb3_a2c_td.saving.unpickling.unpickler import Instructions, Unpickler, loads, restricted_loads

__all__ = ["Budget", "Instructions", "Unpickler", "check_content", "loads", "restricted_loads"]
