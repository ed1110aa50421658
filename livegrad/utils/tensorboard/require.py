"""Import of the packages of the extra ``viz``, on first use."""

import importlib


def require(name):
    """The module ``name``, or an ImportError that says what to install."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ImportError(
            f"livegrad.utils.tensorboard needs the package {package!r} for this, and importing {name} failed "
            f'({error}). Install it with: pip install "livegrad[viz]"',
            name=name,
        ) from error


def proto(name):
    """TensorBoard's protocol buffer module, as ``proto("event")``."""
    return require(f"tensorboard.compat.proto.{name}_pb2")
