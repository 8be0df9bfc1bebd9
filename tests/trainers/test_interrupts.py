import os
import signal
import threading

import pytest

from model_search.trainers.interrupts import Interrupts


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
    assert Interrupts(1e-9).out_of_time
    assert not Interrupts(1000).out_of_time
    assert not Interrupts(None).out_of_time
    assert Interrupts(1e-9).remaining() == 0
