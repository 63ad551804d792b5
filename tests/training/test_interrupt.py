"""Ctrl-C and SIGTERM: the first is a request, the second stops at once."""

import signal
import threading

import pytest

from jbackprop.training.interrupt import Terminated, interruptible


def test_one_ctrl_c_is_a_request_and_two_are_an_interrupt(capfd):
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert stop()
        assert "Ctrl-C again" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_no_handler_is_set():
    before, asked = signal.getsignal(signal.SIGINT), []

    def work():
        with interruptible() as stop:
            asked.append((stop(), signal.getsignal(signal.SIGINT) is before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert asked == [(False, True)]


def test_a_second_sigterm_stops_at_once(capfd):
    before = signal.getsignal(signal.SIGTERM)
    with interruptible() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop()
        with pytest.raises(Terminated):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
