"""What each process is told when something goes wrong between them."""

import json
import signal
import time

import together


def test_errors_name_ranks_calls_and_shapes(tmp_path):
    first, second, third = (json.loads(text) for text in together.run("failures", 3, tmp_path))
    assert all(seconds < 10 for found in (first, second, third) for _, seconds in found.values())
    for found in (first, second, third):
        text = found["shapes"][0]
        # A rank that had not begun yet when the others found out is told that it cannot call at all.
        assert text.startswith(("DistBackendError: the ranks of group 1 disagree: rank", "DistBackendError: rank ")), (
            text
        )
        assert "the ranks of group 1 disagree: rank" in text
        assert "called all_reduce(SUM) on float32 [2, " in text
        text = found["operations"][0]
        assert "broadcast(src=0) on float32 [3]" in text and "all_reduce(SUM) on float32 [3]" in text
        text = found["dtypes"][0]
        assert "float32 [3]" in text and "float64 [3]" in text
        assert "for 0.5 seconds" in found["late"][0] and "; rank 1 has not called it" in found["late"][0]
        assert "in all_reduce(SUM) on float32 [3]" in found["late"][0]
    assert first["silent"][0].endswith("rank 0, in recv(src=1): rank 1 sent nothing for 0.5 seconds")
    assert "rank 0 sent float32 [3], rank 1 receives float32 [4]" in second["message"][0]
    for found in (first, third):
        assert "Rank 1 failed to pass monitoredBarrier in 0.3 seconds" in found["missing"][0]
        assert "rank 1 is gone: its process has ended" in found["dead"][0]


def test_ctrl_c_ends_a_process_that_waits(tmp_path):
    processes = [together.start("waiting", rank, 2, tmp_path / "store", "livegrad") for rank in range(2)]
    try:
        assert processes[0].stdout.readline() == "ready\n"
        time.sleep(0.3)
        began = time.monotonic()
        processes[0].send_signal(signal.SIGINT)
        _, err = processes[0].communicate(timeout=20)
        assert "KeyboardInterrupt" in err and processes[0].returncode != 0
        out, _ = processes[1].communicate(timeout=20)
        assert out.startswith("ready\nDistBackendError: rank 0 ") or "rank 0" in out
        assert time.monotonic() - began < 15
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_process_ends_although_others_have_not_been_left(tmp_path):
    """No destroy_process_group, operations begun and never waited for: nothing keeps a process from ending."""
    for status, out, err in together.run("unfinished", 2, tmp_path, limit=30, fails=True):
        assert (status, out) == (0, "end\n"), err
