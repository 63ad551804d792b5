"""`python killed_run.py N COMMAND...`: the command line, killed while it writes its N-th checkpoint; never: nowhere.

Checkpoints are written after every epoch here, so that what comes from outside meets many of them.
"""

import math
import os
import signal
import sys

from jbackprop import cli
from jbackprop.training import checkpoint, checkpoint_files


def kill_in_the_middle_of_write(number: int) -> None:
    seal, left = checkpoint_files.seal, iter(range(number, 0, -1))

    def sealed(partial, target):
        if next(left) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        seal(partial, target)

    checkpoint_files.seal = sealed


if __name__ == "__main__":
    checkpoint.Writer.__init__.__defaults__ = (math.inf,)
    if sys.argv[1] != "nowhere":
        kill_in_the_middle_of_write(int(sys.argv[1]))
    sys.exit(cli.main(sys.argv[2:]))
