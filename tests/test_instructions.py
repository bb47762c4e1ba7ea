"""What the tiles become on CPUs that this one may not be: compiled for them, looked at, not run."""

import pytest
from llvmlite import binding, ir

from lm_meter.kernels import formats
from lm_meter.kernels.tile import _Emitter
from lm_meter.kernels.tile_shape import TileKind

INTEGERS = [formats.INT8, formats.INT4, formats.CODEBOOK4]


def assembly(cpu, kind):
    module = ir.Module(name="tile")
    module.triple = "x86_64-unknown-linux-gnu"
    _Emitter(module, kind)
    target = binding.Target.from_triple(module.triple)
    return target.create_target_machine(cpu=cpu, opt=3).emit_assembly(binding.parse_assembly(str(module)))


@pytest.fixture(autouse=True)
def x86():
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()


@pytest.mark.parametrize("code", INTEGERS, ids=lambda code: formats.NAMES[code])
@pytest.mark.parametrize(
    ("cpu", "multiply_add"), [("haswell", "vpmaddwd"), ("cascadelake", "vpdpwssd"), ("sapphirerapids", "vpdpwssd")]
)
def test_pairs_of_integers_are_multiplied_and_added_at_once(cpu, multiply_add, code):
    found = assembly(cpu, TileKind(1, 4, code, True))
    assert multiply_add in found
    assert "vpmulld" not in found


@pytest.mark.parametrize(("cpu", "register"), [("haswell", "ymm"), ("sapphirerapids", "zmm")])
def test_float16_is_widened_by_the_cpu_and_multiplied_by_fma(cpu, register):
    found = assembly(cpu, TileKind(2, 1, formats.FLOAT16, False))
    assert "vcvtph2ps" in found
    assert "vfmadd" in found
    assert register in found
