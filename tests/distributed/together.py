"""Runs a program in several processes, with livegrad or with PyTorch."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).resolve().parent / "programs"


def start(program, rank, size, store, library, arguments=(), **environment):
    """One process: `programs/PROGRAM.py LIBRARY STORE ARGUMENTS...`."""
    named = {
        **os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "OMP_NUM_THREADS": "1",
        "LIVEGRAD_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{PROGRAMS}", **environment,
    }  # fmt: skip
    for name in ("MASTER_ADDR", "LIVEGRAD_NATIVE"):  # a short program does not wait for compiled functions
        named.pop(name, None)
    command = [sys.executable, str(PROGRAMS / f"{program}.py"), library, str(store), *arguments]
    return subprocess.Popen(command, env=named, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(program, size, folder, library="livegrad", arguments=(), limit=150, fails=False):
    """What each process printed, and with `fails` (exit status, output, errors) of each."""
    store = folder / f"store-{library}-{program}-{size}-{'-'.join(arguments)}"
    processes = [start(program, rank, size, store, library, arguments) for rank in range(size)]
    found = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=limit)
            found.append((process.returncode, out, err))
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
    if fails:
        return found
    assert not any(status for status, _, _ in found), "\n".join(errors for _, _, errors in found)
    return [out for _, out, _ in found]
