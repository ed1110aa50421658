"""What the command shows: with rich in a terminal, as plain text anywhere else."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .problem import found

# Called with how far the work has come, and a remark on it.
Advance = Callable[[int, str], None]


class Console:
    """Plain text."""

    width = 100

    def __init__(self) -> None:
        self.steps = 0

    def title(self, text: str, subtitle: str = "") -> None:
        """The first lines."""
        print(f"{text}\n{subtitle}" if subtitle else text)

    def step(self, text: str) -> None:
        """The heading of the next step."""
        self.steps += 1
        print(f"\n{self.steps}. {text}\n{'-' * (len(text) + 3)}")

    def say(self, text: str) -> None:
        """A remark, wrapped to the width."""
        print(textwrap.fill(text, self.width))

    def space(self) -> None:
        """An empty line."""
        print()

    def code(self, text: str) -> None:
        """A piece of Python."""
        print(textwrap.indent(text, "  >>> "))

    def show(self, text: str) -> None:
        """Output, as it is."""
        print(textwrap.indent(text, "  "))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows of cells; the first column is text, the others are numbers unless there are only two columns."""
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        align = str.ljust if len(header) == 2 else str.rjust
        for row in [header, *rows] if any(header) else rows:
            cells = [row[0].ljust(widths[0]), *(align(cell, w) for cell, w in zip(row[1:], widths[1:]))]
            print("  " + "  ".join(cells).rstrip())

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Advance]:
        """A bar while something runs: tqdm's in a terminal, else a line now and then."""
        if sys.stdout.isatty() and found("tqdm"):
            from tqdm import tqdm

            with tqdm(total=total, desc=label, leave=True, file=sys.stdout) as bar:

                def advance(done: int, remark: str) -> None:
                    bar.set_postfix_str(remark, refresh=False)
                    bar.update(done - bar.n)

                yield advance
        else:
            shown = 0

            def advance(done: int, remark: str) -> None:
                nonlocal shown
                if done == total or done * 5 // total > shown:
                    shown = done * 5 // total
                    print(f"  {label}: {round(100 * done / total):3d} %  {remark}", flush=True)

            yield advance


class RichConsole(Console):
    """Colours, rules and bars, with rich."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console as Rich

        self.rich = Rich(highlight=False)
        self.width = min(self.rich.width, 100)

    def title(self, text: str, subtitle: str = "") -> None:
        from rich.panel import Panel
        from rich.text import Text

        words = Text(text, style="bold")
        if subtitle:
            words.append(f"\n{subtitle}", style="not bold dim")
        self.rich.print(Panel(words, expand=False, border_style="cyan"))

    def step(self, text: str) -> None:
        self.steps += 1
        self.rich.print()
        self.rich.rule(f"[bold cyan]{self.steps}. {text}", align="left", style="cyan")

    def say(self, text: str) -> None:
        self.rich.print(text, markup=False, width=self.width)

    def space(self) -> None:
        self.rich.print()

    def code(self, text: str) -> None:
        from rich.syntax import Syntax

        shown = Syntax(textwrap.indent(text, ">>> "), "pycon", theme="ansi_dark", background_color="default")
        lines = shown.highlight(shown.code)
        lines.rstrip()
        self.rich.print(lines, soft_wrap=True)  # what is too long goes on in the next line

    def show(self, text: str) -> None:
        from rich.text import Text

        self.rich.print(Text(textwrap.indent(text, "    "), style="green"), soft_wrap=True)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        from rich.table import Table
        from rich.text import Text

        made = Table(box=None, show_header=any(header), header_style="bold", padding=(0, 2))
        for i, name in enumerate(header):
            made.add_column(name, justify="right" if i and len(header) > 2 else "left", overflow="fold")
        for row in rows:
            made.add_row(*(Text(cell, style="cyan" if not i else "") for i, cell in enumerate(row)))
        self.rich.print(made)

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Advance]:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns: list[Any] = [
            TextColumn("  {task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(), TextColumn("{task.fields[remark]}"),
        ]  # fmt: skip
        with Progress(*columns, console=self.rich) as bars:
            task = bars.add_task(label, total=total, remark="")
            yield lambda done, remark: bars.update(task, completed=done, remark=remark)


def console() -> Console:
    """The console for stdout: with rich if it is installed and stdout is a terminal that can more than text."""
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and found("rich"):
        return RichConsole()
    return Console()
