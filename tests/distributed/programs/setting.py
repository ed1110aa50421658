"""What all the programs begin with: the library that was named, in a group of all processes."""

import importlib
import os
import sys
from datetime import timedelta


def begin(seconds=20, **options):
    """(the library, its `distributed`, rank, size), once the processes have met through the file that was named."""
    library = importlib.import_module(sys.argv[1])
    distributed = importlib.import_module(sys.argv[1] + ".distributed")
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    distributed.init_process_group(
        "gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=size, timeout=timedelta(seconds=seconds),
        **options,
    )  # fmt: skip
    return library, distributed, rank, size
