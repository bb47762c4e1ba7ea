"""Tiny random checkpoints of recurrent models of any configuration."""

import functools
import io
import math

import numpy as np

from lm_meter import write_checkpoint
from lm_meter.bfloat16 import to_bfloat16
from lm_meter.kernels.formats import CODEBOOK_ENTRIES, is_integer
from lm_meter.models.recurrent_config import parse_recurrent_config, recurrent_arrays
from lm_meter.weight_format import WeightFormat

WORDS = ("<eos>", "<unk>", "the", "cat", "sat", "on", "mat", "a", "dog", "ran", ",", ".", "=", "Ünïcode", "1")
CHARACTERS = "\n abcdefghijklmnopqrstuvwxyz.,=<>éß—"
TEXT = " = the cat = \n\n the cat sat on the mat . \n a dog ran , the cat ran . \n"
# Bins of 400 words: 30, 70 and 300, or 390 (two segments) and 10.
ADAPTIVE = {
    "embedding": {"cutoffs": [30, 100], "widths": [9, 4, 2], "project_first": False},
    "softmax": {
        "cutoffs": [390], "widths": [12, 3], "project_first": False, "tail_bias": False, "charged": "needed",
    },
    "tied_projections": False,
}  # fmt: skip
_BINS = {"cutoffs": [30, 100], "widths": [8, 7, 5], "project_first": True}
TIED_BINS = {
    "embedding": _BINS,
    "softmax": {**_BINS, "tail_bias": True, "charged": "all"},
    "tied_projections": True,
}
_SCALE = 0.4  # spread of the weights: predictions differ visibly from uniform ones, and no gate saturates


@functools.cache
def sentencepiece_model(words=WORDS, *, byte_fallback=True, normalization="identity"):
    """A SentencePiece model trained on lines of ``words``; its pieces have the specials <unk>, <s>, </s> and <eos>."""
    import sentencepiece

    rng = np.random.default_rng(7)
    lines = [" ".join(rng.choice([w for w in words if not w.startswith("<")], 8)) for _ in range(60)]
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=out,
        vocab_size=340 if byte_fallback else 80,
        hard_vocab_limit=False,
        byte_fallback=byte_fallback,
        control_symbols=["<eos>"],
        normalization_rule_name=normalization,
        num_threads=1,
        minloglevel=2,
    )
    return out.getvalue()


def tiny_tokenizer(kind, words):
    """Configuration, array name, bytes and size of a tokenizer."""
    if kind == "word":
        words = tuple(words or WORDS)
        entries = {"start": "<eos>", "end_of_line": "<eos>", "unknown": "<unk>" if "<unk>" in words else None}
        return {"kind": kind, **entries}, "tokenizer.words", "\n".join(words).encode(), len(words)
    if kind == "characters":
        characters = "".join(words or CHARACTERS)
        return {"kind": kind, "start": "\n"}, "tokenizer.characters", characters.encode(), len(characters)
    import sentencepiece

    model = sentencepiece_model(tuple(words or WORDS))
    size = sentencepiece.SentencePieceProcessor(model_proto=model).get_piece_size()
    return {"kind": kind, "start": "<eos>", "end_of_line": "<eos>"}, "tokenizer.model", model, size


def stored(values, dtype):
    """float32 values as they are stored in a weight format; bfloat16 is rounded to nearest even, as bit patterns."""
    return to_bfloat16(values) if dtype == "bfloat16" else values.astype(dtype)


def tiny_parts(
    *,
    kind="word",
    words=None,
    embedding=8,
    hidden=(12,),
    projection=None,
    tied=False,
    bias=True,
    dtype="float32",
    seed=0,
    architecture="lstm",
    **options,
):
    """Configuration and arrays of ``tiny_checkpoint``, for tests that change them before they are written."""
    tokenizer, name, raw, vocabulary = tiny_tokenizer(kind, words)
    hidden = list(hidden)
    if tied and projection is not None:
        projection = embedding
    elif tied:
        hidden[-1] = embedding
    config = {
        "architecture": architecture,
        "dimensions": {"vocabulary": vocabulary, "embedding": embedding, "hidden": hidden, "projection": projection},
        "tied": tied,
        "bias": {architecture: bias, "projection": bias and projection is not None, "softmax": bias},
        "tokenizer": tokenizer,
        "origin": "tests/tiny.py",
    }
    if architecture == "qrnn":
        config["dimensions"]["window"] = list(options["window"])
        config["output_gate"] = options["output_gate"]
    config |= {key: options[key] for key in ("adaptive", "continuous_cache") if key in options}
    expected = recurrent_arrays(parse_recurrent_config(architecture, config, "tests"), "tests")
    shapes = {array: wanted.shape for array, wanted in expected.items() if wanted.is_weight}
    config["formats"] = dict.fromkeys(shapes, dtype)
    rng = np.random.default_rng(seed)
    arrays = {
        name: stored(rng.standard_normal(shape, np.float32) * np.float32(_SCALE), dtype)
        for name, shape in shapes.items()
    }
    return config, {**arrays, name: np.frombuffer(raw, np.uint8)}


def integer_parts(formats, **options):
    """``tiny_parts`` with some matrices in other formats: see ``narrowed``."""
    return narrowed(*tiny_parts(**options), formats)


def narrowed(config, arrays, formats):
    """A checkpoint's parts with some matrices as random numbers of the format that ``formats`` declares for them."""
    rng = np.random.default_rng(11)
    for name, entry in formats.items():
        declared, whole = WeightFormat(**entry), arrays[name]
        config["formats"][name] = declared.to_json()
        numbers = whole.shape[1]
        if declared.block:
            kept = rng.random(declared.blocks(whole.shape)) < 0.4
            numbers = int(kept.sum()) * math.prod(declared.block)
            arrays[f"{name}.mask"] = np.packbits(kept.reshape(-1), bitorder="little")
        for part, array in declared.stored(name, whole.shape).items():
            if array.role == "mask":
                continue
            if array.role == "values" and not is_integer(declared.code):
                kept_values = whole.reshape(-1)[:numbers] if declared.block else whole
                arrays[part] = stored(kept_values, declared.format)
                continue
            length = -(-numbers // 2) if declared.stored_bits == 4 else numbers
            missing = length if array.role == "values" else CODEBOOK_ENTRIES
            shape = tuple(missing if n is None else n for n in array.shape)
            arrays[part] = _random_part(rng, shape, array, declared)
        if declared.stored_bits == 4 and numbers % 2:
            arrays[name][..., -1] &= 15
    return config, arrays


def _random_part(rng, shape, part, declared):
    if part.role == "scales":  # about as large as the weights they replace
        largest = 8 if declared.format == "int4" else 128
        return (rng.uniform(0.5, 1.5, shape) * 2 * _SCALE / largest).astype("f2")
    if part.role == "offsets":
        return rng.normal(0, 0.05, shape).astype("f2")
    return rng.integers(0, 256, shape).astype("u1").view(part.dtype)


def tiny_checkpoint(path, **options):
    """Write a tiny random LSTM to ``path`` and return ``path``.

    ``kind`` is "word", "sentencepiece" or "characters"; ``words`` its vocabulary (for SentencePiece: the words of the
    training lines). ``tied`` makes the projection, or without one the last layer, as wide as the embedding.
    """
    config, arrays = tiny_parts(**options)
    write_checkpoint(path, config, arrays)
    return path
