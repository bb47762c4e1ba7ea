"""Ctrl-C: noted once, obeyed between calls, raised the second time; other threads are left alone."""

import signal
import threading

import pytest

from lm_meter.interrupt import deferred_interrupt, obey_sigterm


def test_first_interrupt_is_noted_and_the_second_raised():
    with deferred_interrupt() as interruption:
        assert not interruption.requested
        signal.raise_signal(signal.SIGINT)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_handler_before_is_back_afterwards():
    before = signal.getsignal(signal.SIGINT)
    with deferred_interrupt():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_sigterm_is_noted_only_where_the_program_takes_it():
    before = signal.getsignal(signal.SIGTERM)
    with deferred_interrupt():
        assert signal.getsignal(signal.SIGTERM) == before  # the system's: a script is ended at once
    obey_sigterm()
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        with deferred_interrupt() as interruption:
            signal.raise_signal(signal.SIGTERM)
            assert interruption.requested
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_is_ignored_stays_ignored_during_a_pass(number):
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(number, signal.SIG_IGN)
    try:
        obey_sigterm()
        assert signal.getsignal(number) == signal.SIG_IGN
        with deferred_interrupt() as interruption:
            signal.raise_signal(number)
            assert not interruption.requested
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_outside_the_main_thread_nothing_changes():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with deferred_interrupt() as interruption:
            seen.append((interruption.requested, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
