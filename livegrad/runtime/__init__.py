"""What kernels run on: memory (`memory`), threads (`pool`) and matrix products (`blas`)."""
