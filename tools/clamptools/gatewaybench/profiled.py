"""Runs the command line under a profiler: `python -m clamptools.gatewaybench.profiled FILE ...`.

Counted is the processor time of the main thread, which is the gateway's loop; the store's thread
is not in it. The profiler itself makes small functions look dearer than they are.
"""

from __future__ import annotations

import cProfile
import sys
import time

from clamptools import cli

if __name__ == "__main__":
    profile = cProfile.Profile(time.thread_time)
    try:
        code = profile.runcall(cli.main, sys.argv[2:])
    finally:
        profile.dump_stats(sys.argv[1])
    sys.exit(code)
