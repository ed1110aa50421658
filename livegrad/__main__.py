"""``python -m livegrad``: the same as the command ``livegrad``."""

import sys

from livegrad.cli import main

if __name__ == "__main__":
    sys.exit(main())
