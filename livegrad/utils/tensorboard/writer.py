"""SummaryWriter: entries for TensorBoard, written to event files."""

import datetime
import os
import socket
import time

from . import events, media, plugins
from .images import figure_image, to_image
from .require import proto, require


class FileWriter:
    """The file of a `SummaryWriter`, for summaries and events that are made already."""

    def __init__(self, writer):
        self._writer = writer
        self.get_logdir, self.flush, self.close = writer.get_logdir, writer.flush, writer.close

    def add_event(self, event, step=None, walltime=None):
        """Write an event."""
        self._writer._write(event, step, walltime)

    def add_summary(self, summary, global_step=None, walltime=None):
        """Write what `utils.tensorboard.summary` makes."""
        self.add_event(proto("event").Event(summary=summary), global_step, walltime)


class SummaryWriter:
    """Writes scalars, images, sound, text, curves, embeddings, graphs and more to ``log_dir`` for TensorBoard to show.

    ``log_dir`` is by default ``runs/DATE_TIME_HOST`` with ``comment`` at the end. ``purge_step`` hides what an earlier
    run wrote to the directory from that step on. Entries are written by a thread, at the latest after ``flush_secs``,
    or when ``max_queue`` of them wait; ``flush`` and ``close`` write them now.

        with SummaryWriter() as writer:
            for step in range(100):
                writer.add_scalar("loss", 1 / (step + 1), step)
    """

    def __init__(self, log_dir=None, comment="", purge_step=None, max_queue=10, flush_secs=120, filename_suffix=""):
        require("tensorboard.summary.writer.event_file_writer")
        if not log_dir:
            now = datetime.datetime.now().strftime("%b%d_%H-%M-%S")
            log_dir = os.path.join("runs", f"{now}_{socket.gethostname()}{comment}")
        self.log_dir = os.fspath(log_dir)
        self.purge_step, self.max_queue, self.flush_secs = purge_step, max_queue, flush_secs
        self.filename_suffix = filename_suffix
        self._files = {}
        self._embeddings = []
        self._file(self.log_dir)

    def get_logdir(self):
        """The directory that is written to."""
        return self.log_dir

    # -- entries ------------------------------------------------------------------------------------------------------

    def add_scalar(
        self, tag, scalar_value, global_step=None, walltime=None, new_style=False, double_precision=False,
        display_name="", summary_description="",
    ):  # fmt: skip
        """One number: ``writer.add_scalar("loss/train", loss, step)``."""
        value = events.scalar(tag, scalar_value, new_style, double_precision, display_name, summary_description)
        self._write(events.summary(value), global_step, walltime)

    def add_scalars(self, main_tag, tag_scalar_dict, global_step=None, walltime=None):
        """Numbers for one chart, each a run of its own: ``writer.add_scalars("loss", {"train": a, "test": b}, 1)``."""
        walltime = time.time() if walltime is None else walltime
        for tag, value in tag_scalar_dict.items():
            directory = os.path.join(self.log_dir, f"{main_tag.replace('/', '_')}_{tag}")
            self._write(events.summary(events.scalar(main_tag, value)), global_step, walltime, directory)

    def add_histogram(self, tag, values, global_step=None, bins="tensorflow", walltime=None, max_bins=None):
        """How values are distributed. ``bins`` is ``"tensorflow"``, or what ``numpy.histogram`` takes."""
        self._write(events.summary(events.histogram(tag, values, bins, max_bins)), global_step, walltime)

    def add_histogram_raw(
        self, tag, min, max, num, sum, sum_squares, bucket_limits, bucket_counts, global_step=None, walltime=None
    ):
        """A histogram that has been counted already; ``bucket_limits`` are the buckets' right edges."""
        value = events.counted(tag, min, max, num, sum, sum_squares, bucket_limits, bucket_counts)
        self._write(events.summary(value), global_step, walltime)

    def add_image(self, tag, img_tensor, global_step=None, walltime=None, dataformats="CHW"):
        """An image, bytes or floats from 0 to 1; ``dataformats`` names its axes: ``"CHW"``, ``"HWC"``, ``"HW"``..."""
        self._write(events.summary(events.image(tag, to_image(img_tensor, dataformats))), global_step, walltime)

    def add_images(self, tag, img_tensor, global_step=None, walltime=None, dataformats="NCHW"):
        """Several images, as a grid."""
        self.add_image(tag, img_tensor, global_step, walltime, dataformats)

    def add_image_with_boxes(
        self, tag, img_tensor, box_tensor, global_step=None, walltime=None, rescale=1, dataformats="CHW", labels=None
    ):
        """An image with boxes, rows of left, top, right and bottom, and a label for each."""
        pixels = media.with_boxes(to_image(img_tensor, dataformats), box_tensor, rescale, labels)
        self._write(events.summary(events.image(tag, pixels)), global_step, walltime)

    def add_video(self, tag, vid_tensor, global_step=None, fps=4, walltime=None):
        """Videos of axes N, T, C, H, W, side by side."""
        self._write(events.summary(media.video(tag, vid_tensor, fps)), global_step, walltime)

    def add_audio(self, tag, snd_tensor, global_step=None, sample_rate=44100, walltime=None):
        """A sound of one channel, numbers from -1 to 1."""
        self._write(events.summary(media.audio(tag, snd_tensor, sample_rate)), global_step, walltime)

    def add_figure(self, tag, figure, global_step=None, close=True, walltime=None):
        """A matplotlib figure, or a list of them, as an image. It is closed unless ``close`` is False."""
        pixels = figure_image(figure, close)
        self.add_image(tag, pixels, global_step, walltime, "CHW" if pixels.ndim == 3 else "NCHW")

    def add_text(self, tag, text_string, global_step=None, walltime=None):
        """Text, in Markdown."""
        self._write(events.summary(events.text(tag, text_string)), global_step, walltime)

    def add_hparams(self, hparam_dict, metric_dict, hparam_domain_discrete=None, run_name=None, global_step=None):
        """Hyperparameters and the results they led to, as a run of its own inside this one."""
        if not isinstance(hparam_dict, dict) or not isinstance(metric_dict, dict):
            raise TypeError("add_hparams expects two dicts: the hyperparameters and the metrics")
        directory = os.path.join(self.log_dir, run_name or str(time.time()))
        for value in events.hparams(hparam_dict, metric_dict, hparam_domain_discrete):
            self._write(events.summary(value), None, None, directory)
        for tag, value in metric_dict.items():
            self._write(events.summary(events.scalar(tag, value)), global_step, None, directory)
        self._files.pop(directory).close()

    def add_tensor(self, tag, tensor, global_step=None, walltime=None):
        """A tensor as it is."""
        self._write(events.summary(plugins.tensor(tag, tensor)), global_step, walltime)

    def add_pr_curve(
        self, tag, labels, predictions, global_step=None, num_thresholds=127, weights=None, walltime=None
    ):  # fmt: skip
        """The precision-recall curve of predictions from 0 to 1 for labels of 0 and 1."""
        value = plugins.pr_curve(tag, labels, predictions, num_thresholds, weights)
        self._write(events.summary(value), global_step, walltime)

    def add_pr_curve_raw(
        self, tag, true_positive_counts, false_positive_counts, true_negative_counts, false_negative_counts, precision,
        recall, global_step=None, num_thresholds=127, weights=None, walltime=None,
    ):  # fmt: skip
        """A precision-recall curve from its numbers for each threshold."""
        value = plugins.pr_curve_raw(
            tag, true_positive_counts, false_positive_counts, true_negative_counts, false_negative_counts, precision,
            recall, num_thresholds,
        )  # fmt: skip
        self._write(events.summary(value), global_step, walltime)

    def add_custom_scalars(self, layout):
        """A page of charts of scalars: ``{category: {title: ["Multiline" or "Margin", tags]}}``. Once for a writer."""
        self._write(events.summary(plugins.custom_scalars(layout)), None, None)

    def add_custom_scalars_multilinechart(self, tags, category="default", title="untitled"):
        """A chart of several scalars."""
        self.add_custom_scalars({category: {title: ["Multiline", tags]}})

    def add_custom_scalars_marginchart(self, tags, category="default", title="untitled"):
        """A chart of a scalar between two others: tags of the value, the lower and the upper one."""
        self.add_custom_scalars({category: {title: ["Margin", tags]}})

    def add_mesh(
        self, tag, vertices, colors=None, faces=None, config_dict=None, global_step=None, walltime=None
    ):  # fmt: skip
        """Meshes or clouds of points: vertices (B, N, 3), colours (B, N, 3) from 0 to 255, faces (B, M, 3)."""
        values = plugins.mesh(tag, vertices, colors, faces, config_dict)
        self._write(events.summary(*values), global_step, walltime)

    def add_embedding(
        self, mat, metadata=None, label_img=None, global_step=None, tag="default", metadata_header=None
    ):  # fmt: skip
        """Points, the rows of a matrix, for the projector; with a label or a row of them, and a picture, for each."""
        made = plugins.embedding(self.log_dir, mat, metadata, label_img, global_step, tag, metadata_header)
        self._embeddings = [e for e in self._embeddings if e.tensor_name != made.tensor_name] + [made]
        plugins.write_projector_config(self.log_dir, self._embeddings)

    def add_graph(self, model, input_to_model=None, verbose=False, use_strict_trace=True):
        """The graph that ran: of a model called once with an input, or of a tensor that is already there.

        ``input_to_model`` is the tensor, or a tuple of the arguments, or a dict of keyword arguments. The model runs in
        the mode it is in (``train`` or ``eval``). The names are those of the modules, so TensorBoard nests them as the
        model does; every operator carries its source line.

            writer.add_graph(model, livegrad.zeros(1, 2))
            writer.add_graph(loss)
        """
        from livegrad.graph import Graph, graph

        from .graphdef import graph_def

        if isinstance(model, Graph):
            recorded = model
        elif hasattr(model, "grad_fn") and not callable(model):
            recorded = graph(model)
        else:
            from .record import run

            recorded = run(model, input_to_model)
        if verbose:
            print(recorded)
        self._write(proto("event").Event(graph_def=graph_def(recorded).SerializeToString()), None, None)

    # -- files --------------------------------------------------------------------------------------------------------

    def flush(self):
        """Writes all entries so far."""
        for file in self._files.values():
            file.flush()

    def close(self):
        """Writes all entries and closes the files. A later entry opens a new file."""
        while self._files:
            self._files.popitem()[1].close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def _get_file_writer(self):
        """What libraries write their own summaries by."""
        return FileWriter(self)

    def _file(self, directory):
        file = self._files.get(directory)
        if file is None:
            module = require("tensorboard.summary.writer.event_file_writer")
            file = module.EventFileWriter(directory, self.max_queue, self.flush_secs, self.filename_suffix)
            self._files[directory] = file
            if self.purge_step is not None:
                log = proto("event").SessionLog(status=proto("event").SessionLog.START)
                file.add_event(proto("event").Event(step=self.purge_step, session_log=log, wall_time=time.time()))
        return file

    def _write(self, event, step, walltime, directory=None):
        event.wall_time = time.time() if walltime is None else walltime
        if step is not None:
            event.step = int(step)
        self._file(directory or self.log_dir).add_event(event)
