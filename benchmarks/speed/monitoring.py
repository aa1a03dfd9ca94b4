"""What `FidelityMonitor` adds to an epoch: under 10 % for 2,000 examples of 50,000.

ResNet-56 to ResNet-20. A turn trains on some batches and then compares both models on
the same number of examples. An epoch is 25 times the monitored sample, so the share of
an epoch is (monitoring / training of as many examples) / 25, printed at the end.
    python benchmarks/speed/monitoring.py             # about 3 minutes on 2 cores
"""

import time

import keras
from _interleaved import arguments, compare, random_batches, record, resnet

import keras_kd

EPOCH_OVER_SAMPLE = 50_000 / 2_000


def main():
    args = arguments(__doc__)
    batches = random_batches(args.batch_size, args.steps)
    distiller = keras_kd.Distiller(
        resnet(56), resnet(20), keras_kd.losses.KnowledgeDistillation(4.0)
    )
    distiller.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    monitor = keras_kd.callbacks.FidelityMonitor({"test": batches})
    monitor.set_params({"epochs": 10**6})
    monitor.set_model(distiller)
    monitor.on_train_begin()
    shares = []

    def train():
        started = time.perf_counter()
        distiller.fit(batches, verbose=0)
        shares.append([time.perf_counter() - started])

    def watch():
        logs = {}
        monitor.on_epoch_end(0, logs)
        shares[-1].append(logs["monitor_seconds"])

    rows = compare(
        "monitoring",
        {"training": train, "comparing as many examples": watch},
        "training",
        args,
        steps=args.steps,
        batch_size=args.batch_size,
    )
    record("monitoring", rows, args)
    shares = sorted(w / t / EPOCH_OVER_SAMPLE for t, w in shares[1:])
    least, median, most = (f"{100 * shares[i]:.1f}" for i in (0, len(shares) // 2, -1))
    print(f"2,000 examples after an epoch of 50,000: {median} % ({least} to {most})")


if __name__ == "__main__":
    main()
