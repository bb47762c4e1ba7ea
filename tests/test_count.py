"""``lm-meter count``: what it assumes of a text, and the counts under these assumptions."""

import json

import pytest
from tiny import ADAPTIVE, tiny_parts
from tiny_transformer import transformer_parts

import lm_meter
from lm_meter import cli

WORDS = ("<eos>", "<unk>", *(f"w{i}" for i in range(398)))


@pytest.fixture
def counted(tmp_path, capsys):
    """The document of a model's parts, and the table."""

    def count(parts, *flags):
        path = tmp_path / "model.npz"
        lm_meter.write_checkpoint(path, *parts)
        found = []
        for form in ("json", "table"):
            assert cli.main(["count", "--checkpoint", str(path), "--format", form, *flags]) == 0
            found.append(capsys.readouterr().out)
        return json.loads(found[0]), found[1]

    return count


def _multiplies(document, region):
    return sum(row["count"] for row in document["histogram"] if (row["region"], row["kind"]) == (region, "multiply"))


def test_a_recurrent_model_assumes_nothing(counted):
    document, table = counted(tiny_parts())
    assert document["assumed"] == []
    assert "assumed" not in table


@pytest.mark.parametrize(
    ("flags", "assumed", "seen", "tokens"),
    [
        ((), "a full context: cache, 9 tokens", 9, 1),
        (("--context", "5"), "a full context: cache, 5 tokens", 5, 1),
        (("--policy", "segment:2", "--context", "4"), "a full context: segment:2, 4 tokens", 4, 1),
        # Only the last token's query is needed of the last layer.
        (("--policy", "recompute", "--context", "3"), "a full context: recompute, 3 tokens", 3, 3),
    ],
)
def test_a_transformer_names_its_context(flags, assumed, seen, tokens, counted):
    document, table = counted(transformer_parts("no positions", WORDS), *flags)
    assert document["assumed"] == [assumed]
    assert f"  assumed: {assumed}\n" in table
    # Two products of 6 numbers for each position that one of 4 heads sees; scores are not scaled in this model.
    assert _multiplies(document, "layers.1.attention") == 2 * 6 * 4 * seen
    assert _multiplies(document, "layers.0.attention.key") == 24 * 12 * tokens


def test_what_depends_on_the_tokens_and_on_the_past_is_named(counted):
    cache = {"size": 50, "theta": 0.5, "lambda": 0.2}
    parts = tiny_parts(words=WORDS, embedding=9, hidden=(12,), adaptive=ADAPTIVE, continuous_cache=cache)
    document, _ = counted(parts)
    assert document["assumed"] == [
        "the token that enters and the one predicted are in the first bin, of the most frequent",
        "a full continuous cache: 50 outputs",
    ]
    # Of the softmax the first bin alone is needed.
    assert _multiplies(document, "logits.0") == 390 * 12
    assert _multiplies(document, "logits.1") == 0
    assert _multiplies(document, "continuous_cache") == 12 + 50 * 12 + 2


def test_a_context_is_refused_where_there_is_no_choice(tmp_path, capsys):
    lm_meter.write_checkpoint(tmp_path / "model.npz", *tiny_parts())
    assert cli.main(["count", "--checkpoint", str(tmp_path / "model.npz"), "--context", "5"]) == 2
    assert capsys.readouterr().err == (
        "lm-meter: error: the checkpoint is a recurrent model (lstm), whose state is its context; --policy and "
        "--context are for transformers\n"
    )
