"""``python -m livegrad.distributed.run --nproc-per-node N program.py``: a program in several processes, as by torchrun.

The program finds RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT and torchrun's other names in its environment,
so `init_process_group` needs no arguments. When a process fails, the others are ended, and the exit status is its own.
On several machines, each runs this with its ``--node-rank`` and the first's ``--master-addr`` and ``--master-port``.

``livegrad run --nproc-per-node N program.py`` does the same for a PyTorch program: its ``import torch`` gives livegrad.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from .errors import DistNetworkError
from .launcher import PORT, Plan, launch, to_stderr

__all__ = ["main"]


def processes(text: str) -> int:
    """How many processes: a number, or "auto" for as many as there are GPUs, else cores."""
    if text in ("auto", "cpu", "gpu"):
        import livegrad

        gpus = livegrad.cuda.device_count() if text != "cpu" else 0
        if text == "gpu" and not gpus:
            raise argparse.ArgumentTypeError("there is no GPU")
        return gpus or os.cpu_count() or 1
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number of processes is a whole number, or auto, not {text!r}")
    return int(text)


def _nodes(text: str) -> int:
    low, _, high = text.partition(":")
    if not low.isdecimal() or int(low) < 1 or (high and high != low):
        raise argparse.ArgumentTypeError(f"a number of machines is a whole number, not {text!r}")
    return int(low)


def add_options(parser: Any) -> None:
    """The options that say how many processes there are, and where they meet."""
    add = parser.add_argument
    add("--nproc-per-node", "--nproc_per_node", type=processes, metavar="N", help="processes on this machine, or auto")
    add("--nnodes", type=_nodes, default=1, metavar="N", help="machines (1)")
    add("--node-rank", "--node_rank", type=int, default=0, metavar="I", help="which of them this one is (0)")
    add("--master-addr", "--master_addr", default=None, metavar="HOST",
        help="the first machine's address, at which it listens (127.0.0.1)")  # fmt: skip
    add("--master-port", "--master_port", type=int, default=None, metavar="PORT",
        help=f"and its port (a free one; on several machines {PORT})")  # fmt: skip
    add("--max-restarts", "--max_restarts", type=int, default=0, metavar="N",
        help="how often all processes are started again after one has failed (0)")  # fmt: skip


def plan(options: Any, fail: Any) -> Plan:
    """The plan that options describe; ``fail`` is called with what is wrong with them."""
    if options.nnodes > 1 and options.master_addr is None:
        fail("several machines need --master-addr")
    if not 0 <= options.node_rank < options.nnodes:
        fail(f"--node-rank {options.node_rank} of {options.nnodes} machines: it is from 0 to {options.nnodes - 1}")
    return Plan(
        options.nproc_per_node or 1, options.nnodes, options.node_rank, options.master_addr or "127.0.0.1",
        options.master_port, options.max_restarts,
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m livegrad.distributed.run", description="Run a program in several processes.", allow_abbrev=False
    )
    add_options(made)
    made.add_argument("--standalone", action="store_true", help="one machine, a free port (which is the default)")
    made.add_argument("--rdzv-endpoint", "--rdzv_endpoint", default="", metavar="HOST:PORT",
                      help="another way to say --master-addr and --master-port")  # fmt: skip
    made.add_argument("--rdzv-backend", "--rdzv_backend", choices=["static", "c10d"], default="static",
                      help="accepted; there is one way to meet")  # fmt: skip
    made.add_argument(
        "--rdzv-id", "--rdzv_id", default=None, metavar="ID", help="the run's name, in TORCHELASTIC_RUN_ID"
    )
    made.add_argument("-m", "--module", action="store_true", help="PROGRAM is a module's name, not a file")
    made.add_argument("--no-python", "--no_python", action="store_true", help="PROGRAM is a command, not Python's")
    made.add_argument("program", metavar="PROGRAM")
    made.add_argument("arguments", metavar="...", nargs=argparse.REMAINDER, help="the program's own arguments")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (the program's own if None) and return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.rdzv_endpoint and not options.standalone:
        host, _, port = options.rdzv_endpoint.rpartition(":")
        options.master_addr = options.master_addr or host or options.rdzv_endpoint
        if options.master_port is None and port.isdecimal() and host and int(port):
            options.master_port = int(port)
    made = plan(options, parser.error)
    if options.rdzv_id is not None:
        made.name = options.rdzv_id
    python = [] if options.no_python else [sys.executable, "-u", *(["-m"] if options.module else [])]
    try:
        return launch(made, [*python, options.program, *options.arguments], options.program, to_stderr)
    except DistNetworkError as error:
        to_stderr(f"{parser.prog}: {error}")
        return 2
    except KeyboardInterrupt:
        to_stderr(f"{parser.prog}: interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
