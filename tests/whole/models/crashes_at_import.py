"""Is killed by its own code while it is imported, as by a broken extension module; where Serinus started the process,
so that it can be logged."""

import os
import signal
import sys

if sys.flags.isolated:
    os.kill(os.getpid(), signal.SIGSEGV)
