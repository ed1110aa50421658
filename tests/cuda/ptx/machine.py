"""Runs a kernel: many threads at once as arrays, each with a place in the program of its own.

Of all threads those that are furthest back in the program run next, which brings threads together again after a
branch. An instruction that waits for other threads runs once all of them have come to it.
"""

from __future__ import annotations

import numpy as np

from . import memory as memories
from .kinds import WORDS, kind
from .memory import WINDOWS, Fault, Memory, locate
from .parse import Module, parse
from .races import Clock, Trace
from .translate import DONE, Code, Stretch, translate

THREADS = 1 << 14  # that run at a time, in whole blocks
SHARED_LIMIT = 227 << 10
_modules: dict[str, Program] = {}


class Program:
    """A module whose functions are translated when they are first called."""

    def __init__(self, text: str):
        self.module: Module = parse(text)
        self._codes: dict[str, Code] = {}

    def code(self, name: str) -> Code:
        found = self._codes.get(name)
        if found is None:
            found = self._codes[name] = translate(self.module, self.module.functions[name])
        return found

    def grain(self) -> int:
        """The smallest access in bytes."""
        sizes = [8]
        for function in self.module.functions.values():
            for item in function.body:
                if not isinstance(item, str) and item.parts[0] in ("ld", "st", "atom", "red"):
                    sizes.append(kind(item.parts[-1]).bits // 8)
        return min(sizes)


def launch(
    text: str,
    name: str,
    blocks: int,
    threads: int,
    parameters: bytes,
    buffers: list,
    shared: int = 0,
    races: bool = True,
) -> None:
    """Run a kernel.

    parameters: the bytes of all its parameters, one after the other. buffers: (address, array of bytes, name) of what
    it may reach. shared: bytes of dynamic shared memory. Raises Fault for what is wrong in the kernel.
    """
    program = _modules.get(text)
    if program is None:
        program = _modules[text] = Program(text)
    function = program.module.functions[name]
    if function.threads is not None and threads > function.threads:
        raise Fault(f"{threads} threads in a block; the kernel was made for at most {function.threads}")
    if not 1 <= threads <= 1024 or not 1 <= blocks < 1 << 31:
        raise Fault(f"{blocks} blocks of {threads} threads")
    grid = _Grid(program, blocks, threads, parameters, buffers, shared, races)
    at_a_time = max(1, THREADS // threads)
    with np.errstate(all="ignore"):
        for first in range(0, blocks, at_a_time):
            chunk = np.arange(first, min(blocks, first + at_a_time))
            _Machine(grid, name, chunk).run()


class _Grid:
    """What all blocks of a launch have in common."""

    def __init__(self, program, blocks, threads, parameters, buffers, shared, races):
        self.program, self.blocks, self.threads = program, blocks, threads
        self.parameters = np.frombuffer(parameters, np.uint8)
        self.memory = Memory(buffers)
        self.clock = Clock(blocks, -(-threads // 32) * 32)
        self.races = races
        self.grain = program.grain()
        self.symbols: dict[str, int] = {}
        self.shared = 0
        place = (max(self.memory.bases, default=0) + (1 << 40)) & -256
        for v in program.module.variables.values():
            if v.space == "shared":
                self.shared = -(-self.shared // v.align) * v.align
                self.symbols[v.name] = self.shared
                self.shared += v.size
            else:  # constants of the module
                raw = np.zeros(-(-v.size // 16) * 16, np.uint8)
                raw[: v.size] = np.frombuffer(v.data or bytes(v.size), np.uint8)
                self.memory.regions.append(memories.Region(v.name, place, raw))
                self.memory.bases.append(place)
                self.symbols[v.name] = place
                place += len(raw) + 256
        self.shared += shared
        if self.shared > SHARED_LIMIT:
            raise Fault(f"{self.shared} bytes of shared memory")


class _Machine:
    """Some blocks of a grid. `thread` numbers the threads over the whole grid (see `races.Clock`); `index` and `block`
    number them and their blocks here."""

    def __init__(self, grid: _Grid, name: str, blocks: np.ndarray):
        self.grid, self.memory, self.clock = grid, grid.memory, grid.clock
        self.code = grid.program.code(name)
        tid = np.arange(grid.threads)
        self.n = len(blocks) * grid.threads
        self.index = np.arange(self.n)
        self.block = np.repeat(np.arange(len(blocks)), grid.threads)
        self.tid = np.tile(tid, len(blocks))
        self.thread = (blocks[self.block] * grid.clock.per_block + self.tid).astype(np.int32)
        self.warp = self.block * (grid.clock.per_block // 32) + self.tid // 32
        word = np.uint32
        self.specials = {
            "%tid.x": self.tid.astype(word), "%ntid.x": word(grid.threads), "%ctaid.x": blocks[self.block].astype(word),
            "%nctaid.x": word(grid.blocks), "%laneid": (self.tid % 32).astype(word), "%warpid": (self.tid // 32).astype(word),
        }  # fmt: skip
        for axis in "yz":
            self.specials |= {f"%tid.{axis}": word(0), f"%ctaid.{axis}": word(0)}
            self.specials |= {f"%ntid.{axis}": word(1), f"%nctaid.{axis}": word(1)}
        self.symbols = dict(grid.symbols)
        self.memory.set("shared", max(grid.shared, 1), len(blocks))
        size = 0
        for function in grid.program.module.functions.values():
            for v in function.locals:
                size = -(-size // v.align) * v.align
                self.symbols[v.name] = size
                size += v.size
        self.memory.set("local", max(size, 1), self.n)
        self.parameters = {}
        at = 0
        for v in self.code.function.parameters:
            at = -(-at // v.align) * v.align
            self.parameters[v.name] = grid.parameters[at : at + v.size]
            self.symbols[v.name] = at
            at += v.size
        if at != len(grid.parameters):
            raise Fault(f"{len(grid.parameters)} bytes of parameters; the kernel has {at}")
        self.memory.set_parameters(grid.parameters)

    def run(self) -> None:
        _Frame(self, self.code, None, {}).run()

    # What translated code calls. s: which threads, None for all of its frame

    def who(self, s) -> np.ndarray:
        return self.frame.threads if s is None else self.frame.threads[s]

    @staticmethod
    def get(R: dict, name: str, s):
        value = R.get(name)
        if value is None:
            raise Fault(f"{name} is read and has never been written")
        return value if s is None or not np.ndim(value) else value[s]

    def put(self, R: dict, name: str, s, value) -> None:
        if s is None:
            R[name] = value
            return
        old = R.get(name)
        dtype = value.dtype
        new = np.empty(self.frame.n, dtype)
        new[...] = dtype.type(~dtype.type(0)) if old is None else old
        new[s] = value
        R[name] = new

    def special(self, name: str, s):
        found = self.specials[name]
        return found[self.who(s)] if np.ndim(found) else found

    def symbol(self, name: str):
        return np.uint64(self.symbols[name])

    @staticmethod
    def window(address, space: str, to: bool):
        """From a space to the generic one, or back."""
        start = np.uint64(WINDOWS.get(space, 0))
        return address - start if to else address + start

    @staticmethod
    def pair(low, high):
        return np.stack(np.broadcast_arrays(low, high), -1)

    @staticmethod
    def word(raw, size: int):
        return raw if raw.dtype.itemsize == size else raw.astype(WORDS[8 * size])

    @staticmethod
    def shaped(f, *values):
        """f of arrays, also where all threads have the same number."""
        shape = np.broadcast_shapes(*(np.shape(v) for v in values))
        return f(*values).reshape(shape)

    def parameter(self, R: dict, name: str, offset: int, size: int, s):
        given = R.get((name, offset, size))
        if given is not None:
            return given if s is None or not np.ndim(given) else given[s]
        raw = self.parameters[name][offset : offset + size]
        if len(raw) != size:
            raise Fault(f"{name} has no {size} bytes at {offset}")
        return np.frombuffer(raw.tobytes(), WORDS[8 * size])[0]

    def pass_on(self, R: dict, name: str, offset: int, value, s) -> None:
        """A parameter of a call, or the result of a function."""
        self.put(R, (name, offset, value.dtype.itemsize), s, value)

    def call(self, R: dict, s, name: str, given: list, results: list) -> None:
        code = self.grid.program.code(name)
        inner: dict = {}
        for place, v in zip(given, code.function.parameters):
            for key in [k for k in R if isinstance(k, tuple) and k[0] == place]:
                value = R.pop(key)
                inner[(v.name, *key[1:])] = value if s is None or not np.ndim(value) else value[s]
        outer = self.frame
        _Frame(self, code, self.who(s), inner).run()
        self.frame = outer
        for place, v in zip(results, code.function.results):
            for key in [k for k in inner if isinstance(k, tuple) and k[0] == v.name]:
                self.put(R, (place, *key[1:]), s, inner[key])

    def fault(self, line: int, s):
        """Raises a Fault about the first of the threads for which a condition holds."""

        def raise_it(wrong, text: str, address) -> None:
            who = self.who(s)
            first = int(np.argmax(np.broadcast_to(wrong, who.shape)))
            at = int(np.broadcast_to(address, who.shape)[first])
            thread, block = self.tid[who[first]], int(self.specials["%ctaid.x"][who[first]])
            source = self.grid.program.module.lines[line - 1]
            raise Fault(f"thread {thread} of block {block}, line {line}, `{source}`: {text.format(at)}")

        return raise_it

    def _trace(self, region) -> Trace | None:
        if not self.grid.races or region.name in ("local", "param"):
            return None
        if region.trace is None:
            region.trace = Trace(region.raw.nbytes, self.grid.grain, self.clock)
        return region.trace

    def _threads(self, s, who):
        mine = self.who(s)
        return _Some(self.block, self.index, mine if who is None else mine[who])

    def load(self, s, space: str, address, size: int, count: int, line: int) -> list:
        """`count` neighbouring words of each thread."""
        where = self.fault(line, s)
        if np.ndim(address) or space in WINDOWS or space == "generic":
            address = np.broadcast_to(address, self.who(s).shape)  # else a number that is the same for all
        found = locate(self.memory, self._threads(s, None), space, address, size, count, where)
        if len(found) == 1 and found[0][2] is None:
            region, places, _ = found[0]
            self._note_loads(region, places, s, None, size, count, where, address)
            view = region.view(size)
            return [view[places + k] if k else view[places] for k in range(count)]
        out = [np.empty(address.shape, WORDS[8 * size]) for _ in range(count)]
        for region, places, who in found:
            self._note_loads(region, places, s, who, size, count, where, address)
            for k in range(count):
                out[k][who] = region.view(size)[places + k]
        return out

    def _note_loads(self, region, places, s, who, size, count, where, address) -> None:
        trace = self._trace(region)
        if trace is None:
            return
        mine = self.who(s)
        numbers = self.thread[mine if who is None else mine[who]]
        places = np.broadcast_to(places, numbers.shape)
        steps = size // trace.grain
        for k in range(count * steps):
            bad = trace.loads(numbers, places * steps + k)
            if bad.any():
                self._race(
                    bad, who, where, address, "reads {:#x}, which another thread has written: no barrier lies between"
                )

    def _race(self, bad, who, where, address, text: str) -> None:
        wrong = bad
        if who is not None:
            wrong = np.zeros(address.shape, bool)
            wrong[who] = bad
        where(wrong, text, address)

    def store(self, s, space: str, address, values: list, size: int, line: int) -> None:
        """Write neighbouring words of each thread."""
        where = self.fault(line, s)
        mine = self.who(s)
        address = np.broadcast_to(address, mine.shape)
        for region, places, who in locate(
            self.memory, self._threads(s, None), space, address, size, len(values), where
        ):
            view = region.view(size)
            trace = self._trace(region)
            numbers = self.thread[mine if who is None else mine[who]]
            for k, value in enumerate(values):
                value = np.broadcast_to(value, mine.shape)
                if who is not None:
                    value = value[who]
                at = places + k
                changed = view[at] != value
                if trace is not None:
                    steps = size // trace.grain
                    for j in range(steps):
                        bad = trace.stores(numbers, at * steps + j, changed)
                        if bad.any():
                            text = "writes {:#x}, which another thread has read or written: no barrier lies between"
                            self._race(bad, who, where, address, text)
                view[at] = value
                lost = view[at] != value
                if lost.any():
                    self._race(lost, who, where, address, "writes {:#x}, as another thread does, something else")

    def atomic(self, s, space: str, address, action: str, values: list, line: int):
        """One thread after the other; what was there before."""
        mine = self.who(s)
        address = np.broadcast_to(address, mine.shape)
        dtype = values[0].dtype
        before = np.empty(mine.shape, WORDS[8 * dtype.itemsize])
        each = [np.broadcast_to(v, mine.shape) for v in values]
        where = self.fault(line, s)
        for region, places, who in locate(
            self.memory, self._threads(s, None), space, address, dtype.itemsize, 1, where
        ):
            view = region.view(dtype.itemsize).view(dtype)
            for k, place in zip(range(len(mine)) if who is None else who, places):
                old = view[place]
                before[k] = old.view(before.dtype)
                view[place] = _ATOMIC[action](old, *(e[k] for e in each))
        return before.view(dtype)

    def trapped(self, s, line: int) -> None:
        self.fault(line, s)(np.True_, "trap", np.uint64(0))

    # Together

    def barrier(self, s, whole_block: bool) -> None:
        self.clock.barrier(self.thread[self.who(s)], whole_block)

    def shuffle(self, s, mode: str, value, b, c, line: int):
        """Read a register of another lane (the rules are those of `shfl.sync` in PTX's manual)."""
        mine = self.who(s)
        value, b, c = (np.broadcast_to(x, mine.shape).astype(np.int64) for x in (value, b, c))
        lane = self.tid[mine] % 32
        segment = c >> 8 & 31
        limit = c & 31
        last = (lane & segment) | (limit & ~segment & 31)
        first = lane & segment
        b = b & 31
        source, inside = {
            "up": (lane - b, lane - b >= last), "down": (lane + b, lane + b <= last), "bfly": (lane ^ b, (lane ^ b) <= last),
            "idx": (first | (b & ~segment), (first | (b & ~segment)) <= last),
        }[mode]  # fmt: skip
        source = np.where(inside, source, lane)
        home = np.full((int(self.warp.max()) + 1, 32), -1, np.int64)
        home[self.warp[mine], lane] = np.arange(len(mine))
        at = home[self.warp[mine], source]
        if (at < 0).any():
            self.fault(line, s)(at < 0, "reads a lane that does not take part ({})", source)
        return value[at].astype(np.uint32), inside

    def vote(self, s, mode: str, value):
        mine = self.who(s)
        value = np.broadcast_to(value, mine.shape)
        words = np.zeros(int(self.warp.max()) + 1, np.int64)
        np.bitwise_or.at(words, self.warp[mine], np.where(value, 1 << (self.tid[mine] % 32), 0))
        whole = np.zeros_like(words)
        np.bitwise_or.at(whole, self.warp[mine], 1 << (self.tid[mine] % 32))
        found, all_of = words[self.warp[mine]], whole[self.warp[mine]]
        if mode == "ballot":
            return found.astype(np.uint32)
        return {"any": found != 0, "all": found == all_of, "uni": (found == 0) | (found == all_of)}[mode]


class _Some:
    """The blocks and the numbers of some threads."""

    def __init__(self, block, index, who):
        self.block, self.index = block[who], index[who]


_ATOMIC = {
    "add": lambda old, x: old + x, "min": min, "max": max, "and": lambda old, x: old & x, "or": lambda old, x: old | x,
    "xor": lambda old, x: old ^ x, "exch": lambda old, x: x, "cas": lambda old, x, y: y if old == x else old,
    "inc": lambda old, x: old.dtype.type(0 if old >= x else old + 1),
    "dec": lambda old, x: x if old == 0 or old > x else old.dtype.type(old - 1),
}  # fmt: skip


class _Frame:
    """One call of a function by some threads. R: registers, and parameters of calls."""

    def __init__(self, machine: _Machine, code: Code, threads, R: dict):
        self.machine, self.code, self.R = machine, code, R
        self.threads = machine.index if threads is None else threads
        self.n = len(self.threads)

    def run(self) -> None:
        m, stretches, R = self.machine, self.code.stretches, self.R
        m.frame = self
        together = 0  # where all threads are, or -1
        at = np.zeros(self.n, np.int64)
        while True:
            if together >= 0:
                if together == DONE:
                    return
                if self._whole(stretches[together]):
                    following = stretches[together].call(m, R, None)
                    together = self._go(following, at, None)
                    continue
                at[:] = together
                together = -1
            low = int(at.min())
            if low == DONE:
                return
            if low == int(at.max()):
                stretch = stretches[low]
                if self._whole(stretch):
                    together = low
                    continue
            s = self._runnable(at)
            self._go(stretches[int(at[s[0]])].call(m, R, s), at, s)

    def _whole(self, stretch: Stretch) -> bool:
        """Whether all threads may run a stretch together."""
        if stretch.sync is None:
            return True
        if self.n != self.machine.n:
            raise NotImplementedError(f"{stretch.sync.text} in a function that not all threads call")
        return self._named(stretch.sync) is None

    def _named(self, sync):
        """The lanes that a synchronising instruction names, or None for all of the warp or block."""
        if sync.parts[0] in ("bar", "barrier") and "warp" not in sync.parts:
            return None
        word = sync.operands[-1]
        value = self.R[word] if word.startswith("%") else np.uint32(int(word.rstrip("U"), 0) & 0xFFFFFFFF)
        whole = min(32, self.machine.grid.threads)
        if (
            not np.ndim(value)
            and self.machine.grid.threads % whole == 0
            and int(value) in (0xFFFFFFFF, (1 << whole) - 1)
        ):
            if int(value) >> whole:
                raise Fault(f"{sync.text}: a block has only {whole} threads")
            return None
        return value

    def _runnable(self, at) -> np.ndarray:
        """The threads to run next."""
        for place in np.unique(at):
            if place == DONE:
                break
            here = at == place
            sync = self.code.stretches[place].sync
            if sync is None:
                return np.flatnonzero(here)
            m = self.machine
            if sync.parts[0] in ("bar", "barrier") and "warp" not in sync.parts:
                missing = np.zeros(int(m.block[-1]) + 1, bool)
                missing[m.block[~here & (at != DONE)]] = True
                ready = here & ~missing[m.block]
            else:
                named = self._named(sync)
                wanted = np.broadcast_to(np.uint32(0xFFFFFFFF) if named is None else named, at.shape).astype(np.int64)
                present = np.zeros(int(m.warp[-1]) + 1, np.int64)
                np.bitwise_or.at(present, m.warp[here], 1 << (m.tid[here] % 32))
                ready = here & (wanted & ~present[m.warp] == 0)
            if ready.any():
                return np.flatnonzero(ready)
        waiting = [self.code.stretches[p].items[0] for p in np.unique(at) if p != DONE]
        raise Fault("threads wait for each other for ever: " + "; ".join(f"line {i.line}, `{i.text}`" for i in waiting))

    def _go(self, following, at, s) -> int:
        """Where threads go; returns the place if all of the frame are together."""
        if isinstance(following, tuple):
            condition, yes, no = following
            if not np.ndim(condition):
                following = yes if condition else no
            elif condition.all():
                following = yes
            elif not condition.any():
                following = no
            else:
                following = np.where(condition, yes, no)
        if s is not None:
            at[s] = following
            return -1
        if isinstance(following, np.ndarray):
            at[:] = following
            return -1
        return following
