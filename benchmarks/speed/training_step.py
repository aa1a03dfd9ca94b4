"""`Distiller.fit` against the same step by hand, other packages and plain Keras.

CIFARResNet-56 teachers to a CIFARResNet-20 student, label loss and T^2 KL from the mean
of the members' probabilities, SGD with momentum, float32. Each candidate does its own
tracking: the step by hand the mean of its loss, each `fit` what it logs by default.
With `feature`, one feature loss is added (`keras.distillation` then runs the student
twice). "Keras, student alone" is `fit` of the student on labels, without any teacher.
The first losses of the step by hand and of keras_kd are checked to be the same.

    python benchmarks/speed/training_step.py --members 1 5    # about 15 minutes

Peak memory is that of a process of its own for each candidate.
"""

import json
import subprocess
import sys

import keras
import tensorflow as tf
from _interleaved import arguments, compare, random_batches, record

import keras_kd

TEMPERATURE = 4.0
LAYER = "stage2_block1"
BY_HAND, OURS, ALONE = "TensorFlow by hand", "keras_kd", "Keras, student alone"
THEIRS = "keras.distillation"


def label_loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def optimizer():
    return keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)


def teachers(count):
    keras.utils.set_random_seed(0)
    return [keras_kd.models.CIFARResNet(56, name=f"teacher_{i}") for i in range(count)]


def new_student():
    keras.utils.set_random_seed(1)  # each candidate starts from the same weights
    return keras_kd.models.CIFARResNet(20)


def by_hand(members, batches):
    """What a careful user would write: one forward pass of each, one compiled step."""
    student, sgd, mean = new_student(), optimizer(), keras.metrics.Mean()
    cross_entropy = label_loss()

    @tf.function
    def step(x, y):
        each = [tf.nn.log_softmax(member(x, training=False)) for member in members]
        of_teacher = tf.reduce_logsumexp(tf.stack(each), axis=0)
        log_p = tf.nn.log_softmax(of_teacher / TEMPERATURE)
        with tf.GradientTape() as tape:
            logits = student(x, training=True)
            log_q = tf.nn.log_softmax(logits / TEMPERATURE)
            kl = tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=-1)
            loss = 0.5 * cross_entropy(y, logits)
            loss += 0.5 * TEMPERATURE**2 * tf.reduce_mean(kl)
        weights = student.trainable_weights
        sgd.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        mean.update_state(loss)

    def run():
        mean.reset_state()
        for x, y in batches:
            step(x, y)
        return float(mean.result())

    return run


def fit(model, batches):
    model.compile(optimizer(), label_loss())
    return lambda: model.fit(batches, epochs=1, verbose=0).history["loss"][0]


def ours(members, batches, *more):
    losses = [keras_kd.losses.KnowledgeDistillation(TEMPERATURE), *more]
    return fit(keras_kd.Distiller(members, new_student(), losses), batches)


def theirs(members, batches, *more):
    """`keras.distillation` freezes the teacher that it is given, so it gets a copy."""
    copies = [keras.models.clone_model(member) for member in members]
    teacher = copies[0]
    if len(copies) > 1:
        inputs = keras.Input(teacher.input_shape[1:])
        mean = keras.layers.Average()([copy(inputs) for copy in copies])
        teacher = keras.Model(inputs, mean)
    loss = keras.distillation.LogitsDistillation(
        TEMPERATURE, loss=keras.losses.KLDivergence()
    )
    distiller = keras.distillation.Distiller(teacher, new_student(), [loss, *more])
    return fit(distiller, batches)


def makers(count):
    """`{label: function of members and batches}`."""
    found = {
        BY_HAND: by_hand,
        OURS: ours,
        THEIRS: theirs,
        ALONE: lambda members, batches: fit(new_student(), batches),
    }
    if count > 1:
        return found
    matching = keras_kd.losses.FeatureMatching(LAYER, LAYER)
    feature = keras.distillation.FeatureDistillation("mse", LAYER, LAYER)
    return {
        **found,
        f"{OURS}, feature": lambda *args: ours(*args, matching),
        f"{THEIRS}, feature": lambda *args: theirs(*args, feature),
    }


def peak_mib(label, count, args):
    """Peak of the resident memory of a process that only runs this candidate."""
    options = ["--batch-size", args.batch_size, "--members", count]
    command = [sys.executable, __file__, *map(str, options), "--memory-of", label]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def run_alone(label, args):
    """Two turns of one candidate, then the high-water mark of this process."""
    count = args.members[0]
    batches = random_batches(args.batch_size, 2)
    run = makers(count)[label](teachers(count), batches)
    run(), run()
    with open("/proc/self/status") as status:
        mark = next(line for line in status if line.startswith("VmHWM"))
    print(json.dumps(round(int(mark.split()[1]) / 1024)))


def main():
    args = arguments(__doc__, members=[1, 3, 5, 12], memory_of="")
    if args.memory_of:
        return run_alone(args.memory_of, args)
    rows = []
    for count in args.members:
        batches = random_batches(args.batch_size, args.steps)
        members = teachers(count)
        runs = {label: make(members, batches) for label, make in makers(count).items()}
        first = {label: run() for label, run in runs.items()}
        if abs(first[OURS] / first[BY_HAND] - 1) > 1e-3:
            raise SystemExit(f"The steps do not compute the same: {first}")
        settings = {
            "members": count,
            "steps": args.steps,
            "batch_size": args.batch_size,
        }
        found = compare("training_step", runs, BY_HAND, args, **settings)
        for row in found if sys.platform == "linux" else ():
            row["peak_mib"] = peak_mib(row["candidate"], count, args)
        rows += found
        record("training_step", rows, args)


if __name__ == "__main__":
    main()
