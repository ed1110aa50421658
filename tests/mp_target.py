"""What the processes of test_multiprocessing do."""

import sys
import time


def fill(index, queue):
    queue.put((index, index * 10))


def fail(index):
    sys.exit(3 if index else 0)


def complain(index):
    if index:
        raise ValueError(f"from {index}")
    time.sleep(60)


def nothing(index):
    pass
