"""The page of the checkpoint format specifies each kind of tokenizer, exactly enough to be written anew from it."""

import itertools
import struct
from pathlib import Path

from lm_meter.text import text_from_bytes
from lm_meter.tokenizers import Llama2cTokenizer


def test_every_kind_of_tokenizer_is_specified():
    """The format's page has a paragraph that begins with each kind, not only its name in a list."""
    page = (Path(__file__).parents[1] / "checkpoints" / "README.md").read_text(encoding="utf-8")
    section = page.split("\n8. Tokenizers.")[1].split("\nWhat is not checked")[0]
    for kind in ("word", "sentencepiece", "characters"):
        assert f"`{kind}`: " in section
    for kind in ("llama2c", "huggingface"):
        assert f"\n   `{kind}` is a " in section


def test_pieces_of_llama2c_are_those_of_the_specification():
    """Written down from the page alone: join the best pair, again and again."""
    named = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(b"<0x%02X>" % byte for byte in range(256))]
    scored = [
        (b" ", -1.0),
        (b"a", -2.0),
        (b"b", -3.0),
        (b"ab", 4.0),
        (b" a", 5.0),
        (b"ba", 5.0),
        (b"bab", 1.0),
        (b"a", 9.0),
    ]
    pieces, scores = [*named, *(piece for piece, _ in scored)], [0.0] * len(named) + [score for _, score in scored]
    raw = struct.pack("<i", 9) + b"".join(
        struct.pack("<fi", score, len(piece)) + piece for piece, score in zip(pieces, scores, strict=True)
    )
    content = "ab abba\nbé aab"
    reference = [pieces.index(b" ")]
    for character in content:
        one = character.encode()
        reference += [pieces.index(one)] if one in pieces else [3 + byte for byte in one]
    while True:
        pairs = [pieces[a] + pieces[b] for a, b in itertools.pairwise(reference)]
        best = max((scores[pieces.index(pair)] for pair in pairs if pair in pieces), default=None)
        if best is None:
            break
        at = next(i for i, pair in enumerate(pairs) if pair in pieces and scores[pieces.index(pair)] == best)
        reference[at : at + 2] = [pieces.index(pairs[at])]
    encoded = Llama2cTokenizer(raw, "tests").encode(text_from_bytes(content.encode(), "text"))
    assert encoded.tokens.tolist() == reference
