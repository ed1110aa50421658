"""SummaryWriter's entries for TensorBoard's plugins, read back, and compared with those that PyTorch's writer makes."""

import io
import wave

import numpy as np
import pytest

pytest.importorskip("tensorboard")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402
from tensorboard.util import tensor_util  # noqa: E402

import livegrad  # noqa: E402
from livegrad.utils.tensorboard import SummaryWriter  # noqa: E402


def load(directory):
    sizes = {"images": 0, "tensors": 0, "histograms": 0, "audio": 0}
    return EventAccumulator(str(directory), size_guidance=sizes).Reload()


def both(tmp_path, write):
    """What is read back from our writer and from PyTorch's."""
    theirs = pytest.importorskip("torch.utils.tensorboard").SummaryWriter
    found = []
    for name, writer in (("ours", SummaryWriter), ("theirs", theirs)):
        with writer(str(tmp_path / name)) as w:
            write(w)
        found.append(load(tmp_path / name))
    return found


def test_precision_recall_curve(tmp_path):
    rng = np.random.default_rng(0)
    labels, predictions, weights = rng.integers(2, size=100), rng.random(100), rng.random(100)

    def write(w):
        w.add_pr_curve("pr", labels, predictions, 3)
        w.add_pr_curve("weighed", labels, predictions, 3, num_thresholds=20, weights=weights)

    mine, theirs = both(tmp_path, write)
    for tag in ("pr", "weighed"):
        (a,), (b,) = mine.Tensors(tag), theirs.Tensors(tag)
        assert a.step == b.step == 3
        a, b = tensor_util.make_ndarray(a.tensor_proto), tensor_util.make_ndarray(b.tensor_proto)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        ma, mb = mine.SummaryMetadata(tag).plugin_data, theirs.SummaryMetadata(tag).plugin_data
        assert ma.plugin_name == mb.plugin_name == "pr_curves" and ma.content == mb.content
    with SummaryWriter(tmp_path / "x") as w, pytest.raises(ValueError, match="a label for each prediction"):
        w.add_pr_curve("bad", [1], [0.1, 0.2])


def test_tensors_meshes_and_counted_histograms(tmp_path):
    vertices, faces = np.random.default_rng(0).random((1, 4, 3)).astype(np.float32), np.array([[[0, 1, 2], [1, 2, 3]]])

    def write(w):
        import torch

        tensor = livegrad.tensor if isinstance(w, SummaryWriter) else torch.tensor
        w.add_tensor("t", tensor([1.0, 2.0]), 1)
        w.add_mesh("m", tensor(vertices), colors=tensor((vertices * 255).astype(np.uint8)), faces=tensor(faces))
        w.add_histogram_raw("h", 0.0, 2.0, 3, 3.0, 5.0, [1.0, 2.0], [1, 2], 4)

    mine, theirs = both(tmp_path, write)
    assert mine.Tags()["tensors"] == theirs.Tags()["tensors"]
    for tag in mine.Tags()["tensors"]:
        (a,), (b,) = mine.Tensors(tag), theirs.Tensors(tag)
        np.testing.assert_array_equal(
            tensor_util.make_ndarray(a.tensor_proto), tensor_util.make_ndarray(b.tensor_proto)
        )
        if tag != "t":
            assert mine.SummaryMetadata(tag).plugin_data == theirs.SummaryMetadata(tag).plugin_data
    (a,), (b,) = mine.Histograms("h"), theirs.Histograms("h")
    assert a.histogram_value == b.histogram_value and a.step == 4


def test_custom_charts(tmp_path):
    layout = {"Taiwan": {"twse": ["Multiline", ["twse/0050", "twse/2330"]]},
              "USA": {"dow": ["Margin", ["dow/aaa", "dow/bbb", "dow/ccc"]]}}  # fmt: skip
    mine, theirs = both(tmp_path, lambda w: w.add_custom_scalars(layout))
    (tag,) = theirs.Tags()["tensors"]
    (a,), (b,) = mine.Tensors(tag), theirs.Tensors(tag)
    assert a.tensor_proto.string_val == b.tensor_proto.string_val
    with SummaryWriter(tmp_path / "x") as w:
        w.add_custom_scalars_multilinechart(["a", "b"], "c", "t")
        with pytest.raises(ValueError, match="three tags"):
            w.add_custom_scalars_marginchart(["a", "b"])
    assert load(tmp_path / "x").Tags()["tensors"] == [tag]


def test_sound(tmp_path):
    sound = np.sin(np.arange(1000) / 10)
    with SummaryWriter(tmp_path) as w:
        w.add_audio("a", livegrad.tensor(sound)[None], 2, sample_rate=8000)
        with pytest.raises(ValueError, match="one channel"):
            w.add_audio("b", np.zeros((2, 3)))
    (event,) = load(tmp_path).Audio("a")
    assert (event.step, event.sample_rate, event.length_frames) == (2, 8000, 1000)
    with wave.open(io.BytesIO(event.encoded_audio_string)) as file:
        back = np.frombuffer(file.readframes(1000), "<i2") / 32767
    np.testing.assert_allclose(back, sound, atol=1e-4)


def test_video_and_boxes(tmp_path):
    from PIL import Image

    frames = livegrad.zeros(1, 5, 3, 8, 6)
    frames[:, 2] = 1.0
    with SummaryWriter(tmp_path) as w:
        w.add_video("v", frames, 1, fps=10)
        w.add_image_with_boxes("b", livegrad.zeros(3, 20, 10), livegrad.tensor([[1, 2, 5, 8]]), rescale=2, labels=["x"])
        with pytest.raises(ValueError, match="N, T, C, H, W"):
            w.add_video("bad", frames[0])
    found = load(tmp_path)
    gif = Image.open(io.BytesIO(found.Images("v")[0].encoded_image_string))
    assert gif.format == "GIF" and gif.size == (6, 8) and gif.n_frames == 3  # equal frames in a row are one, longer
    boxed = np.asarray(Image.open(io.BytesIO(found.Images("b")[0].encoded_image_string)))
    assert boxed.shape == (40, 20, 3)
    assert boxed[4, 2:11].tolist() == [[255, 0, 0]] * 9 and boxed[30].sum() == 0


def test_embedding(tmp_path):
    points = livegrad.arange(12.0).reshape(4, 3)
    with SummaryWriter(tmp_path) as w:
        w.add_embedding(points, metadata=["a", "b", "c", "d"], label_img=livegrad.rand(4, 3, 5, 5), global_step=7)
        w.add_embedding(points, metadata=[["a", 1]] * 4, metadata_header=["name", "n"], tag="second")
        with pytest.raises(ValueError, match="#labels should equal"):
            w.add_embedding(points, metadata=["a"])
        with pytest.raises(ValueError, match="2D"):
            w.add_embedding(points[0])
    from google.protobuf import text_format
    from PIL import Image
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    config = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), ProjectorConfig())
    first, second = config.embeddings
    assert first.tensor_name == "default:00007" and second.tensor_name == "second:00000"
    assert np.loadtxt(tmp_path / first.tensor_path).tolist() == points.tolist()
    assert (tmp_path / first.metadata_path).read_text().split() == ["a", "b", "c", "d"]
    assert Image.open(tmp_path / first.sprite.image_path).size == (10, 10)
    assert list(first.sprite.single_image_dim) == [5, 5]
    assert (tmp_path / second.metadata_path).read_text().splitlines()[:2] == ["name\tn", "a\t1"]
