"""Arrays without owners in compiled code.

numba counts references to the memory of each array, in atomic operations. In a loop that passes many small arrays to
many small functions, these took a third of the time.
"""

from numba.core import cgutils, types
from numba.extending import intrinsic

# Sphinx cannot document intrinsics
__all__ = []


@intrinsic
def borrow(_, value):
    """Return an array, or a tuple with its arrays, on the same memory, whose references are not counted.

    Something else must own the memory: the arguments of a function live until it returns.
    """

    def generate(context, builder, signature, args):
        return _borrowed(context, builder, signature.args[0], args[0])

    return value(value), generate


def _borrowed(context, builder, numba_type, value):
    if isinstance(numba_type, types.Array):
        array = context.make_array(numba_type)(context, builder, value)
        for owner in ("meminfo", "parent"):
            setattr(array, owner, cgutils.get_null_value(getattr(array, owner).type))
        return array._getvalue()
    if isinstance(numba_type, types.BaseTuple):
        values = cgutils.unpack_tuple(builder, value)
        items = [_borrowed(context, builder, *item) for item in zip(numba_type.types, values, strict=True)]
        return context.make_tuple(builder, numba_type, items)
    return value
