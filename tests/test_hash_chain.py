"""The chain of hashes over log-probabilities."""

import hashlib

import numpy as np
import pytest

from lm_meter.hash_chain import HashChain


def _values(count):
    return -np.random.default_rng(0).exponential(3.0, count)


def _links(values, *cuts, start=b"run"):
    chain = HashChain(start)
    for part in np.split(values, cuts):
        chain.add(part)
    return chain.links()


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 3000])
def test_links_are_those_of_the_definition(count):
    values = _values(count)
    reference = [hashlib.sha256(b"run").hexdigest()]
    for first in range(0, count, 1024):
        part = values[first : first + 1024].astype("<f8").tobytes()
        reference.append(hashlib.sha256(bytes.fromhex(reference[-1]) + part).hexdigest())
    assert _links(values) == reference


def test_pieces_make_no_difference():
    values = _values(5000)
    reference = _links(values)
    for cuts in ((1,), (1024,), (7, 1030, 1031, 4096), tuple(range(1, 5000))):
        assert _links(values, *cuts) == reference


def test_one_bit_changes_its_link_and_all_behind():
    values = _values(5000)
    changed = values.copy()
    changed[2100] = np.nextafter(changed[2100], 0)
    reference, actual = _links(values), _links(changed)
    assert [a == b for a, b in zip(actual, reference, strict=True)] == [True, True, True, False, False, False]


def test_another_run_shares_no_link():
    values = _values(3000)
    assert not set(_links(values)) & set(_links(values, start=b"another"))
