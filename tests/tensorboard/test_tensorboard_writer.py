"""SummaryWriter's entries, read back through TensorBoard's own EventAccumulator."""

import io
import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("tensorboard")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

import livegrad  # noqa: E402
from livegrad.utils.tensorboard import SummaryWriter  # noqa: E402


def load(directory):
    accumulator = EventAccumulator(str(directory), size_guidance={"images": 0, "tensors": 0, "histograms": 0})
    return accumulator.Reload()


def image(accumulator, tag):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(accumulator.Images(tag)[-1].encoded_image_string)))


def test_scalars(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        for step in range(5):
            writer.add_scalar("loss", step / 2, step, walltime=100 + step)
        writer.add_scalar("array", np.float32([[3]]))
        writer.add_scalar("new", 1.5, 7, new_style=True)
        writer.add_scalar("double", 0.1, double_precision=True)
    found = load(tmp_path)
    assert [(e.step, e.value, e.wall_time) for e in found.Scalars("loss")] == [(i, i / 2, 100 + i) for i in range(5)]
    assert found.Scalars("array")[0].value == 3
    assert found.Tensors("new")[0].tensor_proto.float_val == [1.5] and found.Tensors("new")[0].step == 7
    assert found.Tensors("double")[0].tensor_proto.double_val == [0.1]
    with pytest.raises(ValueError, match="one number"):
        writer.add_scalar("loss", np.zeros(2))


def test_scalars_of_one_chart(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        for step in range(3):
            writer.add_scalars("loss/all", {"train": step, "test": step * 2}, step)
    assert [e.value for e in load(tmp_path / "loss_all_test").Scalars("loss/all")] == [0, 2, 4]
    assert [e.value for e in load(tmp_path / "loss_all_train").Scalars("loss/all")] == [0, 1, 2]


@pytest.mark.parametrize("bins", ["tensorflow", "auto", 10, [-5, 0, 5]])
def test_histogram(tmp_path, bins):
    values = np.random.default_rng(0).normal(size=1000)
    with SummaryWriter(tmp_path) as writer:
        writer.add_histogram("h", np.append(values, np.nan), 3, bins=bins)
        with pytest.raises(ValueError, match="no finite value"):
            writer.add_histogram("none", [])
    (event,) = load(tmp_path).Histograms("h")
    found = event.histogram_value
    assert (event.step, found.num, found.min, found.max) == (3, 1000, values.min(), values.max())
    assert np.isclose(found.sum, values.sum()) and np.isclose(found.sum_squares, np.square(values).sum())
    limits, counts = np.array(found.bucket_limit), np.array(found.bucket)
    assert counts.sum() == 1000 and (np.diff(limits) > 0).all() and counts[0] == 0 < counts[1]
    assert (np.histogram(values, limits)[0] == counts[1:]).all()


def test_histogram_bins_can_be_joined(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_histogram("h", np.arange(100), bins=50, max_bins=5)
    found = load(tmp_path).Histograms("h")[0].histogram_value
    assert list(found.bucket) == [0, 20, 20, 20, 20, 20]


@pytest.mark.parametrize(
    "dataformats, shape, expected",
    [
        ("CHW", (3, 4, 5), (4, 5, 3)), ("HWC", (4, 5, 4), (4, 5, 4)), ("HW", (4, 5), (4, 5)),
        ("chw", (1, 4, 5), (4, 5)),
        ("NCHW", (5, 3, 4, 6), (8, 18, 3)), ("NHWC", (2, 4, 5, 1), (4, 10)), ("CHWN", (3, 4, 5, 1), (4, 5, 3)),
        ("NHW", (4, 2, 2), (4, 4)),
    ],
)  # fmt: skip
def test_images(tmp_path, dataformats, shape, expected):
    values = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    with SummaryWriter(tmp_path) as writer:
        writer.add_images("bytes", values, 1, dataformats=dataformats)
        writer.add_image("floats", values / 255.0 + 1e-4, 1, dataformats=dataformats)
    found = load(tmp_path)
    assert image(found, "bytes").shape == expected
    assert (image(found, "bytes") == image(found, "floats")).all()
    if dataformats == "CHW":
        assert (image(found, "bytes") == values.transpose(1, 2, 0)).all()


def test_wrong_images_are_refused(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        with pytest.raises(ValueError, match="dataformats.*'CHW' for an image of shape"):
            writer.add_image("i", np.zeros((4, 5)))
        with pytest.raises(ValueError, match="1, 3 or 4 channels, but got 2"):
            writer.add_image("i", np.zeros((2, 4, 5)))


def test_figures(tmp_path):
    figure_module = pytest.importorskip("matplotlib.figure")
    figures = [figure_module.Figure(figsize=(1, 2), dpi=50) for _ in range(2)]
    figures[0].add_subplot().plot([1, 2])
    with SummaryWriter(tmp_path) as writer:
        writer.add_figure("one", figures[0], 1)
        writer.add_figure("two", figures, close=False)
    assert image(load(tmp_path), "one").shape == (100, 50, 4)
    assert image(load(tmp_path), "two").shape == (100, 100, 4)


def test_text(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_text("note", "**höher**", 2)
    found = load(tmp_path)
    assert found.Tensors("note/text_summary")[0].tensor_proto.string_val == ["**höher**".encode()]
    assert "note/text_summary" in found.PluginTagToContent("text")


def test_hparams(tmp_path):
    from tensorboard.plugins.hparams import metadata

    with SummaryWriter(tmp_path) as writer:
        writer.add_hparams({"lr": 0.1, "n": 3, "on": True, "kind": "a"}, {"hp/loss": 0.5}, {"lr": [0.1, 0.2]}, "run")
        with pytest.raises(ValueError, match="'bad' must be"):
            writer.add_hparams({"bad": None}, {})
        with pytest.raises(TypeError, match="two dicts"):
            writer.add_hparams([], {})
    found = load(tmp_path / "run")
    assert found.Scalars("hp/loss")[0].value == 0.5
    content = found.PluginTagToContent("hparams")
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    assert (start.hparams["lr"].number_value, start.hparams["n"].number_value) == (0.1, 3)
    assert start.hparams["on"].bool_value is True and start.hparams["kind"].string_value == "a"
    experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    assert [info.name.tag for info in experiment.metric_infos] == ["hp/loss"]
    assert [value.number_value for value in experiment.hparam_infos[0].domain_discrete.values] == [0.1, 0.2]


def test_summaries_that_libraries_make(tmp_path):
    from tensorboard.plugins.hparams import metadata

    from livegrad.utils.tensorboard import summary

    with SummaryWriter(tmp_path) as writer:
        file = writer._get_file_writer()
        for made in summary.hparams({"lr": 0.1}, {"loss": 0}):
            file.add_summary(made, 3)
        file.add_summary(summary.scalar("x", livegrad.tensor(2.0)), 4)
        file.add_summary(summary.histogram("h", livegrad.arange(9.0)))
        file.add_summary(summary.text("t", "words"))
        file.flush()
        assert file.get_logdir() == writer.log_dir
        with pytest.raises(TypeError, match="two dicts"):
            summary.hparams([], {})
    found = load(tmp_path)
    assert [(e.step, e.value) for e in found.Scalars("x")] == [(4, 2.0)] and found.Histograms("h")
    start = found.PluginTagToContent("hparams")[metadata.SESSION_START_INFO_TAG]
    assert metadata.parse_session_start_info_plugin_data(start).hparams["lr"].number_value == 0.1


def test_default_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SummaryWriter(comment="_lr") as writer:
        writer.add_scalar("x", 1)
    assert re.fullmatch(r"runs[/\\][A-Z][a-z]{2}\d\d_\d\d-\d\d-\d\d_.+_lr", writer.log_dir)
    assert writer.get_logdir() == writer.log_dir and load(tmp_path / writer.log_dir).Scalars("x")


def test_flush_close_and_reopen(tmp_path):
    writer = SummaryWriter(str(tmp_path), filename_suffix=".mine")
    writer.add_scalar("x", 1, 0)
    writer.flush()
    assert len(load(tmp_path).Scalars("x")) == 1
    writer.close()
    writer.close()
    writer.add_scalar("x", 2, 1)
    writer.close()
    assert len(list(tmp_path.glob("*.mine"))) == 2


def test_purge_step_hides_what_follows(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        for step in range(5):
            writer.add_scalar("x", 1, step, walltime=step + 1.0)
    found = EventAccumulator(str(tmp_path), purge_orphaned_data=True).Reload()
    assert [e.step for e in found.Scalars("x")] == [0, 1, 2, 3, 4]
    for path in tmp_path.glob("events*"):
        path.rename(tmp_path / "events.out.tfevents.0000000001.first")
    with SummaryWriter(tmp_path, purge_step=3) as writer:
        writer.add_scalar("x", 2, 3)
    found = EventAccumulator(str(tmp_path), purge_orphaned_data=True).Reload()
    assert [(e.step, e.value) for e in found.Scalars("x")] == [(0, 1), (1, 1), (2, 1), (3, 2)]


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_nothing_heavy_is_imported_before_the_first_writer():
    code = "import sys, livegrad.utils.tensorboard; print({'tensorboard', 'matplotlib', 'PIL'} & set(sys.modules))"
    assert run_python(code).stdout.strip() == "set()"


def test_a_missing_package_is_named(tmp_path):
    code = "import sys; sys.modules['tensorboard'] = None; from livegrad.utils.tensorboard import *; SummaryWriter()"
    assert 'pip install "livegrad[viz]"' in run_python(code).stderr
