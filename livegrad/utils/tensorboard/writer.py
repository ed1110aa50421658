"""SummaryWriter: entries for TensorBoard, written to event files."""

import datetime
import os
import socket
import time

from . import events
from .images import figure_image, to_image
from .require import proto, require


class SummaryWriter:
    """Writes scalars, images, histograms, text, hyperparameters and graphs to ``log_dir`` for TensorBoard to show.

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

    def add_image(self, tag, img_tensor, global_step=None, walltime=None, dataformats="CHW"):
        """An image, bytes or floats from 0 to 1; ``dataformats`` names its axes: ``"CHW"``, ``"HWC"``, ``"HW"``..."""
        self._write(events.summary(events.image(tag, to_image(img_tensor, dataformats))), global_step, walltime)

    def add_images(self, tag, img_tensor, global_step=None, walltime=None, dataformats="NCHW"):
        """Several images, as a grid."""
        self.add_image(tag, img_tensor, global_step, walltime, dataformats)

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
