"""PyTorch's CPU random numbers, number for number, on NumPy arrays.

A :class:`Stream` is the state behind a CPU generator.  Seeded with the seed given to PyTorch and asked the same
questions in the same order, it gives the same answers and ends in the same state (``get_state`` is byte for byte
PyTorch's).  The 32-bit words come from NumPy's MT19937; what is made of them follows the x86 kernels of PyTorch 2.13.
Earlier releases differ in places: some drew ``bernoulli_(p)`` and ``exponential_`` through Intel's MKL on Intel
machines, and made half-precision numbers from fewer bits.

=============== ==================================================================================================
engine          the words: MT19937, its seeding, its 5056-byte state
boxmuller       blocks of sixteen normals, float32 with the kernel's own log and sincos polynomials, and float64
fused           multiply-add with one rounding, which NumPy lacks
twister         the words sixteen at a time, through LLVM where llvmlite is found
libm            the C library's functions, with its rounding and not NumPy's
compiled        the loops NumPy is slow at (blocks of normals, the shuffle), through LLVM where llvmlite is found
rejection       distributions whose every element draws as often as it needs (Poisson)
stream          every distribution, over the words
=============== ==================================================================================================

What the Python layers of PyTorch draw, for those who rebuild them (``G`` is the default generator's stream):

==================================== =============================================================================
``RandomSampler.__iter__``           without a generator: ``seed = G.draw_seed()``, then everything from a fresh
                                     ``Stream(seed)``; with a generator, from it.  Without replacement:
                                     ``permutation(n)`` for each full pass over ``num_samples // n``, then one more
                                     cut to ``num_samples % n`` (drawn even when that is zero).  With replacement:
                                     ``random_int(0, n, 32, int64)`` for every full 32, then one call for the rest
``SubsetRandomSampler.__iter__``     ``permutation(len(indices))``, from its generator or G
``WeightedRandomSampler.__iter__``   ``multinomial(weights as float64, num_samples, replacement)``
``iter(DataLoader)``                 ``draw_seed()`` from ``loader.generator`` or G: the workers' base seed, drawn
                                     with and without workers, before the sampler's own (samplers are lazy).  Worker
                                     ``i`` calls ``manual_seed(base_seed + i)``
``random_split``                     ``permutation(sum(lengths))``, from its generator or G
``dropout(x, p)``                    ``bernoulli(1 - p, x.size)``, then divided by ``1 - p``; nothing at ``p`` 0 or in
                                     eval mode.  ``dropout1d/2d/3d`` and ``feature_alpha_dropout``: one per (n, c)
``init.uniform_ / xavier / kaiming`` ``uniform(size, dtype, -b, b)``
``init.normal_``, ``nn.Embedding``   ``normal(size, dtype, mean, std)``
``init.trunc_normal_``               where at least 0.3 of the mass is kept: ``normal(size)``, and as long as some
                                     value lies outside, ``normal(size)`` again and those values from it; else
                                     ``uniform(a, b)`` and ``uniform(0, 1)`` in turn, accepting by the density
``init.orthogonal_``                 ``normal(rows * cols)``
``init.sparse_``                     ``normal(size, std=std)``, then ``permutation(rows)`` of G per column
``nn.Linear``, ``nn.Conv*d``         weight ``uniform(-k, k)`` with ``k = gain * sqrt(3) / sqrt(fan_in)``, then bias
==================================== =============================================================================
"""

from livegrad.sampling.stream import DEFAULT_SEED, Stream

__all__ = ["DEFAULT_SEED", "Stream"]
