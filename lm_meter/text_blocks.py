"""Where the pieces of a tokenized text stand: their lines, and the articles of WikiText."""

from __future__ import annotations

import re

import numpy as np

from .text import Text
from .tokenizers import Encoded
from .uncertainty import FEWEST_BLOCKS

BLOCKS = ("article", "line")
# A title of level one: " = Robert Boulter = ". Those of sections have more signs: " = = Career = = ".
_TITLE = re.compile(r"^ = [^=].* = $")


def lines_of_pieces(text: Text, encoded: Encoded) -> np.ndarray:
    """Number, from 0, of the line that each piece stands in: (pieces,) int64.

    A piece stands where the last word token stands that has begun, be it the line's end.
    """
    ends = np.cumsum([len(words) + ended for words, ended in text.lines()])
    begun = np.maximum(np.cumsum(encoded.words), 1)
    return np.minimum(np.searchsorted(ends, begun, side="left"), ends.size - 1)


def articles_of_lines(text: Text) -> np.ndarray:
    """Number of the article that each line stands in, (lines,) int64: 0 before the first title.

    A title has no words on the lines before and after it; a formula may look like one.
    """
    lines = text.content.split("\n")
    padded = ["", *lines, ""]
    titles = [
        _TITLE.match(line) is not None and not before.strip() and not after.strip()
        for before, line, after in zip(padded, lines, padded[2:], strict=False)
    ]
    return np.cumsum(np.array(titles[: len(lines) - (lines[-1] == "")], np.int64))


def block_of_pieces(text: Text, encoded: Encoded) -> tuple[str, np.ndarray]:
    """What the blocks of a text are, and the number of the block that each piece stands in, (pieces,) int64.

    Articles, or lines where there are too few articles for an interval.
    """
    lines = lines_of_pieces(text, encoded)
    articles = articles_of_lines(text)[lines]
    if np.unique(articles).size >= FEWEST_BLOCKS:
        return BLOCKS[0], articles
    return BLOCKS[1], lines
