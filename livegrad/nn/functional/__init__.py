"""The functional forms of layers, activations and losses: functions of tensors, without state."""

from livegrad.ops.arguments import checked
from livegrad.ops.registry import FUNCTIONS, known_as

from . import (
    activation,
    affine,
    attention,
    class_loss,
    conv,
    ctc,
    distance,
    dropouts,
    folding,
    fractional,
    interpolation,
    lookup,
    loss,
    margin_loss,
    normalization,
    padding,
    pooling,
    spatial,
)
from .activation import *  # noqa: F403
from .affine import *  # noqa: F403
from .attention import *  # noqa: F403
from .class_loss import *  # noqa: F403
from .conv import *  # noqa: F403
from .ctc import *  # noqa: F403
from .distance import *  # noqa: F403
from .dropouts import *  # noqa: F403
from .folding import *  # noqa: F403
from .fractional import *  # noqa: F403
from .interpolation import *  # noqa: F403
from .lookup import *  # noqa: F403
from .loss import *  # noqa: F403
from .margin_loss import *  # noqa: F403
from .normalization import *  # noqa: F403
from .padding import *  # noqa: F403
from .pooling import *  # noqa: F403
from .spatial import *  # noqa: F403

__all__ = [
    *activation.__all__,
    *affine.__all__,
    *conv.__all__,
    *attention.__all__,
    *ctc.__all__,
    *distance.__all__,
    *dropouts.__all__,
    *folding.__all__,
    *fractional.__all__,
    *interpolation.__all__,
    *lookup.__all__,
    *loss.__all__,
    *class_loss.__all__,
    *margin_loss.__all__,
    *normalization.__all__,
    *padding.__all__,
    *pooling.__all__,
    *spatial.__all__,
]

for _name in __all__:
    _function = globals()[_name]
    known_as(_function, _name)
    if _function is not FUNCTIONS.get(_name):  # (those have been seen to)
        globals()[_name] = checked(_function)
        globals()[_name].__module__ = __name__  # where it is found by name, in a pickle say
