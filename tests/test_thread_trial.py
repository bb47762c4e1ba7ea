"""The number of threads is chosen by a trial: the fastest by a made-up clock, and no bit depends on the changes."""

import numpy as np
import pytest
from every_model import every_model
from tiny import tiny_parts

import lm_meter
from lm_meter import online
from lm_meter.thread_trial import ThreadTrial, trial_of


def trials(rates, tokens, calls, asked=None):
    """Threads of each call of ``tokens`` tokens, where so many threads make ``rates[threads]`` tokens a second."""
    trial, made = trial_of(max(rates), asked), []
    for _ in range(calls):
        made.append(trial.threads)
        trial.saw(tokens / rates[trial.threads])
    return made


def test_one_thread_is_chosen_where_two_are_slower():
    # Calls of 0.1 s and 0.4 s: after two rounds one thread has worked for the 0.2 s that are enough.
    assert trials({1: 1000, 2: 250}, 100, 7) == [1, 2, 2, 1, 1, 1, 1]


def test_two_threads_are_chosen_where_they_are_faster():
    assert trials({1: 500, 2: 1000}, 100, 7) == [1, 2, 2, 1, 2, 2, 2]


def test_what_was_chosen_is_tried_again_later_and_later():
    trial, made = ThreadTrial([1, 2]), []
    for call in range(300):
        made.append(trial.threads)
        # Another program begins after the call 40: two threads were faster before, and one is afterwards.
        trial.saw({1: 0.4, 2: 0.2}[trial.threads] if call < 40 else {1: 0.4, 2: 0.8}[trial.threads])
    # 2 calls of trial, 64 of what was chosen, 2 of trial, 128, 2 of trial, and so on.
    assert made == [1, 2, *[2] * 64, 1, 2, *[1] * 128, 1, 2, *[1] * 102]


@pytest.mark.parametrize("tried", [[1], [1, 2], [1, 2, 3], [1, 4, 7, 8], [1, 4, 8, 9]])
def test_one_thread_half_of_them_all_but_one_and_all_are_tried(tried):
    rates = dict.fromkeys(range(1, tried[-1] + 1), 100)
    assert trials(rates, 100, len(tried)) == tried


def test_where_a_program_takes_one_of_eight_processors_seven_are_chosen():
    assert trials({1: 100, 4: 390, 7: 650, 8: 400}, 200, 5)[-1] == 7


def test_a_number_of_threads_that_is_asked_for_is_obeyed():
    assert trials({1: 1000, 2: 1}, 100, 5, asked=2) == [2] * 5


def test_rounds_of_calls_that_are_too_short_to_say_anything_do_not_count():
    trial = ThreadTrial([1, 2])
    # Waking the second thread takes longer than the call: 100 rounds of that choose nothing.
    for _ in range(100):
        assert (trial.saw(0.001), trial.saw(0.009)) == (None, 0.001)  # the next calls may be longer
    # Of longer ones the first round decides: as long as is enough.
    assert (trial.threads, trial.saw(0.4)) == (1, None)
    assert (trial.threads, trial.saw(0.3)) == (2, None)
    assert (trial.threads, trial.saw(0.1)) == (2, 0.1)


def test_a_disturbance_of_one_round_does_not_decide():
    trial = ThreadTrial([1, 2])
    for number, seconds in ((1, 0.05), (2, 0.12), (2, 0.03), (1, 0.06), (1, 0.06), (2, 0.03), (2, 0.03), (1, 0.06)):
        assert trial.threads == number
        assert trial.saw(seconds) is None
    # So far 0.23 s of one thread and 0.21 s of two.
    assert trial.threads == 2


class _Changing(ThreadTrial):
    """Another number of threads for each call, of the same length."""

    def saw(self, seconds):
        self._tried = self._tried[1:] + self._tried[:1]


def test_no_bit_depends_on_a_change_of_threads_between_two_calls(tmp_path, monkeypatch):
    path, text = tmp_path / "model.npz", tmp_path / "text"
    text.write_text("the cat sat on the mat\na dog ran\n" * 4, encoding="utf-8")
    monkeypatch.setattr(online, "trial_of", lambda most, asked: _Changing([1, 3, 2, 3, 1, 2] if asked == 3 else [1]))
    for parts in every_model():
        lm_meter.write_checkpoint(path, *parts)
        reference, actual = (
            lm_meter.evaluate(path, text=text, options=lm_meter.RunOptions(block=2, threads=threads))
            for threads in (1, 3)
        )
        assert actual.log_probs.view(np.int64).tolist() == reference.log_probs.view(np.int64).tolist()
        assert actual["histogram"] == reference["histogram"]


def test_the_result_says_how_many_threads_made_most_of_it(tmp_path, monkeypatch):
    path = lm_meter.write_checkpoint(tmp_path / "model.npz", *tiny_parts())
    (tmp_path / "text").write_text("the cat sat on the mat\n" * 30, encoding="utf-8")
    monkeypatch.setattr("lm_meter.threads.usable_cpus", lambda: 3)
    clock = iter(range(10**6))
    # Whatever is timed takes a second: no number of threads is faster, and the first one, of one thread, is kept.
    monkeypatch.setattr(online.time, "perf_counter", lambda: float(next(clock)))
    found = lm_meter.evaluate(path, text=tmp_path / "text", options=lm_meter.RunOptions(block=2))
    assert found["environment"]["threads"] == 1
    asked = lm_meter.evaluate(path, text=tmp_path / "text", options=lm_meter.RunOptions(block=2, threads=2))
    assert asked["environment"]["threads"] == 2
