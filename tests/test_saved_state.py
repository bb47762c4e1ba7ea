"""Saved states: what is read is what was written, and every other file is refused in one line."""

import numpy as np
import pytest

from lm_meter.errors import StateError
from lm_meter.saved_state import SavedState, previous_path, read_state, save_state


def _state(seed=0):
    rng = np.random.default_rng(seed)
    arrays = {
        "buffers": rng.standard_normal(37).astype(np.float32),
        "log_probs": -rng.exponential(3.0, 11),
        "tallies": rng.integers(0, 2**60, (2, 3, 5)),
        "nothing": np.zeros((0, 4), np.int32),
    }
    return SavedState({"checkpoint": "ab" * 32, "block": 64}, {"done": 11, "seconds": 0.125}, arrays)


def _same(first, second):
    return (
        (first.run, first.progress) == (second.run, second.progress)
        and list(first.arrays) == list(second.arrays)
        and all(
            a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
            for a, b in zip(first.arrays.values(), second.arrays.values(), strict=True)
        )
    )


def test_a_state_comes_back_bit_for_bit(tmp_path):
    save_state(_state(), tmp_path / "s")
    assert _same(read_state(tmp_path / "s"), _state())


def test_the_one_before_is_kept(tmp_path):
    for seed in (1, 2, 3):
        save_state(_state(seed), tmp_path / "s")
    assert _same(read_state(tmp_path / "s"), _state(3))
    assert _same(read_state(previous_path(tmp_path / "s")), _state(2))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["s", "s.previous"]


def test_a_file_cut_at_every_length_is_refused(tmp_path):
    save_state(_state(), tmp_path / "s")
    whole = (tmp_path / "s").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(StateError, match=r"is too short for a state|is no state of lm-meter|the checksum is wrong"):
            read_state(tmp_path / "cut")


def test_a_changed_byte_is_refused(tmp_path):
    save_state(_state(), tmp_path / "s")
    whole = (tmp_path / "s").read_bytes()
    for at in range(0, len(whole), 7):
        (tmp_path / "changed").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(StateError, match=r"is no state of lm-meter|the checksum is wrong"):
            read_state(tmp_path / "changed")
