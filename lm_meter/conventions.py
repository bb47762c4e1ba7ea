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
    "A weight of any array (matrix, row, bias, norm, vector of distances) is charged at the declared width of the "
    "number that meets the input: int8 at 8 bits, int4 at 4, `codebook4` at the 8 of its entries, which its 4-bit "
    "indices only pick.",
    "A grid of b bits is charged at b where its values are whole numbers of b bits times a step for each group (of one "
    "bit: \u00b11), and the step as a scale is: a multiply of the stored width for each group's sum, or for each "
    "number that stands alone (a row, a bias, a norm).",
    "A grid of any other values is a table, like a code book: its entries are numbers of the stored width.",
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
