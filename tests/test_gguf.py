"""GGUF files: every type of weight is taken as what it stands for, in its own width; what is not plain is refused."""

import numpy as np
import pytest
from gguf_files import HEADS, LAYERS, WIDTH, gguf, write_gguf

from lm_meter import Checkpoint, CheckpointError, read_text
from lm_meter.context import Context
from lm_meter.conversion.convert import convert
from lm_meter.quantization.arrays import read_weights
from lm_meter.threads import ThreadTeam
from lm_meter.tokenizers import load_tokenizer

pytest.importorskip("tokenizers")

TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1")
DECLARED = {
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "Q8_0": {"format": "int8", "group": 32},
    "Q4_0": {"format": "int4", "group": 32, "offsets": True},
    "Q4_1": {"format": "codebook4", "group": 32, "offsets": True},
}


@pytest.mark.parametrize("kind", TYPES)
def test_weights_keep_their_width_and_their_values(kind, tmp_path):
    values = write_gguf(tmp_path / "m.gguf", kind)
    done = convert(tmp_path / "m.gguf", tmp_path / "m.npz")
    opened = Checkpoint(tmp_path / "m.npz")
    assert (done.source, done.tokens) == ("gguf", 64)
    for theirs, ours in (
        ("token_embd.weight", "embedding"),
        ("blk.1.attn_k.weight", "layers.1.attention.key.weight"),
        ("blk.0.ffn_down.weight", "layers.0.feed_forward.output.weight"),
    ):
        assert opened.formats[ours].to_json() == DECLARED[kind]
        # A product and a sum in float32, in one order or the other.
        np.testing.assert_allclose(read_weights(opened, ours).values, values[theirs], rtol=2.0**-22, atol=2.0**-24)
    assert opened.model_config.positions.base == 5000
    assert opened.model_config.ends.tied


def _log_probs(values, tokens):
    """What a Llama of these weights predicts behind each token, in float64; pairs that are turned are neighbours."""
    head, x = WIDTH // HEADS, values["token_embd.weight"][tokens].astype(np.float64)
    angles = np.arange(len(tokens))[:, None] * 5000.0 ** (-np.arange(0, head, 2) / head)

    def normed(x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 0.5) * values[name]

    def heads(y, name, turned):
        vectors = (y @ values[name].T).reshape(len(tokens), -1, head // 2, 2)
        if turned:
            turned = (vectors[..., 0] + 1j * vectors[..., 1]) * np.exp(1j * angles)[:, None]
            vectors = np.stack([turned.real, turned.imag], axis=-1)
        vectors = vectors.reshape(len(tokens), -1, head)
        return vectors.repeat(HEADS // vectors.shape[1], axis=1)

    for layer in range(LAYERS):
        place = f"blk.{layer}."
        y = normed(x, f"{place}attn_norm.weight")
        q, k, v = (heads(y, f"{place}attn_{part}.weight", part != "v") for part in "qkv")
        scores = np.einsum("ihd,jhd->hij", q, k) / head**0.5
        scores[:, np.arange(len(tokens))[:, None] < np.arange(len(tokens))] = -np.inf
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = np.einsum("hij,jhd->ihd", shares / shares.sum(-1, keepdims=True), v).reshape(len(tokens), WIDTH)
        x = x + mixed @ values[f"{place}attn_output.weight"].T
        y = normed(x, f"{place}ffn_norm.weight")
        gate, inner = (y @ values[f"{place}ffn_{part}.weight"].T for part in ("gate", "up"))
        x = x + (gate / (1 + np.exp(-gate)) * inner) @ values[f"{place}ffn_down.weight"].T
    logits = normed(x, "output_norm.weight") @ values["token_embd.weight"].T
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.mark.parametrize("kind", ["F32", "Q4_1"])
def test_predictions_are_those_of_the_weights(kind, tmp_path):
    """Where pairs, the base of the positions and epsilon (large here) are those of the file."""
    values = write_gguf(tmp_path / "m.gguf", kind, epsilon=0.5)
    convert(tmp_path / "m.gguf", tmp_path / "m.npz")
    tokens = np.random.default_rng(4).integers(0, 258, 30)
    reference = _log_probs(values, tokens[:-1])[np.arange(29), tokens[1:]]
    opened = Checkpoint(tmp_path / "m.npz")
    runtime = opened.architecture.load(opened, ThreadTeam(1), Context("cache", 32))
    actual = runtime.run(tokens[:-1], tokens[1:], 1, runtime.new_tallies())
    np.testing.assert_allclose(actual, reference, rtol=0, atol=5e-5)


def test_its_tokenizer_runs_from_the_checkpoint(tmp_path):
    write_gguf(tmp_path / "m.gguf")
    convert(tmp_path / "m.gguf", tmp_path / "m.npz")
    tokenizer = load_tokenizer(Checkpoint(tmp_path / "m.npz"))
    content = "the é 12\n"
    (tmp_path / "text").write_text(content, encoding="utf-8")
    encoded = tokenizer.encode(read_text(tmp_path / "text"))
    assert [tokenizer.token(n) for n in encoded.tokens] == ["t", "he", "Ġ", "Ã", "©", "Ġ", "1", "2", "Ċ"]
    assert encoded.sizes.tolist() == [1, 2, 1, 1, 1, 1, 1, 1, 1]
    assert encoded.words.sum() == 4
    assert tokenizer.specials.start == tokenizer.number("<s>") == 258


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "Q5_0"}, "tensor token_embd.weight is Q5_0; expected one of F32, F16, BF16, Q8_0, Q4_0, Q4_1"),
        ({"family": "gpt2"}, "general.architecture is 'gpt2'; expected 'llama'"),
        ({"tokenizer": "llama"}, "tokenizer.ggml.model is 'llama'; expected 'gpt2', byte-level pairs"),
        ({"pre": "qwen2"}, "the tokenizer cuts texts as 'qwen2' does; expected one of default, gpt-2, smollm"),
        ({"entries": {"llama.attention.head_count": 0}}, "head_count is 0; expected a whole number from 1 to 16777216"),
        (
            {"entries": {"llama.attention.head_count_kv": [2, 1]}},
            "head_count_kv is [2, 1]; expected a whole number from 1 to 16777216",
        ),
        ({"entries": {"llama.rope.freq_base": "x"}}, "llama.rope.freq_base is 'x'; expected a number"),
        ({"entries": {"tokenizer.ggml.tokens": [1, 2]}}, "tokenizer.ggml.tokens is [1, 2]; expected a list of texts"),
        (
            {"entries": {"tokenizer.ggml.bos_token_id": 259}},
            "tokenizer.ggml.bos_token_id is 259; expected one of its 259 tokens",
        ),
        (
            {"entries": {"llama.rope.scaling.type": "yarn"}},
            "llama.rope.scaling.type is 'yarn', which is not known here; expected a Llama without it",
        ),
        ({"entries": {"llama.rope.scaling.factor": 4.0}}, "llama.rope.scaling.factor is 4.0, which is not known here"),
        ({"entries": {"llama.rope.scale_linear": 2.0}}, "llama.rope.scale_linear is 2.0, which is not known here"),
        ({"entries": {"llama.attention.sliding_window": 16}}, "attention.sliding_window is 16, which is not known"),
        ({"entries": {"llama.swin_norm": True}}, "llama.swin_norm is True, which is not known here"),
        (
            {"entries": {"llama.attention.value_length": 8}},
            "its values are not as wide as its keys; expected a width of 16 for both",
        ),
        ({"context": False}, "has no llama.context_length; expected a GGUF file of the Llama family"),
        ({"embedding": "output.weight"}, "has no tensor token_embd.weight; expected a whole model"),
        (
            {"raw": {"blk.2.ffn_norm.weight": np.zeros(68, np.uint8)}},
            "tensor blk.2.ffn_norm.weight is Q8_0 of shape (64,); expected a matrix with a multiple of 32 columns",
        ),
        ({"surplus": ["rope_freqs.weight"]}, "has a tensor 'rope_freqs.weight', which no plain Llama has"),
    ],
)
def test_what_is_no_plain_llama(changes, message, tmp_path):
    write_gguf(tmp_path / "m.gguf", **changes)
    with pytest.raises(CheckpointError) as caught:
        convert(tmp_path / "m.gguf", tmp_path / "m.npz")
    assert message in str(caught.value)
    assert not (tmp_path / "m.npz").exists()


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1"])
def test_negative_scales_that_no_positive_one_stands_for(kind, tmp_path):
    """Of Q8_0 with -128, of which int8 has no opposite; of Q4_1 as its minimum would be one that float16 may lack."""
    write_gguf(tmp_path / "m.gguf", kind)
    tensor = next(t for t in gguf.GGUFReader(tmp_path / "m.gguf", "r+").tensors if t.name == "blk.0.attn_q.weight")
    assert tensor.data[1, 1] & 0x80 == 0
    tensor.data[1, 1] |= 0x80  # the sign of a scale
    tensor.data[1, 2] = 128
    tensor.data.flush()
    with pytest.raises(CheckpointError) as caught:
        convert(tmp_path / "m.gguf", tmp_path / "m.npz")
    assert str(caught.value) == (
        f"{tmp_path / 'm.gguf'}: tensor blk.0.attn_q.weight is {kind} with a negative scale that no positive one "
        "stands for; expected scales as llama.cpp writes them"
    )


def test_entries_that_change_nothing(tmp_path):
    entries = {"rope.scaling.type": "none", "rope.scale_linear": 1.0, "attention.value_length": 16, "expert_count": 0}
    entries |= {"attention.sliding_window": 0, "vocab_size": 259}
    write_gguf(tmp_path / "m.gguf", entries={f"llama.{key}": value for key, value in entries.items()})
    assert convert(tmp_path / "m.gguf", tmp_path / "m.npz").tokens == 64


def test_text_that_is_not_utf8(tmp_path):
    write_gguf(tmp_path / "m.gguf", pre="smollm")
    raw = (tmp_path / "m.gguf").read_bytes()
    (tmp_path / "m.gguf").write_bytes(raw.replace(b"smollm", b"smo\xfflm"))
    with pytest.raises(CheckpointError, match=r"m.gguf: tokenizer.ggml.pre cannot be read \('utf-8' codec"):
        convert(tmp_path / "m.gguf", tmp_path / "m.npz")


def test_a_file_that_only_begins_as_one(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + bytes(40))
    with pytest.raises(CheckpointError, match=r"m.gguf: is no GGUF file that can be read"):
        convert(tmp_path / "m.gguf", tmp_path / "m.npz")


def test_a_tokenizer_beside_it_is_refused(tmp_path):
    write_gguf(tmp_path / "m.gguf")
    with pytest.raises(CheckpointError, match="a GGUF file has its own; leave the option away"):
        convert(tmp_path / "m.gguf", tmp_path / "m.npz", tokenizer=tmp_path / "t")
