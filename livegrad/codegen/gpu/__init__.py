"""Kernels for NVIDIA GPUs, as PTX text: the formulas and the emitter of the CPU's kernels in another frame.

| module | what |
|---|---|
| `target` | architectures; the start of a kernel, its parameters, the index of a thread, loops over a grid |
| `kernels` | a program's kernel: its PTX for an architecture, from memory, from disk, or made now; a planned launch |
| `maps`, `plan` | elementwise programs: their source, and which one a launch takes |
| `space` | an index space of kept and reduced dimensions, and how operands lie in it |
| `team` | threads that work on one row together |
| `reductions`, `rows`, `scans` | reductions, row programs, running totals: their source, and which one a launch takes |
| `places` | reading and writing at places that index tensors name; what is wrong with these is reported |
| `grouping` | what arrives at one place brought together: sorted, then combined |

Nothing here knows of CUDA's libraries or needs a GPU. `runtime.cuda.driver` loads and starts what is made here.

A kernel has one parameter, a block of 64-bit words passed by value, which the launching side packs as for the CPU:
pointers, Python numbers, then what describes sizes and strides. So a launch is one `struct.pack` and one call. Where
the block is larger than a launch can pass, it lies in the device's memory and its address is the parameter; both
sides tell by the number of words (see `target.DIRECT_WORDS`).
"""
