"""Random numbers. On the CPU they are PyTorch's, number for number; on CUDA devices they go by seed, number of the draw
and index of the element (`livegrad.ops.philox`), and so they do everywhere inside of `portable`.

Drawn when called, in program order, whatever is deferred.
"""

from . import fills  # methods of tensors
from .draws import (
    bernoulli,
    binomial,
    multinomial,
    normal,
    poisson,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
)
from .generators import (
    DEFAULT_SEED,
    Generator,
    cuda_generator,
    default_generator,
    fork_rng,
    get_rng_state,
    initial_seed,
    manual_seed,
    portable,
    seed,
    seed_cuda,
    set_rng_state,
)

__all__ = [
    "DEFAULT_SEED", "Generator", "bernoulli", "binomial", "cuda_generator", "default_generator", "fills", "fork_rng",
    "get_rng_state", "initial_seed", "manual_seed", "multinomial", "normal", "poisson", "portable", "rand", "rand_like",
    "randint", "randint_like", "randn", "randn_like", "randperm", "seed", "seed_cuda", "set_rng_state",
]  # fmt: skip
