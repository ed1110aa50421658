"""`livegrad graph`: a program is run, and the graph of what it computed is printed, drawn or written."""

import subprocess
import sys

import pytest

from livegrad.cli.arguments import parse
from livegrad.cli.problem import Problem

TRAINING = """\
import sys
import torch

def train(steps):
    weight = torch.ones(2, requires_grad=True)
    for step in range(steps):
        product = weight * torch.tensor([1.0, 2.0])
        loss = product.sum()
        loss.backward()
    print("trained", steps)

if __name__ == "__main__":
    train(int(sys.argv[1]))
    sys.exit(0)
"""
FORWARD = """\
import livegrad
x = livegrad.ones(3, requires_grad=True)
y = x.exp()
z = y.log()
plain = livegrad.ones(2) + 1
number = 5
def inner():
    h = x * 2
    return h.sum().item()
inner()
"""


def shows(folder, program, *arguments, status=0):
    """What `livegrad graph` writes on stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "livegrad", "graph", *arguments],
        capture_output=True, text=True, encoding="utf-8", timeout=240, cwd=folder, input=program,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def test_graph_of_the_last_backward(tmp_path):
    (tmp_path / "train.py").write_text(TRAINING)
    out, _ = shows(tmp_path, None, "train.py", "2")
    lines = out.splitlines()
    assert lines[0] == "trained 2" and lines[-1] == "return %loss"
    assert any(line.startswith("%product = mul(%weight, ") and "train.py:7" in line for line in lines)


def test_variable_of_a_function(tmp_path):
    (tmp_path / "train.py").write_text(TRAINING)
    out, _ = shows(tmp_path, None, "--of=product", "--draw", "train.py", "1")
    assert "product = mul(%weight," in out and "sum" not in out
    out, _ = shows(tmp_path, FORWARD, "--of", "h", "-")
    assert "%h = mul(%x, 2)" in out


def test_without_backward_the_variable_that_was_made_last(tmp_path):
    out, _ = shows(tmp_path, FORWARD, "-")
    assert out.splitlines()[-1] == "return %z"


def test_files(tmp_path):
    out, err = shows(tmp_path, FORWARD, "--html", "g.html", "--svg", "g.svg", "--dot", "-", "-")
    assert out.startswith("digraph") and err == "wrote g.html\nwrote g.svg\n"
    assert (tmp_path / "g.html").read_text().startswith("<!") and "<svg" in (tmp_path / "g.svg").read_text()


@pytest.mark.parametrize(
    "of, said",
    [
        ("missing", "no variable missing of standard input holds a tensor when the program, or a function, ends; "
         "its module has y, z"),
        ("number", "number is no tensor: it is int"),
        ("plain", "plain has no graph"),
        ("x", "x has no graph: the program made it"),
    ],
)  # fmt: skip
def test_variables_without_a_graph(tmp_path, of, said):
    program = FORWARD.replace("x = livegrad", "q = x = livegrad") if of == "x" else FORWARD
    out, err = shows(tmp_path, program, "--of", of, "-", status=2)
    assert out == "" and err.count("\n") == 1
    assert said in err


def test_nothing_recorded(tmp_path):
    _, err = shows(tmp_path, "print(1)", "-", status=2)
    assert "name a variable, also of a function, with --of NAME" in err


def test_errors_of_the_program_are_its_own(tmp_path):
    out, err = shows(tmp_path, "import torch\nraise ValueError('own')", "-", status=1)
    assert out == "" and err.rstrip().endswith("ValueError: own")
    out, err = shows(tmp_path, "raise SystemExit(3)", "-", status=3)
    assert out == err == ""


def test_a_folder_that_is_not_there_is_said_before_the_program_runs(tmp_path):
    out, err = shows(tmp_path, "print('ran')", "--html", "none/g.html", "-", status=2)
    assert out == "" and "there is no folder none" in err


@pytest.mark.parametrize("words", [["graph"], ["graph", "--html"], ["graph", "--zzz", "x", "p.py"]])
def test_bad_options(words):
    with pytest.raises(Problem, match="see: livegrad graph --help"):
        parse(words)
