"""`Distiller.fit` with TensorFlow's oneDNN kernels against without.

TensorFlow reads `TF_ENABLE_ONEDNN_OPTS` once, when it is imported, and leaves oneDNN
off where the processor has no AVX512_VNNI, AVX512_BF16 or AMX. So each side is a
process of its own, and both train in turn: CIFARResNet-56 to CIFARResNet-20.

    python benchmarks/speed/onednn.py                         # about 3 minutes
"""

import os
import subprocess
import sys

from _interleaved import arguments, compare, random_batches, record
from training_step import ours, teachers


class Side:
    """A process that trains for a turn whenever it is told to."""

    def __init__(self, onednn, args):
        command = [sys.executable, __file__, "--side", "yes"]
        command += ["--steps", str(args.steps), "--batch-size", str(args.batch_size)]
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": onednn},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        while self._process.stdout.readline().strip() != "trained":
            if self._process.poll() is not None:
                raise SystemExit("A side has stopped; its error is above.")

    def stop(self):
        self._process.stdin.close()
        self._process.wait()


def train_when_told(args):
    run = ours(teachers(1), random_batches(args.batch_size, args.steps))
    for _ in sys.stdin:
        run()
        print("trained", flush=True)


def main():
    args = arguments(__doc__, side="")
    if args.side:
        return train_when_told(args)
    sides = {"oneDNN off": Side("0", args), "oneDNN on": Side("1", args)}
    settings = {"steps": args.steps, "batch_size": args.batch_size}
    rows = compare("onednn", sides, "oneDNN off", args, **settings)
    for side in sides.values():
        side.stop()
    record("onednn", rows, args)


if __name__ == "__main__":
    main()
