#!/usr/bin/env python3
"""Writes the tiny models and their figures: tests/vectors/models/*.gguf and models/figures.json.

Needs: pip install gguf numpy regex
Usage: make_models.py ORACLE.py     (the float64 oracle of this project's golden figures)

One model per encoding, over the families and kinds of RoPE, at awkward sizes. Weights are random with a fixed seed, so a second run writes
the same bytes. The oracle defines the forward pass; what it lacks, the stretching of RoPE's angles, is written here from the papers.
"""
import importlib.util
import json
import math
import sys
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.quants import quantize

FOLDER = Path(__file__).parent / "models"
VOCAB = 70
# name, architecture, encoding, embedding, heads, kv heads, head size, hidden, layers, and what else is special.
MODELS = [
    ("f32", "llama", Type.F32, 48, 3, 1, 16, 40, 2, {"positions": 70}),
    ("f16", "llama", Type.F16, 72, 4, 2, 32, 88, 1, {"output": True, "rope": "linear", "factor": 2.5}),
    ("bf16", "llama", Type.BF16, 64, 2, 1, 64, 100, 1, {"rope": "llama3"}),
    ("q4_0", "qwen2", Type.Q4_0, 64, 2, 1, 32, 96, 2, {}),
    ("q4_1", "llama", Type.Q4_1, 96, 6, 2, 32, 160, 2, {"rope_size": 16}),
    ("q5_0", "qwen3", Type.Q5_0, 96, 2, 2, 128, 64, 1, {"output": True}),
    ("q5_1", "qwen2", Type.Q5_1, 128, 4, 2, 32, 96, 2, {"rope": "yarn", "factor": 4.0, "original": 16, "base": 1e6}),
    ("q8_0", "qwen3", Type.Q8_0, 64, 3, 1, 64, 96, 2, {}),
    ("q4_k", "llama", Type.Q4_K, 256, 3, 1, 32, 96, 1, {"rope": "yarn", "factor": 8.0, "original": 32}),
    ("q5_k", "qwen2", Type.Q5_K, 256, 2, 1, 32, 64, 1, {"output": True}),
    ("q6_k", "qwen3", Type.Q6_K, 256, 2, 1, 32, 64, 1, {}),
]
# The position of the half scale or scales in a K-quant block, and the scale that gives weights of about 0.06.
K_SCALES = {Type.Q4_K: (0, 3e-4, 2, 2e-3), Type.Q5_K: (0, 1.5e-4, 2, 2e-3), Type.Q6_K: (208, 4.5e-5)}


def encode(random, encoding, rows, columns):
    """Random weights in an encoding, as the bytes of each row."""
    block, size = gguf.GGML_QUANT_SIZES[encoding]
    if columns % block:  # no whole number of blocks: the encoding that converters fall back to
        encoding = Type.Q8_0
    if encoding in K_SCALES:
        blocks = random.integers(0, 256, (rows * columns // block, size), dtype=np.uint8)
        for at, scale in zip(K_SCALES[encoding][::2], K_SCALES[encoding][1::2]):
            scales = (scale * random.uniform(0.5, 1.5, (len(blocks), 1))).astype(np.float16)
            blocks[:, at : at + 2] = scales.view(np.uint8)
        return blocks.reshape(rows, -1), encoding
    values = random.normal(0, 1.2 / math.sqrt(columns), (rows, columns)).astype(np.float32)
    return quantize(values, encoding), encoding


def write(path, random, arch, encoding, dim, heads, kv_heads, head, hidden, layers, special):
    writer = gguf.GGUFWriter(path, arch)
    for key, value in {
        "vocab_size": VOCAB, "context_length": 128, "embedding_length": dim, "block_count": layers,
        "feed_forward_length": hidden, "attention.head_count": heads, "attention.head_count_kv": kv_heads,
        "attention.key_length": head, "attention.value_length": head,
        "rope.dimension_count": special.get("rope_size", head),
    }.items():
        writer.add_uint32(f"{arch}.{key}", value)
    writer.add_float32(f"{arch}.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_float32(f"{arch}.rope.freq_base", special.get("base", 10000.0))
    if special.get("rope") in ("linear", "yarn"):
        writer.add_string(f"{arch}.rope.scaling.type", special["rope"])
        writer.add_float32(f"{arch}.rope.scaling.factor", special["factor"])
    if "original" in special:
        writer.add_uint32(f"{arch}.rope.scaling.original_context_length", special["original"])
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"t{i}" for i in range(VOCAB)])

    def matrix(name, rows, columns):
        data, used = encode(random, encoding, rows, columns)
        writer.add_tensor(name, data, raw_dtype=used)

    def vector(name, n, mean, spread):
        writer.add_tensor(name, random.normal(mean, spread, n).astype(np.float32))

    matrix("token_embd.weight", VOCAB, dim)
    vector("output_norm.weight", dim, 1.5, 0.3)
    if special.get("output"):
        matrix("output.weight", VOCAB, dim)
    if special.get("rope") == "llama3":
        factors = np.clip(np.arange(head // 2) / 4.0, 1, 8)
        writer.add_tensor("rope_freqs.weight", factors.astype(np.float32))
    for layer in range(layers):
        b = f"blk.{layer}."
        vector(b + "attn_norm.weight", dim, 1, 0.2)
        for part, n in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
            matrix(f"{b}attn_{part}.weight", n * head, dim)
            if arch == "qwen2":
                vector(f"{b}attn_{part}.bias", n * head, 0, 0.3)
            if arch == "qwen3" and part != "v":
                vector(f"{b}attn_{part}_norm.weight", head, 1, 0.2)
        matrix(b + "attn_output.weight", dim, heads * head)
        vector(b + "ffn_norm.weight", dim, 1, 0.2)
        matrix(b + "ffn_gate.weight", hidden, dim)
        matrix(b + "ffn_up.weight", hidden, dim)
        matrix(b + "ffn_down.weight", dim, hidden)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def scaled(oracle):
    """The oracle's model with stretched and partial RoPE."""

    class Model(oracle.Model):
        def __init__(self, reader):
            super().__init__(reader)
            key = lambda k, d=None: oracle.field(reader, f"{self.arch}.{k}", d)
            self.size = key("rope.dimension_count", self.head_dim)
            pair = np.arange(self.size // 2)
            self.frequency = self.theta ** (-2.0 * pair / self.size)
            self.length = 1.0
            if "rope_freqs.weight" in self.w:  # Llama 3.1: a factor per frequency
                self.frequency /= self.w["rope_freqs.weight"]
            factor = key("rope.scaling.factor", 1.0)
            match key("rope.scaling.type"):
                case "linear":  # Chen et al. 2023: positions interpolated
                    self.frequency /= factor
                case "yarn":  # Peng et al. 2023, "NTK-by-parts" with alpha 1, beta 32, and the attention temperature
                    context = key("rope.scaling.original_context_length")
                    dim_of = lambda turns: self.size * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(self.theta))
                    low, high = max(math.floor(dim_of(32)), 0), min(math.ceil(dim_of(1)), self.size - 1)
                    keep = 1 - np.clip((pair - low) / max(high - low, 0.001), 0, 1)
                    self.frequency = self.frequency / factor * (1 - keep) + self.frequency * keep
                    self.length = 0.1 * math.log(factor) + 1

        def rope(self, x, pos):
            angle = pos[:, None] * self.frequency
            cos, sin = np.cos(angle)[:, None] * self.length, np.sin(angle)[:, None] * self.length
            y, half = x.copy(), self.size // 2
            pairs = self.arch == "llama"
            first = np.s_[..., 0 : self.size : 2] if pairs else np.s_[..., :half]
            second = np.s_[..., 1 : self.size : 2] if pairs else np.s_[..., half : self.size]
            y[first], y[second] = x[first] * cos - x[second] * sin, x[first] * sin + x[second] * cos
            return y

    return Model


def main():
    spec = importlib.util.spec_from_file_location("oracle", sys.argv[1])
    oracle = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oracle)
    FOLDER.mkdir(exist_ok=True)
    figures = []
    for seed, (name, arch, *shape, special) in enumerate(MODELS):
        path, random = FOLDER / f"{name}.gguf", np.random.default_rng(seed)
        write(path, random, arch, *shape, special)
        model = scaled(oracle)(gguf.GGUFReader(path))
        count = special.get("positions", 13)
        ids = [int(i) for i in random.integers(0, VOCAB, count)]
        logits = model.forward(ids, {}, 0)
        shown = sorted({0, 1, count // 2, count - 1})
        rows = [[position, [round(float(z), 5) for z in logits[position]]] for position in shown]
        figures.append({"name": name, "ids": ids, "logits": rows})
        print(name, arch, path.stat().st_size, "bytes; logits spread", round(float(logits.std()), 3))
    (FOLDER / "figures.json").write_text("[\n" + ",\n".join(json.dumps(f, separators=(",", ":")) for f in figures) + "\n]\n")


if __name__ == "__main__":
    main()
