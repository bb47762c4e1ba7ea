"""Quantising checkpoints: what is rounded how, what is pruned, what stays, and what is refused."""

from fractions import Fraction

import numpy as np
import pytest
from stored_weights import reference_weights
from tiny import integer_parts, tiny_parts

from lm_meter import Checkpoint, CheckpointError, ConfigError, evaluate, write_checkpoint
from lm_meter.bfloat16 import from_bfloat16, to_bfloat16
from lm_meter.quantization.convert import quantize
from lm_meter.quantization.pruning import kept_blocks
from lm_meter.quantization.rounding import round_weights
from lm_meter.quantization.specification import Plan, Specification, parse_pattern, parse_specification
from lm_meter.weight_format import WeightFormat

LAYER = "lstm.0.weight"  # (64, 40): 4 * 16 rows, 24 + 16 columns
OPTIONS = {"embedding": 24, "hidden": (16,)}
SPECIFICATIONS = [
    "float32,activations=16",
    "float16",
    "bfloat16",
    "int8",
    "int8,group=8,activations=8,offsets",
    "int4,activations=8,accumulator=12,overflow=saturate",
    "codebook4,activations=16",
    "float16,block=1x8,prune=0.75",
    "int8,block=1x1,prune=0.3",
    "int4,activations=8,block=1x4,prune=0.5",
    "codebook4,block=1x2,prune=0.9",
]


def plan_of(default, *patterns):
    return Plan(parse_specification(default), tuple(map(parse_pattern, patterns)))


@pytest.fixture
def source(tmp_path):
    config, arrays = tiny_parts(**OPTIONS)
    write_checkpoint(tmp_path / "source.npz", config, arrays)
    return tmp_path / "source.npz"


def meanings(path):
    """Every weight array as the reference reads it: float64 values, zero where they were pruned."""
    opened = Checkpoint(path)
    arrays = {part: opened.view(opened.verified(part)) for parts in opened.parts.values() for part in parts}
    found = {}
    for name, declared in opened.formats.items():
        entry = declared.to_json()
        entry = {"format": entry} if isinstance(entry, str) else entry
        weights, _ = reference_weights(arrays, name, entry, opened.shape(name))
        if isinstance(weights, list):
            values = np.array(weights, object)
        else:
            numbers = np.array(weights.numbers, object)
            pruned = np.equal(numbers, None)
            scales = np.repeat(np.array(weights.scales), weights.group, axis=1)
            values = np.where(pruned, 0, numbers).astype(float) * scales
            if weights.offsets:
                values += np.repeat(np.array(weights.offsets), weights.group, axis=1)
        found[name] = np.where(np.equal(values, None), 0, values).astype(np.float64)
    return found


@pytest.mark.parametrize("specification", SPECIFICATIONS)
def test_the_file_means_what_the_report_says(specification, source, tmp_path):
    before = meanings(source)
    done = quantize(source, tmp_path / "out.npz", plan_of(specification))
    after = meanings(tmp_path / "out.npz")

    opened = Checkpoint(tmp_path / "out.npz")
    changes = {change.name: change for change in done.changes}
    assert set(changes) == {"embedding", LAYER, "softmax.weight"}  # biases are no matrices
    for name, change in changes.items():
        difference = np.abs(before[name] - after[name])
        # float32 arithmetic in the one, float64 in the other.
        assert change.largest_error == pytest.approx(difference.max(), rel=1e-5, abs=1e-7)
        assert change.mean_error == pytest.approx(difference.mean(), rel=1e-4, abs=1e-7)
        assert change.bytes_after == sum(
            np.prod(opened.stored_shape(part)) * array.dtype.itemsize for part, array in opened.parts[name].items()
        )
    for bias in ("lstm.0.bias", "softmax.bias"):
        assert np.array_equal(before[bias], after[bias])
    assert done.bytes_after == (tmp_path / "out.npz").stat().st_size
    # It runs, in its declared widths.
    text = tmp_path / "text"
    text.write_text("the cat sat on the mat\n", encoding="utf-8")
    assert evaluate(tmp_path / "out.npz", text=text)["text"]["scored"] == 7


def test_without_a_block_weights_are_pruned_one_by_one():
    assert Specification(WeightFormat("int8"), prune=0.5) == parse_specification("int8,prune=0.5,block=1x1")


@pytest.mark.parametrize("before", ["int8,group=8,offsets", "codebook4,group=8", "int4", "int4,block=1x8,prune=0.5"])
def test_what_was_quantised_is_read_as_what_it_stands_for(before, source, tmp_path):
    quantize(source, tmp_path / "first.npz", plan_of(before))
    quantize(tmp_path / "first.npz", tmp_path / "second.npz", plan_of("float32"))
    reference, actual = meanings(tmp_path / "first.npz"), meanings(tmp_path / "second.npz")
    for name, values in reference.items():
        # A product and a sum in float32.
        np.testing.assert_allclose(actual[name], values, rtol=2.0**-23, atol=2.0**-22)


def test_a_scale_is_found_for_the_weights_that_are_kept():
    """Zeros where weights were pruned lie far from the others' middle; served as well, they would keep steps coarse."""
    weights = np.array([[*np.linspace(1.0, 1.2, 900), 2.0, *np.zeros(900)]], np.float32)  # the middle is 1
    found = round_weights(weights, WeightFormat("int4", offsets=True), weights > 0)
    assert float(found.scales[0, 0]) < 0.6 / 7  # the outlier is cut off
    served = round_weights(weights, WeightFormat("int4", offsets=True))
    assert float(served.scales[0, 0]) > 0.8 / 7


@pytest.mark.parametrize("largest", [1.1e-5, 2.2e-5, 1.1e-4, 0.3])
def test_no_weight_is_cut_off_by_a_scale_that_float16_rounds_down(largest):
    weights = np.linspace(-largest, largest, 41, dtype=np.float32)[None]
    rounded = round_weights(weights, WeightFormat("int8"))
    assert np.abs(rounded.values() - weights).max() <= 0.51 * float(rounded.scales[0, 0])


def test_the_size_before_is_that_of_the_file_that_is_replaced(source):
    size = source.stat().st_size
    done = quantize(source, source, plan_of("int4"))
    assert (done.bytes_before, done.bytes_after) == (size, source.stat().st_size)
    assert done.bytes_after < size


@pytest.mark.parametrize("specification", SPECIFICATIONS)
def test_specifications_come_back_as_they_were_written(specification):
    found = parse_specification(specification)
    assert parse_specification(str(found)) == found
    assert sorted(str(found).split(",")) == sorted(specification.split(","))


def test_plain_rounding_to_int8_is_within_half_a_step():
    weights = np.random.default_rng(1).standard_normal((9, 24)).astype(np.float32)
    rounded = round_weights(weights, WeightFormat("int8", group=8))
    scales = (np.abs(weights.reshape(9, 3, 8)).max(axis=-1) / 127).astype(np.float16)
    assert np.array_equal(rounded.scales, scales)
    # Half a step, and what float16 moved the scale by at the far end: 127 * 2**-11 steps.
    steps = np.repeat(scales.astype(np.float64), 8, axis=1)
    assert np.all(np.abs(rounded.values() - weights) <= (0.5 + 127 * 2.0**-11) * steps)


def test_offsets_serve_weights_that_are_not_around_zero():
    weights = (5 + np.random.default_rng(1).random((4, 16))).astype(np.float32)
    with_offsets = round_weights(weights, WeightFormat("int4", offsets=True))
    without = round_weights(weights, WeightFormat("int4"))
    assert np.abs(with_offsets.values() - weights).max() < 0.08  # a range of 1 in 14 steps, half a step and rounding
    assert np.abs(without.values() - weights).max() > 0.2


def test_the_chosen_scale_of_int4_is_never_worse_than_the_largest_weight_over_seven():
    weights = np.random.default_rng(2).standard_t(3, (50, 64)).astype(np.float32)
    rounded = round_weights(weights, WeightFormat("int4"))
    plain = (np.abs(weights).max(axis=1, keepdims=True) / 7).astype(np.float16).astype(np.float32)
    plain_error = np.square(np.clip(np.rint(weights / plain), -8, 7) * plain - weights).sum(axis=1)
    error = np.square(rounded.values() - weights).sum(axis=1)
    assert np.all(error <= plain_error * (1 + 1e-5))
    assert error.sum() < 0.8 * plain_error.sum()


def test_a_code_book_finds_the_values_there_are():
    levels = np.sort(np.random.default_rng(3).choice(np.arange(-126, 127), 15, replace=False))
    levels = np.append(levels, 127).astype(np.float32)  # the largest is the scale's end in every row that has it
    numbers = np.random.default_rng(4).integers(0, 16, (40, 64))
    numbers[:, 0] = 15
    weights = levels[numbers] / 127
    rounded = round_weights(weights, WeightFormat("codebook4"))
    assert rounded.book.tolist() == levels.astype(int).tolist()
    assert np.array_equal(rounded.numbers, numbers)


def test_rows_of_zeros_and_tiny_weights_have_a_scale():
    weights = np.zeros((3, 8), np.float32)
    weights[1] = 1e-30
    for kind in ("int8", "int4", "codebook4"):
        rounded = round_weights(weights, WeightFormat(kind))
        assert np.all(rounded.scales > 0)
        assert np.abs(rounded.values()).max() < 1e-4


@pytest.mark.parametrize("block", [(1, 1), (2, 4), (1, 16)])
@pytest.mark.parametrize("prune", [0.1, 0.5, 0.999])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_the_smallest_blocks_go_and_no_others(block, prune, scale):
    weights = (scale * np.random.default_rng(5).standard_normal((12, 32))).astype(np.float32)
    kept = kept_blocks(weights, block, prune)
    squares = (
        np.square(weights.astype(np.float64))
        .reshape(12 // block[0], block[0], 32 // block[1], block[1])
        .sum(axis=(1, 3))
    )
    assert kept.sum() == max(1, round((1 - prune) * kept.size))
    assert squares[kept].min() > squares[~kept].max()


def test_of_equal_blocks_the_last_ones_go():
    kept = kept_blocks(np.ones((2, 8), np.float32), (1, 1), 0.25)
    assert kept.tolist() == [[True] * 8, [True] * 4 + [False] * 4]


def test_bfloat16_is_rounded_to_the_nearest_ties_to_even():
    values = np.array([1, 1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8 - 2**-20, 3e38, 0, -0.0], np.float32)
    expected = [1, 1, 1 + 2**-6, -1 - 2**-7, 3e38, 0, 0]
    assert from_bfloat16(to_bfloat16(values)).tolist() == pytest.approx(expected, rel=2**-8)
    assert from_bfloat16(to_bfloat16(values))[:4].tolist() == expected[:4]


def test_patterns_choose_and_the_last_match_counts(source, tmp_path):
    plan = plan_of("int8", "*.weight=int4", "lstm.*=keep", "*.bias=float16", "softmax.*=int4")
    done = quantize(source, tmp_path / "out.npz", plan)
    formats = {name: found.format for name, found in Checkpoint(tmp_path / "out.npz").formats.items()}
    assert formats == {
        "embedding": "int8",
        LAYER: "float32",
        "lstm.0.bias": "float16",
        "softmax.weight": "int4",
        "softmax.bias": "float16",
    }
    assert [change.name for change in done.changes] == ["embedding", "lstm.0.bias", "softmax.weight", "softmax.bias"]


def test_what_is_kept_keeps_its_bytes(tmp_path):
    entries = {LAYER: {"format": "int4", "block": (2, 8)}, "embedding": {"format": "codebook4", "group": 8}}
    config, arrays = integer_parts(entries, **OPTIONS)
    write_checkpoint(tmp_path / "source.npz", config, arrays)
    quantize(tmp_path / "source.npz", tmp_path / "out.npz", plan_of("keep"))
    opened = Checkpoint(tmp_path / "out.npz")
    for name, array in arrays.items():
        assert np.array_equal(opened.view(opened.verified(name)), array)


def test_what_was_pruned_stays_pruned(tmp_path):
    config, arrays = integer_parts({LAYER: {"format": "int8", "block": (2, 8)}}, **OPTIONS)
    write_checkpoint(tmp_path / "source.npz", config, arrays)
    quantize(tmp_path / "source.npz", tmp_path / "out.npz", plan_of("int4,activations=8"))
    opened = Checkpoint(tmp_path / "out.npz")
    assert opened.formats[LAYER] == WeightFormat("int4", activations=8, block=(2, 8))
    assert opened.bytes(f"{LAYER}.mask") == arrays[f"{LAYER}.mask"].tobytes()


def test_storage_and_parameters_before_and_after(source, tmp_path):
    done = quantize(source, tmp_path / "out.npz", plan_of("int8"))
    matrices, rows, biases = 15 * 24 + 64 * 40 + 15 * 16, 15 + 64 + 15, 64 + 15
    assert done.bits_before == 32 * (matrices + biases)
    assert done.bits_after == 8 * matrices + 16 * rows + 32 * biases
    assert done.parameters_before == matrices + biases
    assert done.parameters_after == Fraction(matrices, 2) + rows + biases


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int5", "weights 'int5': expected float32, float16, bfloat16, int8, int4, codebook4, keep"),
        (
            "int8,grup=8",
            "weights int8: has 'grup'; expected group, activations, accumulator, offsets, overflow, prune, ",
        ),
        ("int8,group=8,group=8", "weights 'int8,group=8,group=8': has group twice; expected it once"),
        ("int8,group=-8", "weights int8: group is '-8'; expected a whole number"),
        ("int8,prune=half", "weights int8: prune is 'half'; expected a fraction"),
        ("int8,prune=1.0", "weights int8,prune=1: prune is 1.0; expected a fraction from 0 to below 1"),
        ("int8,block=16", "weights int8: block is '16'; expected ROWSxCOLUMNS"),
        ("int8,prune=0.5,block=0x4", "weights int8: block is '0x4'; expected ROWSxCOLUMNS"),
        ("int8,block=1x16", "weights int8,block=1x16: has a block, but nothing is pruned; expected prune beside it"),
        ("int8,offsets=1", "weights int8: offsets is '1'; expected no value"),
        ("int8,overflow=clip", "weights int8: overflow is 'clip'; expected wrap or saturate"),
        ("keep,group=8", "weights keep: has group; expected no option where all stays as it is"),
        (
            "float16,activations=8",
            "weights float16,activations=8: 8-bit activations meet integer weights only; expected activations 16 or "
            "32, or int8, int4 or codebook4 weights",
        ),
    ],
)
def test_specifications_that_make_no_sense(text, message):
    with pytest.raises(ConfigError) as caught:
        parse_specification(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("text", ["int8", "=int8", "lstm"])
def test_a_pattern_without_a_specification(text):
    with pytest.raises(ConfigError, match=r"expected PATTERN=FORMAT, as in 'lstm\.\*=int4'"):
        parse_pattern(text)


@pytest.mark.parametrize(
    ("plan", "error", "message"),
    [
        (
            ("int8", "lstm.9*=int4"),
            ConfigError,
            "pattern 'lstm.9*' matches no tensor; there are embedding, lstm.0.w",
        ),
        (
            ("int8,group=16",),
            CheckpointError,
            "embedding: group is 16; expected a multiple of 8 that divides its 24 col",
        ),
        (
            ("int8,prune=0.5,block=1x16",),
            CheckpointError,
            "array embedding: block is [1, 16]; expected [rows, columns]",
        ),
        (("int4,prune=0.5,offsets",), CheckpointError, "embedding: is pruned and has offsets; expected scales alone"),
        (
            ("keep", "*.bias=int8"),
            ConfigError,
            "pattern '*.bias' matches no matrix that can be int8; expected a plain floating-point format, or keep",
        ),
        (
            ("keep", "*.bias=float16,prune=0.5"),
            ConfigError,
            "pattern '*.bias' matches no matrix that can be float16,block",
        ),
        (("float16,group=8",), CheckpointError, "array embedding: float16 has no scales"),
        (
            ("int8,activations=8,accumulator=12",),
            CheckpointError,
            "embedding: accumulator is 12; expected 20 bits",
        ),
    ],
)
def test_plans_that_do_not_fit_the_checkpoint(plan, error, message, source, tmp_path):
    with pytest.raises(error) as caught:
        quantize(source, tmp_path / "out.npz", plan_of(*plan))
    assert message in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source.npz"]


def test_weights_that_no_float16_can_hold(tmp_path):
    config, arrays = tiny_parts(**OPTIONS)
    arrays[LAYER][3, 4] = 3.4e38
    write_checkpoint(tmp_path / "source.npz", config, arrays)
    for kind, message in (
        ("float16", "a weight of 3.4e+38 does not fit float16; choose bfloat16 or float32"),
        ("bfloat16", "a weight of 3.4e+38 does not fit bfloat16; choose float32"),
        ("int8", "a weight of 3.4e+38 needs a scale that float16 does not have; choose float32"),
        ("codebook4,offsets", "weights around 3.4e+38 need an offset that float16 does not have; choose float32"),
    ):
        with pytest.raises(ConfigError) as caught:
            quantize(tmp_path / "source.npz", tmp_path / "out.npz", plan_of(kind))
        assert str(caught.value) == f"{LAYER}: {message}"
