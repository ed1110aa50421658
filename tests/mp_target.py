"""What the processes of test_multiprocessing do."""

import sys


def fill(index, queue):
    queue.put((index, index * 10))


def fail(index):
    sys.exit(3 if index else 0)
