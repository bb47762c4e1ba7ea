"""The reader that sets the limit really reads every byte, in any split among threads."""

import functools
import operator

import numpy as np

from lm_meter.bandwidth import stream_bytes_per_second
from lm_meter.kernels.stream import STRIDE, read_share
from lm_meter.threads import ThreadTeam


def _words(strides):
    return np.random.default_rng(0).integers(-(2**62), 2**62, strides * STRIDE // 8)


def test_reader_combines_every_word():
    for strides in (1, 5, 37):  # fewer than the runs of a thread, and no multiple of them
        data = _words(strides)
        expected = functools.reduce(operator.xor, data.tolist())
        for threads in (1, 2, 3):
            parts = [read_share(data.view(np.uint8), thread, threads) for thread in range(threads)]
            assert functools.reduce(operator.xor, parts) == expected


def test_a_changed_byte_anywhere_changes_the_word():
    data = _words(3).view(np.uint8)
    before = read_share(data, 0, 1)
    for at in range(0, data.size, 61):
        data[at] ^= 1
        assert read_share(data, 0, 1) != before
        data[at] ^= 1


def test_rate_is_positive_and_zero_where_there_is_nothing_to_read():
    team = ThreadTeam(2)
    assert stream_bytes_per_second(_words(1000).view(np.uint8), team) > 0
    assert stream_bytes_per_second(np.zeros(10, np.uint8), team) == 0
