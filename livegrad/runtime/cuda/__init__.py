"""The CUDA runtime. CuPy is underneath: memory, streams, libraries. It is imported when a CUDA device is asked for."""
