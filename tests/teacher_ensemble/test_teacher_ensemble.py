"""Predictive logits of ensembles, against float64 NumPy; members stay frozen."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from oracles.logits import softmax
from small_models import digest, mlp, scattered, toy_data

import keras_kd
from keras_kd import TeacherEnsemble

X, _ = toy_data(9)


def stub(logits, dtype="float32", name=None, activation=None):
    """A model that gives these logits for the inputs 0, 1, 2, ..."""
    logits = np.asarray(logits, "float64")
    inputs = keras.Input((), dtype="int32")
    table = keras.layers.Embedding(*logits.shape, dtype=dtype)
    outputs = table(inputs)
    if activation:
        outputs = keras.layers.Activation(activation, dtype=dtype)(outputs)
    model = keras.Model(inputs, outputs, name=name)
    table.set_weights([logits])
    return model


def random_logits(seed, scale=3.0, classes=5):
    return np.random.default_rng(seed).normal(0, scale, (7, classes))


def log_mean_probability(logits, weights):
    """log(sum_i w_i softmax(z_i)), by logs throughout."""
    logits = np.asarray(logits, "float64")
    shifted = logits - logits.max(-1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    weights = np.asarray(weights, "float64") / np.sum(weights)
    with np.errstate(divide="ignore"):
        terms = log_probs + np.log(weights)[:, None, None]
    largest = terms.max(axis=0)
    return largest + np.log(np.exp(terms - largest).sum(axis=0))


INDICES = np.arange(7)


@pytest.mark.parametrize("weights", [None, [1, 2, 5], [0.5, 0.0, 0.5]], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "float64"])
def test_log_of_mean_probability_equals_oracle(dtype, weights):
    scale = 3.0
    logits = [np.float16(random_logits(seed, scale)) for seed in range(3)]
    members = [stub(z, dtype=dtype) for z in logits]
    combined = TeacherEnsemble(members, weights=weights)(INDICES)
    want = log_mean_probability(logits, weights or [1, 1, 1])
    tolerance = 1e-12 if dtype == "float64" else 2e-6
    assert_allclose(combined, want, rtol=tolerance, atol=tolerance)
    wide = "float64" if dtype == "float64" else "float32"
    assert keras.backend.standardize_dtype(combined.dtype) == wide


@pytest.mark.parametrize("weights", [None, [1, 2, 5]], ids=str)
def test_logits_combine_to_their_weighted_mean(weights):
    logits = [random_logits(seed) for seed in range(3)]
    ensemble = TeacherEnsemble([stub(z) for z in logits], "logits", weights=weights)
    want = np.average(logits, axis=0, weights=weights)
    assert_allclose(ensemble(INDICES), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_one_member_gives_its_raw_logits(combine, dtype):
    member = stub(random_logits(0), dtype=dtype)
    logits = TeacherEnsemble(member, combine)(INDICES)
    assert keras.backend.standardize_dtype(logits.dtype) == dtype
    assert_array_equal(logits, member(INDICES))


@pytest.mark.parametrize("scale", [1e2, 1e4])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_extreme_members_give_finite_log_probabilities(dtype, scale):
    """Probabilities underflow to 0 in float32; their logs must not be -inf."""
    logits = np.float16([[scale, 0, -scale], [scale, 0, -scale]])
    other = np.float16([[scale, -scale, 0], [-scale, 0, scale]])
    ensemble = TeacherEnsemble([stub(logits, dtype), stub(other, dtype)])
    combined = np.asarray(ensemble(INDICES[:2]))
    assert np.isfinite(combined).all()
    want = log_mean_probability([logits, other], [1, 1])
    assert_allclose(combined, want, rtol=1e-6, atol=1e-6)


def test_the_combined_logits_are_normalised():
    ensemble = TeacherEnsemble([stub(random_logits(i, 20.0)) for i in range(5)])
    total = np.exp(np.asarray(ensemble(INDICES), "float64")).sum(axis=-1)
    assert_allclose(total, 1.0, rtol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4], ids=str)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_members_that_give_probabilities_are_read_as_such(dtype, scale):
    logits = np.float16(random_logits(0) * scale / 3.0)
    member = stub(logits, dtype, activation="softmax")
    ensemble = TeacherEnsemble(member, from_logits=False)
    (log_probs,) = ensemble.member_logits(INDICES)
    given = np.asarray(member(INDICES), "float64")
    assert np.isfinite(np.asarray(log_probs)).all()
    assert_allclose(softmax(log_probs), given, rtol=1e-3, atol=1e-6)


def test_members_may_give_logits_and_probabilities():
    logits = [random_logits(seed) for seed in range(2)]
    members = [stub(logits[0]), stub(logits[1], activation="softmax")]
    ensemble = TeacherEnsemble(members, from_logits=[True, False])
    want = log_mean_probability(logits, [1, 1])
    assert_allclose(ensemble(INDICES), want, rtol=1e-5, atol=1e-6)


def test_member_logits_are_those_of_the_members():
    logits = [random_logits(seed) for seed in range(3)]
    ensemble = TeacherEnsemble([stub(z) for z in logits])
    members = ensemble.member_logits(INDICES)
    for got, want in zip(members, logits, strict=True):
        assert_allclose(got, want, rtol=1e-6)
    assert_array_equal(ensemble.combine_members(members), ensemble(INDICES))


def test_tokens_keep_their_leading_dimensions():
    logits = [random_logits(seed) for seed in range(2)]
    members = []
    for z in logits:
        inputs = keras.Input((7,), dtype="int32")
        table = keras.layers.Embedding(*z.shape)
        members.append(keras.Model(inputs, table(inputs)))
        table.set_weights([z])
    combined = TeacherEnsemble(members)(np.stack([INDICES, INDICES[::-1]]))
    want = log_mean_probability(logits, [1, 1])
    assert_allclose(combined, [want, want[::-1]], rtol=1e-5, atol=1e-6)


@keras.saving.register_keras_serializable(package=__name__)
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(3)

    def call(self, inputs):
        return self.dense(inputs)


def unlike_members():
    subclassed = Subclassed(name="three")
    subclassed(X)
    two = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Reshape((2, 2, 1)),
            keras.layers.Conv2D(2, 2),
            keras.layers.Flatten(),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3),
        ],
        name="two",
    )
    return [scattered(m) for m in (mlp("one", norm="layer"), two, subclassed)]


def test_members_of_unlike_architecture_are_combined():
    members = unlike_members()
    want = log_mean_probability([m(X) for m in members], [1, 1, 1])
    assert_allclose(TeacherEnsemble(members)(X), want, rtol=1e-5, atol=1e-6)


def test_members_take_their_own_inputs_of_a_dict():
    def member(names, name):
        inputs = {n: keras.Input((4,), name=n) for n in names}
        x = keras.layers.Concatenate()([*inputs.values(), *inputs.values()])
        return keras.Model(inputs, keras.layers.Dense(3)(x), name=name)

    batch = {"a": X, "b": X + 1, "c": X + 2}
    members = [member("ab", "one"), member("c", "two")]
    want = log_mean_probability(
        [members[0]({"a": X, "b": X + 1}), members[1]({"c": X + 2})], [1, 1]
    )
    assert_allclose(TeacherEnsemble(members)(batch), want, rtol=1e-5, atol=1e-6)


def test_structures_of_outputs_are_combined_leaf_by_leaf():
    def member(seed):
        inputs = keras.Input((4,))
        heads = {n: keras.layers.Dense(2 + i)(inputs) for i, n in enumerate("ab")}
        return scattered(keras.Model(inputs, heads), seed)

    members = [member(0), member(1)]
    combined = TeacherEnsemble(members)(X)
    for head in "ab":
        want = log_mean_probability([m(X)[head] for m in members], [1, 1])
        assert_allclose(combined[head], want, rtol=1e-5, atol=1e-6)


def test_members_are_frozen_and_their_flags_their_own():
    members = [mlp(n, norm="batch", dropout=0.5) for n in ("one", "two")]
    members[1].layers[1].trainable = False
    flags = [[v.trainable for v in m.variables] for m in members]
    hashes = [digest(m) for m in members]
    ensemble = TeacherEnsemble(members)
    ensemble(X, training=True)
    assert ensemble.trainable_variables == []
    assert ensemble.trainable_weights == []
    assert len(ensemble.weights) == sum(len(m.weights) for m in members)
    assert [[v.trainable for v in m.variables] for m in members] == flags
    assert [digest(m) for m in members] == hashes


def test_calls_are_inference_and_repeat_themselves():
    member = mlp("one", norm="batch", dropout=0.5)
    ensemble = TeacherEnsemble(member)
    assert_array_equal(ensemble(X, training=True), member(X, training=False))
    assert_allclose(ensemble.predict(X, verbose=0), ensemble(X), rtol=1e-5, atol=1e-6)


def test_a_symbolic_call_makes_a_model_of_the_ensemble():
    ensemble = TeacherEnsemble([mlp("one"), mlp("two", seed=2)])
    inputs = keras.Input((4,))
    model = keras.Model(inputs, ensemble(inputs))
    assert_allclose(model(X), ensemble(X), rtol=1e-6)


def test_a_config_round_trip_keeps_every_setting():
    ensemble = TeacherEnsemble(
        unlike_members(), "logits", weights=[1, 2, 1], name="my_teachers"
    )
    again = TeacherEnsemble.from_config(ensemble.get_config())
    assert again.get_config() == ensemble.get_config()
    assert (again.combine, again.name) == ("logits", "my_teachers")
    assert again.member_weights == [0.25, 0.5, 0.25]
    assert [type(m) for m in again.members] == [type(m) for m in ensemble.members]


def test_a_keras_file_holds_the_members(tmp_path):
    ensemble = TeacherEnsemble(unlike_members(), weights=[3, 1, 1])
    ensemble.save(tmp_path / "teachers.keras")
    loaded = keras.saving.load_model(tmp_path / "teachers.keras")
    assert_array_equal(loaded(X), ensemble(X))
    assert [m.name for m in loaded.members] == ["one", "two", "three"]


def test_a_compiled_member_is_saved_without_its_optimizer(tmp_path):
    member = mlp("one")
    member.compile("adam", loss="mse")
    before = digest(member)
    TeacherEnsemble(member).save(tmp_path / "teachers.keras")
    assert member.compiled
    assert digest(member) == before
    loaded = keras.saving.load_model(tmp_path / "teachers.keras")
    assert not loaded.members[0].compiled
    assert_array_equal(loaded(X), member(X))


def test_the_members_are_read_only():
    ensemble = TeacherEnsemble([mlp("one"), mlp("two")])
    assert [m.name for m in ensemble.members] == ["one", "two"]
    assert len(ensemble.members) == 2
    with pytest.raises(TypeError):
        ensemble.members[0] = mlp("three")


def test_an_ensemble_is_a_teacher_of_the_distiller():
    ensemble = TeacherEnsemble([mlp("one"), mlp("two", seed=2)], "logits")
    loss = keras_kd.losses.KnowledgeDistillation()
    distiller = keras_kd.Distiller(ensemble, mlp("student"), loss)
    assert distiller.teacher is ensemble


def copy_of_config(ensemble):
    return TeacherEnsemble.from_config(ensemble.get_config())


@pytest.mark.parametrize("copy", [keras.models.clone_model, copy_of_config])
def test_a_copy_holds_the_trained_members(copy):
    ensemble = TeacherEnsemble([stub(random_logits(seed)) for seed in range(2)])
    assert_array_equal(copy(ensemble)(INDICES), ensemble(INDICES))
