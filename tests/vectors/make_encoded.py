#!/usr/bin/env python3
"""Makes tests/vectors/encoded.bin: weights, and the blocks that llama.cpp's reference makes of them
without importance, for the eight quantised encodings.

usage: make_encoded.py LIBGGML_BASE.so > encoded.bin

Rows of 256 weights as 32-bit floats after their number in 32 bits; then for each encoding its ggml
number and the blocks of all rows. Zeros, one huge weight, denormals, constants and one-sided rows
are among them.
"""

import ctypes
import sys

import numpy

ENCODINGS = {2: 18, 3: 20, 6: 22, 7: 24, 8: 34, 12: 144 / 8, 13: 176 / 8, 14: 210 / 8}


def rows():
    random = numpy.random.default_rng(20261130)
    normal = lambda scale: random.normal(0, scale, 256)
    yield numpy.zeros(256)
    for scale in (1e-3, 0.02, 1.0, 50.0):
        yield normal(scale)
    huge = normal(0.02)
    huge[77] = 9000.0
    yield huge
    yield -huge
    yield random.normal(0, 1, 256) * 1e-40
    yield numpy.full(256, 0.37)
    yield numpy.full(256, -0.37)
    yield numpy.abs(normal(0.1))
    yield -numpy.abs(normal(0.1))
    yield normal(0.1) + 3
    yield random.standard_t(2, 256) * 0.05
    yield numpy.where(random.random(256) < 0.9, 0, normal(0.3))
    yield normal(0.05) * numpy.repeat(10.0 ** numpy.arange(-4, 4), 32)
    yield normal(1e-7)
    yield numpy.round(normal(4.0)) / 8


def main():
    library = ctypes.CDLL(sys.argv[1])
    quantize = library.ggml_quantize_chunk
    quantize.restype = ctypes.c_size_t
    quantize.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [
        ctypes.c_void_p
    ]
    weights = numpy.stack(list(rows())).astype(numpy.float32)
    count = len(weights)
    out = sys.stdout.buffer
    out.write(count.to_bytes(4, "little") + weights.tobytes())
    for number, bytes_of_32 in ENCODINGS.items():
        blocks = numpy.zeros(int(count * 8 * bytes_of_32), dtype=numpy.uint8)
        made = quantize(
            number, weights.ctypes.data, blocks.ctypes.data, 0, count, 256, None
        )
        assert made == len(blocks), (number, made, len(blocks))
        out.write(number.to_bytes(4, "little") + blocks.tobytes())


main()
