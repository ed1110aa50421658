"""The command: the tour, info, and errors of one line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import livegrad
from livegrad.cli import main
from livegrad.cli.problem import Problem, require

GRAPH = """\
  ●  y = mean(%c)  () float32  first_gradient.py:11
  ▼
  ●  c = add(%b, 3)  (3,) float32  first_gradient.py:9
  ▼
  ●  b = pow(%a, 2)  (3,) float32  first_gradient.py:7
  ▼
  ●  a = add(%x, 2)  (3,) float32  first_gradient.py:5
  ▼
  ■  x  (3,) float32
"""


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "livegrad", *map(str, arguments)],
        capture_output=True, text=True, encoding="utf-8", timeout=240, **options,
    )  # fmt: skip


def fails(capsys, *arguments):
    """Run a command that the user got wrong; returns its one line."""
    assert main([str(a) for a in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1 and err.startswith("livegrad: ")
    assert "Traceback" not in err
    return err


@pytest.fixture(scope="module")
def toured(tmp_path_factory):
    for module in ("tensorboard", "sklearn", "matplotlib"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("tour")
    done = command("tour", "--quick", "--out", folder / "files", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "files", done.stdout


def test_tour_records_sees_and_differentiates(toured):
    _, text = toured
    for line in (
        "tensor([1., 2., 3.], requires_grad=True)",
        "tensor([3., 4., 5.], grad_fn=<AddBackward0>)",
        "tensor([ 9., 16., 25.], grad_fn=<PowBackward0>)",
        "tensor([12., 19., 28.], grad_fn=<AddBackward0>)",
        "tensor(19.6667, grad_fn=<MeanBackward0>)",
        "tensor([2.0000, 2.6667, 3.3333])",
    ):
        assert f"\n  {line}\n" in text
    assert GRAPH in text


def test_tour_says_what_devices_there_are_and_how_fast(toured):
    _, text = toured
    assert len(re.findall("^Devices: .*no CUDA device", text, re.MULTILINE)) == 1
    for name in ("livegrad, cpu", "NumPy"):
        assert re.search(rf"^  {name} +[\d.]+ +[\d.]+ +[\d.]+$", text, re.MULTILINE)


def test_tour_trains_and_reloads(toured):
    _, text = toured
    assert float(re.search(r"Test accuracy: ([\d.]+) %", text).group(1)) >= 96.5
    assert "the same 360 predictions" in text


def test_tour_lists_the_files_it_wrote(toured):
    folder, text = toured
    listed = re.findall(rf"^  ({re.escape(str(folder))}\S+)  ", text, re.MULTILINE)
    assert len(listed) == 6
    for path in listed:
        assert os.path.exists(path)
    written = {p.relative_to(folder).parts[0] for p in folder.rglob("*") if p.is_file()}
    assert written == {"first_gradient.py", "graph.html", "runs", "matmul.png", "digits.safetensors"}
    assert (folder / "matmul.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_tour_leaves_a_program_that_runs(toured):
    folder, _ = toured
    done = subprocess.run([sys.executable, folder / "first_gradient.py"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("tensor([2.0000, 2.6667, 3.3333])\n")


def test_tour_leaves_graphs_and_curves_for_tensorboard(toured):
    folder, _ = toured
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = EventAccumulator(str(folder / "runs" / "first_gradient")).Reload()
    assert any(node.name.endswith("y") or "mean" in node.op for node in first.Graph().node)
    digits = EventAccumulator(str(folder / "runs" / "digits")).Reload()
    assert set(digits.Tags()["scalars"]) == {"loss/train", "accuracy/test"}
    assert len(digits.Scalars("loss/train")) == 12
    assert any("0" in node.name for node in digits.Graph().node)


def test_tour_without_plot(tmp_path, monkeypatch, capsys):
    """The smallest tour; matplotlib is not asked for."""
    for module in ("tensorboard", "sklearn"):
        pytest.importorskip(module)
    from livegrad.cli.tour import digits, products

    monkeypatch.setattr(digits, "QUICK_EPOCHS", 1)
    monkeypatch.setattr(products, "QUICK_SIZES", (16,))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["tour", "--quick", "--no-plot", "--out", str(tmp_path)]) == 0
    assert "matmul.png" not in capsys.readouterr().out
    assert not (tmp_path / "matmul.png").exists()


@pytest.mark.parametrize(
    "module, package", [("sklearn", "scikit-learn"), ("tensorboard", "tensorboard"), ("matplotlib",) * 2]
)
def test_missing_package(tmp_path, monkeypatch, capsys, module, package):
    for other in ("sklearn", "tensorboard", "matplotlib"):
        pytest.importorskip(other)
    monkeypatch.setitem(sys.modules, module, None)
    line = fails(capsys, "tour", "--quick", "--out", tmp_path)
    assert f"pip install {package}" in line


def test_several_missing_packages_are_named_together():
    with pytest.raises(
        Problem, match="needs nosuchone and nosuchtwo, which are not installed; run: pip install nosuchone no"
    ):
        require("this", "nosuchone", "sys", "nosuchtwo")


def test_folder_that_cannot_be_written_to(tmp_path, capsys):
    pytest.importorskip("sklearn")
    (tmp_path / "file").write_text("")
    line = fails(capsys, "tour", "--quick", "--no-plot", "--out", tmp_path / "file" / "inside")
    assert "--out" in line and str(tmp_path) in line


@pytest.mark.parametrize(
    "arguments",
    [("tour", "--nonsense"), ("tour", "--seed", "x"), ("tour", "--seed", "-1"), ("tour", "--out"), ("nonsense",),
     ("tour", "--seed", str(1 << 70)), ("info", "more")],
)  # fmt: skip
def test_bad_options(capsys, arguments):
    assert "--help" in fails(capsys, *arguments)


def test_bad_option_ends_the_process_with_2():
    done = command("tour", "--nonsense")
    assert done.returncode == 2
    assert done.stderr == "livegrad: unrecognized arguments: --nonsense (see: livegrad tour --help)\n"


def test_a_bad_option_is_answered_with_the_help_of_its_own_command(capsys):
    assert "unrecognized arguments: 64 (see: livegrad bench matmul --help)" in fails(
        capsys, "bench", "matmul", "--sizes", "32", "64"
    )
    assert "(see: livegrad --help)" in fails(capsys, "--nonsense")


def test_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"livegrad {livegrad.__version__}\n"
    for arguments in ([], ["--help"]):
        assert main(arguments) == 0
        assert "tour" in capsys.readouterr().out
    assert main(["tour", "--help"]) == 0
    assert "--quick" in capsys.readouterr().out


def test_info(capsys):
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    for row in (
        "livegrad",
        "Python",
        "libraries",
        "processor",
        "devices",
        "threads",
        "matrix products",
        "kernels",
        "missing",
    ):
        assert re.search(rf"^  {row}  ", text, re.MULTILINE), row
    assert livegrad.__version__ in text and "numpy" in text and ("no CUDA: " in text or livegrad.cuda.is_available())
    assert "unknown (" not in text


def test_info_knows_the_variables_that_are_read(capsys, monkeypatch):
    from livegrad.cli.info import _VARIABLES

    package = Path(livegrad.__file__).parent
    text = "".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    page = (package.parent / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert (
        set(re.findall(r"LIVEGRAD_[A-Z_]+[A-Z]", text))
        == _VARIABLES
        == set(re.findall(r"^\| `(LIVEGRAD_\w+)`", page, re.M))
    )
    monkeypatch.setenv("LIVEGRAD_EAGRE", "1")
    monkeypatch.setenv("LIVEGRAD_QUEUE", "0")
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    assert re.search("LIVEGRAD_EAGRE=1 +unknown", shown)
    assert re.search("LIVEGRAD_QUEUE=0$", shown, re.M)


def test_info_survives_what_fails(capsys, monkeypatch):
    from livegrad.cli import info
    from livegrad.llvm import cache

    def broken():
        raise OSError("gone")

    monkeypatch.setattr(cache, "stats", broken)
    monkeypatch.setattr(info, "_ROWS", {**info._ROWS, "more": broken})
    assert main(["info"]) == 0
    assert capsys.readouterr().out.count("unknown (OSError: gone)") == 2


def test_output_that_cannot_be_encoded(tmp_path):
    done = command("info", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and not done.stderr


def test_characters_that_a_terminal_lacks():
    from livegrad.cli.ascii import install

    drawn = GRAPH.encode("ascii", install()).decode()
    assert "?" not in drawn and "  o  y = mean(%c)" in drawn and "\n  v\n" in drawn and "  #  x" in drawn
    assert "(x + 2)² in µs".encode("ascii", install()) == b"(x + 2)^2 in us"
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", install())


def test_code_is_whole_on_a_narrow_terminal(capsys, monkeypatch):
    pytest.importorskip("rich")
    from livegrad.cli.console import RichConsole

    monkeypatch.setenv("COLUMNS", "40")
    text = "x = livegrad.arange(1, 4, dtype=livegrad.float32, requires_grad=True)"
    RichConsole().code(text)
    assert "".join(capsys.readouterr().out.split("\n")) == f">>> {text}"


def test_reader_that_leaves_early():
    if os.name != "posix":
        pytest.skip("pipes of a POSIX shell")
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m livegrad info | head -c 1 >/dev/null"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="descriptors are closed by a shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_descriptors(closed):
    made = subprocess.run(
        ["sh", "-c", f'"$0" -m livegrad info {closed}', sys.executable], capture_output=True, text=True
    )
    assert made.returncode == 0 and "Traceback" not in made.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full is Linux's")
def test_output_that_there_is_no_room_for():
    with open("/dev/full", "w") as full:
        made = subprocess.run(
            [sys.executable, "-m", "livegrad", "info"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert made.returncode == 2 and made.stderr == "livegrad: cannot write any more: No space left on device\n"


def test_rich_console(capsys, monkeypatch):
    pytest.importorskip("rich")
    from livegrad.cli.console import RichConsole

    shown = RichConsole()
    shown.title("title", "subtitle")
    shown.step("first")
    shown.say("words [not markup]")
    shown.code("x = 1")
    shown.show("tensor([1.])")
    shown.table(("a", "b", "c"), [("x", "1", "2")])
    with shown.progress("work", 2) as advance:
        advance(1, "half")
        advance(2, "all")
    text = capsys.readouterr().out
    for part in ("title", "subtitle", "1. first", "words [not markup]", ">>> x = 1", "tensor([1.])", "100 %"):
        assert part in text


@pytest.mark.skipif(livegrad.cuda.is_available(), reason="for machines without CUDA")
class TestCuda:
    def test_asks_nothing_of_a_machine_without_cuda(self):
        assert not livegrad.cuda.is_available()
        assert livegrad.cuda.device_count() == 0
        assert not livegrad.cuda.is_initialized()
        assert livegrad.cuda.memory_allocated() == livegrad.cuda.max_memory_allocated() == 0
        livegrad.cuda.manual_seed(1)
        livegrad.cuda.manual_seed_all(1)
        livegrad.cuda.empty_cache()
        livegrad.cuda.reset_peak_memory_stats()

    @pytest.mark.parametrize(
        "name",
        ["current_device", "synchronize", "get_device_name", "get_device_properties", "get_device_capability", "init"],
    )
    def test_what_needs_a_device_says_that_there_is_none(self, name):
        with pytest.raises(
            RuntimeError, match=r"livegrad cannot use CUDA here: .*test livegrad.cuda.is_available\(\) first"
        ):
            getattr(livegrad.cuda, name)()

    def test_backends(self):
        import livegrad.backends.cudnn as cudnn

        with cudnn.flags(deterministic=True, benchmark=True):
            assert livegrad.backends.cudnn.deterministic and cudnn.benchmark
        assert not cudnn.deterministic and not cudnn.benchmark
        with pytest.raises(TypeError), cudnn.flags(nonsense=True):
            pass
        assert not cudnn.is_available() and cudnn.version() is None
        assert not livegrad.backends.mps.is_available()
        livegrad.backends.cuda.matmul.allow_tf32 = True
        livegrad.backends.cuda.matmul.allow_tf32 = False
