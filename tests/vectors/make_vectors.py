"""Writes <encoding>.bin beside this file: random blocks and the values the `gguf` package gives them.

    pip install gguf numpy
    python tests/vectors/make_vectors.py

A file is the GGML type number and the number of blocks (u32 each), the blocks, and one f32 per weight, all
little-endian. The first blocks go through every pair of extreme scales, the rest are random bytes.
"""

import pathlib
import warnings

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

# Zero, the least and greatest subnormals, the least and greatest normals, one, infinities, quiet and signalling NaN.
EXTREME_HALVES = [
    0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x3C00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0xFFFF, 0x7C01,
]
# The bytes at which each encoding keeps its half floats.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
BLOCKS_OF_32, BLOCKS_OF_256, FLOATS = 320, 48, 4096


def blocks_of(name: str, length: int, size: int, rng: np.random.Generator) -> np.ndarray:
    count = {1: FLOATS, 32: BLOCKS_OF_32, 256: BLOCKS_OF_256}[length]
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    extremes = np.array(EXTREME_HALVES, dtype="<u2").view(np.uint8).reshape(-1, 2)
    if name in ("F16", "BF16"):
        blocks[: len(extremes)] = extremes
    elif name == "F32":
        # The upper half of a single has the extremes of a BF16.
        blocks[: len(extremes), 2:] = extremes
    elif len(HALVES[name]) == 1:
        at = HALVES[name][0]
        blocks[: len(extremes), at : at + 2] = extremes
    else:
        # All pairs where there is room for them, else each scale with a random minimum and the reverse.
        first, second = HALVES[name]
        pairs = [(a, b) for a in extremes for b in extremes]
        if len(pairs) <= count:
            for block, (a, b) in zip(blocks, pairs):
                block[first : first + 2], block[second : second + 2] = a, b
        else:
            for i, half in enumerate(extremes):
                blocks[i, first : first + 2] = half
                blocks[len(extremes) + i, second : second + 2] = half
    if length == 256:
        # Random halves are often huge: the last blocks have scales as real files do.
        for at in HALVES[name]:
            scales = rng.normal(0, 0.01, 16).astype("<f2").view(np.uint8).reshape(-1, 2)
            blocks[-16:, at : at + 2] = scales
    return blocks


def main() -> None:
    rng = np.random.default_rng(20240229)
    folder = pathlib.Path(__file__).parent
    for name in ["F32", "F16", "BF16", *HALVES]:
        kind = GGMLQuantizationType[name]
        length, size = GGML_QUANT_SIZES[kind]
        blocks = blocks_of(name, length, size, rng)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # infinity times zero is among the vectors
            values = quants.dequantize(blocks, kind).astype("<f4")
        assert values.size == blocks.shape[0] * length
        head = np.array([int(kind), blocks.shape[0]], dtype="<u4")
        (folder / f"{name.lower()}.bin").write_bytes(head.tobytes() + blocks.tobytes() + values.tobytes())


if __name__ == "__main__":
    main()
