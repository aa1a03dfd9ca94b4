"""Two replicas give what one device gives: weights, losses, metrics, fidelity.

The network has LayerNormalization, whose statistics are an example's own.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from small_models import mlp, scattered, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.callbacks import FidelityMonitor
from keras_kd.losses import VID, FeatureMatching, HintLoss, KnowledgeDistillation

pytestmark = pytest.mark.distributed

BATCH = 16
STEPS = 20
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def on_one_device():
    return tf.distribute.get_strategy()


@functools.cache
def on_two_devices():
    """One strategy for all tests: TensorFlow numbers the collectives of each alike."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def build(losses, *, student=None, l2=1e-2, loss=None, **compile_arguments):
    teacher = scattered(mlp("teacher", units=12, norm="layer"), seed=7)
    student = student or mlp("student", seed=1, units=6, norm="layer", l2=l2)
    distiller = keras_kd.Distiller(
        teacher,
        student,
        losses,
        distillation_loss_weights=[0.7] * len(losses),
        student_loss_weight=0.3,
    )
    distiller.compile(
        optimizer=keras.optimizers.SGD(0.05, momentum=0.9),
        loss=loss or sparse_cross_entropy(),
        metrics=["accuracy"],
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="weighted")],
        fidelity_metrics=[keras_kd.metrics.Agreement(k=2)],
        **compile_arguments,
    )
    return distiller


def logit_loss():
    return [KnowledgeDistillation(temperature=4.0)]


def logit_and_feature_losses():
    """Hidden layers of 12 and 6 units: the second loss has a projector."""
    return [
        KnowledgeDistillation(temperature=4.0),
        FeatureMatching("features", "features"),
    ]


def batches(size, *, unlabelled=True, weighted=True, batch=BATCH):
    x, y = toy_data(size, seed=3)
    generator = np.random.default_rng(4)
    if unlabelled:
        y[generator.random(size) < 0.3] = keras_kd.UNLABELED
    parts = (x, y)
    if weighted:
        weight = generator.uniform(0, 2, size).astype("float32")
        weight[::7] = 0.0
        parts += (weight,)
    return tf.data.Dataset.from_tensor_slices(parts).batch(batch)


def train(strategy, make, dataset, epochs=1, validation=None, callbacks=()):
    keras.utils.set_random_seed(5)
    with strategy.scope():
        distiller = make()
    fitted = distiller.fit(
        dataset,
        epochs=epochs,
        validation_data=validation,
        callbacks=list(callbacks),
        verbose=0,
    )
    weights = [np.array(keras.ops.convert_to_numpy(w)) for w in distiller.weights]
    return distiller, weights, fitted.history


def assert_same_training(make, dataset, epochs=1, validation=None):
    runs = [
        train(strategy(), make, dataset, epochs, validation)
        for strategy in (on_one_device, on_two_devices)
    ]
    (one, weights, history), (two, weights_of_two, history_of_two) = runs
    assert two.distribute_strategy.num_replicas_in_sync == 2
    assert list(history) == list(history_of_two)
    for name, values in history.items():
        assert_allclose(history_of_two[name], values, err_msg=name, **TOLERANCE)
    for weight, ours, theirs in zip(one.weights, weights, weights_of_two, strict=True):
        assert_allclose(theirs, ours, err_msg=weight.path, **TOLERANCE)
    return history


@pytest.mark.parametrize(
    "losses",
    [logit_and_feature_losses, pytest.param(logit_loss, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(
    "size", [BATCH * STEPS, BATCH * (STEPS - 1) + 1], ids=["even", "tail of one"]
)
def test_weights_losses_and_metrics_equal_one_device(losses, size):
    validation = batches(BATCH * 2 + 1)
    assert_same_training(lambda: build(losses()), batches(size), validation=validation)


def cross_entropy(labels, logits):
    """A function where a loss object is usual: Keras reduces the two differently."""
    return keras.losses.sparse_categorical_crossentropy(labels, logits, True)


class LogitGap(keras_kd.losses.DistillationLoss):
    def call(self, teacher_outputs, student_outputs):
        gap = keras.ops.square(teacher_outputs - student_outputs)
        return keras.ops.mean(gap, axis=-1)


class ScalarGap(keras.distillation.DistillationLoss):
    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        return keras.ops.mean(keras.ops.abs(teacher_outputs - student_outputs))


def losses_of_every_type():
    inner = keras.losses.KLDivergence()
    return [
        LogitGap(name="logit_gap"),
        ScalarGap(),
        keras.distillation.LogitsDistillation(temperature=2.0, loss=inner),
        keras.distillation.FeatureDistillation("mse", "hidden", "hidden"),
    ]


def test_a_loss_counts_alike_whatever_its_type():
    """On batches of 11, which no two replicas share evenly."""

    def make():
        student = mlp("student", seed=1, units=12, norm="layer")
        return build(losses_of_every_type(), student=student, loss=cross_entropy)

    assert_same_training(
        make,
        batches(11 * 4 + 2, weighted=False, batch=11),
        validation=batches(3, weighted=False, batch=3),
    )


def test_keras_itself_still_fails_on_a_first_batch_that_is_cut_unevenly():
    """Once it does not, `BuildBeforeReplicas._maybe_symbolic_build` may go."""
    with on_two_devices().scope():
        model = mlp("plain")
        model.compile("sgd", sparse_cross_entropy())
    with pytest.raises(tf.errors.InvalidArgumentError, match="AddN"):
        model.fit(batches(11, batch=11), verbose=0)


def test_building_before_the_first_epoch_spends_no_pass_over_the_data():
    """A source counts each iteration as a pass, with views of its own."""
    passes = []

    def begin(_):
        tf.numpy_function(lambda: passes.append(None), [], [])
        return batches(BATCH * 2)

    dataset = tf.data.Dataset.range(1).flat_map(begin)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(2))
    with on_two_devices().scope():
        distiller = build(logit_loss())
    distiller.fit(dataset, epochs=2, verbose=0)
    assert len(passes) == 2


@pytest.mark.slow
def test_several_epochs_with_uneven_tails_equal_one_device():
    assert_same_training(
        lambda: build(logit_and_feature_losses()), batches(BATCH * 3 + 1), epochs=4
    )


@pytest.mark.slow
def test_unweighted_labelled_training_equals_one_device():
    dataset = batches(BATCH * 4 + 1, unlabelled=False, weighted=False)
    assert_same_training(lambda: build(logit_loss(), l2=0.0), dataset)


@pytest.mark.slow
def test_an_unlabelled_replica_takes_part_in_distillation():
    """The second half of each batch, one replica's share, has no labels at all."""
    x, y = toy_data(BATCH * 2)
    y.reshape(2, BATCH)[:, BATCH // 2 :] = keras_kd.UNLABELED
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)
    history = assert_same_training(lambda: build(logit_loss()), dataset)
    assert np.isfinite(history["student_loss"]).all()


@keras.saving.register_keras_serializable(package=__name__)
class Subclassed(keras.Model):
    """Its outputs are known only when the first batch comes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        init = keras.initializers.GlorotUniform
        self.hidden = keras.layers.Dense(6, kernel_initializer=init(1), name="hidden")
        self.norm = keras.layers.LayerNormalization(name="features")
        self.head = keras.layers.Dense(3, kernel_initializer=init(2), name="logits")

    def call(self, inputs):
        return self.head(self.norm(self.hidden(inputs)))


@pytest.mark.parametrize(
    "losses",
    [logit_and_feature_losses, pytest.param(logit_loss, marks=pytest.mark.slow)],
)
def test_an_unbuilt_subclassed_student_equals_one_device(losses):
    keras.utils.set_random_seed(1)
    assert_same_training(
        lambda: build(losses(), student=Subclassed(name="student")),
        batches(BATCH * 4 + 1),
    )


@pytest.mark.slow
def test_stored_teacher_logits_equal_one_device():
    x, y = toy_data(BATCH * 4 + 1)
    targets = {"labels": y, "teacher_logits": np.tanh(x[:, :3])}
    dataset = tf.data.Dataset.from_tensor_slices((x, targets)).batch(BATCH)

    def make():
        student = mlp("student", seed=1, norm="layer")
        distiller = keras_kd.Distiller(None, student, KnowledgeDistillation())
        distiller.compile(keras.optimizers.SGD(0.1), loss=sparse_cross_entropy())
        return distiller

    assert_same_training(make, dataset)


@pytest.mark.slow
def test_evaluate_and_predict_equal_one_device():
    x, _ = toy_data(BATCH * 2 + 1)
    results = []
    for strategy in (on_one_device(), on_two_devices()):
        with strategy.scope():
            distiller = build(logit_and_feature_losses())
        logs = distiller.evaluate(batches(BATCH * 2 + 1), return_dict=True, verbose=0)
        results.append((logs, distiller.predict(x, batch_size=BATCH, verbose=0)))
    (logs, predicted), (logs_of_two, predicted_of_two) = results
    assert list(logs) == list(logs_of_two)
    # Projectors start at random, and are drawn per strategy: compare the rest.
    for name in set(logs) - {"loss", "distillation_loss", "feature_matching"}:
        assert_allclose(logs_of_two[name], logs[name], err_msg=name, **TOLERANCE)
    assert_allclose(predicted_of_two, predicted, **TOLERANCE)


def test_fidelity_monitor_equals_one_device():
    seen = []
    for strategy in (on_one_device(), on_two_devices()):
        monitor = FidelityMonitor({"test": batches(BATCH * 2 + 1)})
        _, _, history = train(
            strategy,
            lambda: build(logit_loss()),
            batches(BATCH * 2),
            epochs=1,
            callbacks=[monitor],
        )
        seen.append({k: v for k, v in history.items() if k.startswith("test/")})
    assert len(seen[0]) == 4 + 4 + 5  # of labels twice, and of both but the top 5 of 3
    assert seen[0].keys() == seen[1].keys()
    for name, values in seen[0].items():
        assert_allclose(seen[1][name], values, err_msg=name, **TOLERANCE)


def test_regressors_of_feature_losses_equal_one_device():
    """Two layers of the same pair, of several weights each."""

    def make():
        pair = "features", "features"
        return build([HintLoss(*pair, name="hint"), VID(*pair, name="variational")])

    history = assert_same_training(make, batches(BATCH + 1))
    assert {"hint", "variational"} < history.keys()


class Rows(keras.utils.PyDataset):
    """Batches of 5 and a last one of a single example."""

    def __init__(self):
        super().__init__()
        self.x, self.y = toy_data(21)

    def __len__(self):
        return 5

    def __getitem__(self, index):
        rows = slice(5 * index, 5 * (index + 1))
        return self.x[rows], self.y[rows]


@pytest.mark.parametrize(
    "dataset", [lambda: batches(BATCH * 2 + 1), Rows], ids=["tf.data", "PyDataset"]
)
def test_evaluate_fidelity_in_a_scope_equals_one_device(dataset):
    found = []
    for strategy in (on_one_device(), on_two_devices()):
        with strategy.scope():
            teacher = scattered(mlp("teacher", norm="layer"), seed=7)
            student = scattered(mlp("student", norm="layer"), seed=8)
            result = keras_kd.evaluate_fidelity(
                teacher, student, dataset(), control=teacher, verbose=0
            )
        found.append(result.as_dict())
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        if value is None:
            assert found[1][name] is None
        else:
            assert_allclose(found[1][name], value, err_msg=name, **TOLERANCE)


def test_a_report_in_a_scope_equals_one_device(tmp_path):
    found = []
    for strategy in (on_one_device(), on_two_devices()):
        with strategy.scope():
            models = [
                scattered(mlp(name, norm="layer"), seed=7 + i)
                for i, name in enumerate("ts")
            ]
            report = keras_kd.report.compare(
                *models,
                {"set": batches(BATCH * 2 + 1)},
                out=tmp_path,
                sample_limit=0,
                num_resamples=20,
            )
        found.append(list(_numbers_in(report.numbers)))
    assert len(found[0]) > 100
    assert_allclose(found[1], found[0], **TOLERANCE)


def _numbers_in(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for entry in value:
            yield from _numbers_in(entry)
    elif isinstance(value, int | float):
        yield value
