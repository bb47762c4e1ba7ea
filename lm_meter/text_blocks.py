"""Where the pieces of a tokenized text stand: their lines, and the articles of WikiText."""

from __future__ import annotations

import itertools
import re
from array import array
from collections.abc import Iterator

import numpy as np

from .spool import Spool, forget, in_parts
from .text import Text
from .tokenizers import Encoded
from .uncertainty import FEWEST_BLOCKS

BLOCKS = ("article", "line")
_AT_ONCE = 1 << 12  # pieces that are looked at together: memory does not grow with the text
_LINE_END = 0x0A
# A title of level one: " = Robert Boulter = ". Those of sections have more signs: " = = Career = = ".
_TITLE = re.compile(r"^ = [^=].* = $")


def lines_of_pieces(text: Text, encoded: Encoded) -> np.ndarray:
    """Number, from 0, of the line that each piece stands in: (pieces,) int64.

    A piece stands where the last word token stands that has begun, be it the line's end.
    """
    spool = Spool(np.int64)
    for _, lines in _lines_in_turn(text, encoded):
        spool.add(lines)
    return spool.array()


def words_of_pieces(encoded: Encoded) -> np.ndarray:
    """Number, from 0, of the last word token that has begun in or before each piece: (pieces,) int64."""
    spool, begun = Spool(np.int64), 0
    for part in in_parts(encoded.words):
        counts = begun + np.cumsum(part, dtype=np.int64)
        begun = int(counts[-1])
        spool.add(np.maximum(counts - 1, 0))
    return spool.array()


def _lines_in_turn(text: Text, encoded: Encoded) -> Iterator[tuple[slice, np.ndarray]]:
    """The same in parts: which pieces, and the lines that they stand in."""
    ends, begun = _line_ends(text), 0
    for first in range(0, max(1, encoded.words.size), _AT_ONCE):
        part = slice(first, min(first + _AT_ONCE, encoded.words.size))
        counts = begun + np.cumsum(encoded.words[part], dtype=np.int64)
        begun = int(counts[-1]) if counts.size else begun
        forget(encoded.words)
        yield part, np.minimum(np.searchsorted(ends, np.maximum(counts, 1), side="left"), ends.size - 1)


def _line_ends(text: Text) -> np.ndarray:
    """Word tokens up to the end of each line: (lines,) int64."""
    found, tokens, rest = [], 0, 0
    for raw, begins, _ in text.word_spans():
        ends = 1 + np.flatnonzero(raw[begins] == _LINE_END)
        found.append(tokens + ends)
        tokens += begins.size
        rest = raw.size - 1 - int(begins[ends[-1] - 1]) if ends.size else raw.size
    if rest:  # a last line without an end, which is one all the same unless the text was cut there
        found.append(np.array([tokens + (not text.cut)]))
    return np.concatenate([np.zeros(0, np.int64), *found])


def articles_of_lines(text: Text) -> np.ndarray:
    """Number of the article that each line stands in, (lines,) int64, from 1; 0 of a text without titles.

    What stands before the first title belongs to its article. A title has no words on the lines before and after it; a
    formula may look like one.
    """
    titles, is_blank = array("b"), True
    lines = itertools.chain((line for line, _ in text.raw_lines()), [""])
    for line, behind in itertools.pairwise(lines):
        titles.append(bool(is_blank and not behind.strip() and _TITLE.match(line)))
        is_blank = not line.strip()
    numbers = np.cumsum(np.frombuffer(titles, np.int8), dtype=np.int64)
    return np.maximum(numbers, min(1, int(numbers.max(initial=0))))


def block_sums(text: Text, encoded: Encoded, here: slice, values: np.ndarray) -> tuple[str, np.ndarray, np.ndarray]:
    """Sums over the blocks of a text.

    Parameters
    ----------
    text, encoded
        Of all pieces.
    here : slice
        Which pieces have values.
    values : (pieces here,) float64

    Returns
    -------
    what a block is; sums of the values, and of the words that begin, each (blocks,) float64
    """
    articles = articles_of_lines(text)
    has_pieces = np.zeros(articles.size, bool)
    for _, lines in _lines_in_turn(text, encoded):
        has_pieces[lines] = True
    by_article = np.unique(articles[has_pieces]).size >= FEWEST_BLOCKS
    blocks = articles if by_article else np.arange(articles.size)
    sums, words = np.zeros(int(blocks.max(initial=0)) + 1), np.zeros(int(blocks.max(initial=0)) + 1)
    for part, lines in _lines_in_turn(text, encoded):
        first, last = max(part.start, here.start), min(part.stop, here.stop)
        if first < last:
            own = blocks[lines[first - part.start : last - part.start]]
            np.add.at(sums, own, values[first - here.start : last - here.start])
            np.add.at(words, own, encoded.words[first:last])
            forget(values, encoded.words)
    return BLOCKS[0 if by_article else 1], sums, words
