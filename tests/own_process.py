"""Scripts in a process of their own: another backend, or the memory of one step."""

import os
import subprocess
import sys


def run(script, *arguments, **environment):
    """What a script prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ru_maxrss starts at what the parent process had, Linux's VmHWM does not. Making the
# inputs raises it, so each step starts a new one. What the allocator keeps of one step
# lowers the peak of the next: of two in one process, the smaller comes first.
PEAK = '''
import functools
import sys

import numpy as np

from keras_kd import losses

rows, classes = map(int, sys.argv[1:3])

def memory(kind):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if kind in line) / 1024

def peak_of(run):
    """MiB above what the logits, the models and the programs take already."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # VmHWM is what VmRSS is
    before = memory("VmRSS")
    result = run()
    return memory("VmHWM") - before, result
'''
