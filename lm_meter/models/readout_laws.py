"""Laws of the readout: projections, logits, the softmax of one bin or of several, and a continuous cache."""

from __future__ import annotations

from ..kernels.bins import NO_MATRIX
from ..kernels.charge import ADD, COMPARE, CONVERT, DIVIDE, MULTIPLY, TRANSCENDENTAL
from ..kernels.log_softmax import SEGMENT_ROWS, SUM_BITS
from ..kernels.matrix import FLOAT_BITS, Matrix
from .matrix_laws import action_laws, product_laws
from .plan import Plan
from .region_laws import PREDICTIONS, Laws, RegionLaws

CACHED, PAIRS, BEHIND = "C", "N", "P_b"


def readout_laws(laws: Laws, plan: Plan, matrices: list[Matrix], width: int) -> None:
    """From a frozen output of ``width`` numbers to the log-probability of the target, once for each prediction."""
    every = laws.unit(PREDICTIONS)

    def product(number: int, region: int, unit: str) -> None:
        formula = product_laws(laws.regions[region], matrices[number], plan.matrices[number], unit)
        action_laws(laws.regions[region], (0, 0), formula, "")

    if plan.projection != NO_MATRIX:
        product(plan.projection, plan.projection_region, every)
    softmax, is_adaptive = laws.regions[plan.softmax_region], len(plan.softmax_bins) > 1
    for number, part in enumerate(plan.softmax_bins):
        unit = own = every
        if number and plan.is_needed:
            unit = own = laws.unit(f"P_{number}", f"predictions of a token of bin {number}")
        elif number:
            own = laws.unit(BEHIND, "predictions of a token behind the first bin")
        if part.projection != NO_MATRIX:
            product(part.projection, part.projection_region, unit)
        product(part.matrix, part.region, unit)
        entries = part.size
        if part.clusters != NO_MATRIX:
            product(part.clusters, part.clusters_region, unit)
            entries += matrices[part.clusters].rows
        segments = -(-part.size // SEGMENT_ROWS) + (part.clusters != NO_MATRIX)
        _normaliser_laws(softmax, (entries, segments), unit, f"_{number}" if is_adaptive else "")
        if number < 2 or plan.is_needed:  # else one law for all bins behind the first one
            softmax.charge(CONVERT, f"2*{own}", FLOAT_BITS, SUM_BITS)
            softmax.charge(ADD, f"{3 if number else 2}*{own}", SUM_BITS, SUM_BITS)
    softmax.computes("log p = (l - M) - log(sum of exp(l_j - M)), in segments whose maxima and sums are combined")
    if is_adaptive:
        softmax.computes("log p of a token behind the first bin = log p of its bin + log p within it")
    if plan.regions[plan.continuous_region].name == "continuous_cache":
        _continuous_laws(laws, laws.regions[plan.continuous_region], width)


def _normaliser_laws(region: RegionLaws, sizes: tuple[int, int], unit: str, suffix: str) -> None:
    v = region.size(f"v{suffix}", sizes[0], f"entries{' of bin ' + suffix[1:] if suffix else ' of the vocabulary'}")
    s = region.size(f"s{suffix}", sizes[1], f"segments of at most {SEGMENT_ROWS} entries")
    region.charge(COMPARE, f"{unit}*({v} - {s}) + {unit}*({s} - 1)")
    region.charge(ADD, f"{unit}*{v} + {unit}*({v} - {s}) + {unit}*{s}")
    region.charge_one(TRANSCENDENTAL, f"{unit}*({v} + {s})")
    region.charge(MULTIPLY, f"{unit}*{s}")
    region.charge(CONVERT, f"{unit}*{s}", FLOAT_BITS, SUM_BITS)
    region.charge(ADD, f"{unit}*({s} - 1)", SUM_BITS, SUM_BITS)
    region.charge_one(TRANSCENDENTAL, unit, SUM_BITS)


def _continuous_laws(laws: Laws, region: RegionLaws, width: int) -> None:
    unit = laws.unit(CACHED, "predictions that a continuous cache with outputs is mixed into")
    pairs = laws.unit(PAIRS, "outputs in the continuous cache, summed over these predictions")
    w = region.size("w", width, "numbers of an output")
    region.computes("p = (1 - lambda) p + lambda sum of exp(theta h h_i) of the target's outputs / sum of all")
    region.charge(MULTIPLY, f"{unit}*{w}")
    region.multiply_matrix(f"{pairs}*{w}")
    region.charge(ADD, f"{pairs}*({w} - 1) + {pairs} + 2*({pairs} - {unit})")
    region.charge(COMPARE, f"2*{pairs} - {unit}")
    region.charge_one(TRANSCENDENTAL, pairs)
    region.charge(DIVIDE, unit)
    region.charge(CONVERT, unit, FLOAT_BITS, SUM_BITS)
    region.charge(MULTIPLY, f"2*{unit}", SUM_BITS, SUM_BITS)
    region.charge(ADD, unit, SUM_BITS, SUM_BITS)
    region.charge_one(TRANSCENDENTAL, f"2*{unit}", SUM_BITS)
