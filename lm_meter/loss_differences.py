"""Where the losses of two models over the same words differ: by frequency of the word, by its place, and by word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .result_records import WordLosses
from .text_blocks import BLOCKS
from .uncertainty import FEWEST_BLOCKS

# The first frequency, and the first place in an article from 1, of each band.
FREQUENCIES = (1, 2, 4, 10, 100, 1000)
PLACES = (1, 11, 101, 1001, 10_001)
MOST_WORDS = 20  # in the list of those that differ most


def block_sums(losses: WordLosses, *nats: np.ndarray) -> tuple[str, np.ndarray, list[np.ndarray]]:
    """What the blocks of a text are, their word tokens, and sums over them: articles, or lines where they are few."""
    articles = np.unique(losses.article).size >= FEWEST_BLOCKS
    _, block = np.unique(losses.article if articles else losses.line, return_inverse=True)
    sums = [np.bincount(block, values.astype(np.float64)) for values in (losses.words, *nats)]
    return BLOCKS[0] if articles else BLOCKS[1], sums[0], sums[1:]


def loss_sections(losses: WordLosses, second: np.ndarray) -> dict[str, Any]:
    """The ``loss`` section of a comparison: rows of bands, and the words whose losses differ most in all.

    Parameters
    ----------
    losses : WordLosses
        Of the first model.
    second : (n,) float64
        The second one's nats.
    """
    words, number = np.unique(losses.text, return_inverse=True)
    times = np.bincount(number)
    in_articles = bool((losses.article >= 0).any())
    return {
        "by_frequency": _bands(losses, second, times[number], FREQUENCIES),
        "position_in": BLOCKS[0] if in_articles else "text",
        "by_position": _bands(losses, second, _places(losses, in_articles), PLACES),
        "by_word": _by_word(words, times, [np.bincount(number, nats) for nats in (losses.nats, second)]),
    }


def _places(losses: WordLosses, in_articles: bool) -> np.ndarray:
    """Place of each row's last word token in its article, or in the text, from 1."""
    place = np.cumsum(losses.words)
    if not in_articles:
        return place
    starts = np.flatnonzero(np.diff(losses.article, prepend=losses.article[0] - 1))
    before = place[starts] - losses.words[starts]
    return place - np.repeat(before, np.diff(starts, append=place.size))


def _bands(losses: WordLosses, second: np.ndarray, values: np.ndarray, firsts: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each band of values that has words; a value below the first band's is in that."""
    band = np.maximum(np.searchsorted(firsts, values, side="right") - 1, 0)
    words, ours, theirs = (
        np.bincount(band, values.astype(np.float64), len(firsts)) for values in (losses.words, losses.nats, second)
    )
    rows = []
    for number, least in enumerate(firsts):
        if words[number]:
            rows.append(
                {
                    "from": least,
                    "to": firsts[number + 1] - 1 if number + 1 < len(firsts) else None,
                    "words": int(words[number]),
                    "first_nats_per_word": float(ours[number] / words[number]),
                    "second_nats_per_word": float(theirs[number] / words[number]),
                    "difference": float((theirs[number] - ours[number]) / words[number]),
                    "total_difference": float(theirs[number] - ours[number]),
                }
            )
    return rows


def _by_word(words: np.ndarray, times: np.ndarray, nats: list[np.ndarray]) -> list[dict[str, Any]]:
    difference = nats[1] - nats[0]
    most = np.argsort(-np.abs(difference), kind="stable")[:MOST_WORDS]
    return [
        {
            "word": str(words[n]),
            "count": int(times[n]),
            "first_nats": float(nats[0][n] / times[n]),
            "second_nats": float(nats[1][n] / times[n]),
            "total_difference": float(difference[n]),
        }
        for n in most.tolist()
    ]
