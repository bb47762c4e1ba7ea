"""Passes that are saved, interrupted and taken up: the same bits; states of other runs and damaged ones are refused."""

import os
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from tiny import TEXT, tiny_checkpoint
from tiny_transformer import transformer_parts

import lm_meter
from lm_meter.errors import ConfigError, StateError, StateWarning
from lm_meter.interrupt import obey_sigterm
from lm_meter.pass_files import PassFiles
from lm_meter.saved_state import SavedState, previous_path, read_state, save_state

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
import check_resume

SAME = ("histogram", "overflows", "chain", "nll_nats", "perplexity", "uncertainty", "text", "activations", "storage")


class _Stop:
    """A progress that asks to stop, with a signal, when so many predictions are made."""

    def __init__(self, at, number=signal.SIGINT):
        self.at, self.number, self.begun = at, number, 0

    def begin(self, done, nll_nats):
        self.begun = done

    def update(self, done, nll_nats):
        if self.at is not None and done >= self.at:
            self.at = None
            signal.raise_signal(self.number)

    def close(self):
        pass


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text").write_text(TEXT * 8, encoding="utf-8")
    return tmp_path / "text"


@pytest.fixture
def run(tmp_path, text):
    """Evaluate a checkpoint with a state; stop after some predictions if asked to."""

    def evaluate(checkpoint, stop=None, block=3, **options):
        chosen = lm_meter.RunOptions(block=block, **options)
        files = PassFiles(tmp_path / "state", 1e-9)
        return lm_meter.evaluate(
            checkpoint, text=text, options=chosen, files=files, progress=(lambda _: stop) if stop else None
        )

    return evaluate


def _checkpoint(kind, path):
    if kind == "transformer":
        words = tuple(dict.fromkeys(("<eos>", "<unk>", *TEXT.split())))
        return lm_meter.write_checkpoint(path, *transformer_parts("llama", words)) or path
    return tiny_checkpoint(path, kind=kind, hidden=(20,))


@pytest.fixture
def terminable():
    """A program that takes SIGTERM as the command does."""
    before = signal.getsignal(signal.SIGTERM)
    obey_sigterm()
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("terminable")
@pytest.mark.parametrize("cache", [None, "9,0.5,0.2"])
@pytest.mark.parametrize("kind", ["word", "characters", "sentencepiece", "transformer"])
def test_a_run_that_was_stopped_twice_ends_like_one_that_was_not(kind, cache, run, text, tmp_path):
    checkpoint = _checkpoint(kind, tmp_path / "model.npz")
    options = {"continuous_cache": cache}
    reference = lm_meter.evaluate(checkpoint, text=text, options=lm_meter.RunOptions(**options))

    first = run(checkpoint, _Stop(10), **options)
    assert first["partial"]
    assert first["run"]["sittings"] == 1
    later = _Stop(first["text"]["scored"] + 20, signal.SIGTERM)
    second = run(checkpoint, later, block=5, threads=1, **options)
    assert second["partial"]
    assert later.begun == first["text"]["scored"]
    assert second["text"]["scored"] > later.begun
    actual = run(checkpoint, block=2, threads=2, **options)

    assert actual["run"]["sittings"] == 3
    assert actual.log_probs.tobytes() == reference.log_probs.tobytes()
    assert {name: actual[name] for name in SAME} == {name: reference[name] for name in SAME}


def test_a_finished_run_is_not_made_again(run, tmp_path):
    checkpoint = tiny_checkpoint(tmp_path / "model.npz")
    reference = run(checkpoint)
    written = (tmp_path / "state").stat().st_mtime_ns
    progress = _Stop(None)
    again = run(checkpoint, progress)
    assert progress.begun == reference["text"]["scored"]
    assert again["speed"]["seconds"] == reference["speed"]["seconds"]
    assert again.log_probs.tobytes() == reference.log_probs.tobytes()
    assert (tmp_path / "state").stat().st_mtime_ns == written


@pytest.mark.parametrize("case", ["lstm", "transformer, continuous cache"])
def test_runs_that_are_killed(case):
    found = check_resume.check(check_resume.shipped_cases(400)[case], kills=5, seed=3)
    assert found.equal == found.ended >= 1
    assert found.sittings > found.ended


@pytest.fixture
def stopped(run, tmp_path):
    """A checkpoint whose run was stopped."""
    checkpoint = tiny_checkpoint(tmp_path / "model.npz")
    run(checkpoint, _Stop(12))
    return checkpoint


def test_a_state_of_another_run_is_refused_with_what_differs(stopped, run, text, tmp_path):
    before = (tmp_path / "state").read_bytes()
    with pytest.raises(StateError, match=r"is the state of another run .*limit is None in it, 9 now.; choose"):
        run(stopped, limit=9)
    with pytest.raises(StateError, match=r"continuous_cache is None in it, .*; choose another file, or delete it"):
        run(stopped, continuous_cache="4,0.5,0.2")
    with pytest.raises(StateError, match="first_token is 'score' in it, 'skip' now"):
        run(stopped, first_token="skip")
    other = tiny_checkpoint(tmp_path / "other.npz", hidden=(9,))
    with pytest.raises(StateError, match=r"checkpoint is '[0-9a-f]{16,19}.* in it, '[0-9a-f]{16,19}.* now"):
        run(other)
    text.write_text(TEXT, encoding="utf-8")
    with pytest.raises(StateError, match=r"\(text is '[0-9a-f]{16,19}.* in it, "):
        run(stopped)
    assert (tmp_path / "state").read_bytes() == before


def test_a_state_of_another_version_is_refused(stopped, run, tmp_path, monkeypatch):
    monkeypatch.setattr("lm_meter.environment.__version__", "9.9")
    with pytest.raises(StateError, match=r"lm_meter is '0.1.0' in it, '9.9' now"):
        run(stopped)


def test_a_state_with_more_entries_than_are_known_is_refused(stopped, run, tmp_path):
    state = read_state(tmp_path / "state")
    save_state(SavedState({**state.run, "more": 1}, state.progress, state.arrays), tmp_path / "state")
    with pytest.raises(StateError, match="it has other entries"):
        run(stopped)


def test_a_damaged_state_falls_back_to_the_one_before_and_says_so(stopped, run, text, tmp_path):
    reference = lm_meter.evaluate(stopped, text=text)
    path = tmp_path / "state"
    good, raw = previous_path(path).read_bytes(), bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 8
    path.write_bytes(raw)
    stop = _Stop(None)
    with pytest.warns(StateWarning, match=r"the checksum is wrong.*; going on from the one before, state.previous"):
        actual = run(stopped, stop)
    path.with_name("known").write_bytes(good)
    assert stop.begun == read_state(path.with_name("known")).progress["done"]
    assert actual.log_probs.tobytes() == reference.log_probs.tobytes()


def test_a_state_that_is_not_there_falls_back_to_the_one_before(stopped, run, text, tmp_path):
    (tmp_path / "state").unlink()
    stop = _Stop(None)
    with pytest.warns(StateWarning, match="is not there; going on from the one before, state.previous"):
        run(stopped, stop)
    assert stop.begun > 0


def test_two_damaged_states_are_refused_and_kept(stopped, run, tmp_path):
    path = tmp_path / "state"
    for file in (path, previous_path(path)):
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StateError, match="the checksum is wrong"):
        run(stopped)
    previous_path(path).unlink()
    with pytest.raises(StateError, match=r"there is no state.previous to go on from; delete it to start anew"):
        run(stopped)
    assert path.exists()


def _raise(number):
    def fail(*arguments, **more):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("place", "number"), [("os.fsync", 28), ("tempfile.mkstemp", 30), ("os.replace", 13), ("os.fchmod", 1)]
)
def test_a_state_that_cannot_be_written_is_said_and_the_run_goes_on(
    place, number, stopped, run, text, tmp_path, monkeypatch
):
    path = tmp_path / "state"
    before = path.read_bytes()
    reference = lm_meter.evaluate(stopped, text=text)
    monkeypatch.setattr("lm_meter.atomic_file._DESCRIPTORS", tmp_path / "none")  # as where all files have names
    monkeypatch.setattr(place, _raise(number))
    with pytest.warns(StateWarning, match=r"cannot be written \(.*\); the run goes on, the last state is intact"):
        actual = run(stopped)
    monkeypatch.undo()
    assert actual.log_probs.tobytes() == reference.log_probs.tobytes()
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.npz", "state", "state.previous", "text"]


def test_a_damaged_state_in_a_folder_that_cannot_be_written(stopped, run, tmp_path, monkeypatch):
    path = tmp_path / "state"
    path.write_bytes(b"")
    monkeypatch.setattr("os.replace", _raise(30))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        run(stopped)
    assert any("cannot be replaced (Read-only file system)" in str(warning.message) for warning in found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"done": 9}, "log-probabilities of 9 predictions"),
        ({"done": "x"}, "done is 'x'"),
        ({"done": -1}, "done is -1"),
        ({"sittings": 1.5}, "sittings is 1.5"),
        ({"rechecked": 10**400}, "rechecked is 10000"),
        ({"seconds": 10**400}, "seconds is 10000"),
        ({"cells": np.zeros((1, 4))}, "cells is float64"),
        ({"log_probs": np.zeros(3, np.float32)}, "log_probs is float32"),
        ({"cells": np.zeros((1, 4), np.int64)}, "its counts are of no region or kind of operation"),
        ({"cells": np.array([[99, 0, 0, 0]])}, "its counts are of no region or kind of operation"),
        ({"log_probs": np.full(3, np.nan), "done": 3}, "log-probabilities of 3 predictions"),
        ({"seconds": None}, "seconds is None"),
        ({"log_probs": np.zeros(9999), "done": 9999}, "it has 9999 predictions of "),
    ],
)
def test_a_state_that_contradicts_itself_is_refused(change, message, stopped, run, tmp_path):
    state = read_state(tmp_path / "state")
    progress = state.progress | {name: value for name, value in change.items() if name in state.progress}
    arrays = {**state.arrays, **{name: value for name, value in change.items() if name not in state.progress}}
    if "cells" in change:
        arrays["counts"] = np.ones(1, np.int64) if change["cells"].any() else np.ones(2, np.int64)
    save_state(SavedState(state.run, progress, arrays), tmp_path / "state")
    with pytest.raises(StateError, match=rf"its progress is not a pass's \(.*{message}.*\); delete it, and state.prev"):
        run(stopped)


def test_a_state_of_another_shape_is_refused_with_its_file(stopped, run, tmp_path):
    state = read_state(tmp_path / "state")
    arrays = {**state.arrays, "runtime.position": np.zeros(9, np.int64)}
    save_state(SavedState(state.run, state.progress, arrays), tmp_path / "state")
    with pytest.raises(StateError, match=r"state: array position of the state is int64 \[9\]; expected int64 \[2\]"):
        run(stopped)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "1", True])
def test_seconds_between_savings(seconds):
    with pytest.raises(ConfigError, match=r"save_every is .*; expected a number of seconds above 0"):
        PassFiles("state", seconds)
