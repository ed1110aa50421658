"""Writing kernels: programs become LLVM IR, for the CPU and, as PTX, for GPUs (`gpu`).

| module | what |
|---|---|
| `ir`, `math` | instructions as text; elementary and special functions made of them |
| `lower`, `body` | a scalar primitive, and a whole program, as instructions |
| `kernels`, `layout`, `rowshape` | compiled programs and when they are compiled; what is known before one is written |
| `elementwise`, `reduction`, `rows`, `scan`, `running`, `turned` | loops around a program, by kind of work |
| `added_rows`, `along`, `histogram` | elements moved, added and counted as indices, or edges, say |
| `product`, `gemm`, `tiles` | matrix products: small ones inside a kernel, of middling size, on the tile unit |
| `conv`, `conv_weight`, `pool`, `resample`, `picks`, `attention`, `recurrent` | kernels of layers |
| `batch` | several launches as one |

Nothing here runs anything: `llvm` compiles what is written, `runtime` launches it.
"""
