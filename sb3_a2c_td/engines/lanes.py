"""A vector register in compiled code: as many numbers as :data:`LANES`, computed at a time.

LLVM vectorizes the inner loops of matrix products only in part. With these functions, a kernel says which numbers stay
in registers. They check no index.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, models, register_model

# Sphinx cannot document intrinsics
__all__ = ["LANES"]

LANES = 8
"""float32 numbers in a register of AVX; LLVM splits them where registers are smaller"""

_NEIGHBOURS = ([0, 2, 8, 10, 4, 6, 12, 14], [1, 3, 9, 11, 5, 7, 13, 15])
_HALVES = ([0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15])
_VECTOR = ir.VectorType(ir.FloatType(), LANES)


class _Lanes(types.Type):
    """The type of a register."""

    def __init__(self) -> None:
        super().__init__("Lanes")


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    """Its representation in LLVM."""

    def __init__(self, data_model_manager: Any, numba_type: _Lanes) -> None:
        super().__init__(data_model_manager, numba_type, _VECTOR)


_lanes = _Lanes()


@intrinsic
def load(_, array, index):
    """Load consecutive numbers of a contiguous array, from ``array.flat[index]`` on."""

    def generate(context, builder, signature, args):
        return builder.load(_vector_pointer(context, builder, signature, args), align=4)

    return _lanes(array, index), generate


@intrinsic
def store(_, array, index, lanes):
    """Store consecutive numbers of a contiguous array, from ``array.flat[index]`` on."""

    def generate(context, builder, signature, args):
        builder.store(args[2], _vector_pointer(context, builder, signature, args), align=4)
        return context.get_dummy_value()

    return types.void(array, index, lanes), generate


@intrinsic
def repeat(_, array, index):
    """Load ``array.flat[index]`` into every lane."""

    def generate(context, builder, signature, args):
        return _repeated(builder, builder.load(_pointer(context, builder, signature, args)))

    return _lanes(array, index), generate


@intrinsic
def multiply_add(_, a, b, c):
    """Compute ``a * b + c``."""

    def generate(context, builder, signature, args):
        product = builder.fmul(args[0], args[1], flags=["contract"])
        return builder.fadd(product, args[2], flags=["contract"])

    return _lanes(a, b, c), generate


@intrinsic
def add(_, a, b):
    """Compute ``a + b``."""

    def generate(context, builder, signature, args):
        return builder.fadd(*args)

    return _lanes(a, b), generate


@intrinsic
def totals(_, a, b, c, d, e, f, g, h):
    """Sum the lanes of each of eight registers, into one lane each."""

    def generate(context, builder, signature, args):
        # each round adds neighbours; the first two rounds stay within the halves of a register, which takes less time
        for rounds in (_NEIGHBOURS, _NEIGHBOURS, _HALVES):
            first, second = map(_indices, rounds)
            args = [
                builder.fadd(builder.shuffle_vector(x, y, first), builder.shuffle_vector(x, y, second))
                for x, y in zip(args[::2], args[1::2], strict=True)
            ]
        return args[0]

    return _lanes(a, b, c, d, e, f, g, h), generate


@intrinsic
def number(_, lanes, index):
    """Return the number in one lane."""

    def generate(context, builder, signature, args):
        return builder.extract_element(*args)

    return types.float32(lanes, index), generate


def _pointer(context, builder, signature, args):
    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    return builder.gep(data, [args[1]])


def _vector_pointer(context, builder, signature, args):
    return builder.bitcast(_pointer(context, builder, signature, args), _VECTOR.as_pointer())


def _repeated(builder, number):
    first = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, first, _indices([0] * LANES))


def _indices(numbers):
    return ir.Constant(ir.VectorType(ir.IntType(32), LANES), list(numbers))
