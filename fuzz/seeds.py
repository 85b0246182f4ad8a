#!/usr/bin/env python3
"""Writes small seeds for the gguf and model targets into fuzz/corpus. Needs: pip install gguf numpy; a built pixel-llm.

Usage: fuzz/seeds.py path/to/pixel-llm
"""
import pathlib, subprocess, sys
import gguf, numpy as np
from gguf import GGMLQuantizationType as Q

corpus = pathlib.Path(__file__).parent / "corpus"
for target in ("gguf", "model", "pxi"):
    (corpus / target).mkdir(parents=True, exist_ok=True)
random = np.random.default_rng(7)
for arch, kind in (("llama", Q.F32), ("qwen2", Q.Q8_0), ("qwen3", Q.Q4_1)):
    path = corpus / "gguf" / f"{arch}.gguf"
    w = gguf.GGUFWriter(path, arch)
    w.add_name("Seed"); w.add_context_length(8); w.add_embedding_length(32); w.add_block_count(1); w.add_feed_forward_length(32)
    w.add_head_count(2); w.add_head_count_kv(1); w.add_key_length(16); w.add_value_length(16); w.add_layer_norm_rms_eps(1e-5)
    w.add_tokenizer_model("gpt2"); w.add_token_list([f"t{i}" for i in range(8)]); w.add_token_types([1] * 8)
    def add(name, *shape):
        a = random.standard_normal(shape).astype(np.float32)
        if len(shape) == 1 or kind == Q.F32: w.add_tensor(name, a)
        else: w.add_tensor(name, gguf.quants.quantize(a, kind), raw_dtype=kind)
    add("token_embd.weight", 8, 32); add("output_norm.weight", 32)
    for name, *shape in (("attn_norm", 32), ("attn_q", 32, 32), ("attn_k", 16, 32), ("attn_v", 16, 32), ("attn_output", 32, 32),
                         ("ffn_norm", 32), ("ffn_gate", 32, 32), ("ffn_up", 32, 32), ("ffn_down", 32, 32)):
        add(f"blk.0.{name}.weight", *shape)
    if arch == "qwen2":
        for name, n in (("attn_q", 32), ("attn_k", 16), ("attn_v", 16)): add(f"blk.0.{name}.bias", n)
    if arch == "qwen3":
        for name in ("attn_q_norm", "attn_k_norm"): add(f"blk.0.{name}.weight", 16)
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
    subprocess.run([sys.argv[1], "convert", path, corpus / "model" / f"{arch}.pxi"], check=True)
subprocess.run([sys.argv[1], "fs", "demo", corpus / "pxi" / "demo.pxi"], check=True)
