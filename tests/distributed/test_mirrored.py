"""Two replicas give what one device gives: weights, losses, metrics, fidelity.

The network has LayerNormalization, whose statistics are an example's own.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from small_models import mlp, numpy_weights, scattered, sparse_cross_entropy, toy_data
from two_devices import on_each, on_two_devices

import keras_kd
from keras_kd.callbacks import FidelityMonitor
from keras_kd.losses import VID, FeatureMatching, HintLoss, KnowledgeDistillation

pytestmark = pytest.mark.distributed

BATCH = 16
STEPS = 20
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


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


def train(strategy, make, *datasets, **fit_arguments):
    """A model, its weights after training on these sets in turn, and each history."""
    keras.utils.set_random_seed(5)
    with strategy.scope():
        distiller = make()
    histories = [
        distiller.fit(dataset, verbose=0, **fit_arguments).history
        for dataset in datasets
    ]
    return distiller, numpy_weights(distiller), histories


def assert_same_training(runs):
    """What `train` gave on one device and on two."""
    (one, weights, histories), (two, weights_of_two, histories_of_two) = runs
    assert two.distribute_strategy.num_replicas_in_sync == 2
    for history, of_two in zip(histories, histories_of_two, strict=True):
        assert list(history) == list(of_two)
        for name in history.keys() - {"monitor_seconds"}:
            assert_allclose(of_two[name], history[name], err_msg=name, **TOLERANCE)
    for weight, ours, theirs in zip(one.weights, weights, weights_of_two, strict=True):
        assert_allclose(theirs, ours, err_msg=weight.path, **TOLERANCE)


def on_both(make, *datasets, **fit_arguments):
    return [train(s, make, *datasets, **fit_arguments) for s in on_each()]


def losses_with_layers():
    """A projector, and regressors of several weights each, between the same pair."""
    pair = "features", "features"
    return [
        *logit_and_feature_losses(),
        HintLoss(*pair, name="hint"),
        VID(*pair, name="variational"),
    ]


@pytest.fixture(scope="module")
def trained():
    """Two epochs of even batches and a tail of one, validated and monitored."""
    return [
        train(
            strategy,
            lambda: build(losses_with_layers()),
            batches(BATCH * (STEPS - 1) + 1),
            epochs=2,
            validation_data=batches(BATCH * 2 + 1),
            callbacks=[FidelityMonitor({"test": batches(BATCH * 2 + 1)})],
        )
        for strategy in on_each()
    ]


def test_weights_losses_and_metrics_equal_one_device(trained):
    assert_same_training(trained)
    (history,) = trained[0][2]
    assert {"hint", "variational", "val_loss", "val_weighted"} < history.keys()


def test_fidelity_monitor_equals_one_device(trained):
    (history,), (of_two,) = (histories for _, _, histories in trained)
    names = [name for name in history if name.startswith("test/")]
    assert len(names) == 4 + 4 + 5  # of labels twice, and of both but the top 5 of 3
    for name in names:
        assert_allclose(of_two[name], history[name], err_msg=name, **TOLERANCE)


def test_predictions_equal_one_device(trained):
    x, _ = toy_data(BATCH * 2 + 1)
    one, two = (model.predict(x, batch_size=BATCH, verbose=0) for model, *_ in trained)
    assert_allclose(two, one, **TOLERANCE)


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

    options = {"weighted": False, "unlabelled": False, "batch": 11}
    runs = on_both(
        make,
        batches(11 * 4 + 2, **options),
        validation_data=batches(3, **options | {"batch": 3}),
    )
    assert_same_training(runs)


def unlabelled_replica():
    """The second half of each batch, one replica's share, has no labels at all."""
    x, y = toy_data(44)
    y.reshape(4, 11)[:, 6:] = keras_kd.UNLABELED
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(11)


def test_without_weights_any_share_of_labels_equals_one_device():
    options = {"weighted": False, "batch": 11}
    runs = on_both(
        lambda: build(logit_loss(), l2=0.0),
        batches(11 * 2 + 1, **options),
        batches(11 * 2 + 1, unlabelled=False, **options),
        unlabelled_replica(),
    )
    assert_same_training(runs)
    assert np.isfinite(runs[0][2][-1]["student_loss"]).all()


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


def test_an_unbuilt_subclassed_student_equals_one_device():
    def make():
        return build(logit_and_feature_losses(), student=Subclassed(name="student"))

    assert_same_training(on_both(make, batches(BATCH * 4 + 1)))


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

    assert_same_training(on_both(make, dataset))


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
    ("dataset", "with_control"),
    [(lambda: batches(BATCH * 2 + 1), True), (Rows, False)],
    ids=["tf.data", "PyDataset"],
)
def test_evaluate_fidelity_in_a_scope_equals_one_device(dataset, with_control):
    found = []
    for strategy in on_each():
        with strategy.scope():
            teacher = scattered(mlp("teacher", norm="layer"), seed=7)
            student = scattered(mlp("student", norm="layer"), seed=8)
            control = teacher if with_control else None
            result = keras_kd.evaluate_fidelity(
                teacher, student, dataset(), control=control, verbose=0
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
    for strategy in on_each():
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
