"""``lm-meter selftest``: the counts and prices that the rules state, reproduced on this machine.

Every expected number is written in the rules' public texts or follows from them by the arithmetic in the comment beside
it; none is copied from this program's output.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .compilation import check_kernels
from .histogram import rows_of
from .interrupt import deferred_interrupt
from .kernels import step_costs
from .kernels.charge import Meter, new_tally
from .kernels.formats import FLOAT16, FLOAT32
from .kernels.matrix import Scheme, place_matrix, whole_load
from .kernels.product import product_cost
from .models.plan import PLAIN_OPTIONS, network_of
from .models.recurrent_config import RecurrentConfig, recurrent_arrays
from .models.recurrent_steps import plan_recurrent
from .models.vocabulary import Vocabulary
from .profiles import PROFILES, Profile
from .regions import Region
from .score import price, score, task_of
from .weight_format import WeightFormat


@dataclass(frozen=True)
class Check:
    """One comparison."""

    name: str
    expected: str
    found: str

    @property
    def passed(self) -> bool:
        """Whether the two are the same."""
        return self.expected == self.found


_V, _E, _H = 267_735, 512, 2048


def _baseline(bias: bool) -> tuple[list[Region], np.ndarray]:
    """Regions and tally of one step of the 159M baseline, from the cost laws."""
    words = {"kind": "word", "start": None, "end_of_line": None, "unknown": None}
    config = RecurrentConfig("lstm", Vocabulary(_V, _E, _E, True, bias), (_H,), _E, bias, bias, words)
    arrays = {name: expected.shape for name, expected in recurrent_arrays(config, "baseline").items()}
    plan = plan_recurrent(config, dict.fromkeys(arrays, WeightFormat("float32")))
    matrices = [place_matrix(arrays[source.weight], Scheme()) for source in plan.matrices]
    matrices = [
        matrix if source.bias is None else matrix.biased(FLOAT32)
        for matrix, source in zip(matrices, plan.matrices, strict=True)
    ]
    tally = new_tally(len(plan.regions))
    network = network_of(plan, matrices, [], 1, PLAIN_OPTIONS._replace(embedding_width=_E))
    token = np.zeros(1, np.int64)
    step_costs.chunks_cost(network, np.array([(1, 0, 0)], np.int64), token, token, tally)
    return plan.regions, tally


def _baseline_checks(june: Profile) -> Iterator[Check]:
    regions, tally = _baseline(bias=True)
    roles, rows = {region.name: region.role for region in regions}, rows_of(tally, regions)
    priced = price(rows, roles, june, narrow=False)
    # 2 n m for each matrix: n multiplies, n - 1 adds and a bias add: 2 * 159,100,416
    yield Check("baseline: matrix-vector operations", "318200832", str(priced.matrix_vector))
    bare = price(rows_of(_baseline(bias=False)[1], regions), roles, june, narrow=False)
    # minus one add a row: 318,200,832 - 8,192 - 512 - 267,735 - ... = 2 * 159,100,416 - 276,439
    yield Check("baseline: the same without biases", "317924393", str(bare.matrix_vector))
    # 3 H multiplies, H adds, 5 H transcendentals = 9 * 2048
    yield Check("baseline: LSTM gates", "18432", str(priced.by_region["lstm.0.cell"]))
    matrices = 4 * _H * (_E + _H) + _E * _H + _V * _E
    yield Check("baseline: matrix parameters", "159100416", str(matrices))
    yield Check("baseline: parameters with biases", "159376855", str(matrices + 4 * _H + _E + _V))


def _layer(rows: int, columns: int, code: int, bias: bool) -> tuple[int, int]:
    """Multiplies and adds of one fully connected layer, from the cost law."""
    tally = new_tally(1)
    matrix = place_matrix((rows, columns), Scheme(code))
    matrix = matrix.biased(code) if bias else matrix
    product_cost(Meter(tally, 0), matrix, whole_load(matrix), 1)
    return int(tally[0, 0].sum()), int(tally[0, 1].sum())


def _mask_bits(rows: int, columns: int, block: tuple[int, int] = (1, 1)) -> int:
    """Bits of the mask of a pruned matrix: one for each block of rows x columns, by default one for each element."""
    return -(-rows // block[0]) * -(-columns // block[1])


def _layer_checks() -> Iterator[Check]:
    cases = (
        ("512 -> 128, 32 bit, no bias", (128, 512, FLOAT32, False), "2097152, 65536, 65408"),
        ("512 -> 128, 16 bit, bias", (128, 512, FLOAT16, True), "1050624, 65536, 65536"),
        ("512 -> 267735, 32 bit, no bias", (267735, 512, FLOAT32, False), "4386570240, 137080320, 136812585"),
    )
    for name, (rows, columns, code, bias), expected in cases:
        bits = {FLOAT32: 32, FLOAT16: 16}[code] * (rows * columns + rows * bias)
        multiplies, adds = _layer(rows, columns, code, bias)
        yield Check(f"layer {name}: bits, multiplies, adds", expected, f"{bits}, {multiplies}, {adds}")
    # Checkpoints have no pruned format yet: the mask is the rules' arithmetic, the operations are the cost law's.
    # Half the weights pruned: 128 rows of 256 non-zeros, a bit of mask for each of 128 * 512 places.
    multiplies, adds = _layer(128, 256, FLOAT16, True)
    bits = 16 * (128 * 256 + 128) + _mask_bits(128, 512)
    name = "layer 512 -> 128, 16 bit, bias, half pruned: bits, multiplies, adds"
    yield Check(name, "591872, 32768, 32768", f"{bits}, {multiplies}, {adds}")
    yield Check("mask of 512 x 128 in blocks of 4 x 4: bits", "4096", str(_mask_bits(512, 128, (4, 4))))


def _price_checks(june: Profile, final: Profile) -> Iterator[Check]:
    def check(name: str, expected: str, found: Fraction) -> Check:
        return Check(name, expected, str(found))

    yield check("June: 8-bit parameter", "1/2", june.parameter(8, True))
    yield check("June: multiply 3 bit x 5 bit", "5/16", june.operation("multiply", 3, 5, True))
    yield check("June: multiply 16 bit x 8 bit", "1", june.operation("multiply", 16, 8, True))
    yield check("June: multiply 32 bit x 32 bit", "1", june.operation("multiply", 32, 32, False))
    yield check("final: 8-bit parameter", "1/4", final.parameter(8, True))
    yield check("final: multiply 3 bit x 5 bit", "5/32", final.operation("multiply", 3, 5, True))
    yield check("final: multiply 32 bit x 8 bit", "1", final.operation("multiply", 32, 8, True))
    yield check("final: multiply float x +-1", "1/32", final.operation("multiply", 1, 32, True))
    yield check("June: multiply float x +-1", "1", june.operation("multiply", 1, 16, True))
    yield check("final: conversion float16 to float32", "0", final.operation("convert", 16, 32, False))
    yield check("final: conversion float32 to 8 bit", "1", final.operation("convert", 32, 8, True))
    yield check("final: free 16 bits, parameter", "1/2", final.parameter(32, False))
    yield check("final: free 16 bits, multiply", "1/2", final.operation("multiply", 32, 32, False))
    yield check("final: free 16 bits, add", "1", final.operation("add", 32, 32, False))
    # 3/6.9 + 500/1170 = 0.43478 + 0.42735
    value = score(task_of(june, "imagenet"), Fraction(3_000_000), Fraction(500_000_000)).total
    yield Check("ImageNet: 3M parameters and 500M operations", "0.862", f"{float(value):.3f}")
    # 36.5M and 10.49B are 1 each in the final text; the June text has ImageNet's numbers: 36.5/6.9 + 10490/1170
    for profile, expected in ((june, "14.256"), (final, "2.000")):
        value = score(task_of(profile, "cifar-100"), Fraction(36_500_000), Fraction(10_490_000_000)).total
        yield Check(f"CIFAR-100: 36.5M and 10.49B, {profile.name}", expected, f"{float(value):.3f}")
    # the baseline against itself: 1 + 1
    value = score(task_of(june, "wikitext-103"), Fraction(159_000_000), Fraction(318_000_000)).total
    yield Check("WikiText-103: 159M parameters and 318M operations", "2", str(value))


def run_checks() -> list[Check]:
    """All checks, in the order in which they are printed."""
    june, final = PROFILES["micronet-2019-06"], PROFILES["micronet-2019-final"]
    check_kernels()
    with deferred_interrupt() as interruption:
        checks = [*_baseline_checks(june), *_layer_checks(), *_price_checks(june, final)]
    interruption.obey()
    return checks


def checks_table(checks: list[Check]) -> str:
    """Checks, a line each."""
    lines = []
    for check in checks:
        verdict = "PASS" if check.passed else "FAIL"
        found = check.found if check.passed else f"{check.found}, expected {check.expected}"
        lines.append(f"{verdict}  {check.name}: {found}")
    failed = sum(not check.passed for check in checks)
    lines.append(f"{len(checks) - failed} passed, {failed} failed")
    return "\n".join(lines) + "\n"
