"""What a tokenizer stores, in bits: its vocabulary, its merges, the scores of its tokens, and its rules.

Everything that inference needs is stored and counted, and the text cannot be run without these. They are counted by
what they say and not by the file that they lie in, so that the same tokenizer costs the same in any format.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SCORE_BITS = 32


@dataclass(frozen=True)
class Tables:
    """Bits of a tokenizer's tables.

    Attributes
    ----------
    vocabulary_bits : int
        Each token in UTF-8 and a byte that ends it.
    merges_bits : int
        Two numbers of tokens for each pair that is merged, each as wide as the largest number.
    scores_bits : int
        A float32 for each token that has one.
    rules_bits : int
        All else: how a text is normalised and cut, added tokens, as the tokenizer's file has it.
    longest_token : int
        Bytes of the longest token.
    is_given : bool
        Whether the vocabulary is the one that the task gives: WikiText-103's own words, all of them and no others.
    """

    vocabulary_bits: int
    merges_bits: int = 0
    scores_bits: int = 0
    rules_bits: int = 0
    longest_token: int = 0
    is_given: bool = False

    @property
    def bits(self) -> int:
        """All of them."""
        return self.vocabulary_bits + self.merges_bits + self.scores_bits + self.rules_bits


def table_bits(tokens: Iterable[bytes]) -> int:
    """Bits of a list of tokens: their bytes, and one that ends each."""
    return 8 * sum(len(token) + 1 for token in tokens)


def pair_bits(pairs: int, size: int) -> int:
    """Bits of pairs of numbers below ``size``."""
    return 2 * pairs * max(1, (size - 1).bit_length())
