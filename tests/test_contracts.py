"""What all losses and all metrics have in common, found through `__all__`.

A new one joins by being exported. It needs a line here only where its constructor has
required arguments, or where it is exempt, and then the line gives the reason.
"""

import inspect
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from numpy.testing import assert_allclose

from keras_kd import UNLABELED, losses, metrics

LAYERS = {"teacher_layer_name": "features", "student_layer_name": "features"}
ARGUMENTS = {  # other than the defaults, which would not show what a config forgets
    "Agreement": {"k": 2, "name": "own"},
    "AttentionIoU": {"threshold": 0.6, "pooled": True, "name": "own"},
    "AttentionTransfer": {"p": 4.0, "name": "own"},
    "BrierLoss": {"temperature": 2.7, "name": "own", "reduction": "sum"},
    "BrierScore": {"name": "own", "dtype": "float64"},
    "CKAMatrix": {"debiased": False, "spatial": "flatten", "name": "own"},
    "CRD": {
        "embedding_size": None,
        "temperature": 0.2,
        "batch": "replica",
    },
    "ChunkedKnowledgeDistillation": {"temperature": 2.7, "chunk_size": 7},
    "DIST": {"beta": 0.3, "gamma": 0.7, "temperature": 2.7, "batch": "replica"},
    "DecoupledKD": {"alpha": 0.3, "beta": 0.7, "temperature": 2.7, "name": "own"},
    "ExpectedCalibrationError": {"num_bins": 7, "name": "own"},
    "FeatureMatching": {"name": "own", "reduction": "sum"},
    "HintLoss": {"name": "own", "reduction": "sum"},
    "HardLabel": {"name": "own", "reduction": "sum"},
    "JensenShannon": {"name": "own", "dtype": "float64"},
    "JensenShannonDivergence": {"temperature": 2.7, "beta": 0.3, "name": "own"},
    "KnowledgeDistillation": {"temperature": 2.7, "name": "own", "reduction": "sum"},
    "LinearCKA": {"debiased": False, "spatial": "flatten", "name": "own"},
    "LogitMSE": {"center": True, "name": "own", "dtype": "float64"},
    "LogitStandardization": {"loss": losses.KnowledgeDistillation(2.7), "name": "own"},
    "MaximumCalibrationError": {"num_bins": 7, "name": "own"},
    "MultiLevelLogit": {
        "temperatures": [1.0, 2.7],
        "instance_weight": 0.3,
        "batch_weight": 0.7,
        "class_weight": 0.2,
        "batch": "replica",
    },
    "MutualInformation": {
        "num_classes": 7,
        "estimator": "miller_madow",
        "name": "own",
    },
    "NegativeLogLikelihood": {"name": "own", "dtype": "float64"},
    "NormalizedMutualInformation": {"num_classes": 7, "name": "own"},
    "PKT": {"batch": "replica", "name": "own", "reduction": "sum"},
    "PerTeacher": {"loss": losses.LogitMSE(center=True), "name": "own"},
    "PredictiveKL": {"name": "own", "dtype": "float64"},
    "RKDAngle": {"batch": "replica", "name": "own", "reduction": "sum"},
    "RKDDistance": {
        "batch": "replica",
        "name": "own",
        "dtype": "float64",
    },
    "ReverseKL": {"name": "own", "dtype": "float64"},
    "ReverseKLDivergence": {"temperature": 2.7, "name": "own", "dtype": "float64"},
    "SampledLabel": {"temperature": 2.7, "seed": 7, "name": "own"},
    "SimilarityPreserving": {"batch": "replica", "name": "own"},
    "SoftCrossEntropy": {"temperature": 2.7, "name": "own", "dtype": "float64"},
    "SquaredAttentionTransfer": {"p": 4.0, "name": "own"},
    "SymmetricKLDivergence": {"temperature": 2.7, "name": "own", "reduction": "sum"},
    "TotalVariation": {"name": "own", "dtype": "float64"},
    "UnweightedCalibrationError": {"num_bins": 7, "name": "own"},
    "VID": {"initial_variance": 0.7, "name": "own"},
}
REQUIRED = {
    "LogitStandardization": {"loss": losses.KnowledgeDistillation(2.0)},
    "CRD": {"embedding_size": None},
    "MutualInformation": {"num_classes": 7},
    "NormalizedMutualInformation": {"num_classes": 7},
    "PerTeacher": {"loss": losses.KnowledgeDistillation(2.0)},
    "SampledLabel": {"seed": 7},
}
TESTED_APART = {  # not one number of two sides in a graph; tests/metrics say the same
    "AgreementByConfidence": "gives arrays",
    "ConfidenceExaggeration": "gives a dict, and keeps examples outside of graphs",
    "DisagreementKinds": "takes labels and both sides, gives a dict",
    "EnsembleDiversity": "takes members, gives a dict",
    "EqualMassCalibrationError": "keeps examples outside of graphs",
}
OF_MAPS = {"AttentionTransfer", "SquaredAttentionTransfer"}  # with spatial axes
PROJECTORS = {"HintLoss", "VID"}  # the class is its function of projected features
SAMPLES = {"SampledLabel"}  # each call draws anew
WRAPPERS = {"LogitStandardization", "PerTeacher"}  # of a loss, which is the function
# AttentionIoU is attention_iou, CKAMatrix cka_matrix.
WORD_STARTS = "(?<=[a-z])(?=[A-Z][A-Za-z])|(?<=[A-Z])(?=[A-Z][a-z])"


def is_base(cls):
    """Whether a user derives from it: no loss yet, or one without a `call`."""
    base = losses.DistillationLoss
    return not issubclass(cls, base) or cls.call is base.call


BASES = {  # tests/losses tests what inherits
    name
    for name in losses.__all__
    if inspect.isclass(getattr(losses, name)) and is_base(getattr(losses, name))
}
EXEMPT = BASES | TESTED_APART.keys()


def classes_of(module, base):
    exported = {name: getattr(module, name) for name in module.__all__}
    return [
        value
        for name, value in exported.items()
        if inspect.isclass(value) and issubclass(value, base) and name not in EXEMPT
    ]


LOSSES = classes_of(losses, losses.DistillationLoss)
METRICS = classes_of(metrics, keras.metrics.Metric)
COUPLED = {cls.__name__ for cls in LOSSES if cls.couples_batch is True}
each_loss = pytest.mark.parametrize("cls", LOSSES)
each_metric = pytest.mark.parametrize("cls", METRICS)
each_class = pytest.mark.parametrize("cls", LOSSES + METRICS)


def arguments_of(cls, own=False):
    """Those that it must have, or own ones that are no defaults."""
    layers = LAYERS if issubclass(cls, losses.FeatureLoss) else {}
    return layers | (ARGUMENTS if own else REQUIRED).get(cls.__name__, {})


def without(names):
    return [cls for cls in LOSSES + METRICS if cls.__name__ not in names]


def has_positions(cls):
    """Whether a loss compares sequences position by position, so that masks apply."""
    if cls.__name__ in SAMPLES:
        return False
    return not issubclass(cls, losses.FeatureLoss) or cls is losses.FeatureMatching


def make(cls, own=False):
    return ready(cls(**arguments_of(cls, own)))


def ready(thing):
    """A loss with its projectors, which are the same ones each time."""
    if type(thing) in LOSSES:
        keras.utils.set_random_seed(0)
        shape = (None, *features_of(type(thing)))
        thing.build(shape, shape)
    return thing


def features_of(cls):
    """Shape of what a loss compares, without the batch."""
    return (4, 3, 5) if cls.__name__ in OF_MAPS else (5,)


def sides(shape=(48, 5), dtype="float32"):
    teacher, student = np.random.default_rng(0).normal(size=(2, *shape))
    return teacher.astype(dtype), student.astype(dtype)


def is_of_labels(cls):
    """Whether a metric compares with labels, not with a teacher."""
    return "labels" in inspect.signature(cls.update_state).parameters


def data_for(cls, size=1501):
    """First and second argument of a metric's `update_state`."""
    teacher, student = sides((size, 7))
    return (teacher.argmax(axis=-1) if is_of_labels(cls) else teacher), 3 * student


def value_of(thing, *arguments):
    """Of a loss on these arguments; of a metric that has seen them alone."""
    if isinstance(thing, keras.metrics.Metric):
        thing.reset_state()
        thing.update_state(*arguments)
        return np.asarray(thing.result())
    return np.asarray(thing(*arguments))


def example_for(cls):
    return sides((48, *features_of(cls))) if cls in LOSSES else data_for(cls, 48)


def test_every_class_is_under_test():
    for module in (losses, metrics):
        exported = {n for n in module.__all__ if inspect.isclass(getattr(module, n))}
        tested = {cls.__name__ for cls in LOSSES + METRICS}
        assert exported - tested <= EXEMPT


def test_the_bases_of_losses_are_those_that_users_derive_from():
    names = "BatchCoupled DistillationLoss FeatureLoss LossWrapper TrainedFeatureLoss"
    assert set(names.split()) == BASES


# Losses and metrics alike.


@each_class
@pytest.mark.parametrize("own", [False, True], ids=["defaults", "own arguments"])
def test_config_gives_an_equal_object(cls, own):
    thing, data = make(cls, own), example_for(cls)
    copies = [
        cls.from_config(thing.get_config()),
        keras.saving.deserialize_keras_object(
            keras.saving.serialize_keras_object(thing)
        ),
    ]
    value = value_of(thing, *data)
    for copy in copies:
        assert type(copy) is cls
        assert copy.get_config() == thing.get_config()
        assert (copy.name, copy.dtype) == (thing.name, thing.dtype)
        assert value_of(ready(copy), *data) == value


@each_class
def test_own_arguments_are_in_the_config(cls):
    config = make(cls, own=True).get_config()
    given = keras.saving.serialize_keras_object(arguments_of(cls, own=True))
    assert config == {**config, **given}


@pytest.mark.parametrize("cls", without(SAMPLES))
def test_the_order_of_examples_does_not_matter(cls):
    data = example_for(cls)
    order = np.random.default_rng(1).permutation(len(data[0]))
    want = value_of(make(cls), *data)
    found = value_of(make(cls), *(side[order] for side in data))
    assert_allclose(found, want, rtol=1e-6)


@pytest.fixture(scope="module")
def compiled_values():
    """Values by class, of one program: a compilation has a price of its own."""
    things = {cls: make(cls) for cls in without(SAMPLES)}

    def value(thing, arguments):
        if isinstance(thing, keras.losses.Loss):
            return thing(*arguments)
        thing.update_state(*arguments)
        return thing.result()

    @tf.function(jit_compile=True)
    def compiled(data):
        return list(map(value, things.values(), data))

    return dict(
        zip(things, compiled([example_for(cls) for cls in things]), strict=True)
    )


@pytest.mark.parametrize("cls", without(SAMPLES))
def test_compiled_by_xla_the_value_is_the_same(cls, compiled_values):
    want = value_of(make(cls), *example_for(cls))
    assert_allclose(compiled_values[cls], want, rtol=1e-5)


@each_class
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(cls, dtype):
    half, wide = [], []
    for side in example_for(cls):
        is_float = side.dtype == "float32"
        half.append(ops.cast(side, dtype) if is_float else side)
        wide.append(ops.cast(half[-1], "float32") if is_float else side)
    value = value_of(make(cls), *half)
    assert value.dtype == "float32"
    assert value == value_of(make(cls), *wide)


@pytest.mark.parametrize("cls", without(SAMPLES | PROJECTORS | WRAPPERS))
def test_the_function_of_the_same_name_gives_the_same_value(cls):
    name = re.sub(WORD_STARTS, "_", cls.__name__).lower()
    function = getattr(losses if cls in LOSSES else metrics, name)
    data = example_for(cls)
    assert_allclose(np.mean(function(*data)), value_of(make(cls), *data), rtol=1e-6)


@pytest.mark.parametrize("cls", without(SAMPLES | COUPLED))
def test_whole_weights_count_as_so_many_examples(cls):
    data = example_for(cls)
    weights = np.arange(len(data[0])) % 3
    repeated = [np.repeat(side, weights, axis=0) for side in data]
    found, want = value_of(make(cls), *data, weights), value_of(make(cls), *repeated)
    if cls in LOSSES:  # Keras divides a loss by the examples, whatever they weigh
        want = want * weights.sum() / len(weights)
    assert_allclose(found, want, rtol=1e-5)


# Losses.


@each_loss
def test_an_empty_batch_has_no_values(cls):
    """The last batch may leave a replica without examples."""
    teacher, student = sides((0, *features_of(cls)))
    assert make(cls).call(teacher, student).shape == (0,)


@pytest.mark.parametrize("cls", [cls for cls in LOSSES if has_positions(cls)])
def test_a_masked_position_does_not_count(cls):
    teacher, student = sides((6, 8, 5))
    real = np.arange(8) < np.array([[8], [3], [1], [5], [8], [2]])
    masked = keras.layers.Masking()(np.where(real[..., None], student, 0.0))
    want = value_of(make(cls), teacher[real][None], student[real][None])
    assert_allclose(value_of(make(cls), teacher, masked), want, rtol=1e-5)


# Metrics.


@tf.function
def see_all(metric, dataset):
    for batch in dataset:
        metric.update_state(*batch)


@each_metric
@pytest.mark.parametrize("weigh", [False, True], ids=["plain", "weighted"])
def test_any_batching_gives_the_value_of_the_whole_set(cls, weigh):
    data = data_for(cls)
    if weigh:
        data = (*data, np.random.default_rng(1).uniform(size=len(data[0])))
    whole = value_of(make(cls), *data)
    metric = make(cls)
    for size in (7, 64):
        metric.reset_state()
        see_all(metric, tf.data.Dataset.from_tensor_slices(data).batch(size))
        assert_allclose(metric.result(), whole, rtol=1e-6, err_msg=f"batches of {size}")


@each_metric
def test_weight_zero_removes_an_example_even_if_it_is_nan(cls):
    first, second = data_for(cls)
    weights = np.random.default_rng(1).integers(0, 2, size=len(first))
    kept = weights == 1
    want = value_of(make(cls), first[kept], second[kept])
    second = np.where(kept[:, None], second, np.nan)
    assert_allclose(value_of(make(cls), first, second, weights), want, rtol=1e-6)


@each_metric
def test_the_value_of_an_empty_set_is_nan(cls):
    first, second = data_for(cls)
    metric = make(cls)
    assert np.isnan(metric.result())
    assert np.isnan(value_of(metric, first[:0], second[:0]))
    assert np.isnan(value_of(metric, first, second, np.zeros(len(first))))
    assert np.isfinite(value_of(metric, first, second))
    metric.reset_state()
    assert np.isnan(metric.result())


@each_metric
def test_the_direction_is_stated(cls):
    stated = re.search(r"(Higher|Lower) is (closer|better)\.", cls.__doc__)
    assert cls._direction == {"Higher": "up", "Lower": "down"}[stated[1]]


@pytest.mark.parametrize("cls", [cls for cls in METRICS if is_of_labels(cls)])
def test_rows_without_a_label_do_not_count(cls):
    labels, logits = data_for(cls)
    known = np.random.default_rng(1).random(len(labels)) < 0.7
    want = value_of(make(cls), labels[known], logits[known])
    one_hot = np.eye(7)[labels] * known[:, None]
    for partial in (np.where(known, labels, UNLABELED), one_hot):
        assert_allclose(value_of(make(cls), partial, logits), want, rtol=1e-6)
    weights = np.random.default_rng(2).uniform(size=len(labels))
    want = value_of(make(cls), labels[known], logits[known], weights[known])
    partial = np.where(known, labels, UNLABELED)
    assert_allclose(value_of(make(cls), partial, logits, weights), want, rtol=1e-6)
    nobody = np.full_like(labels, UNLABELED)
    assert np.isnan(value_of(make(cls), nobody, logits))
