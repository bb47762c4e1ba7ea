"""What is counted, and at which price, in words: the sentences that README.md and reports have in common."""

from __future__ import annotations

# A test compares both with README.md, section "What is counted".
CONVENTIONS = (
    "Every kernel charges the meter as it runs: `count` operations of a kind (multiply, add, divide, transcendental, "
    "compare, bitwise, convert) on two inputs of `bits_a` and `bits_b` bits.",
    "A dot product of length n is n multiplies and n - 1 adds, and one add where there is a bias; a transcendental "
    "function is one operation; the softmax is what is executed.",
    "The copy of an embedding row is a move and costs nothing; widening a 16-bit weight on its way into a multiply "
    "belongs to that multiply, which is recorded at 16 by 32 bits; where an embedding row is widened without a "
    "multiply, conversions are charged.",
    "Padding enters neither loss nor state nor counts.",
    "Operations are per *word token* (a word, or the end of a line), because the text is what has to be predicted: a "
    "sub-word model pays for every piece of a word.",
)
# Prices of an operation and of a parameter.
_GENERAL = {
    "flops": ("1", "1"),
    "macs": ("1 for a multiply, 0 for any other", "1"),
    "bops": ("product of the widths of its inputs, the width of its only one", "its bits"),
}
PRICES = {
    "micronet-2019-06": ("wider input / 16, at most 1", "bits / 16, at most 1"),
    "micronet-2019-final": (
        "wider input / 32; multiplies at most 1/2 if nothing is below 16 bits; \u00b11 weights 1/32; conversions free "
        "where exact in float32",
        "bits / 32, at most 1/2 if nothing is below 16 bits",
    ),
    **_GENERAL,
}
