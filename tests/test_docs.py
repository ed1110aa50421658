"""The code in README.md and docs/ runs, and what the README promises about commands is what CI runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page, language):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_runs_and_prints_what_its_comments_say(page, tmp_path):
    """`print(x)  # tensor(…)` and `y = …  # tensor(…)` show what is really there."""
    program = "".join(blocks(page, "python"))
    if not program:
        pytest.skip("a page without code")
    if "tensorboard" in program:
        pytest.importorskip("tensorboard")
    shown = re.findall(r"^(.*?) +# (tensor\(.*\))$", program, re.MULTILINE)
    names = [code.split(" = ")[0] for code, _ in shown if not code.startswith("print(")]
    path = tmp_path / "program.py"
    path.write_text(program + "".join(f"print({name})\n" for name in names), encoding="utf-8")
    done = subprocess.run([sys.executable, path.name], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    for _, value in shown:
        assert value in done.stdout.splitlines()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
    headings = {
        re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        assert anchor in headings, anchor


def test_the_readme_has_two_commands_and_ci_runs_the_second():
    commands = [block.strip() for block in blocks(ROOT / "README.md", "sh")]
    assert len(commands) == 2
    assert commands[0].endswith("livegrad tour")
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_documented_environment_variables_exist():
    documented = set(re.findall(r"`(LIVEGRAD_\w+)`", (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")))
    read = set()
    for source in (ROOT / "livegrad").rglob("*.py"):
        read |= set(re.findall(r"environ\.get\(\s*\"(LIVEGRAD_\w+)\"", source.read_text(encoding="utf-8")))
    assert documented == read
