"""Attention maps against NumPy and finite differences, on networks of a few weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from numpy.testing import assert_allclose, assert_array_equal
from oracles import attention as oracles
from small_models import digest

from keras_kd import metrics, models
from keras_kd.probes import attention_maps

SHAPE = (8, 6, 2)
CLASSES = 4


def network(head="dense", dtype=None, activation=None, seed=0):
    """Convolutions, pooling and one dense layer, of random weights."""
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input(SHAPE, name="images")
    x = layers.Conv2D(5, 3, activation="tanh", padding="same", dtype=dtype)(x)
    x = layers.BatchNormalization(dtype=dtype)(x)
    x = layers.Conv2D(3, 3, strides=2, activation="tanh", name="maps", dtype=dtype)(x)
    if head == "flatten":
        x = layers.Flatten()(x)
    else:
        x = layers.GlobalAveragePooling2D(dtype=dtype)(x)
    x = layers.Dropout(0.5)(x)
    x = layers.Dense(
        CLASSES,
        name="logits",
        bias_initializer="ones",
        activation=activation,
        dtype=dtype,
    )(x)
    return keras.Model(inputs, x, name="small")


def images(n=5, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype("float32")


def inner(model, x, name="maps"):
    both = keras.Model(model.input, [model.get_layer(name).output, model.output])
    return [np.asarray(v, "float64") for v in both(x, training=False)]


def kernel_of(model):
    return np.asarray(model.get_layer("logits").kernel, "float64")


def test_cam_is_summed_over_all_classes():
    model, x = network(), images()
    features, _ = inner(model, x)
    everyone = [range(CLASSES)] * len(x)
    want = oracles.class_activation(features, kernel_of(model), everyone, SHAPE[:2])
    found = attention_maps(model, x)
    assert_allclose(found.maps, want, atol=1e-5)
    assert (found.method, found.layer, found.classes) == ("cam", "maps", None)
    assert found.maps.dtype == "float32"


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_predicted_cam_is_of_the_class_that_the_model_predicts(activation):
    model, x = network(activation=activation), images()
    features, outputs = inner(model, x)
    predicted = outputs.argmax(axis=-1)
    want = oracles.class_activation(
        features, kernel_of(model), predicted[:, None], SHAPE[:2]
    )
    found = attention_maps(model, x, "predicted_cam")
    assert_allclose(found.maps, want, atol=1e-5)
    assert_array_equal(found.classes, predicted)


def test_classes_may_be_given():
    model, x = network(), images()
    features, _ = inner(model, x)
    for classes in (2, np.array([3, 0, 1, 1, 2])):
        each = np.broadcast_to(classes, 5)
        want = oracles.class_activation(
            features, kernel_of(model), each[:, None], SHAPE[:2]
        )
        found = attention_maps(model, x, "predicted_cam", classes=classes, batch_size=2)
        assert_allclose(found.maps, want, atol=1e-5)
        assert_array_equal(found.classes, each)


@pytest.mark.parametrize("head", ["dense", "flatten"])
@pytest.mark.parametrize("activation", [None, "softmax"])
def test_grad_cam_equals_finite_differences(head, activation):
    keras.config.set_floatx("float64")
    try:
        model = network(head, activation=activation)
        x = images(3).astype("float64")
        maps, outputs = inner(model, x)
        start = model.layers.index(model.get_layer("maps")) + 1

        def score(value, example, chosen):
            y = ops.convert_to_tensor(value[None])
            for layer in model.layers[start:]:
                y = layer(y, training=False)
            y = np.asarray(y)[0, chosen]
            return np.log(y) if activation else y

        want, step = [], 1e-5
        for i, chosen in enumerate(outputs.argmax(axis=-1)):
            gradient = np.zeros_like(maps[i])
            for place in np.ndindex(*maps[i].shape):
                moved = np.zeros_like(maps[i])
                moved[place] = step
                up, down = (score(maps[i] + s * moved, i, chosen) for s in (1, -1))
                gradient[place] = (up - down) / (2 * step)
            small = np.maximum(maps[i] @ gradient.mean(axis=(0, 1)), 0)
            want.append(oracles.stretch(oracles.enlarge(small, *SHAPE[:2])))
        found = attention_maps(model, x, "grad_cam")
    finally:
        keras.config.set_floatx("float32")
    assert found.layer == "maps"
    assert_allclose(found.maps, want, atol=1e-5)


def test_grad_cam_of_a_pooled_network_is_its_cam_without_what_is_negative():
    """There a logit's gradient by a map is the weight over the number of places."""
    model, x = network(), images()
    features, logits = inner(model, x)
    found = attention_maps(model, x, "grad_cam")
    for i, chosen in enumerate(logits.argmax(axis=-1)):
        small = np.maximum(features[i] @ kernel_of(model)[:, chosen], 0)
        want = oracles.stretch(oracles.enlarge(small, *SHAPE[:2]))
        assert_allclose(found.maps[i], want, atol=1e-5)


def transformer(blocks=2, tokens=13, heads=2, width=6):
    """Attention scores by name, as keras_kd.models.ViT has them, with few weights."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 6, 1), name="images")
    x = layers.Conv2D(width, 2, strides=2)(inputs)
    x = layers.Reshape((tokens - 1, width))(x)
    x = layers.Concatenate(axis=1)([ops.ones_like(x[:, :1]), x])
    for i in range(1, blocks + 1):
        q = layers.Reshape((tokens, heads, width))(layers.Dense(heads * width)(x))
        q = layers.Permute((2, 1, 3))(q)
        scores = ops.matmul(q, ops.swapaxes(q, -1, -2) + 1)
        scores = layers.Softmax(name=f"stage1_block{i}_attention_scores")(scores)
        x = x + ops.mean(ops.matmul(scores, q), axis=1)
    return keras.Model(inputs, layers.Dense(CLASSES)(x[:, 0]), name="small_vit")


def test_rollout_equals_the_product_of_the_blocks():
    model, x = transformer(), images(3, (8, 6, 1))
    names = [f"stage1_block{i}_attention_scores" for i in (1, 2)]
    scores = [inner(model, x, name)[0] for name in names]
    for last in (2, 1):
        tokens = oracles.rollout(scores[:last]).reshape(3, 4, 3)
        want = [oracles.stretch(oracles.enlarge(t, 8, 6)) for t in tokens]
        found = attention_maps(model, x, "rollout", layer=names[last - 1])
        assert_allclose(found.maps, want, atol=1e-4)
        assert found.layer == names[last - 1]
    assert attention_maps(model, x, "rollout").layer == names[1]


def test_iou_of_a_model_with_itself_is_one_and_of_another_less():
    x = images(20)
    first, second = (attention_maps(network(seed=s), x).maps for s in (0, 1))
    assert metrics.attention_iou(first, first) == 1
    assert 0 < metrics.attention_iou(first, second) < 0.9


@pytest.mark.parametrize("method", ["cam", "predicted_cam", "grad_cam"])
def test_batches_give_the_maps_of_the_whole(method):
    model, x = network(), images(7)
    want = attention_maps(model, x, method)
    dataset = tf.data.Dataset.from_tensor_slices((x, np.zeros(7))).batch(3)
    found = attention_maps(model, x, method, batch_size=2)
    assert_allclose(found.maps, want.maps, atol=1e-6)
    found = attention_maps(model, dataset, method)
    assert_allclose(found.maps, want.maps, atol=1e-6)
    assert want.maps.min() == 0
    assert want.maps.max() <= 1


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return images()[3 * index : 3 * index + 3], np.zeros(3)[: 3 - index]


@pytest.mark.parametrize(
    "data",
    [
        list(images()),
        (images(), np.zeros(5)),
        tf.data.Dataset.from_tensor_slices({"image": images()}).batch(3),
        Batches(),
        (images()[i : i + 3] for i in (0, 3)),
    ],
    ids=["list", "tuple", "dicts", "PyDataset", "generator"],
)
def test_images_come_in_sets_of_any_kind(data):
    model = network()
    want = attention_maps(model, images()).maps
    assert_allclose(attention_maps(model, data, batch_size=3).maps, want, atol=1e-6)


@pytest.mark.parametrize("method", ["cam", "grad_cam"])
def test_the_model_stays_as_it_is_after_an_error_too(method):
    model = network()
    model.compile("sgd", "mse")
    model.train_on_batch(images(), np.zeros((5, CLASSES)))
    before, calls = digest(model), [dict(vars(x)) for x in model.layers]
    attention_maps(model, images(), method)
    with pytest.raises(Exception, match="shape|dimension|incompatible"):
        attention_maps(model, images(shape=(8, 6, 7)), method)
    assert digest(model) == before
    assert [dict(vars(x)).keys() for x in model.layers] == [c.keys() for c in calls]
    assert [vars(x).get("call") for x in model.layers] == [c.get("call") for c in calls]


def test_a_layer_of_a_nested_or_subclassed_model_is_read_by_its_path():
    flat = network()

    class Nested(keras.Model):
        def __init__(self):
            super().__init__()
            self.body = keras.Model(flat.input, flat.get_layer("maps").output)
            self.logits = flat.get_layer("logits")

        def call(self, x):
            return self.logits(ops.mean(self.body(x), axis=(1, 2)))

    model, x = Nested(), images()
    model(x)
    path = f"{model.body.name}.maps"
    for method in ("cam", "grad_cam"):
        found = attention_maps(model, x, method, layer=path)
        assert_allclose(found.maps, attention_maps(flat, x, method).maps, atol=1e-6)
        assert found.layer == path


def test_half_precision_models_have_maps_in_float32():
    model, x = network(dtype="mixed_bfloat16"), images()
    features, _ = inner(model, x)
    everyone = [range(CLASSES)] * len(x)
    want = oracles.class_activation(features, kernel_of(model), everyone, SHAPE[:2])
    found = attention_maps(model, x)
    assert found.maps.dtype == "float32"
    assert_allclose(found.maps, want, atol=1e-4)
    assert np.isfinite(attention_maps(model, x, "grad_cam").maps).all()


@pytest.mark.parametrize(
    ("build", "layer"),
    [
        (lambda: models.CIFARResNet(8, num_classes=5), "stage3"),
        (lambda: models.PreActResNet(8, num_classes=5), "final_relu"),
        (lambda: models.WideResNet(10, 1, num_classes=5), None),
    ],
    ids=["CIFARResNet", "PreActResNet", "WideResNet"],
)
def test_our_networks_have_class_activation_maps(build, layer):
    model, x = build(), images(2, (32, 32, 3))
    found = attention_maps(model, x)
    assert found.maps.shape == (2, 32, 32)
    assert np.ptp(found.maps) == 1
    if layer == "stage3":
        assert found.layer == layer
    features, _ = inner(model, x, found.layer)
    want = oracles.class_activation(
        features, kernel_of(model), [range(5)] * 2, (32, 32)
    )
    assert_allclose(found.maps, want, atol=1e-4)


def test_our_vit_has_a_rollout():
    model = models.ViT("tiny", 16, 5, input_shape=(32, 48, 3))
    found = attention_maps(model, images(1, (32, 48, 3)), "rollout")
    assert found.maps.shape == (1, 32, 48)
    assert found.layer == "stage1_block12_attention_scores"


def test_a_picture_lays_maps_over_images():
    from matplotlib import pyplot as plt

    x = images(10)[..., :1]
    found = attention_maps(network(), images(10))
    ax = found.plot(x, count=3)
    assert [i.get_array().shape for i in ax.images] == [(8, 18), (8, 18)]
    assert_allclose(ax.images[1].get_array()[:, 6:12], found.maps[1])
    assert ax.get_title() == "cam of maps"
    _, own = plt.subplots()
    assert found.plot(ax=own) is own
    plt.close("all")
