"""Programs started in several processes: by the launcher, by the command, by spawn."""

import os
import socket
import subprocess
import sys

import mp_target
import pytest

import livegrad
from livegrad.distributed.elastic.multiprocessing import errors
from livegrad.multiprocessing import ProcessExitedException, ProcessRaisedException

PROGRAM = """
import os, sys, time
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
rank = dist.get_rank()
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1))
model(torch.full((1, 2), float(rank))).sum().backward()
assert rank == int(os.environ["LOCAL_RANK"])
if sys.argv[1] == "fail" and rank == 1:
    raise ValueError("rank one had enough")
if sys.argv[1] == "fail":
    time.sleep(60)
dist.barrier()
print(f"{rank} of {dist.get_world_size()}: {model.module.weight.grad.tolist()} {sys.argv[1:]}\\n", end="", flush=True)
dist.destroy_process_group()
"""
PLAIN = PROGRAM.replace("import torch\n", "import livegrad as torch\n").replace(
    "torch.distributed as", "livegrad.distributed as"
)


def command(*arguments, folder, limit=60):
    named = {name: value for name, value in os.environ.items() if name != "LIVEGRAD_NATIVE"}
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=named, capture_output=True, text=True, timeout=limit
    )


@pytest.fixture
def program(tmp_path):
    (tmp_path / "train.py").write_text(PROGRAM)
    (tmp_path / "plain.py").write_text(PLAIN)
    return tmp_path


def test_a_pytorch_program_in_several_processes(program):
    done = command("livegrad", "run", "--nproc-per-node", "2", "train.py", "go", "--nproc-per-node", folder=program)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        f"{rank} of 2: [[0.5, 0.5]] ['go', '--nproc-per-node']" for rank in range(2)
    ]


def test_a_program_of_its_own(program):
    done = command("livegrad.distributed.run", "--standalone", "--nproc_per_node=3", "plain.py", "go", folder=program)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"{rank} of 3: [[1.0, 1.0]] ['go']" for rank in range(3)]


def test_two_machines(program):
    """Both launchers are on this machine, and meet at an address and port that both are told."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    named = {name: value for name, value in os.environ.items() if name != "LIVEGRAD_NATIVE"}
    where = ["--nnodes", "2", "--master-addr", "127.0.0.1", "--master-port", str(port)]
    (program / "nodes.py").write_text(
        PROGRAM.replace('== int(os.environ["LOCAL_RANK"])', '== int(os.environ["GROUP_RANK"])')
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "livegrad", "run", *where, "--node-rank", str(node), "nodes.py", "go"],
            cwd=program, env=named, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for node in range(2)
    ]  # fmt: skip
    try:
        for node, process in enumerate(both):
            out, err = process.communicate(timeout=60)
            assert (process.returncode, out) == (0, f"{node} of 2: [[0.5, 0.5]] ['go']\n"), err
    finally:
        for process in both:
            process.kill()


def test_one_that_fails_ends_the_others(program):
    done = command("livegrad", "run", "--nproc-per-node", "2", "train.py", "fail", folder=program, limit=40)
    assert done.returncode == 1
    assert "train.py failed: rank 1 (local rank 1, process" in done.stderr
    told = done.stderr.split("the others were stopped")[1]
    assert "Traceback of rank 1:" in told and "ValueError: rank one had enough" in told
    assert told.count("File ") == 1 and 'train.py", line' in told  # the program's own frames only


def test_what_is_wrong_with_the_arguments_is_one_line(program):
    for arguments, text in (
        (("--nproc-per-node", "none", "train.py"), "not 'none'"),
        (("--nproc-per-node", "2", "missing.py"), "there is no file missing.py"),
        (("--nproc-per-node", "2", "--nnodes", "2", "train.py"), "several machines need --master-addr"),
    ):
        done = command("livegrad", "run", *arguments, folder=program)
        assert done.returncode == 2 and text in done.stderr and done.stderr.count("\n") == 1


def test_a_recorded_error(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))

    @errors.record
    def main():
        return 1 // 0

    with pytest.raises(ZeroDivisionError):
        main()
    assert "ZeroDivisionError" in errors.recorded(str(tmp_path / "error.json"))


def test_spawn_tells_what_went_wrong():
    with pytest.raises(ProcessRaisedException, match="Process 1 terminated with the following error") as caught:
        livegrad.multiprocessing.spawn(mp_target.complain, nprocs=2)
    assert "ValueError: from 1" in str(caught.value) and caught.value.error_index == 1
    with pytest.raises(ProcessExitedException, match="exit code 3") as exited:
        livegrad.multiprocessing.spawn(mp_target.fail, nprocs=2)
    assert exited.value.exit_code == 3
    context = livegrad.multiprocessing.spawn(mp_target.nothing, nprocs=1, join=False)
    assert len(context.pids()) == 1
    while not context.join(timeout=20):
        pass
