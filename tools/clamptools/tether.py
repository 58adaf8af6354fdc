"""Runs a command that ends with the one who started it: `python -m clamptools.tether COMMAND ...`.

The kernel is asked to send SIGTERM to this process when its parent dies, which outlives the
change to COMMAND. So not even a killed demo leaves processes behind. Where the kernel has no such
call (anything but Linux), COMMAND runs untied.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

# Ref: prctl(2), Linux manual page: PR_SET_PDEATHSIG, kept over execve of an ordinary program.
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Replaces this process; returns only by an exception."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(1)  # it died before the request was made
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
