"""``livegrad run``: a PyTorch program, unchanged."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any, NoReturn

from .. import compat
from .problem import Problem


def run_several(options: Any) -> int:
    """Run a program in several processes, each of which is a `run` of its own."""
    from ..distributed.errors import DistNetworkError
    from ..distributed.launcher import launch, to_stderr
    from ..distributed.run import plan

    _check(options.program, options.as_module)
    module = ["-m"] if options.as_module else []
    command = [sys.executable, "-u", "-m", "livegrad", "run", *module, options.program, *options.arguments]
    try:
        return launch(plan(options, _fail), command, options.program, to_stderr)
    except DistNetworkError as error:
        raise Problem(str(error)) from None


def _fail(text: str) -> NoReturn:
    raise Problem(text)


def _check(program: str, as_module: bool) -> None:
    if not as_module and not Path(program).exists():
        raise Problem(f"there is no file {program}")


def run(program: str, arguments: list[str], as_module: bool) -> int:
    """Run a file or a module as Python would, with livegrad in PyTorch's place."""
    _check(program, as_module)
    compat.install()
    try:
        _execute(program, arguments, as_module)
    except Exception as error:
        from ..distributed.elastic.multiprocessing.errors import record_exception

        record_exception(error, _within(error, program))  # for the launcher, where one started this
        raise
    return 0


def _within(error: Exception, program: str) -> Any:
    """An error's traceback from the program's own first line on; all of it where there is none."""
    own = str(Path(program).resolve())
    found = error.__traceback__
    while found is not None and found.tb_frame.f_code.co_filename != own:
        found = found.tb_next
    return found or error.__traceback__


def _execute(program: str, arguments: list[str], as_module: bool) -> None:
    sys.argv = [program, *arguments]
    if as_module:
        sys.path.insert(0, "")
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        path = Path(program).resolve()
        sys.path.insert(0, str(path.parent))
        runpy.run_path(str(path), run_name="__main__")
