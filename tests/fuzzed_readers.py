"""What is fuzzed: readers of files from elsewhere, each with small well-formed files, their mutations, and its way.

``READERS[name].read(raw, folder)`` writes a file and reads it as the program would, to the end: a checkpoint is run, a
result priced under every profile and printed. It raises an ``LmMeterError`` or returns; anything else is a finding.
"""

import functools
import json
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mutated_files import mutated_arrays, mutated_checkpoint, mutated_safetensors, mutated_state, mutated_torch
from mutations import mutated_bytes, mutated_json, mutated_text, mutated_toml

import lm_meter
from lm_meter import evaluation, result
from lm_meter.entry import TEMPLATE, read_entry
from lm_meter.histogram import rows_of
from lm_meter.inspection import count_operations, inspect_checkpoint, inspection_table
from lm_meter.interrupt import deferred_interrupt
from lm_meter.online import OnlinePass
from lm_meter.preparation import Prepared, load, prepare
from lm_meter.profiles import PROFILES
from lm_meter.progress import Silent
from lm_meter.ranking import rank, ranking_table
from lm_meter.records import read_records
from lm_meter.report import result_table
from lm_meter.result import load_result, price_result
from lm_meter.saved_state import SavedState, read_state, save_state
from lm_meter.state_keeper import StateKeeper, state_identity
from lm_meter.text import first_words, read_text
from lm_meter.tokenizers import HuggingFaceTokenizer, PieceTokenizer, Specials, load_tokenizer

TEXT = " = the cat = \n\n the cat sat on the mat . \n a dog ran , the cat ran . \n"
_BLOCK = 4


@dataclass(frozen=True)
class Reader:
    """A reader: well-formed files by ``seeds(folder)``, ``mutate(rng, raw)``, and ``read(raw, folder)``."""

    seeds: Callable[[Path], list[bytes]]
    mutate: Callable
    read: Callable[[bytes, Path], object]


def without_measurements():
    """What a pass measures of the machine is left out: it takes longer than a small model."""
    evaluation.stream_bytes_per_second = lambda *_: 1e9
    result.describe = lambda threads: {"threads": threads}


def _file(folder, raw, name="fuzzed"):
    path = folder / name
    path.write_bytes(raw)
    return path


# Checkpoints


def checkpoint_seeds(folder):
    """Small checkpoints of each architecture, tokenizer, weight format and end."""
    from llama2c_files import llama2c_tokenizer
    from tiny import ADAPTIVE, integer_parts, narrowed, tiny_parts
    from tiny_transformer import transformer_parts

    formats = [
        {"lstm.0.weight": {"format": "int8", "activations": 8}, "embedding": {"format": "int4", "group": 8}},
        {
            "lstm.0.weight": {"format": "codebook4", "block": (4, 4)},
            "softmax.weight": {"format": "int8", "offsets": True},
        },
        {"lstm.0.weight": {"format": "int8", "activations": 8, "accumulator": 18, "overflow": "wrap"}},
    ]
    words = [str(number) for number in range(396)] + ["<eos>", "<unk>", "the", "cat"]
    parts = [
        tiny_parts(),
        tiny_parts(
            dtype="bfloat16", projection=4, tied=True, continuous_cache={"size": 3, "theta": 0.3, "lambda": 0.1}
        ),
        tiny_parts(architecture="gru", kind="characters", hidden=(5, 6)),
        tiny_parts(architecture="qrnn", kind="sentencepiece", window=(2,), output_gate=True, embedding=4, hidden=(4,)),
        tiny_parts(words=words, adaptive=ADAPTIVE, embedding=9, dtype="float16"),
        *(integer_parts(entry, embedding=8, hidden=(8,)) for entry in formats),
        *(transformer_parts(kind) for kind in ("llama", "gpt", "micronet", "mixtral", "transformer-xl", "strided")),
        transformer_parts("continuous", dtype="float16"),
        narrowed(*transformer_parts("grouped"), {"layers.0.feed_forward.gate.weight": {"format": "int8"}}),
    ]
    for name, raw, size, kind in (
        ("tokenizer.llama2c", llama2c_tokenizer(), 264, {"kind": "llama2c", "start": "\n<s>\n"}),
        ("tokenizer.json", _tokenizer_json().encode(), 128, {"kind": "huggingface"}),
    ):
        config, arrays = transformer_parts("llama", [str(number) for number in range(size)])
        arrays.pop("tokenizer.words")
        parts.append(({**config, "tokenizer": kind}, {**arrays, name: np.frombuffer(raw, np.uint8)}))
    found = []
    for config, arrays in parts:
        lm_meter.write_checkpoint(folder / "seed.npz", config, arrays)
        found.append((folder / "seed.npz").read_bytes())
    return found


def _tokenizer_json():
    model = {"type": "BPE", "vocab": {chr(n): n for n in range(128)}, "merges": []}
    return json.dumps({"version": "1.0", "model": model, "decoder": {"type": "Fuse"}})


def read_checkpoint(raw, folder):
    """Open, inspect, count, and run over a few tokens."""
    opened = lm_meter.Checkpoint(_file(folder, raw))
    specials = load_tokenizer(opened).specials
    inspection_table(inspect_checkpoint(opened))
    count_operations(opened, PROFILES["flops"])
    options = lm_meter.RunOptions(
        threads=1,
        block=_BLOCK,
        limit=12,
        oov="error" if specials.unknown is None else "unk",
        first_token="skip" if specials.start is None else "score",
    )
    result_table(lm_meter.evaluate(opened, text=_file(folder, TEXT.encode(), "text"), options=options))


# States


class _Model(NamedTuple):
    """A small loaded model, and a text that it runs over."""

    prepared: Prepared
    runtime: Any
    identity: dict[str, Any]

    def begun(self):
        """A pass before its first prediction."""
        self.runtime.reset()
        return OnlinePass(self.runtime, self.prepared.inputs, self.prepared.targets, self.prepared.options)


@functools.cache
def _models(folder):
    """Models whose states are read."""
    from tiny import tiny_parts
    from tiny_transformer import transformer_parts

    cache = {"continuous_cache": {"size": 3, "theta": 0.3, "lambda": 0.1}}
    models = [
        (tiny_parts(), None),
        (tiny_parts(**cache), None),
        (transformer_parts("llama"), "cache"),
        (transformer_parts("gpt"), "segment:2"),
        (transformer_parts("global"), "cache"),
        (transformer_parts("llama", **cache), "recompute"),
        (transformer_parts("transformer-xl"), "segment"),
    ]
    found = []
    for number, (parts, policy) in enumerate(models):
        lm_meter.write_checkpoint(folder / f"{number}.npz", *parts)
        options = lm_meter.RunOptions(threads=1, block=_BLOCK, policy=policy, context=policy and 5)
        prepared = prepare(folder / f"{number}.npz", _file(folder, TEXT.encode(), "text"), options)
        with deferred_interrupt() as interruption:
            found.append(_Model(prepared, load(prepared, interruption).runtime, state_identity(prepared)))
    return found


def state_seeds(folder):
    """A state of each model, in the middle of its text."""
    found = []
    for model in _models(folder):
        run = model.begun()
        run._call(0, 8)
        save_state(SavedState(model.identity, *run.saved()), folder / "state")
        found.append((folder / "state").read_bytes())
    return found


def read_saved_state(raw, folder):
    """Read, take up a model's pass and go on with it, to its end."""
    path, models = _file(folder, raw), _models(folder)
    belongs = [model for model in models if model.identity == read_state(path).run]
    model = (belongs or models)[0]
    run = model.begun()
    with warnings.catch_warnings(), deferred_interrupt() as interruption:
        warnings.simplefilter("ignore")
        StateKeeper(path, 1e9, model.identity).take_up(run)
        run.go(Silent(), interruption)
    rows_of(run.tallies.sum(axis=0), run.runtime.regions)


# Results, entries, texts


def result_seeds(folder):
    """A result, one with everything that may be null, and a document of a validation."""
    from tiny import integer_parts, tiny_checkpoint

    (folder / "text").write_text("\n".join([TEXT] * 8), encoding="utf-8")
    cached = lm_meter.RunOptions(threads=1, continuous_cache="3,0.3,0.1")
    plain = lm_meter.evaluate(tiny_checkpoint(folder / "m.npz"), text=folder / "text", options=cached)
    narrow_sums = {"format": "int8", "activations": 8, "accumulator": 9, "overflow": "wrap"}
    config, arrays = integer_parts({"lstm.0.weight": narrow_sums}, embedding=8, hidden=(8,))
    lm_meter.write_checkpoint(folder / "m.npz", config, arrays)
    narrow = lm_meter.evaluate(folder / "m.npz", text=folder / "text", options=lm_meter.RunOptions(threads=1, limit=9))
    claim = {"name": "score", "claimed": 1.0, "measured": 1.0, "difference": 0.0, "tolerance": 0.01, "passes": True}
    validation = {"schema": "lm-meter/validation/1", "entry": "x", "passes": True, "result": narrow.document}
    validation |= {"claims": [claim], "regions": [claim], "tensors": []}
    return [json.dumps(document).encode() for document in (plain.document, narrow.document, validation)]


def mutate_result(rng, raw):
    """Another document, or other bytes."""
    return mutated_bytes(rng, raw) if rng.random() < 0.1 else mutated_json(rng, json.loads(raw))


def read_result(raw, folder):
    """Load, price under every profile, print, save and rank."""
    found = load_result(_file(folder, raw))
    for profile in PROFILES.values():
        priced = price_result(found, profile)
        result_table(priced).encode("utf-8", "backslashreplace")
        priced.to_json().encode()
    ranking_table(rank([("a", found), ("b", found)], PROFILES["micronet-2019-06"]))


def entry_seeds(_):
    """The template with all that it mentions, and a short one."""
    options = ("# policy", "# context", "# continuous", "# first_token", "# limit", '# "lstm', "# embedding")
    lines = [line.removeprefix("# ") if line.startswith(options) else line for line in TEMPLATE.split("\n")]
    short = 'checkpoint = "m.npz"\ncorpus = "sample"\n[run]\nlimit = 10\noov = "unk"\n[claims]\nperplexity = 3\n'
    return [TEMPLATE.encode(), "\n".join(lines).encode(), short.encode()]


def read_an_entry(raw, folder):
    """Read it; its files are not there."""
    read_entry(_file(folder, raw))


def text_seeds(_):
    """Texts with titles, blank lines, unknown words, and characters of several bytes."""
    return [TEXT.encode(), b"the cat sat\n" * 30, "Ünïcode the — cat\n\n\ta  b\n1 2 3 é ß".encode(), b"a"]


@functools.cache
def _tokenizers(folder):
    """One of each kind."""
    found = []
    for number, raw in enumerate(checkpoint_seeds(folder)):
        if number in (0, 2, 3, 16, 17):
            found.append(load_tokenizer(lm_meter.Checkpoint(_file(folder, raw, "m.npz"))))
    from lm_meter.defaults import default_checkpoint

    return [*found, load_tokenizer(lm_meter.Checkpoint(default_checkpoint()))]


def read_a_text(raw, folder):
    """Read, cut, and encode by a tokenizer of each kind; the sums of what is encoded are the text's."""
    from lm_meter.text_blocks import block_sums

    text = read_text(_file(folder, raw))
    refused = None
    for number, tokenizer in enumerate(_tokenizers(folder)):
        part = first_words(text, 20) if number % 2 else text
        try:
            encoded = tokenizer.encode(part, "error" if tokenizer.specials.unknown is None else "unk")
        except lm_meter.LmMeterError as error:
            refused = error
            continue
        if encoded.tokens.size:
            block_sums(part, encoded, slice(0, encoded.tokens.size), np.zeros(encoded.tokens.size))
        assert all(0 <= token < tokenizer.size for token in encoded.tokens.tolist())
        assert encoded.sizes.sum() <= len(part.content.encode()) + 1
        assert (encoded.words >= 0).all()
    if refused is not None:
        raise refused


# Tokenizers and records


def tokenizer_seeds(_):
    """A ``tokenizer.json`` with each part that there is, and SentencePiece models."""
    from tokenizer_files import tokenizer_files

    return tokenizer_files()


def read_a_tokenizer(raw, folder):
    """Open it as what it begins as, and encode."""
    kind = HuggingFaceTokenizer if raw[:1] == b"{" else PieceTokenizer
    tokenizer = kind(raw, str(folder / "m.npz"))
    text = read_text(_file(folder, TEXT.encode(), "text"))
    tokenizer.specials = Specials(None, 0, None)
    encoded = tokenizer.encode(text)
    assert all(0 <= token < tokenizer.size for token in encoded.tokens.tolist())
    assert encoded.sizes.sum() <= len(text.content.encode()) + 1


_SUFFIXES = (".npz", ".csv", ".parquet")


def record_seeds(folder):
    """Records in each form; the first byte of an input says which."""
    from recorded import recorded

    (folder / "text").write_text("\n".join([TEXT] * 8), encoding="utf-8")
    found = []
    for number, suffix in enumerate(_SUFFIXES):
        recorded(folder, "r", folder / "text", suffix)
        found.append(bytes([number]) + (folder / f"r.records{suffix}").read_bytes())
    return found


def mutate_records(rng, raw):
    """Other bytes, or, of an archive, other headers and structure."""
    if raw[:1] == b"\0" and rng.random() < 0.7:
        return raw[:1] + mutated_arrays(rng, raw[1:])
    return raw[:1] + mutated_bytes(rng, raw[1:])


def read_some_records(raw, folder):
    """Read and check them."""
    suffix = _SUFFIXES[raw[0] % len(_SUFFIXES)] if raw else ".npz"
    read_records(_file(folder, raw[1:], f"fuzzed{suffix}"))


# Models of other programs


def _folder_reader(make, mutate):
    """A reader of several files: the first byte of an input says which one its other bytes are; they are converted."""
    from lm_meter.conversion.convert import convert

    @functools.cache
    def files(folder):
        return make(folder)

    def seeds(folder):
        return [bytes([number]) + content for number, content in enumerate(files(folder).values())]

    def mutate_one(rng, raw):
        return raw[:1] + mutate(rng, raw[1:])

    def read(raw, folder):
        whole = files(folder)
        model = folder / "model"
        model.mkdir(exist_ok=True)
        for name, content in whole.items():
            (model / name).write_bytes(content)
        if raw:
            (model / list(whole)[raw[0] % len(whole)]).write_bytes(raw[1:])
        given = {"kind": None, "tokenizer": None}
        if "m.pt" in whole:
            given = {"kind": "word-language-model", "tokenizer": model / "words"}
        elif "m.bin" in whole:
            given["kind"] = "llama2c"
        elif "m.gguf" in whole:
            given["kind"] = "gguf"
        source = model / next(iter(whole)) if given["kind"] else model
        convert(source, folder / "converted.npz", **given)
        os.unlink(folder / "converted.npz")

    return Reader(seeds, mutate_one, read)


def _gguf_files(folder):
    from gguf_files import write_gguf

    found = {}
    for kind in ("Q4_1",):
        write_gguf(folder / "m.gguf", kind)
        found["m.gguf"] = (folder / "m.gguf").read_bytes()
    return found


def _llama2c_files(_):
    from llama2c_files import llama2c_model, llama2c_tokenizer

    return {"m.bin": llama2c_model(), "tok264.bin": llama2c_tokenizer()}


def _huggingface_files(_):
    import safetensors.numpy
    from huggingface_folders import LLAMA, llama_tensors

    return {
        "config.json": json.dumps(LLAMA).encode(),
        "model.safetensors": safetensors.numpy.save(llama_tensors()),
        "tokenizer.json": _tokenizer_json().encode(),
        "tokenizer_config.json": b'{"add_bos_token": true, "bos_token": {"content": "^"}}',
    }


def _tensorflow_files(folder):
    from test_tensorflow import dump, variables

    dump(folder / "dump", variables())
    return {
        path.name: path.read_bytes() for path in sorted((folder / "dump").iterdir(), key=lambda p: -p.stat().st_size)
    }


def _torch_files(folder):
    import torch
    from state_dicts import random_state, vocabulary

    torch.save({name: torch.from_numpy(array) for name, array in random_state().items()}, folder / "m.pt")
    return {"m.pt": (folder / "m.pt").read_bytes(), "words": vocabulary(folder / "words").read_bytes()}


def _json_or(other):
    def mutate(rng, raw):
        if raw[:1] == b"{":
            return mutated_json(rng, json.loads(raw))
        return other(rng, raw)

    return mutate


def _safetensors_or_bytes(rng, raw):
    return mutated_safetensors(rng, raw) if raw[8:9] == b"{" else mutated_bytes(rng, raw)


def _torch_or_bytes(rng, raw):
    return mutated_torch(rng, raw) if raw[:2] == b"PK" else mutated_bytes(rng, raw)


READERS = {
    "checkpoint": Reader(checkpoint_seeds, mutated_checkpoint, read_checkpoint),
    "state": Reader(state_seeds, mutated_state, read_saved_state),
    "result": Reader(result_seeds, mutate_result, read_result),
    "entry": Reader(entry_seeds, mutated_toml, read_an_entry),
    "text": Reader(text_seeds, mutated_text, read_a_text),
    "tokenizer": Reader(tokenizer_seeds, _json_or(mutated_bytes), read_a_tokenizer),
    "records": Reader(record_seeds, mutate_records, read_some_records),
    "gguf": _folder_reader(_gguf_files, lambda rng, raw: mutated_bytes(rng, raw, 8000)),
    "llama2c": _folder_reader(_llama2c_files, lambda rng, raw: mutated_bytes(rng, raw, 40)),
    "huggingface": _folder_reader(_huggingface_files, _json_or(_safetensors_or_bytes)),
    "tensorflow": _folder_reader(_tensorflow_files, _json_or(mutated_bytes)),
    "torch": _folder_reader(_torch_files, _torch_or_bytes),
}
