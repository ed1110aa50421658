"""Races: who wrote and who read a place of memory last, and whether a barrier lies between.

Two threads of a block are ordered if a barrier of the block lies between their accesses, threads of a warp also by
`bar.warp.sync`; threads of different blocks never are. Only the last writer and the last reader of a place are known,
so that what is reported is a race, but not every race is reported.
"""

from __future__ import annotations

import numpy as np

NOBODY, SEVERAL = -1, -2


class Clock:
    """Counts barriers, and knows when each block and each warp passed its last one.

    Threads are numbered over the whole grid, those of a block from a multiple of 32 on.
    """

    def __init__(self, blocks: int, per_block: int):
        self.now = 0
        self.per_block = per_block
        self.block_passed = np.zeros(blocks, np.int32)
        self.warp_passed = np.zeros(blocks * per_block // 32, np.int32)

    def barrier(self, threads: np.ndarray, whole_block: bool) -> None:
        """These threads pass a barrier."""
        self.now += 1
        if whole_block:
            self.block_passed[threads // self.per_block] = self.now
        else:
            self.warp_passed[threads // 32] = self.now

    def unordered(self, who, other, when):
        """Where another thread's access at that time has no barrier between it and what `who` does now."""
        strange = (other != NOBODY) & (other != who)
        if not np.any(strange):
            return strange
        block = who // self.per_block
        same = (other == SEVERAL) | (other // self.per_block == block)
        after = same & (when < self.block_passed[block])
        after |= (other // 32 == who // 32) & (when < self.warp_passed[who // 32])
        return strange & ~after


class Trace:
    """The accesses to one region. grain: the smallest one's bytes."""

    def __init__(self, nbytes: int, grain: int, clock: Clock):
        self.grain, self.clock = grain, clock
        n = -(-nbytes // grain)
        self.writer, self.reader = np.full(n, NOBODY, np.int32), np.full(n, NOBODY, np.int32)
        self.written, self.read = np.zeros(n, np.int32), np.zeros(n, np.int32)

    def loads(self, who, place):
        """Note that threads read places; returns where somebody else has written just now."""
        bad = self.clock.unordered(who, self.writer[place], self.written[place])
        known = self.reader[place]
        several = (known != NOBODY) & (known != who) & (self.read[place] == self.clock.now)
        self.reader[place] = np.where(several, SEVERAL, who)
        again = self.reader[place]  # of those that read one place together, one has been noted
        self.reader[place] = np.where(again == who, again, SEVERAL)
        self.read[place] = self.clock.now
        return bad

    def stores(self, who, place, changed):
        """Note that threads write places; returns where somebody else has read or written just now.

        changed: where the value differs from what was there; the same one written twice does no harm.
        """
        bad = self.clock.unordered(who, self.writer[place], self.written[place])
        bad |= self.clock.unordered(who, self.reader[place], self.read[place])
        self.writer[place] = who
        self.written[place] = self.clock.now
        return bad & changed
