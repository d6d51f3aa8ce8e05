# SPDX-License-Identifier: MIT
"""SIGTERM and SIGINT wait for the next checkpoint and decide the exit status."""

import os
import pickle
import signal
import threading

import pytest

from eqcalc.interruption import INTERRUPTED, STOPPED, Stopped, stopping, terminable

pytestmark = pytest.mark.usefixtures("signals")

ERRORS = {
    signal.SIGTERM: Stopped,
    signal.SIGHUP: Stopped,
    signal.SIGINT: KeyboardInterrupt,
}


@pytest.mark.parametrize("number", list(ERRORS))
def test_a_signal_waits_until_it_is_obeyed(number):
    before, steps = signal.getsignal(number), []
    with pytest.raises(ERRORS[number]), stopping() as request:
        for step in range(10):
            if step == 4:
                os.kill(os.getpid(), number)
            steps.append(step)  # of the step in which it comes
            request.obey()
    assert steps == [0, 1, 2, 3, 4]
    assert signal.getsignal(number) == before


def test_the_exit_statuses():
    assert (Stopped().code, STOPPED, INTERRUPTED) == (75, 75, 130)


def test_a_second_signal_acts_as_before():
    with pytest.raises(KeyboardInterrupt), stopping() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        assert request
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("is not reached")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_error_is_not_hidden():
    with pytest.raises(ZeroDivisionError), stopping():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ZeroDivisionError


def test_ignored_signals_stay_ignored_and_threads_have_none():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping() as request:
            os.kill(os.getpid(), signal.SIGINT)
            assert not request
    finally:
        signal.signal(signal.SIGINT, before)
    found = []

    def elsewhere():
        with stopping() as request:
            found.append(bool(request))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [False]


def test_files_are_cleaned_up_when_a_command_is_terminated():
    cleaned = []
    with pytest.raises(Stopped), terminable():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("is not reached")
        finally:
            cleaned.append(True)
    assert cleaned and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_worker_process_can_tell_that_it_was_stopped():
    found = pickle.loads(pickle.dumps(Stopped()))
    assert isinstance(found, Stopped) and found.code == STOPPED
