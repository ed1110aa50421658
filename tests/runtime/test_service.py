"""The helper thread: order, results and errors, interrupted waits, forks, the exit, and where no thread can be had."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from livegrad.llvm import service


def python(code, timeout=120, noise=False):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=timeout,
        env={**os.environ, "LIVEGRAD_NATIVE": "0"},
    )  # fmt: skip
    assert (done.returncode, "" if noise else done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.fixture
def held():
    """The thread at work on a job that ends when the event is set."""
    begun, event = threading.Event(), threading.Event()
    job = service.submit(lambda: (begun.set(), event.wait()))
    begun.wait()
    yield event
    event.set()
    job.wait()


def test_calls_are_made_in_order_and_a_call_that_is_waited_for_comes_first(held):
    made = []
    jobs = [service.submit(made.append, i) for i in range(5)]
    waiting = threading.Thread(target=service.call, args=(made.append, "first"))
    before = len(service._service.jobs)
    waiting.start()
    while len(service._service.jobs) == before:
        time.sleep(0.001)
    held.set()
    waiting.join()
    service.drain()
    assert made == ["first", 0, 1, 2, 3, 4]
    assert all(job.done for job in jobs)


def test_result_and_error():
    assert service.call(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        service.call(divmod, 7, 0)
    job = service.submit(divmod, 7, 0)
    assert job.wait() and isinstance(job.error, ZeroDivisionError)
    job = service.submit(sys.exit)
    assert job.wait() and isinstance(job.error, SystemExit)
    assert service.call(divmod, 7, 2) == (3, 1)


def test_a_call_may_make_calls():
    me = threading.get_ident()
    there = service.call(threading.get_ident)
    assert there != me
    assert service.call(lambda: service.call(threading.get_ident)) == there


def test_wait_gives_up_after_the_time(held):
    job = service.submit(int)
    assert not job.wait(0.01)
    held.set()
    assert job.wait() and job.result == 0


def test_many_threads_wait_for_one_job(held):
    job = service.submit(lambda: 5)
    seen = []
    threads = [threading.Thread(target=lambda: (job.wait(), seen.append(job.result))) for _ in range(8)]
    for thread in threads:
        thread.start()
    held.set()
    for thread in threads:
        thread.join()
    assert seen == [5] * 8


def test_no_finalizers_of_others_during_a_job():
    state = service.call(gc.isenabled), gc.isenabled()
    assert state == (False, True)
    gc.disable()
    try:
        service.call(int)
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupted_wait_leaves_the_work_going_on(held):
    threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    job = service.submit(lambda: 5)
    with pytest.raises(KeyboardInterrupt):
        job.wait()
    held.set()
    assert job.wait() and job.result == 5


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interruptions_at_any_moment():
    """Calls under a rain of alarms: every one that was made was made once, and the thread still serves."""
    python("""
        import random, signal
        from livegrad.llvm import service

        class Alarm(Exception): pass
        def alarm(*_): raise Alarm
        signal.signal(signal.SIGALRM, alarm)
        made, interrupted = [], 0
        for i in range(4000):
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 1e-4))
                while True:
                    service.call(made.append, i)
            except Alarm:
                interrupted += 1
        assert interrupted == 4000
        service.drain()
        assert made and service.call(int) == 0
        before = len(made)
        assert service.call(made.append, -1) is None and len(made) == before + 1
    """)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(
    "leave",
    [
        "_imp.acquire_lock()",
        "lock = importlib._bootstrap._get_module_lock('livegrad.fft'); lock.acquire()",
    ],
)
@pytest.mark.parametrize("first", ["service.submit(job)", "service.submit(job).wait()", "service.call(job)"])
def test_locks_of_an_interrupted_import_do_not_stop_jobs_that_import(leave, first):
    """Ctrl-C between taking an import lock and the block that releases it; the exit waits for the job as well."""
    out = python(f"""
        import _imp, importlib
        from livegrad.llvm import service
        def job():
            import livegrad.fft
            print(livegrad.fft.fft.__name__, flush=True)
        {leave}
        {first}
    """)
    assert out == "fft\n" or first == "service.submit(job)"  # which the exit may come before
    assert out in ("", "fft\n")


def test_an_import_under_way_keeps_its_locks(tmp_path):
    (tmp_path / "half.py").write_text(
        "import importlib\n"
        "from livegrad.llvm import service\n"
        "lock = importlib._bootstrap._module_locks[__name__]()\n"
        "assert service.call(divmod, 7, 2) == (3, 1)\n"
        "assert lock.owner is not None\n"
    )
    python(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import half")


def test_a_fork_waits_for_the_job_and_the_child_takes_over_what_waits():
    python("""
        import os, time, warnings
        from livegrad.llvm import service
        warnings.simplefilter("ignore")  # newer Pythons warn of any fork with threads

        steps = []
        def step(i):
            steps.append((i, "begun")); time.sleep(0.02); steps.append((i, "done"))
        jobs = [service.submit(step, i) for i in range(5)]
        while not steps: time.sleep(0.001)
        pid = os.fork()
        if not pid: assert len(steps) % 2 == 0, steps  # nobody was in the middle; the parent may be by now
        for job in jobs: assert job.wait()
        assert steps == [(i, what) for i in range(5) for what in ("begun", "done")]
        assert service.call(int) == 0
        if not pid: os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    """)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forks_in_several_threads_at_once():
    python("""
        import os, threading, warnings
        from livegrad.llvm import service
        warnings.simplefilter("ignore")

        def forks():
            for _ in range(10):
                pid = os.fork()
                if not pid:
                    os._exit(service.call(int))
                assert os.waitpid(pid, 0)[1] == 0
                service.call(sum, range(1000))
        threads = [threading.Thread(target=forks) for _ in range(4)]
        for t in threads: t.start()
        for t in threads: t.join()
        assert service.call(int) == 0 and not service._service.forking
    """)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_an_interrupted_fork_stops_jobs_all_the_same_and_lets_them_go_on():
    python(
        """
    import os, signal, time
    from livegrad.llvm import service

    waited = service._service.wait_until_idle
    def interrupted(*args):
        service._service.wait_until_idle = waited
        raise KeyboardInterrupt
    service.call(divmod, 7, 2)
    service._service.wait_until_idle = interrupted
    try:
        child = os.fork()
        if not child:
            service.drain()
            os._exit(service.call(divmod, 7, 2) != (3, 1))
        service.drain()
        time.sleep(60)
        raise AssertionError("the interruption is lost")
    except KeyboardInterrupt:  # when it is over
        assert os.wait()[1] == 0
    assert not service._service.forking and service.call(divmod, 7, 2) == (3, 1)

    # At any moment, the hooks of the parent included.
    def alarm(*_): raise KeyboardInterrupt
    signal.signal(signal.SIGALRM, alarm)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is put off
    for i in range(300):
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-5 + i * 5e-6)
                child = os.fork()
                if not child:
                    os._exit(0)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            pass
        assert service.submit(divmod, 7, 2).wait(60)
    """,
        noise=True,
    )


def test_the_exit_waits_for_the_job_and_later_calls_are_made_where_they_are_asked_for():
    out = python("""
        import atexit, threading, time
        atexit.register(lambda: print(service.call(threading.get_ident) == threading.get_ident(), flush=True))
        from livegrad.llvm import service
        begun = threading.Event()
        service.submit(lambda: (begun.set(), time.sleep(0.2), print("done", flush=True)))
        service.submit(print, "never")
        begun.wait()
    """)
    assert out.split() == ["done", "True"]


def test_where_no_thread_can_be_started():
    python("""
        import _thread, threading
        from livegrad.llvm import service
        start = _thread.start_new_thread
        def refuse(*_): raise RuntimeError("can't start new thread")
        _thread.start_new_thread = refuse
        assert service.call(threading.get_ident) == threading.get_ident()
        job = service.submit(int)
        assert job.wait() and job.result == 0
        _thread.start_new_thread = start
        assert service.call(threading.get_ident) != threading.get_ident()
    """)
