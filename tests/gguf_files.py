"""Small random GGUF files of a Llama with the 256 bytes and a few merges as its tokens."""

import numpy as np
import pytest

gguf = pytest.importorskip("gguf")

WIDTH, HIDDEN, LAYERS, HEADS = 64, 96, 2, 4


def byte_tokens():
    """The 256 bytes as byte-level tokenizers write them, and two merged pairs."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    names = {byte: chr(byte) for byte in printable}
    for number, byte in enumerate(b for b in range(256) if b not in names):
        names[byte] = chr(256 + number)
    return [names[byte] for byte in range(256)] + ["Ġt", "he", "<s>"]


def write_gguf(path, kind="Q4_1", **changes):
    """A small random Llama whose matrices have a type; returns the float32 values that they stand for."""
    rng, values = np.random.default_rng(3), {}
    writer = gguf.GGUFWriter(path, changes.pop("family", "llama"))
    tokens = byte_tokens()
    if changes.pop("context", True):
        writer.add_context_length(32)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(changes.pop("epsilon", 1e-5))
    writer.add_rope_freq_base(5000.0)
    writer.add_tokenizer_model(changes.pop("tokenizer", "gpt2"))
    if pre := changes.pop("pre", "smollm"):
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_merges(["Ġ t", "h e"])
    writer.add_bos_token_id(258)
    writer.add_add_bos_token(True)

    for key, value in changes.pop("entries", {}).items():
        writer.kv_data[0].pop(key, None)
        kind_ = gguf.GGUFValueType.get_type(value)
        sub = gguf.GGUFValueType.get_type(value[0]) if isinstance(value, list) else None
        writer.add_key_value(key, value, kind_, sub)

    def add(name, *shape):
        whole = rng.standard_normal(shape).astype(np.float32) * np.float32(0.2)
        if len(shape) == 1:
            values[name] = whole + 1
            writer.add_tensor(name, values[name])
            return
        type_ = getattr(gguf.GGMLQuantizationType, kind)
        whole[0, :32] = 0  # a block without a scale
        packed = gguf.quants.quantize(whole, type_)
        writer.add_tensor(name, packed, raw_dtype=type_)
        values[name] = gguf.quants.dequantize(packed, type_)

    add(changes.pop("embedding", "token_embd.weight"), len(tokens), WIDTH)
    for layer in range(LAYERS):
        for part, *shape in (
            ("attn_norm", WIDTH), ("attn_q", WIDTH, WIDTH), ("attn_k", WIDTH // 2, WIDTH),
            ("attn_v", WIDTH // 2, WIDTH), ("attn_output", WIDTH, WIDTH), ("ffn_norm", WIDTH),
            ("ffn_gate", HIDDEN, WIDTH), ("ffn_up", HIDDEN, WIDTH),
            ("ffn_down", WIDTH, HIDDEN),
        ):  # fmt: skip
            add(f"blk.{layer}.{part}.weight", *shape)
    add("output_norm.weight", WIDTH)
    for name, blocks in changes.pop("raw", {}).items():
        writer.add_tensor(name, blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    for name in changes.pop("surplus", ()):
        add(name, WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return values
