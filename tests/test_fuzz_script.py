"""The harness that fuzzes: what it makes of an input for which memory runs out."""

import resource
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import fuzz as script

VALID = b'checkpoint = "m.npz"\ncorpus = "sample"\n[claims]\nperplexity = 3\n'


@pytest.fixture
def fuzz(monkeypatch):
    """The script, for whose limit every input is too large."""

    def too_large(*_):
        raise MemoryError

    monkeypatch.setattr(script, "outcome_of", too_large)
    return script


def test_a_valid_input_that_needs_more_memory_is_no_finding(fuzz, tmp_path):
    assert fuzz.judged("entry", VALID, tmp_path) == fuzz.LARGE


def test_what_takes_much_memory_and_is_refused_after_all_is_one(fuzz, tmp_path):
    with pytest.raises(AssertionError, match=r"more than 200 MB are taken before it ends: \['ConfigError in entry\."):
        fuzz.judged("entry", VALID.replace(b"perplexity", b"nothing"), tmp_path)


def test_what_needs_more_than_a_valid_model_may_have_is_one(fuzz, tmp_path, monkeypatch):
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    monkeypatch.setattr(fuzz, "limit_memory", lambda _: resource.setrlimit(resource.RLIMIT_AS, (64 << 20, hard)))
    with pytest.raises(AssertionError, match="more than 200 MB are taken before it ends"):
        fuzz.judged("entry", VALID, tmp_path)


def test_others_are_judged_as_they_end(fuzz, tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "outcome_of", lambda *_: "read")
    assert fuzz.judged("entry", VALID, tmp_path) == "read"
    monkeypatch.setattr(fuzz, "outcome_of", lambda *_: {}["no error of ours"])
    with pytest.raises(KeyError):
        fuzz.judged("entry", VALID, tmp_path)
