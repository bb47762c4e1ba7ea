"""What tokens say of the bytes of a text that they stand for: all of it, all but blanks, or something else."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .cover import Tokens

_BLANKS = b" \t\r\f\v"
BLANK_SIGN = "\u2581"  # how SentencePiece, and who writes as it does, writes a blank
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
    if core and not spoken and not (said and _is_another_blank(core)):
        return Shortfall(len(span), 0)  # which is refused: more than blanks is missing
    if b"\n" in core and core.replace(b"\n", b"").strip(_BLANKS) == spoken:
        return Shortfall(len(span), 0)  # and so is a line end that nothing says
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


def _is_another_blank(core: bytes) -> bool:
    """Whether these are blanks, but none of ASCII's: Unicode's, or the sign that stands for one in tokens."""
    characters = core.decode("utf-8", "replace")
    return all((c.isspace() and c != "\n") or c == BLANK_SIGN for c in characters)


def _other_characters(span: bytes, said: bytes) -> int:
    """Characters of a span that differ from what is said, place by place; all where it says more or fewer."""
    one, other = (part.decode("utf-8", "surrogateescape") for part in (span, said))
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


def held_against(raw: np.ndarray, placed: Placed, fronts: Mapping[int, bool], unknown: bytes | None = None) -> Tokens:
    """Tokens beside the bytes of the text that they stand for.

    Parameters
    ----------
    raw : (bytes,) uint8
        The text.
    placed : Placed
    fronts : mapping of int to bool
        Bytes of the text at which the tokenizer may put a blank in front, and whether the text has one there without
        which it would have the same tokens.
    unknown : bytes, optional
        How the unknown token is written: a text may have that word itself.
    """
    start, span = placed.start, raw[placed.start : placed.stop].tobytes()
    said = [one if one is not None else unknown or b"" for one in placed.said]
    if not any(fronts.values()):
        spelled_ends = spelled(span, said, start in fronts)
        if spelled_ends is not None:
            return Tokens(placed.tokens, start + spelled_ends)
    size = placed.ends.size
    ends = placed.ends - start
    unscored, lost, replaced = (np.zeros(size, np.int64) for _ in range(3))
    around = raw[max(0, start - 1) : start].tobytes(), raw[placed.stop : placed.stop + 1].tobytes()
    left = 0
    for first, stop, begin, end in _groups(placed, span, said):
        spoken, here = b"".join(said[first:stop]), span[left:end]
        front = fronts.get(start + left)
        if front is not None and (spoken == b" " + here or not here.startswith(b" ")):
            spoken = spoken.removeprefix(b" ")
        elif front and here.startswith(b" "):
            spoken = spoken.removeprefix(b" ")  # it would be said without the text's own
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


def _groups(placed: Placed, span: bytes, said: Sequence[bytes]) -> list[tuple[int, int, int, int]]:
    """Tokens that stand for their bytes together: the first, the one after the last, their first byte, the one after.

    A letter that is composed of two characters has the place of the first; where the token says both, it has both.
    """
    begins, ends = placed.begins - placed.start, placed.ends - placed.start
    firsts = np.flatnonzero(begins >= np.append(0, ends[:-1])[: ends.size])
    edges = [0, *firsts[firsts > 0].tolist(), ends.size] if ends.size else []
    groups = [(first, stop, int(begins[first]), int(ends[stop - 1])) for first, stop in itertools.pairwise(edges)]
    for at, (first, stop, begin, end) in enumerate(groups):
        following = groups[at + 1][2] if at + 1 < len(groups) else len(span)
        if span[end:following].strip(_BLANKS + b"\n"):
            both, spoken = (_composed(part) for part in (span[begin:following], b"".join(said[first:stop])))
            if both == spoken:
                groups[at] = first, stop, begin, following
    return groups


def _composed(part: bytes) -> str:
    """Text in the one form of all that are compatible (NFKC), without blanks at its ends."""
    return unicodedata.normalize("NFKC", part.decode("utf-8", "replace")).strip(" ")
