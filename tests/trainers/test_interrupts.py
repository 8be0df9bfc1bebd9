import os
import signal
import threading

import pytest

from model_search.deadline import Deadline
from model_search.trainers.interrupts import Interrupts, TrialInterruptedError


def test_the_first_ctrl_c_is_a_flag_and_the_second_interrupts():
    with Interrupts() as interrupts:
        assert not interrupts.asked
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_former_handler_is_put_back():
    before = signal.getsignal(signal.SIGINT)
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_outside_the_main_thread_nothing_is_installed():
    seen = []
    before = signal.getsignal(signal.SIGINT)

    def body():
        with Interrupts():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_deadline_passes():
    now = [0.0]
    interrupts = Interrupts(Deadline(10.0, clock=lambda: now[0]))
    assert (interrupts.out_of_time, interrupts.seconds_left) == (False, 10.0)
    now[0] = 11.0
    assert (interrupts.out_of_time, interrupts.seconds_left) == (True, 0.0)
    assert (Interrupts().out_of_time, Interrupts().seconds_left) == (False, None)


def test_slow_work_is_waited_for_and_its_failure_raised():
    done = []
    with Interrupts() as interrupts:
        interrupts.wait_for(lambda: done.append(1))
        assert done == [1]
        with pytest.raises(ZeroDivisionError):
            interrupts.wait_for(lambda: 1 / 0)


def test_ctrl_c_is_noticed_while_slow_work_goes_on():
    release = threading.Event()
    with Interrupts() as interrupts:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(TrialInterruptedError):
            interrupts.wait_for(release.wait)
    assert not release.is_set()
    release.set()
