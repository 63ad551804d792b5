"""`python -m jbackprop` is `jbackprop`."""

import sys

from jbackprop.cli import main

if __name__ == "__main__":
    sys.exit(main())
