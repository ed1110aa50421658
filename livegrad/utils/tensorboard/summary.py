"""Summaries that libraries make themselves, and write by what a writer's `_get_file_writer` returns."""

from . import events
from .require import proto

__all__ = ["histogram", "hparams", "scalar", "text"]


def _summary(*values):
    return proto("summary").Summary(value=values)


def scalar(
    name, tensor, collections=None, new_style=False, double_precision=False, display_name="", summary_description=""
):
    """The summary of one number. collections: not looked at."""
    return _summary(events.scalar(name, tensor, new_style, double_precision, display_name, summary_description))


def histogram(name, values, bins="tensorflow", max_bins=None):
    """The summary of how values are distributed."""
    return _summary(events.histogram(name, values, bins, max_bins))


def text(tag, text):
    """The summary of a text."""
    return _summary(events.text(tag, text))


def hparams(hparam_dict=None, metric_dict=None, hparam_domain_discrete=None):
    """Three summaries that open and close a session: of the experiment, of its hyperparameters, of its end.

    hparam_dict: hyperparameters by name. metric_dict: the names of results. hparam_domain_discrete: by name the values
    that a hyperparameter may have. Raises TypeError unless the first two are dictionaries.
    """
    if not isinstance(hparam_dict, dict) or not isinstance(metric_dict, dict):
        raise TypeError("hparams expects two dicts: the hyperparameters and the metrics")
    return tuple(_summary(value) for value in events.hparams(hparam_dict, metric_dict, hparam_domain_discrete))
