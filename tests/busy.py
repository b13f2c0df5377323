"""Runs a command beside processes that keep the processor busy, and ends them with it.

python busy.py 8 pytest ops/test_threads.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack

BUSY = f"""
import os
while os.getppid() == {os.getpid()}:  # ends by itself where nobody is left to end it
    for _ in range(1_000_000): pass
"""


def main() -> int:
    """Returns the command's status."""
    count, command = int(sys.argv[1]), sys.argv[2:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", BUSY])
            stack.callback(process.wait)
            stack.callback(process.kill)
        return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main())
