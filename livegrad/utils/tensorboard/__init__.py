"""Logging for TensorBoard, with PyTorch's names.

    from livegrad.utils.tensorboard import SummaryWriter

    with SummaryWriter("runs/first") as writer:
        writer.add_graph(model, inputs)
        writer.add_scalar("loss", loss, step)

Then ``tensorboard --logdir runs`` shows it. Needs the extra ``viz``, which is imported when the first writer is made.
"""

from .writer import SummaryWriter

__all__ = ["SummaryWriter"]
