"""Laws of what meets weights: products, the preparation of their inputs, rows that are looked up, normalisations."""

from __future__ import annotations

from ..arena import MatrixSource
from ..kernels.activation import FUNCTIONS, GELU, GELU_TANH, IDENTITY, RELU, SILU
from ..kernels.charge import ADD, BITWISE, COMPARE, CONVERT, DIVIDE, MULTIPLY, TRANSCENDENTAL
from ..kernels.formats import INT8, SCALE_BITS
from ..kernels.matrix import DENSE, FLOAT_BITS, HALF_BITS, INTEGER_BITS, NONE, Matrix
from ..kernels.network import ACTIVATE, ADD_TO, GATE
from ..kernels.norm import LAYER, Norm
from ..kernels.width import NO_STEP
from .region_laws import RegionLaws

# Multiplies and adds of an activation function, which has one transcendental beside them.
_ACTIVATIONS = {SILU: (1, 0), GELU: (3, 1), GELU_TANH: (5, 2)}


def product_laws(region: RegionLaws, matrix: Matrix, source: MatrixSource, unit: str, suffix: str = "") -> str:
    """A matrix-vector product for each of ``unit``, its inputs' preparation included; returns the formula.

    ``suffix``: of the symbols, where a region has several matrices.
    """
    rows = region.size(f"m{suffix}", matrix.rows, f"rows of {source.weight}{' transposed' * source.transposed}")
    columns = region.size(
        f"n{suffix}",
        matrix.columns,
        "columns" if matrix.sections == 1 else f"columns of each of {matrix.sections} runs",
    )
    groups = matrix.columns // matrix.group
    grouped = rows
    if groups > 1:
        grouped = f"{rows}*{region.size(f'g{suffix}', groups, 'groups of columns that share a scale')}"
    terms, firsts = f"{rows}*{columns}", grouped
    if matrix.pruned != DENSE:
        terms = region.size(f"t{suffix}", matrix.terms, "weights that are kept")
        firsts = region.size(f"f{suffix}", matrix.filled, "rows that keep any")
        firsts += grouped.removeprefix(rows)
    region.multiply_matrix(f"{unit}*{terms}", matrix.bits, matrix.input_bits)
    region.charge(ADD, f"{unit}*({terms} - {firsts})", matrix.accumulator_bits, matrix.accumulator_bits)
    if matrix.steps:
        stepped = grouped
        if matrix.steps != groups:
            stepped = f"{rows}*{region.size(f's{suffix}', matrix.steps, 'groups of columns that share a step')}"
        region.charge(MULTIPLY, f"{unit}*{stepped}", matrix.step_bits, FLOAT_BITS)
    if matrix.code >= INT8:
        if groups > 1:
            region.charge(ADD, f"{unit}*({grouped} - {rows})")
        if matrix.has_offsets:
            region.charge(MULTIPLY, f"{unit}*{grouped}", matrix.step_bits, FLOAT_BITS)
            region.charge(ADD, f"{unit}*{grouped}")
    if matrix.input_bits == INTEGER_BITS:
        region.charge(CONVERT, f"{unit}*{grouped}", matrix.accumulator_bits, FLOAT_BITS)
        region.charge(MULTIPLY, f"{unit}*{rows}")
    if matrix.bias_offset != NONE:
        alone_laws(region, ADD, f"{unit}*{rows}", (matrix.bias_bits, matrix.bias_step_bits))
    _prepare_laws(region, matrix, unit, suffix)
    return "W x" + (" + b" if matrix.bias_offset != NONE else "")


def _prepare_laws(region: RegionLaws, matrix: Matrix, unit: str, suffix: str) -> None:
    """A vector made what a matrix wants: rounded to float16, quantised to 8 bits, summed over groups for offsets."""
    if matrix.input_bits == FLOAT_BITS and not matrix.has_offsets:
        return
    inputs = f"n{suffix}"
    if matrix.sections > 1:
        inputs = region.size(f"i{suffix}", matrix.sections * matrix.columns, "inputs of all runs")
    if matrix.input_bits == HALF_BITS:
        region.charge(CONVERT, f"{unit}*{inputs}", FLOAT_BITS, HALF_BITS)
        region.computes("x rounded to float16")
    elif matrix.input_bits == INTEGER_BITS:
        region.charge_one(BITWISE, f"{unit}*{inputs}")
        region.charge(COMPARE, f"{unit}*{inputs}")
        region.charge(DIVIDE, unit)
        region.charge(MULTIPLY, f"{unit}*({inputs} + 1)")
        region.charge(CONVERT, f"{unit}*{inputs}", FLOAT_BITS, INTEGER_BITS)
        region.computes("x quantised to 8 bits by its largest magnitude")
    if matrix.has_offsets:
        groups = region.size(f"h{suffix}", matrix.sections * (matrix.columns // matrix.group), "groups of inputs")
        region.charge(ADD, f"{unit}*({inputs} - {groups})")
        if matrix.input_bits == INTEGER_BITS:
            region.charge(CONVERT, f"{unit}*{groups}", FLOAT_BITS, FLOAT_BITS)


def action_laws(region: RegionLaws, step: tuple[int, int], formula: str, numbers: str) -> None:
    """What follows a product, for some numbers: it is added to what was there, or is activated, or meets a gate.

    ``step``: action and function.
    """
    action, function = step
    if action == ADD_TO:
        region.computes(f"y = y + {formula}")
        region.charge(ADD, numbers)
    elif action in (ACTIVATE, GATE):
        name = FUNCTIONS[function]
        region.computes(f"y = {name}(gate) * ({formula})" if action == GATE else f"y = {name}({formula})")
        _activation_laws(region, function, numbers)
        if action == GATE:
            region.charge(MULTIPLY, numbers)
    else:
        region.computes(f"y = {formula}")


def _activation_laws(region: RegionLaws, function: int, numbers: str) -> None:
    if function == RELU:
        region.charge(COMPARE, numbers)
    elif function != IDENTITY:
        multiplies, adds = _ACTIVATIONS[function]
        region.charge(MULTIPLY, numbers if multiplies == 1 else f"{multiplies}*{numbers}")
        if adds:
            region.charge(ADD, numbers if adds == 1 else f"{adds}*{numbers}")
        region.charge_one(TRANSCENDENTAL, numbers)


def lookup_laws(region: RegionLaws, matrix: Matrix, unit: str, suffix: str = "") -> None:
    """A row of a table for each of ``unit``: what is stored narrow is widened, integers are scaled."""
    width = region.size(f"w{suffix}", matrix.columns, "numbers of a row")
    region.computes("x = row of the table")
    if matrix.bits != FLOAT_BITS:
        region.charge(CONVERT, f"{unit}*{width}", matrix.bits, FLOAT_BITS)
    if matrix.steps:
        region.charge(MULTIPLY, f"{unit}*{width}", matrix.step_bits, FLOAT_BITS)
    if matrix.has_offsets:
        region.charge(ADD, f"{unit}*{width}", FLOAT_BITS, SCALE_BITS)


def norm_laws(region: RegionLaws, norm: Norm, unit: str) -> None:
    """A normalisation of a vector for each of ``unit``."""
    n = region.size("n", norm.columns, "numbers of a vector")
    bias = " + b" if norm.bias_offset != NONE else ""
    if norm.kind == LAYER:
        region.computes(f"y = (x - mean(x)) / sqrt(variance(x) + e) * w{bias}")
        region.charge(MULTIPLY, f"{unit}*(2*{n} + 2)")
        region.charge(ADD, f"{unit}*(3*{n} - 1)")
    else:
        region.computes(f"y = x / sqrt(mean(x^2) + e) * w{bias}")
        region.charge(MULTIPLY, f"{unit}*(2*{n} + 1)")
        region.charge(ADD, f"{unit}*{n}")
    region.charge_one(TRANSCENDENTAL, unit)
    region.charge(DIVIDE, unit)
    alone_laws(region, MULTIPLY, f"{unit}*{n}", (norm.weight_bits, norm.weight_step_bits))
    if bias:
        alone_laws(region, ADD, f"{unit}*{n}", (norm.bias_bits, norm.bias_step_bits))


def alone_laws(region: RegionLaws, kind: int, numbers: str, width: tuple[int, int]) -> None:
    """Some weights added or multiplied by one by one, each made of its step first; ``width``: a ``Width``."""
    bits, step_bits = width
    region.charge(kind, numbers, FLOAT_BITS, bits)
    if step_bits != NO_STEP:
        region.charge(MULTIPLY, numbers, step_bits, FLOAT_BITS)
