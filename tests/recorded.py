"""Results of tiny models with records, put together here from a pass's log-probabilities and the text."""

from pathlib import Path

import numpy as np
from tiny import tiny_checkpoint

from lm_meter import Checkpoint, RunOptions, evaluate, read_text
from lm_meter.documents import save_document
from lm_meter.record_table import Records
from lm_meter.records import write_records
from lm_meter.text_blocks import articles_of_lines, lines_of_pieces
from lm_meter.tokenizers import load_tokenizer

WORDS = ("the", "cat", "sat", "on", "mat", "a", "dog", "ran", ",", ".")


def write_text(path, lines, articles=0, seed=0):
    """Lines of words, frequent and rare ones; with as many titles of articles."""
    rng, every = np.random.default_rng(seed), max(1, lines // max(1, articles))
    share = 0.5 ** np.arange(len(WORDS))
    written = []
    for line in range(lines):
        if articles and line % every == 0 and line // every < articles:
            written += ["", " = the cat = ", ""]
        written.append(" ".join(rng.choice(WORDS, rng.integers(2, 9), p=share / share.sum())))
    path.write_text("\n".join(written) + "\n", encoding="utf-8")
    return path


class Spoken(tuple):
    """Texts of word tokens, as ``WordTexts`` gives them."""

    def in_bytes(self):
        raw = [text.encode() for text in self]
        yield np.frombuffer(b"".join(raw), np.uint8), np.array([len(text) for text in raw], np.int64)


class _SubWordRecords(Records):
    spoken = ()

    def word_texts(self):
        return Spoken(self.spoken)


def recorded(folder, name, text, suffix=".npz", first_token="score", oov="error", **model):
    """Write ``name.json`` and its records; returns the result's path, the result and the records."""
    checkpoint = tiny_checkpoint(folder / f"{name}.model.npz", **model)
    result = evaluate(checkpoint, text=text, options=RunOptions(first_token=first_token, oov=oov))
    source, tokenizer = read_text(text), load_tokenizer(Checkpoint(checkpoint))
    encoded = tokenizer.encode(source, oov)
    here = slice(int(first_token == "skip"), None)
    lines = lines_of_pieces(source, encoded)
    token, n = encoded.tokens[here], result["text"]["scored"]
    operations = sum(row["count"] for row in result["histogram"])
    known = np.unique(token)
    vocabulary = WORDS if model.get("kind", "word") == "word" else None
    columns = {
        "position": np.arange(n) + here.start,
        "line": lines[here],
        "article": (articles_of_lines(source)[lines] - 1)[here].astype(np.int32),
        "word": np.maximum(np.cumsum(encoded.words, dtype=np.int64) - 1, 0)[here],
        "token": token,
        "log_prob": result.log_probs,
        "rank": np.ones(n, np.int64),
        "operations": np.full(n, operations // n) + (np.arange(n) < operations % n),
        "word_start": (encoded.words > 0)[here],
        "token_id": known.astype(np.int64),
        "token_text": np.array(_names(Checkpoint(checkpoint), known, vocabulary)),
        "text_sha256": result["text"]["sha256"],
        "checkpoint_sha256": result["checkpoint"]["sha256"],
    }
    records = (Records if vocabulary else _SubWordRecords)(**columns)
    if not vocabulary:
        words = tuple(word for line, _ in source.lines() for word in [*line, "<end>"])
        object.__setattr__(records, "spoken", words)
    file = Path(folder) / f"{name}.records{suffix}"
    result.document["records"] = {"file": file.name, **write_records(records, file)._asdict()}
    save_document(result.document, folder / f"{name}.json")
    return folder / f"{name}.json", result, records


def _names(checkpoint, tokens, vocabulary):
    if vocabulary is None:
        return [f"piece {token}" for token in tokens]
    words = checkpoint.bytes("tokenizer.words").decode().split("\n")
    return [words[token] for token in tokens]
