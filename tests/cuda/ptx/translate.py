"""Functions of a module as Python: one function for each stretch of instructions without a branch.

A stretch gets the machine (`m`), the registers (`R`), and which threads run it (`s`: places in the registers, or None
for all). It returns the number of the stretch that follows, or (condition, if true, if false).
"""

from __future__ import annotations

import struct

import numpy as np

from . import floats, integers
from .kinds import SIGNED, WORDS, kind
from .parse import Function, Instruction, Module

SYNCHRONISING = ("bar", "barrier", "shfl", "vote", "activemask", "match")
SPECIAL = ("%tid.x", "%tid.y", "%tid.z", "%ntid.x", "%ntid.y", "%ntid.z", "%ctaid.x", "%ctaid.y", "%ctaid.z",
           "%nctaid.x", "%nctaid.y", "%nctaid.z", "%laneid", "%warpid")  # fmt: skip
DONE = 1 << 30


class Stretch:
    """sync: its only instruction, if that waits for other threads. call(m, R, s) runs it."""

    def __init__(self, items: list[Instruction], sync: Instruction | None):
        self.items, self.sync = items, sync
        self.call = None
        self.source = ""


class Code:
    """A function made ready to run."""

    def __init__(self, function: Function, stretches: list[Stretch]):
        self.function, self.stretches = function, stretches


def split(function: Function) -> tuple[list[Stretch], dict[str, int]]:
    """Stretches, and where labels are. A guarded instruction that is no branch becomes a stretch to be jumped over."""
    stretches: list[Stretch] = []
    labels: dict[str, int] = {}
    now: list[Instruction] = []

    def end() -> None:
        nonlocal now
        if now:
            stretches.append(Stretch(now, None))
            now = []

    for item in function.body:
        if isinstance(item, str):
            end()
            labels[item] = len(stretches)
            continue
        head = item.parts[0]
        if item.guard and head != "bra":
            skip = f"over {item.line}"
            now.append(Instruction(f"bra {skip}", item.line, (item.guard[0], not item.guard[1]), ["bra"], [skip]))
            end()
            now = [Instruction(item.text, item.line, None, item.parts, item.operands)]
            end()
            if head in SYNCHRONISING:
                stretches[-1].sync = stretches[-1].items[0]
            labels[skip] = len(stretches)
        elif head in SYNCHRONISING:
            end()
            stretches.append(Stretch([item], item))
        else:
            now.append(item)
            if head in ("bra", "ret", "exit"):
                end()
    end()
    return stretches, labels


def translate(module: Module, function: Function) -> Code:
    """Every stretch as a Python function."""
    stretches, labels = split(function)
    homes: dict[str, set[int]] = {}
    uses = []
    for n, stretch in enumerate(stretches):
        read, written = _registers(function, stretch)
        uses.append((read, written))
        for name in read | written:
            homes.setdefault(name, set()).add(n)
    unset = _unset(function, stretches, uses)
    kept = {name for name, at in homes.items() if len(at) > 1 or any(name in uses[n][0] for n in at)}
    for n, stretch in enumerate(stretches):
        writer = _Writer(module, function, labels, n)
        for item in stretch.items:
            writer.instruction(item)
        read, written = uses[n]
        lines = [f"{_name(r)} = m.get(R, '{r}', s)" for r in sorted(read - unset)]
        lines += [f"{_name(r)} = ~W[{function.bits(r)}](0)" for r in sorted(read & unset)]
        ends = [f"m.put(R, '{r}', s, {_name(r)})" for r in sorted(written & kept)]
        last = writer.last or f"return {n + 1 if n + 1 < len(stretches) else DONE}"
        text = "\n    ".join([f"def stretch{n}(m, R, s):", *lines, *writer.lines, *ends, last])
        space: dict = dict(_NAMES)
        exec(compile(text, f"<{function.name}, stretch {n}>", "exec"), space)
        stretch.source = text
        stretch.call = space[f"stretch{n}"]
    return Code(function, stretches)


def _unset(function: Function, stretches: list, uses: list) -> set[str]:
    """Registers that are never written and only packed with others: LLVM leaves lanes so whose value nobody uses."""
    never = set().union(*(read for read, _ in uses)) - set().union(*(written for _, written in uses))
    for item in [item for stretch in stretches for item in stretch.items] if never else ():
        if item.parts[0] != "mov" or not isinstance(item.operands[1], list):
            never -= set(_names(function, item.operands))
    return never


def _registers(function: Function, stretch: Stretch) -> tuple[set[str], set[str]]:
    """Registers that a stretch reads before it writes them, and those that it writes."""
    read: set[str] = set()
    written: set[str] = set()
    for item in stretch.items:
        head = item.parts[0]
        targets, sources = item.operands[:1], item.operands[1:]
        if head in ("st", "bra", "ret", "call", "bar", "barrier", "red", "fence", "membar", "exit", "trap"):
            targets, sources = [], item.operands
        for r in _names(function, sources):
            if r not in written:
                read.add(r)
        if item.guard and item.guard[0] not in written:
            read.add(item.guard[0])
        written.update(_names(function, targets))
    return read, written


def _names(function: Function, operands: list) -> list[str]:
    found = []
    for o in operands:
        if isinstance(o, list):
            found += _names(function, o)
        elif isinstance(o, tuple):
            found += _names(function, [o[1]])
        else:
            for part in o.lstrip("!").split("|"):
                if (part.startswith("%") and part not in SPECIAL) or part in function.registers:
                    found.append(part)
    return found


def _name(register: str) -> str:
    return "r_" + register.replace("%", "").replace("$", "_")


def number(word: str, bits: int) -> str:
    """A literal, as bits."""
    word = word.rstrip("U")
    if word[:2] in ("0f", "0d"):
        value = int(word[2:], 16)
        if word[1] == "f" and bits == 64:
            value = struct.unpack("<Q", struct.pack("<d", struct.unpack("<f", struct.pack("<I", value))[0]))[0]
        return f"W[{bits}]({value})"
    return f"W[{bits}]({int(word, 0) & ((1 << bits) - 1)})"


_COMPARE = {
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "lo": "<",
    "ls": "<=",
    "hi": ">",
    "hs": ">=",
}
_UNORDERED = {"equ": "!=", "neu": "==", "ltu": ">=", "leu": ">", "gtu": "<=", "geu": "<"}
_ROUNDED = {"add", "sub", "mul", "fma", "div", "rcp", "sqrt"}
# Modifiers that change nothing here: where something is kept in caches, and orders that one thread at a time has anyway.
_IGNORED = {"nc", "ca", "cg", "cs", "lu", "cv", "volatile", "weak", "relaxed", "acquire", "release", "acq_rel", "gpu",
            "cta", "sys", "uni", "aligned", "L1::evict_last", "L1::no_allocate"}  # fmt: skip


class _Writer:
    """Writes one stretch."""

    def __init__(self, module: Module, function: Function, labels: dict[str, int], n: int):
        self.module, self.function, self.labels, self.n = module, function, labels, n
        self.lines: list[str] = []
        self.last = ""

    # Operands

    def raw(self, word: str, bits: int) -> str:
        """The bits of an operand."""
        if word in SPECIAL:
            return f"m.special('{word}', s)"
        if word in _names(self.function, [word]):
            return _name(word)
        if word[0].isdigit() or word[0] == "-":
            return number(word, bits)
        return f"m.symbol('{word}')"

    def read(self, word: str, t: str) -> str:
        """An operand's numbers."""
        made = kind(t)
        if made.letter == "p":
            if word.startswith("!"):
                return f"~{_name(word[1:])}"
            return f"np.bool_({int(word) != 0})" if word.lstrip("-").isdigit() else _name(word)
        return f"K('{t}').read({self.raw(word, made.bits)})"

    def write(self, register: str, value: str, t: str) -> None:
        if register == "_":
            return
        self.lines.append(f"{_name(register)} = K('{t}').write({value}, {self.function.bits(register)})")

    def unknown(self, item: Instruction) -> NotImplementedError:
        return NotImplementedError(f"line {item.line}: {item.text}")

    # Instructions

    def instruction(self, item: Instruction) -> None:
        head = item.parts[0]
        self.item = item
        rest = [p for p in item.parts[1:] if p not in _IGNORED]
        handler = getattr(self, "do_" + head, None)
        if handler is not None:
            handler(item, rest, item.operands)
            return
        t = rest.pop() if rest else ""
        letter = kind(t).lane.letter
        table = _FLOAT if letter == "f" else _INTEGER
        made = table.get(".".join([head, *rest]))
        if made is None:
            raise self.unknown(item)
        if letter == "f" and head == "fma" and kind(t).lane.brain:
            made = "floats.fma_brain({})"
        elif letter == "f" and head == "fma" and t == "f64":
            made = "m.shaped(floats.fma64, {})"
        target, *sources = item.operands
        if head in ("shl", "shr", "bfe", "bfi", "shf"):
            plain = {"shl": 1, "shr": 1, "bfe": 1, "bfi": 2, "shf": 2}[head]
            values = [self.read(s, t if k < plain else "u32") for k, s in enumerate(sources)]
        else:
            values = [self.read(s, t) for s in sources]
        out = t
        if head in ("mul", "mad") and rest == ["wide"]:
            out = t[0] + str(2 * kind(t).bits)
            if head == "mad":
                values[2] = self.read(sources[2], out)
        if head in ("popc", "clz", "bfind"):
            out = "u32"
        self.write(target, made.format(", ".join(values), *values), out)

    def do_mov(self, item, rest, operands):
        target, source = operands
        t = rest[-1]
        if isinstance(target, list):
            each = kind(t).bits // len(target)
            for k, r in enumerate(target):
                self.write(
                    r,
                    f"({self.raw(source, kind(t).bits)} >> W[{kind(t).bits}]({k * each})).astype(W[{each}])",
                    f"b{each}",
                )
        elif isinstance(source, list):
            each, whole = kind(t).bits // len(source), kind(t).bits
            parts = [
                f"({self.raw(r, each)}.astype(W[{whole}]) << W[{whole}]({k * each}))" for k, r in enumerate(source)
            ]
            self.write(target, " | ".join(parts), t)
        else:
            self.write(target, self.read(source, t), t)

    def do_cvta(self, item, rest, operands):
        target, source = operands
        to = "to" in rest
        space = [p for p in rest if p in ("global", "shared", "local", "param", "const")][0]
        self.write(target, f"m.window({self.raw(source, 64)}, '{space}', {to})", "u64")

    def do_cvt(self, item, rest, operands):
        *how, to, source = rest
        if "ftz" in how or set(how) - {"rn", "rz", "rm", "rp", "rni", "rzi", "rmi", "rpi"}:
            raise self.unknown(item)
        mode = how[0] if how else ""
        if kind(to).lanes == 2:
            lane = to[:-2]
            high, low = (self._converted(self.read(o, source), kind(source), kind(lane), mode) for o in operands[1:])
            self.write(operands[0], f"m.pair({low}, {high})", to)
        else:
            self.write(operands[0], self._converted(self.read(operands[1], source), kind(source), kind(to), mode), to)

    def _converted(self, value: str, source, to, mode: str) -> str:
        if source.letter == "f" and to.letter == "f":
            if mode.endswith("i"):
                return f"floats.integral({value}, '{mode}')"
            wide = "np.float32" if to.brain else f"F['{to.name}']"
            if to.brain and source.bits > 32:
                raise self.unknown(self.item)
            if to.brain and mode == "rn":
                return value
            return f"floats.narrow({value}, {wide}, '{mode or 'rn'}')"
        if source.letter == "f":
            number = f"{'S' if to.letter == 's' else 'W'}[{to.bits}]"
            return f"floats.to_integer({value}, {number}, '{mode}')"
        if to.letter == "f":
            if to.brain:
                raise self.unknown(self.item)
            return f"floats.to_float({value}, F['{to.name}'], '{mode}')"
        return f"{value}.astype({'S' if to.letter == 's' else 'W'}[{to.bits}])"

    def do_setp(self, item, rest, operands):
        test, *how, t = rest
        x, y = (self.read(o, t) for o in operands[1:3])
        if test in _COMPARE:
            made = f"({x} {_COMPARE[test]} {y})"
            if test == "ne" and kind(t).letter == "f":
                made = f"(({x} < {y}) | ({x} > {y}))"
        elif test in _UNORDERED:
            made = f"~({x} {_UNORDERED[test]} {y})" if test not in ("equ", "neu") else {
                "equ": f"~(({x} < {y}) | ({x} > {y}))", "neu": f"({x} != {y})"}[test]  # fmt: skip
        elif test in ("nan", "num"):
            made = f"{'~' if test == 'num' else ''}(np.isnan({x}) | np.isnan({y}))"
        else:
            raise self.unknown(item)
        names = operands[0].split("|")
        if how:
            sign = {"and": "&", "or": "|", "xor": "^"}[how[0]]
            self.lines.append(f"c = {self.read(operands[3], 'pred')}")
        self.lines.append(f"t = {made}")
        for k, name in enumerate(names):
            value = f"t[..., {k}]" if t.endswith("x2") else "t" if k == 0 else "~t"
            self.lines.append(f"{_name(name)} = {value} {sign} c" if how else f"{_name(name)} = {value}")

    def do_selp(self, item, rest, operands):
        t = f"b{kind(rest[-1]).bits}"
        x, y = (self.raw(o, kind(t).bits) for o in operands[1:3])
        self.write(operands[0], f"np.where({self.read(operands[3], 'pred')}, {x}, {y})", t)

    def do_copysign(self, item, rest, operands):
        sign, size = (self.read(o, rest[-1]) for o in operands[1:3])
        self.write(operands[0], f"np.copysign({size}, {sign})", rest[-1])

    def do_lop3(self, item, rest, operands):
        a, b, c = (self.raw(o, 32) for o in operands[1:4])
        self.write(operands[0], f"integers.logic3({a}, {b}, {c}, {int(operands[4].rstrip('U'), 0)})", "b32")

    def do_prmt(self, item, rest, operands):
        if rest != ["b32"]:
            raise self.unknown(item)
        self.write(operands[0], f"integers.permute({', '.join(self.raw(o, 32) for o in operands[1:4])})", "b32")

    # Memory

    def _address(self, place: tuple) -> str:
        _, base, offset = place
        return f"{self.raw(base, 64)} + np.uint64({offset & (1 << 64) - 1})" if offset else self.raw(base, 64)

    def _memory(self, item, rest) -> tuple[str, int, str]:
        count = 1
        space = "generic"
        for p in rest[:-1]:
            if p in ("v2", "v4", "v8"):
                count = int(p[1])
            elif p.split("::")[0] in ("global", "shared", "local", "param", "const"):
                space = p.split("::")[0]
            else:
                raise self.unknown(item)
        return space, count, rest[-1]

    def do_ld(self, item, rest, operands):
        space, count, t = self._memory(item, rest)
        targets = operands[0] if isinstance(operands[0], list) else [operands[0]]
        size = kind(t).bits // 8
        if space == "param" and not operands[1][1].startswith("%"):
            _, base, offset = operands[1]
            for k, r in enumerate(targets):
                self.write(r, f"K('{t}').read(m.parameter(R, '{base}', {offset + k * size}, {size}, s))", t)
            return
        self.lines.append(f"v = m.load(s, '{space}', {self._address(operands[1])}, {size}, {count}, {item.line})")
        for k, r in enumerate(targets):
            self.write(r, f"K('{t}').read(v[{k}])", t)

    def do_st(self, item, rest, operands):
        space, count, t = self._memory(item, rest)
        sources = operands[1] if isinstance(operands[1], list) else [operands[1]]
        size = kind(t).bits // 8
        values = [f"m.word({self.raw(o, kind(t).bits)}, {size})" for o in sources]
        if space == "param":
            _, base, offset = operands[0]
            for k, v in enumerate(values):
                self.lines.append(f"m.pass_on(R, '{base}', {offset + k * size}, {v}, s)")
            return
        self.lines.append(
            f"m.store(s, '{space}', {self._address(operands[0])}, [{', '.join(values)}], {size}, {item.line})"
        )

    def do_atom(self, item, rest, operands):
        space = rest[0] if rest[0] in ("global", "shared") else "generic"
        action, t = rest[-2:]
        if kind(t).letter == "f":
            raise NotImplementedError(f"line {item.line}: {item.text}: its result would depend on the order of threads")
        place, *sources = operands if item.parts[0] == "red" else operands[1:]
        values = ", ".join(self.read(o, t) for o in sources)
        self.lines.append(f"v = m.atomic(s, '{space}', {self._address(place)}, '{action}', [{values}], {item.line})")
        if item.parts[0] != "red":
            self.write(operands[0], "v", t)

    do_red = do_atom

    # Control

    def do_bra(self, item, rest, operands):
        target = self.labels[operands[0]]
        if item.guard is None:
            self.last = f"return {target}"
        else:
            name, negated = item.guard
            yes, no = (self.n + 1, target) if negated else (target, self.n + 1)
            self.last = f"return ({_name(name)}, {yes}, {no})"

    def do_ret(self, item, rest, operands):
        self.last = f"return {DONE}"

    do_exit = do_ret

    def do_trap(self, item, rest, operands):
        self.lines.append(f"m.trapped(s, {item.line})")

    def do_call(self, item, rest, operands):
        results, name, given = operands if isinstance(operands[0], list) else ([], *operands)
        self.lines.append(f"m.call(R, s, '{name}', {given}, {results})")

    def do_membar(self, item, rest, operands):
        pass

    do_fence = do_membar

    # What waits for other threads; all that wait are there when it runs

    def do_bar(self, item, rest, operands):
        if "sync" not in rest or (rest[0] != "warp" and operands[:1] != ["0"]) or len(operands) > 1:
            raise self.unknown(item)
        self.lines.append(f"m.barrier(s, {rest[0] != 'warp'})")

    do_barrier = do_bar

    def do_shfl(self, item, rest, operands):
        _, mode, _ = rest
        target, value, b, c, _ = operands
        names = target.split("|")
        self.lines.append(
            f"v, c = m.shuffle(s, '{mode}', {self.raw(value, 32)}, {self.raw(b, 32)}, {self.raw(c, 32)}, {item.line})"
        )
        self.write(names[0], "v", "b32")
        if len(names) > 1:
            self.lines.append(f"{_name(names[1])} = c")

    def do_vote(self, item, rest, operands):
        _, mode, t = rest
        self.lines.append(f"v = m.vote(s, '{mode}', {self.read(operands[1], 'pred')})")
        self.write(operands[0], "v", t)


_FLOAT = {
    "add.rn": "floats.add({})", "sub.rn": "floats.sub({})", "mul.rn": "floats.mul({})", "fma.rn": "floats.fma({})",
    "div.rn": "floats.div({})", "rcp.rn": "floats.rcp({})", "sqrt.rn": "floats.sqrt({})", "neg": "-({})",
    "abs": "np.abs({})", "max": "floats.maximum({})", "min": "floats.minimum({})",
    "max.NaN": "floats.maximum({}, True)", "min.NaN": "floats.minimum({}, True)", "ex2.approx": "floats.ex2({})",
    "lg2.approx": "floats.lg2({})", "sin.approx": "floats.sin({})", "cos.approx": "floats.cos({})",
    "tanh.approx": "floats.tanh({})", "rsqrt.approx": "floats.rsqrt({})",
}  # fmt: skip
_INTEGER = {
    "add": "({1} + {2})", "sub": "({1} - {2})", "mul.lo": "({1} * {2})", "mul.hi": "integers.mul_high({})",
    "mul.wide": "integers.mul_wide({})", "mad.lo": "({1} * {2} + {3})", "mad.hi": "(integers.mul_high({1}, {2}) + {3})",
    "mad.wide": "(integers.mul_wide({1}, {2}) + {3})", "div": "integers.div({})", "rem": "integers.rem({})",
    "and": "({1} & {2})", "or": "({1} | {2})", "xor": "({1} ^ {2})", "not": "~({})", "cnot": "({0} == 0).astype({0}.dtype)",
    "neg": "-({})", "abs": "np.abs({})", "min": "np.minimum({})", "max": "np.maximum({})", "shl": "integers.shl({})",
    "shr": "integers.shr({})", "bfe": "integers.extract({})", "bfi": "integers.insert({})",
    "popc": "integers.count_ones({})", "clz": "integers.leading_zeros({})", "brev": "integers.reverse({})",
    "bfind": "integers.find_leading({})", "bfind.shiftamt": "integers.find_leading({}, True)",
    "shf.l.wrap": "integers.funnel({}, True, True)", "shf.r.wrap": "integers.funnel({}, False, True)",
    "shf.l.clamp": "integers.funnel({}, True, False)", "shf.r.clamp": "integers.funnel({}, False, False)",
}  # fmt: skip
_NAMES = {
    "np": np, "floats": floats, "integers": integers, "K": kind, "W": WORDS, "S": SIGNED,
    "F": {"f16": np.float16, "f32": np.float32, "f64": np.float64},
}  # fmt: skip
