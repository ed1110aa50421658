"""The code in README.md and docs/ runs, and what the README promises about commands is what CI runs."""

import operator
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import livegrad

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page, language):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def shown_as(block):
    """A pattern for a block of output as a page shows it: broken into other lines, and `...` for what was left out.

    How much memory is in use, all in all, depends on the machine: its numbers are not compared.
    """
    block = re.sub(r"^(?:in use|peak) .*$", lambda m: re.sub(r"\d+", "ⁿ", m[0]), block.strip(), flags=re.MULTILINE)
    block = re.sub(r"\d+ bytes \([\d.]+ (?=[KM]iB\) are in use)", "ⁿ bytes (ⁿ.ⁿ ", block)
    pattern = "".join(r"\s+" if part.isspace() else re.escape(part) for part in re.split(r"(\s+)", block))
    return pattern.replace(re.escape("..."), r"[\s\S]*?").replace("ⁿ", r"\d+")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_runs_and_prints_what_the_page_says(page, tmp_path):
    """`print(x)  # tensor(…)` and `y = …  # tensor(…)` show what is really there, and so do blocks of text."""
    program = "".join(blocks(page, "python"))
    if not program:
        pytest.skip("a page without code")
    if "tensorboard" in program:
        pytest.importorskip("tensorboard")
    shown = re.findall(r"^ *(.*?) +# ([\[\w(].*)$", program, re.MULTILINE)
    shown = [(code, value) for code, value in shown if value.startswith(("tensor(", "[")) or value.endswith("…")]
    names = [code.split(" = ")[0] for code, _ in shown if not code.startswith("print(")]
    path = tmp_path / "train.py"
    path.write_text(program + "".join(f"print({name})\n" for name in names), encoding="utf-8")
    done = subprocess.run([sys.executable, path.name], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    for _, value in shown:
        begin = value.removesuffix("…").rstrip()
        assert any(line == value or (begin != value and line.startswith(begin)) for line in done.stdout.splitlines())
    for block in blocks(page, "text"):
        assert re.search(shown_as(block), done.stdout.replace(f"{tmp_path}{os.sep}", "")), (block, done.stdout)


def test_what_the_page_for_users_of_pytorch_calls_missing_is():
    section = (ROOT / "docs" / "pytorch.md").read_text(encoding="utf-8").split("## Not there")[1]
    names = re.findall(r"`((?:[a-z_]+\.|Tensor\.)*\w+)`", section)
    missing = [name for name in names if name not in ("join", "AttributeError", "__torch_function__")]
    assert len(missing) > 5
    for name in missing:
        with pytest.raises(AttributeError):
            operator.attrgetter(name)(livegrad)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([^)#:]*)#?([^)#:]*)\)", text):
        there = page.parent / target if target else page
        assert there.exists(), target
        headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}, anchor


def test_every_part_of_the_package_has_its_place_on_the_map():
    page = (ROOT / "docs" / "code.md").read_text(encoding="utf-8")
    layers = set(re.findall(r"`(\w+)`", page))
    parts = {
        path.stem for path in (ROOT / "livegrad").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert parts - layers == {"__init__", "__main__"}
    for path in re.findall(r"`([\w/]+(?:\.py|/))`", page):
        if path != "livegrad/":
            assert (
                (ROOT / "livegrad" / path).exists()
                or (ROOT / "livegrad" / "ops" / path).exists()
                or (ROOT / path).exists()
            ), path


def test_the_readme_has_two_commands_and_ci_runs_the_second():
    commands = [block.strip() for block in blocks(ROOT / "README.md", "sh")]
    assert len(commands) == 2
    assert commands[0].endswith("livegrad tour")
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_documented_environment_variables_exist():
    documented = set(re.findall(r"`(LIVEGRAD_\w+)`", (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")))
    read = set()
    for source in (ROOT / "livegrad").rglob("*.py"):
        read |= set(re.findall(r"(?:environ\.get|switch)\(\s*\"(LIVEGRAD_\w+)\"", source.read_text(encoding="utf-8")))
    assert documented == read
