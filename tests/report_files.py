"""Results and records of tiny models for tests of reports."""

import numpy as np
from tiny import tiny_parts

import lm_meter
from lm_meter.record_table import Records
from lm_meter.records import write_records

# A stranger's names: markup, quotes, a table's bar, an end of line, and a mark that turns the text round.
HOSTILE = "<script>alert(1)</script>\"'`|&\u202e\n.npz"
HOSTILE_WORDS = ("<eos>", "<unk>", "<script>alert(2)</script>", "</style>", "a|b", "&amp;", "`x`")
LINES = 40


def result_file(folder, name="result.json", checkpoint=None, **options):
    """Write a result of a tiny model; returns its path and the result."""
    words = options.pop("words", ("<eos>", "<unk>", "the", "cat", "sat"))
    path = folder / (checkpoint or name.replace(".json", ".npz"))
    lm_meter.write_checkpoint(path, *tiny_parts(words=words, **options))
    rng = np.random.default_rng(4)
    text = folder / "book.txt"
    text.write_text("".join(" ".join(rng.choice(words[2:], 6)) + "\n" for _ in range(LINES)), encoding="utf-8")
    result = lm_meter.evaluate(path, text=text, options=lm_meter.RunOptions(threads=1))
    result.save(folder / name)
    return folder / name, result


def records_of(result, **changes):
    """Records of a result with two articles, whose operations grow up to the tenth position."""
    size = result["text"]["scored"]
    place = np.arange(size)
    token = place % 4
    # Operations grow up to the tenth prediction; all that is left over is the last one's.
    operations = 100 * np.minimum(place + 1, 10)
    operations[-1] += sum(row["count"] for row in result["histogram"]) - operations.sum()
    columns = {
        "position": place, "line": place // 7, "article": (place >= size // 2).astype(np.int32), "word": place,
        "token": token, "log_prob": result.log_probs, "rank": 1 + token, "operations": operations,
        "word_start": np.ones(size, bool), "token_id": np.arange(4),
        "token_text": np.array(["a", "b", "c", "<script>"]),
        "text_sha256": result["text"]["sha256"], "checkpoint_sha256": result["checkpoint"]["sha256"],
    }  # fmt: skip
    return Records(**(columns | changes))


def records_file(folder, result, name="records.npz", **changes):
    """Write them; returns their path."""
    write_records(records_of(result, **changes), folder / name)
    return folder / name
