"""``livegrad run``: a PyTorch program, unchanged."""

from __future__ import annotations

import builtins
import io
import linecache
import os
import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.machinery import BuiltinImporter, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any, NoReturn

from .. import compat
from .problem import Problem

# Options that take no value.
_FLAGS = ("-h", "--help", "--draw", "--fold")


class _NoModule(Problem):
    """What there is to run is not there; Python's exit status."""

    def __init__(self, text: str):
        super().__init__(str(text), status=1)


@dataclass
class Program:
    """What to run, as it would be given to Python: a FILE, ``-``, ``-m MODULE`` or ``-c CODE``, and its arguments."""

    kind: str  # "" for a file, "-", "-m" or "-c"
    what: str
    arguments: list[str] = field(default_factory=list)

    @property
    def words(self) -> list[str]:
        """The words that say this on a command line."""
        named = {"": [self.what], "-": ["-"]}.get(self.kind, [self.kind, self.what])
        return [*named, *self.arguments]

    @property
    def title(self) -> str:
        """How messages call it."""
        return {"": self.what, "-": "standard input", "-m": self.what, "-c": "the program of -c"}[self.kind]


def split(words: Sequence[str], command: str = "run") -> tuple[list[str], Program | None]:
    """The options of `livegrad run` or another command, and the program with all its words (None where there is none).

    >>> split(["--nproc-per-node", "2", "train.py", "-h"])
    (['--nproc-per-node', '2'], Program(kind='', what='train.py', arguments=['-h']))
    """
    at = 0
    while at < len(words):
        word, rest = words[at], list(words[at + 1 :])
        if word[:2] in ("-m", "-c"):  # also as one word, such as -mpackage
            what = word[2:] or (rest.pop(0) if rest else "")
            if not what and not (word == "-c" and at + 1 < len(words)):
                needed = "the name of a module" if word == "-m" else "a program"
                raise Problem(f"{word} needs {needed} (see: livegrad {command} --help)")
            return list(words[:at]), Program(word[:2], what, rest)
        if word == "--":
            at += 1
            return list(words[: at - 1]), Program("", rest[0], rest[1:]) if rest else None
        if word == "-" or not word.startswith("-"):
            return list(words[:at]), Program("-" if word == "-" else "", word, rest)
        at += 1 if "=" in word or word in _FLAGS else 2
    return list(words), None


def run_several(options: Any, program: Program) -> int:
    """Run a program in several processes, each of which is a `run` of its own."""
    from ..distributed.errors import DistNetworkError
    from ..distributed.launcher import launch, to_stderr
    from ..distributed.run import plan

    if program.kind == "-":
        raise Problem("several processes cannot share a program on standard input: give a FILE")
    command = [sys.executable, "-u", "-m", "livegrad", "run", *program.words]
    try:
        return launch(plan(options, _fail), command, program.title, to_stderr)
    except DistNetworkError as error:
        raise Problem(str(error)) from None


def _fail(text: str) -> NoReturn:
    raise Problem(text)


def check(program: Program) -> None:
    """Raise Problem where a file cannot be read."""
    if program.kind:
        return
    path = Path(program.what)
    if not path.exists():
        raise Problem(f"there is no file {program.what}")
    if path.is_dir() and not (path / "__main__.py").exists():
        raise Problem(f"{program.what} is a folder without __main__.py")
    if not os.access(path, os.R_OK):
        raise Problem(f"{program.what} cannot be read: permission denied")


def run(program: Program) -> int:
    """Run a program as Python would, with livegrad in PyTorch's place.

    An error that it does not catch ends the process as it would end Python's: what is shown begins at the program's
    first line, through whatever `sys.excepthook` the program has set.
    """
    _put_first(program)
    compat.install()
    _put_second()
    sys.argv = [program.kind or program.what, *program.arguments]
    try:
        code, about = _found(program)
        exec(code, _main(about).__dict__)
    except (Problem, SystemExit):
        raise
    except BaseException as error:
        error.__traceback__ = _own(error)
        if isinstance(error, Exception):
            from ..distributed.elastic.multiprocessing.errors import record_exception

            record_exception(error)  # for the launcher, where one started this
        _show_later(error, error.__traceback__)
        raise
    return 0


def _put_first(program: Program) -> None:
    """What Python would have on its path first, in place of what it put there for this command."""
    if sys.flags.safe_path:
        return
    if program.kind:
        first = os.getcwd() if program.kind == "-m" else ""
    elif _is_application(program.what):
        first = os.path.abspath(program.what)
    else:
        first = os.path.dirname(os.path.realpath(program.what))
    replaced, sys.path[0] = sys.path[0], first
    home = str(Path(__file__).resolve().parents[2])
    if os.path.realpath(replaced) == home and home not in sys.path:
        sys.path.append(home)  # processes that the program starts find livegrad where this one has found it


def _put_second() -> None:
    """The folder of `compat` that is on the path for processes that the program starts."""
    sys.path.remove(compat.CHILD)
    sys.path.insert(1, compat.CHILD)


def _is_application(path: str) -> bool:
    """Whether Python would look for ``__main__`` in it: a folder or an archive."""
    if os.path.isdir(path):
        return True
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _found(program: Program) -> tuple[CodeType, dict[str, Any]]:
    """The program's code, and what its module ``__main__`` says about where it is from."""
    if program.kind == "-m":
        _, spec, code = runpy._get_module_details(program.what, _NoModule)  # type: ignore[attr-defined]
        sys.argv[0] = spec.origin
    elif program.kind == "" and _is_application(program.what):
        _, spec, code = runpy._get_main_module_details(_NoModule)  # type: ignore[attr-defined]
    else:
        return _compiled(program)
    return code, {
        "__spec__": spec, "__file__": spec.origin, "__cached__": spec.cached, "__loader__": spec.loader,
        "__package__": spec.parent,
    }  # fmt: skip


def _compiled(program: Program) -> tuple[CodeType, dict[str, Any]]:
    about: dict[str, Any] = {"__package__": None, "__loader__": BuiltinImporter}
    source: str | bytes
    if program.kind == "-c":
        name, source = "<string>", program.what + "\n"
        if sys.version_info >= (3, 13):  # it shows lines of such a program
            linecache.cache[name] = len(source), None, io.StringIO(source).readlines(), name
    elif program.kind == "-":
        name, source = "<stdin>", sys.stdin.read()
        about.update(__file__=name, __cached__=None)
    else:
        name, source = os.path.join(os.getcwd(), program.what), Path(program.what).read_bytes()
        about.update(__file__=name, __cached__=None, __loader__=SourceFileLoader("__main__", name))
    return compile(source, name, "exec", dont_inherit=True), about


_COMMAND = sys.modules["__main__"]  # kept alive when another module takes its name


def _main(about: dict[str, Any]) -> ModuleType:
    """A new module ``__main__``."""
    module = sys.modules["__main__"] = ModuleType("__main__")
    if sys.version_info < (3, 14):
        module.__dict__["__annotations__"] = {}
    module.__dict__.update(about, __builtins__=builtins)
    return module


def _own(error: BaseException) -> TracebackType | None:
    """An error's traceback from the program's own first line on, without the frames that find `torch` for it."""
    frames = []
    found = error.__traceback__
    while found is not None:
        frames.append(found)
        found = found.tb_next
    names = [each.tb_frame.f_code.co_filename for each in frames]
    start = 0
    while start < len(frames) and names[start].startswith((__file__, "<frozen runpy", "<frozen importlib")):
        start += 1
    made: TracebackType | None = None
    for each, name in reversed(list(zip(frames[start:], names[start:]))):
        if name != compat.__file__:
            made = TracebackType(made, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return made


def _show_later(error: BaseException, own: TracebackType | None) -> None:
    """Let the interpreter show this traceback of the error, which gets frames of this command on its way out."""
    shown = sys.excepthook

    def show(kind: type[BaseException], value: BaseException, found: TracebackType | None) -> None:
        if value is error:
            value.__traceback__ = found = own
        shown(kind, value, found)

    sys.excepthook = show
