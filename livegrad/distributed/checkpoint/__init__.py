"""Checkpoints of sharded tensors: not there, but for names that libraries import (see `distributed.absent`)."""
