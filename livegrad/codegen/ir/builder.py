"""The builder of a function: blocks, branches and loops, on top of all other instructions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from .memory import Memory
from .registers import Reg, type_text


class Loop:
    """What :meth:`Builder.loop` yields: the counter ``i``, the carried values ``values``, and ``next`` to set them.

    After the ``with`` block, ``values`` are the final ones.
    """

    def __init__(self, i: Reg, values: list[Reg]) -> None:
        self.i = i
        self.values = values
        self.following: list[Reg] | None = None

    def next(self, *values: Reg) -> None:
        """The carried values of the next round."""
        self.following = list(values)


class Builder(Memory):
    """Appends instructions to one function body.

    ``width`` is the number of lanes of the constants it makes; every other operation takes its width from its operands.
    ``block`` is the label of the block being written: an operation may end one block and start another (the rare slow
    paths of some functions do), so a ``phi`` must name ``block`` as it was when the value was finished.
    """

    def label(self, name: str) -> None:
        """Start a block; control falls into it if the block before has no end yet."""
        if not self.terminated:
            self.line(f"br label %{name}")
        self.lines.append(f"{name}:")
        self.block = name
        self.terminated = False

    def br(self, name: str) -> None:
        """Jump."""
        self.line(f"br label %{name}")
        self.terminated = True

    def cond_br(self, c: Reg, yes: str, no: str, likely: bool | None = None) -> None:
        """Jump to ``yes`` or ``no``.  ``likely`` tells the compiler which one to expect."""
        if likely is not None:
            expected = self.const("i1", likely, 1)
            c = self.intrinsic("expect", "i1", (c, expected))
        self.line(f"br {c.operand}, label %{yes}, label %{no}")
        self.terminated = True

    def ret(self, x: Reg | None = None) -> None:
        """Return."""
        self.line("ret void" if x is None else f"ret {x.operand}")
        self.terminated = True

    def phi(self, kind: str, incoming: Sequence[tuple[Reg | str, str]], width: int | None = None) -> Reg:
        """The value that goes with the block control came from; :meth:`add_incoming` adds pairs that come later."""
        width = self.width if width is None else width
        name = f"%t{next(self._names)}"
        pairs: list[str] = []
        self._phis[name] = (len(self.lines), type_text(kind, width), pairs)
        self.lines.append("")
        out = Reg(name, kind, width)
        for value, label in incoming:
            pairs.append(f"[ {value.name if isinstance(value, Reg) else value}, %{label} ]")
        self._write_phi(name)
        return out

    def add_incoming(self, phi: Reg, value: Reg | str, label: str) -> None:
        """Add a pair to a phi written before, such as a loop's back edge."""
        self._phis[phi.name][2].append(f"[ {value.name if isinstance(value, Reg) else value}, %{label} ]")
        self._write_phi(phi.name)

    def _write_phi(self, name: str) -> None:
        place, kind, pairs = self._phis[name]
        self.lines[place] = f"  {name} = phi {kind} {', '.join(pairs)}"

    @contextmanager
    def when(self, condition: Reg) -> Iterator[None]:
        """What is emitted inside runs only if the condition holds."""
        then, after = self.fresh("then"), self.fresh("after")
        self.cond_br(condition, then, after)
        self.label(then)
        yield
        self.label(after)

    @contextmanager
    def loop(self, start: Reg | int, stop: Reg | int, step: Reg | int = 1, carry: Sequence[Reg] = ()) -> Iterator[Loop]:
        """``for i in range(start, stop, step)`` over i64, with values carried along (see :class:`Loop`)."""

        def number(value: Reg | int) -> Reg:
            return value if isinstance(value, Reg) else self.const("i64", value, 1)

        head, body, done = self.fresh("loop"), self.fresh("body"), self.fresh("done")
        start, stop, step = number(start), number(stop), number(step)
        before = self.block
        self.label(head)
        i = self.phi("i64", [(start, before)], 1)
        values = [self.phi(v.kind, [(v, before)], v.width) for v in carry]
        self.cond_br(self.icmp("slt", i, stop), body, done)
        self.label(body)
        state = Loop(i, values)
        yield state
        following = values if state.following is None else state.following
        if len(following) != len(values):
            raise ValueError(f"the loop carries {len(values)} values, next() got {len(following)}")
        after = self.op("i64", 1, f"add nsw i64 {i.name}, {step.name}")
        for phi, value in zip([i, *values], [after, *following], strict=True):
            self.add_incoming(phi, value, self.block)
        self.br(head)
        self.label(done)

    def rarely(self, condition: Reg, usual: Sequence[Reg], slow: Callable[[], Sequence[Reg]]) -> list[Reg]:
        """``usual``, or what ``slow`` builds if any lane of ``condition`` is true.

        A real branch, for the rare arguments that need a long way round.  ``slow`` must itself choose, lane by lane,
        between its result and the usual one.
        """
        path, done = self.fresh("slow"), self.fresh("done")
        flag = self.any(condition)
        before = self.block
        self.cond_br(flag, path, done, likely=False)
        self.label(path)
        found = slow()
        after = self.block
        self.label(done)
        return [self.phi(u.kind, [(u, before), (v, after)], u.width) for u, v in zip(usual, found, strict=True)]
