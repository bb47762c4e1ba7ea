"""What tokens say of the bytes of a text that they stand for: all of it, all but blanks, or something else."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from .cover import Tokens

_BLANKS = b" \t\r\f\v"
_EACH_BLANK = tuple(bytes([blank]) for blank in _BLANKS)


class Shortfall(NamedTuple):
    """Bytes that are not said, and characters for which another text has the same tokens."""

    unscored: int
    lost: int


NOTHING = Shortfall(0, 0)


def shortfall(span: bytes, said: bytes, before: bytes = b"", after: bytes = b"") -> Shortfall:
    """Compare the bytes of a text with what its tokens say.

    Parameters
    ----------
    span : bytes
        Of the text.
    said : bytes
        Of the tokens, from the vocabulary.
    before, after : bytes
        The text's bytes next to ``span``, one each; none at its ends.

    Returns
    -------
    Shortfall
        Blanks that are missing at an end of the span are not scored. Where the words on both sides of them then stand
        beside each other, another text has the same tokens, and a character is lost.
    """
    if span == said:
        return NOTHING
    core, spoken = span.strip(_BLANKS), said.strip(_BLANKS)
    if core and not spoken:
        return Shortfall(len(span), 0)  # which is refused: more than blanks is missing
    missing = max(0, len(span) - len(core) - (len(said) - len(spoken)))
    if core == spoken and missing == 0:
        return Shortfall(0, 1)  # another blank, or one more than there is
    joined = int(_is_joined_before(span, said, before)) + int(_is_joined_after(span, said, after))
    return Shortfall(missing, _other_characters(core, spoken) + joined)


def _is_joined_before(span: bytes, said: bytes, before: bytes) -> bool:
    """Whether blanks between the word before and this one are all missing."""
    return _is_of_a_word(before) and span[:1] in _EACH_BLANK and _is_of_a_word(said[:1])


def _is_joined_after(span: bytes, said: bytes, after: bytes) -> bool:
    """Whether blanks between this word and the one after are all missing."""
    return _is_of_a_word(after) and span[-1:] in _EACH_BLANK and _is_of_a_word(said[-1:])


def _is_of_a_word(byte: bytes) -> bool:
    return byte not in (b"", b"\n", *_EACH_BLANK)


def _other_characters(span: bytes, said: bytes) -> int:
    """Characters of a span that differ from what is said, place by place; all where it says more or fewer."""
    one, other = (part.decode("utf-8", "replace") for part in (span, said))
    if len(one) != len(other):
        return len(one)
    return sum(a != b for a, b in zip(one, other, strict=True))


def spelled(span: bytes, said: Sequence[bytes], is_front: bool) -> np.ndarray | None:
    """Where each token ends in a span that the tokens spell out: (tokens,) int64; None where they do not.

    ``is_front``: whether a blank that a tokenizer puts in front of a text may come first.
    """
    whole = b"".join(said)
    ends = np.cumsum(np.fromiter(map(len, said), np.int64, len(said)))
    if whole == span:
        return ends
    return np.maximum(ends - 1, 0) if is_front and whole == b" " + span else None


class Placed(NamedTuple):
    """Tokens as a tokenizer places them in a text that is taken as it is.

    Attributes
    ----------
    tokens : (n,) integers
    begins, ends : (n,) int64
        Bytes of the text that each stands for; the ends ascend. Tokens that overlap stand for their bytes together.
    said : n times bytes
        What each token says; None for the unknown one.
    start, stop : int
        Bytes of the text that all of them are of.
    """

    tokens: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    said: Sequence[bytes | None]
    start: int
    stop: int


def held_against(
    raw: np.ndarray, placed: Placed, fronts: Collection[int] = (0,), unknown: bytes | None = None
) -> Tokens:
    """Tokens beside the bytes of the text that they stand for.

    Parameters
    ----------
    raw : (bytes,) uint8
        The text.
    placed : Placed
    fronts : integers
        Bytes of the text at which the tokenizer may put a blank in front.
    unknown : bytes, optional
        How the unknown token is written: a text may have that word itself.
    """
    start, span = placed.start, raw[placed.start : placed.stop].tobytes()
    said = [one if one is not None else unknown or b"" for one in placed.said]
    spelled_ends = spelled(span, said, start in fronts)
    if spelled_ends is not None:
        return Tokens(placed.tokens, start + spelled_ends)
    size = placed.ends.size
    begins, ends = placed.begins - start, placed.ends - start
    unscored, lost, replaced = (np.zeros(size, np.int64) for _ in range(3))
    around = raw[max(0, start - 1) : start].tobytes(), raw[placed.stop : placed.stop + 1].tobytes()
    firsts = np.flatnonzero(begins >= np.append(0, ends[:-1])[:size])
    left = 0
    for first, stop in itertools.pairwise([0, *firsts[firsts > 0].tolist(), size] if size else []):
        begin, end = max(left, int(begins[first])), int(ends[stop - 1])
        spoken = b"".join(said[first:stop])
        if start + left in fronts and not span.startswith(b" ", left):
            spoken = spoken.removeprefix(b" ")
        here = span[left:end]
        if spoken != here and span[left:begin].strip(_BLANKS):
            unscored[first] = begin - left  # which is refused
        elif None in placed.said[first:stop] and spoken != here.strip(_BLANKS):
            lost[first], replaced[first] = len(here.decode("utf-8", "replace")), 1
        else:
            before = span[left - 1 : left] if left else around[0]
            unscored[first], lost[first] = shortfall(here, spoken, before, span[end : end + 1] or around[1])
        ends[first:stop] = left = end
        if stop == size:
            unscored[first] += len(span) - left
            ends[first:] = len(span)
    return Tokens(placed.tokens, start + ends, unscored, lost, replaced)
