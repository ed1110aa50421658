"""PTX text as functions, variables and instructions. Only what LLVM writes is understood; the rest is an error."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass
class Variable:
    """Memory with a name: its space, its size in bytes, its alignment, its initial bytes if it has any."""

    name: str
    space: str
    size: int
    align: int
    data: bytes | None = None


@dataclass
class Instruction:
    """guard: the predicate's name and whether it is negated. parts: the opcode split at its dots."""

    text: str
    line: int
    guard: tuple[str, bool] | None
    parts: list[str]
    operands: list


@dataclass
class Function:
    name: str
    parameters: list[Variable]
    results: list[Variable]
    kernel: bool
    threads: int | None = None  # .maxntid
    registers: dict[str, int] = field(default_factory=dict)  # bits by name; 1 for predicates
    families: dict[str, int] = field(default_factory=dict)  # bits by prefix
    locals: list[Variable] = field(default_factory=list)
    body: list = field(default_factory=list)  # instructions, and labels as text

    def bits(self, name: str) -> int:
        """How wide a register is."""
        found = self.registers.get(name)
        if found is None:
            found = self.registers[name] = self.families[name.rstrip("0123456789")]
        return found


@dataclass
class Module:
    functions: dict[str, Function]
    variables: dict[str, Variable]
    lines: list[str]


_VARIABLE = re.compile(
    r"(?:\.visible |\.extern |\.weak )*\.(global|const|shared|local|param) (?:\.align (\d+) )?\.([bufs]\d+) "
    r"([\w$]+)(?:\[(\d*)\])?(?: = (.*))?$"
)


def _size(kind: str) -> int:
    return int(re.sub(r"\D", "", kind)) // 8


def _variable(text: str) -> Variable:
    found = _VARIABLE.match(text)
    if not found:
        raise NotImplementedError(text)
    space, align, kind, name, count, data = found.groups()
    item = _size(kind)
    size = item if count is None else item * int(count or 0)
    made = Variable(name, space, size, int(align or item))
    if data is not None:
        numbers = [_integer(word) for word in data.strip("{} ").split(",")]
        raw = b"".join((n & ((1 << 8 * item) - 1)).to_bytes(item, "little") for n in numbers)
        made.data = raw.ljust(size, b"\0")
    return made


def _integer(word: str) -> int:
    word = word.strip()
    if word[:2] in ("0f", "0d"):
        return int(word[2:], 16)
    return int(word.rstrip("U"), 0)


def _operands(text: str) -> list:
    """Operands; {a, b} and (a, b) are lists, [a+8] is ("at", a, 8)."""
    found, i = [], 0
    while i < len(text):
        if text[i] in ", ":
            i += 1
        elif text[i] in "{([":
            end = text.index({"{": "}", "(": ")", "[": "]"}[text[i]], i)
            inside = text[i + 1 : end]
            if text[i] == "[":
                base, _, offset = inside.partition("+")
                found.append(("at", base.strip(), _integer(offset) if offset else 0))
            else:
                found.append([word.strip() for word in inside.split(",") if word.strip()])
            i = end + 1
        else:
            end = i
            while end < len(text) and text[end] not in ", ":
                end += 1
            found.append(text[i:end])
            i = end
    return found


def parse(text: str) -> Module:
    """A module."""
    lines = text.split("\n")
    bare = [re.sub(r"\s+", " ", line.partition("//")[0]).strip() for line in lines]
    module = Module({}, {}, bare)
    function: Function | None = None
    pending, first, depth = "", 0, 0
    for number, line in enumerate(bare, 1):
        if not line or line.startswith((".version", ".target", ".address_size", ".loc ", ".file", ".pragma")):
            continue
        if function is None:
            first = first if pending else number
            pending = f"{pending} {line}".strip()
            if line == "{":
                function = _head(pending[:-1])
                pending, depth = "", 1
            elif line.endswith(";"):
                if ".func" not in pending:  # else a declaration
                    made = _variable(pending[:-1])
                    module.variables[made.name] = made
                pending = ""
            continue
        if line in ("{", "}"):
            depth += 1 if line == "{" else -1
            if depth == 0:
                module.functions[function.name] = function
                function = None
            continue
        if re.fullmatch(r"[\w$]+:", line):
            function.body.append(line[:-1])
            continue
        first = first if pending else number
        pending = f"{pending} {line}".strip()
        if pending.endswith(";"):
            _statement(module, function, pending[:-1].strip(), first)
            pending = ""
    return module


def _head(text: str) -> Function:
    found = re.match(r"(?:\.visible |\.weak )*\.(entry|func) ?(?:\((.*?)\) )?([\w$]+) ?\((.*?)\)(.*)", text)
    if not found:
        raise NotImplementedError(text)
    what, results, name, parameters, rest = found.groups()

    def variables(listed: str | None) -> list[Variable]:
        return [
            _variable(re.sub(r"\.ptr (\.\w+ )?(\.align \d+ )?", "", p.strip()))
            for p in (listed or "").split(",")
            if p.strip()
        ]

    made = Function(name, variables(parameters), variables(results), what == "entry")
    bound = re.search(r"\.maxntid (\d+)", rest)
    made.threads = int(bound[1]) if bound else None
    return made


def _statement(module: Module, function: Function, text: str, line: int) -> None:
    if text.startswith(".reg"):
        _, kind, names = text.split(" ", 2)
        bits = 1 if kind == ".pred" else 8 * _size(kind[1:])
        for name in names.split(","):
            found = re.fullmatch(r"(%?[\w$]+?)<\d+>", name.strip())
            (function.families if found else function.registers)[found[1] if found else name.strip()] = bits
        return
    if text.startswith("."):
        made = _variable(text)
        if made.space == "local":
            function.locals.append(made)
        elif made.space == "shared":
            module.variables[made.name] = made
        elif made.space != "param":
            raise NotImplementedError(text)
        return
    guard = None
    found = re.match(r"@(!?)(%\w+) ", text)
    if found:
        guard = (found[2], bool(found[1]))
        text = text[found.end() :]
    opcode, _, rest = text.partition(" ")
    function.body.append(Instruction(text, line, guard, opcode.split("."), _operands(rest)))
