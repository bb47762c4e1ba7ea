"""Storage: declared widths, tied tensors, the rules' golden layers."""

import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from tiny import TEXT, WORDS, integer_parts, tiny_checkpoint

from lm_meter import Checkpoint, evaluate, write_checkpoint
from lm_meter.profiles import PROFILES
from lm_meter.report import result_table
from lm_meter.storage import (
    Tensor,
    is_narrow,
    priced_parameters,
    tensors_from_json,
    tensors_of,
    tensors_to_json,
    total_bits,
)

JUNE, FINAL = PROFILES["micronet-2019-06"], PROFILES["micronet-2019-final"]
V = len(WORDS)  # 15


def tensor(width, *shape, tied_to=None):
    count = 0 if tied_to else 1
    for n in shape:
        count *= n
    return Tensor("t", shape, f"{width} bit", width, count, tied_to)


@pytest.mark.parametrize(
    ("tensors", "bits"),
    [
        ([tensor(32, 128, 512)], 2_097_152),  # 32 * 65,536
        ([tensor(16, 128, 512), tensor(16, 128)], 1_050_624),  # 16 * (65,536 + 128)
        # half the weights, a bias, and one mask bit for each weight: 16 * (32,768 + 128) + 65,536
        ([tensor(16, 32_768), tensor(16, 128), tensor(1, 128, 512)], 591_872),
        ([tensor(32, 267_735, 512)], 4_386_570_240),
    ],
)
def test_golden_layers(tensors, bits):
    assert total_bits(tensors) == bits


def test_the_baseline():
    """Tied embedding, LSTM, projection, three biases: 159,376,855 parameters."""
    shapes = [(267_735, 512), (8192, 2560), (512, 2048), (8192,), (512,), (267_735,)]
    tensors = [tensor(32, *shape) for shape in shapes] + [tensor(32, 267_735, 512, tied_to="embedding")]

    assert priced_parameters(tensors, JUNE) == 159_376_855
    assert priced_parameters(tensors[:3], JUNE) == 159_100_416
    assert priced_parameters(tensors, FINAL) == 159_376_855 / 2  # free 16 bits


def test_one_narrow_tensor_takes_the_free_bits_from_all():
    """June: 10 + 8 / 2. Final: 10 + 8 / 4 with it, 10 / 2 without."""
    wide, narrow = tensor(32, 10), tensor(8, 8)

    assert is_narrow([wide, narrow])
    assert priced_parameters([wide, narrow], JUNE) == 14
    assert priced_parameters([wide, narrow], FINAL) == 12
    assert not is_narrow([wide])
    assert priced_parameters([wide], FINAL) == 5


def test_a_mask_of_one_bit_takes_no_free_bits():
    """Half of 16-bit weights pruned: 10 / 2 and 20 mask bits of 1/32 each."""
    mask = replace(tensor(1, 20), role="mask")
    assert not is_narrow([tensor(16, 10), mask])
    assert priced_parameters([tensor(16, 10), mask], FINAL) == 5 + Fraction(20, 32)


def test_tensors_of_a_checkpoint(tmp_path):
    """Word vocabulary of 15: embedding 15 x 8, one layer of 12, untied softmax, biases."""
    path = tiny_checkpoint(tmp_path / "a.npz", dtype="float16")

    found = {t.name: (t.shape, t.count) for t in tensors_of(Checkpoint(path))}

    assert found == {
        "embedding": ((V, 8), V * 8),
        "lstm.0.weight": ((48, 20), 960),
        "lstm.0.bias": ((48,), 48),
        "softmax.weight": ((V, 12), V * 12),
        "softmax.bias": ((V,), V),
    }
    assert {t.width for t in tensors_of(Checkpoint(path))} == {16}


def test_a_tied_matrix_is_stored_once(tmp_path):
    path = tiny_checkpoint(tmp_path / "a.npz", tied=True, projection=8)

    tensors = {t.name: t for t in tensors_of(Checkpoint(path))}

    assert tensors["softmax.weight"] == Tensor("softmax.weight", (V, 8), "float32", 32, 0, "embedding")
    assert tensors["embedding"].count == V * 8
    # embedding, 4 * 12 x (8 + 12) and bias, projection 8 x 12 and bias, softmax bias
    assert total_bits(list(tensors.values())) == 32 * (V * 8 + 960 + 48 + 96 + 8 + V)


def test_tensors_survive_json(tmp_path):
    tensors = tensors_of(Checkpoint(tiny_checkpoint(tmp_path / "a.npz", tied=True)))

    assert tensors_from_json(tensors_to_json(tensors)) == tensors


def test_the_report_has_a_line_for_each_kind_of_number(tmp_path):
    """Kept weights, scales of 16 bits, code book and mask bits, each counted here from the shapes."""
    entries = {
        "lstm.0.weight": {"format": "int8", "offsets": True},
        "softmax.weight": {"format": "codebook4", "block": (1, 4)},
    }
    config, arrays = integer_parts(entries)
    write_checkpoint(tmp_path / "m.npz", config, arrays)
    (tmp_path / "text").write_text(TEXT, encoding="utf-8")
    table = result_table(evaluate(tmp_path / "m.npz", text=tmp_path / "text"))
    rows, columns = 4 * 12, 8 + 12
    book, kept = arrays["softmax.weight.codebook"].size, int(np.unpackbits(arrays["softmax.weight.mask"]).sum()) * 4
    values = 32 * (V * 8 + rows + V) + 8 * rows * columns + 4 * kept
    for role, bits in (
        ("values", values),
        ("scales", 16 * (rows + V)),
        ("offsets", 16 * rows),
        ("codebook", 8 * book),
        ("mask", V * 12 // 4),
    ):
        assert re.search(rf"^    {role} +{bits:,}$", table, re.MULTILINE), role
