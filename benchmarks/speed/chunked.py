"""Loss and gradients over large vocabularies: whole, in chunks, and with the heads.

*chunked*: T^2 KL of 8,192 positions over 5,000 classes and its gradient by the
student's logits, in one compiled step. *fused linear*: the same of 4,096 positions from
the last hidden states of both sides (512 and 256 units) and their heads, over 50,000
classes, with the gradients by the student's states and kernel. Peak memory is what one
step takes beyond its inputs, in a process of its own.

    python benchmarks/speed/chunked.py                        # about 6 minutes
"""

import functools
import json
import subprocess
import sys

import tensorflow as tf
from _interleaved import arguments, compare, record

from keras_kd import losses

CLASSES, VOCABULARY = 5000, 50_000
UNITS = 512, 256
CHUNK_SIZES = (64, 256, 1024)


def normal(shape, seed):
    return tf.random.stateless_normal(shape, (0, seed))


def of_logits(positions):
    """`(functions by label, their arguments, which of them get a gradient)`."""
    sides = [normal((positions, CLASSES), side) for side in (1, 2)]
    functions = {"whole": losses.knowledge_distillation}
    for size in CHUNK_SIZES:
        functions[f"chunks of {size}"] = functools.partial(
            losses.chunked_knowledge_distillation, chunk_size=size
        )
    return functions, sides, [1]


def of_heads(positions):
    states = [normal((positions, units), units) for units in UNITS]
    kernels = [normal((units, VOCABULARY), units) / units**0.5 for units in UNITS]

    def whole(teacher, student, teacher_kernel, student_kernel, temperature):
        sides = tf.matmul(teacher, teacher_kernel), tf.matmul(student, student_kernel)
        return losses.knowledge_distillation(*sides, temperature=temperature)

    fused = losses.fused_linear_knowledge_distillation
    return {"whole": whole, "fused": fused}, [*states, *kernels], [1, 3]


def step_of(function, wanted):
    @tf.function(reduce_retracing=True)
    def step(*parts):
        with tf.GradientTape() as tape:
            tape.watch(parts)
            loss = tf.reduce_mean(function(*parts, temperature=2.0))
        return loss, tape.gradient(loss, [parts[i] for i in wanted])

    return step


def turn(step, parts, steps):
    def run():
        for _ in range(steps):
            loss, gradients = step(*parts)
            float(loss), [float(gradient[0, 0]) for gradient in gradients]  # wait

    return run


SETS = {"chunked": of_logits, "fused linear": of_heads}


def peak_mib(name, label, positions):
    """What one step takes beyond its inputs, in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", f"{name}:{label}"]
    command += ["--batch-size", str(positions // 64)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def run_alone(name, label, positions):
    functions, parts, wanted = SETS[name](positions)
    step = step_of(functions[label], wanted)
    for rows in (8, 9):  # trace and warm up
        step(*[part if i > 1 else part[:rows] for i, part in enumerate(parts)])
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # VmHWM is what VmRSS is
    before = memory("VmRSS")
    step(*parts)
    print(json.dumps(round(memory("VmHWM") - before)))


def memory(kind):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if kind in line) / 1024


def main():
    args = arguments(__doc__, memory_of="", steps=1)
    positions = 64 * args.batch_size
    if args.memory_of:
        return run_alone(*args.memory_of.split(":"), positions)
    rows = []
    for name, make in SETS.items():
        count = positions if name == "chunked" else positions // 2
        functions, parts, wanted = make(count)
        runs = {
            label: turn(step_of(function, wanted), parts, args.steps)
            for label, function in functions.items()
        }
        found = compare(name, runs, "whole", args, steps=args.steps, positions=count)
        for row in found if sys.platform == "linux" else ():
            row["peak_mib"] = peak_mib(name, row["candidate"], count)
        rows += found
        del runs, parts
    record("chunked", rows, args)


if __name__ == "__main__":
    main()
