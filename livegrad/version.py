"""Which version this is, and of what it was built with: nothing is built, so there are no versions of compilers."""

__version__ = "0.1.0"
cuda = None
hip = None
debug = False
