"""Oracle: float64 NumPy of Stanton et al. 2021, section 3.1."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from oracles.logits import softmax
from small_models import digest, mlp, scattered, toy_data

from keras_kd import TeacherEnsemble

X, _ = toy_data(16)


def members(count, **options):
    return [scattered(mlp(f"m{i}", seed=i, **options), i) for i in range(count)]


def as_float64(member):
    return np.asarray(member(X, training=False), "float64")


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 5.0], [0.0, 1.0, 1.0]], ids=str)
def test_log_of_mean_probability_equals_oracle(weights):
    models = members(3)
    shares = np.array(weights or [1, 1, 1], "float64")
    probs = sum(
        w * softmax(as_float64(m))
        for w, m in zip(shares / shares.sum(), models, strict=True)
    )
    got = TeacherEnsemble(models, weights=weights)(X)
    assert_allclose(got, np.log(probs), atol=1e-6)


@pytest.mark.parametrize("weights", [None, [1.0, 3.0]], ids=str)
def test_mean_of_logits_equals_oracle(weights):
    models = members(2)
    shares = np.array(weights or [1, 1], "float64")
    want = np.average([as_float64(m) for m in models], axis=0, weights=shares)
    got = TeacherEnsemble(models, combine="logits", weights=weights)(X)
    assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_one_member_gives_its_raw_logits(combine, dtype):
    member = scattered(mlp("m", dtype=dtype))
    got = TeacherEnsemble(member, combine=combine)(X)
    assert got.dtype == member(X).dtype
    assert_array_equal(np.array(got), np.array(member(X)))


def test_half_precision_members_are_combined_in_float32():
    models = members(2, dtype="mixed_float16")
    got = TeacherEnsemble(models)(X)
    assert got.dtype == "float32"
    probs = np.mean([softmax(as_float64(m)) for m in models], axis=0)
    assert_allclose(got, np.log(probs), atol=1e-6)


def test_members_may_differ_in_architecture_and_dtype():
    convolution = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Reshape((2, 2, 1)),
            keras.layers.Conv2D(3, 2),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    models = [convolution, mlp("m", dtype="mixed_bfloat16"), mlp("n", norm="batch")]
    probs = np.mean([softmax(as_float64(m)) for m in models], axis=0)
    assert_allclose(TeacherEnsemble(models)(X), np.log(probs), atol=1e-6)


def test_member_logits_are_those_of_the_members():
    models = members(3)
    ensemble = TeacherEnsemble(models)
    for got, member in zip(ensemble.member_logits(X), models, strict=True):
        assert_array_equal(np.array(got), np.array(member(X)))
    assert list(ensemble.members) == models
    assert ensemble.members[1] is models[1]
    assert len(ensemble.members) == 3


def test_probabilities_of_members_become_logits():
    logits_model = members(1)[0]
    softmax_model = keras.Sequential([logits_model, keras.layers.Softmax()])
    other = members(2)[1]
    mixed = TeacherEnsemble([softmax_model, other], from_logits=[False, True])
    assert_allclose(mixed(X), TeacherEnsemble([logits_model, other])(X), atol=1e-5)


def test_probability_of_zero_gives_a_finite_logit():
    certain = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.Softmax()]
    )
    certain.set_weights([np.zeros((4, 3)), np.array([500.0, 0.0, -500.0])])
    got = np.array(TeacherEnsemble(certain, from_logits=False)(X))
    assert np.isfinite(got).all()
    assert_allclose(got[:, 0], 0.0, atol=1e-6)


def test_extreme_logits_stay_finite():
    model = mlp("m")
    model.layers[-1].set_weights([np.zeros((8, 3)), np.array([1e4, 0.0, -1e4])])
    other = mlp("n")
    got = np.array(TeacherEnsemble([model, other])(X))
    assert np.isfinite(got).all()
    assert_allclose(np.exp(got).sum(axis=-1), 1.0, atol=1e-5)


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
def test_several_outputs_are_combined_one_by_one(combine):
    def two_heads(seed):
        inputs = keras.Input((4,))
        heads = {
            name: keras.layers.Dense(
                classes, kernel_initializer=keras.initializers.RandomNormal(seed=seed)
            )(inputs)
            for name, classes in (("a", 3), ("b", 5))
        }
        return keras.Model(inputs, heads)

    models = [two_heads(0), two_heads(1)]
    got = TeacherEnsemble(models, combine=combine)(X)
    for name in ("a", "b"):
        single = [keras.Model(m.inputs, m.output[name]) for m in models]
        want = TeacherEnsemble(single, combine=combine)(X)
        assert_allclose(got[name], want, atol=1e-6)


def test_nothing_of_a_member_can_be_trained_through_the_ensemble():
    models = members(2)
    ensemble = TeacherEnsemble(models)
    assert ensemble.trainable_variables == []
    assert ensemble.trainable_weights == []
    assert len(ensemble.variables) == sum(len(m.variables) for m in models)
    assert all(m.trainable and m.trainable_variables for m in models)


def test_predict_gives_what_a_call_gives():
    ensemble = TeacherEnsemble(members(2))
    assert_allclose(ensemble.predict(X, verbose=0), ensemble(X), atol=1e-6)


def test_a_symbolic_call_makes_a_model_of_the_ensemble():
    ensemble = TeacherEnsemble(members(2))
    inputs = keras.Input((4,))
    model = keras.Model(inputs, ensemble(inputs))
    assert_allclose(model(X), ensemble(X), atol=1e-6)


def test_config_round_trip_keeps_the_rule():
    models = members(2)
    ensemble = TeacherEnsemble(models, combine="logits", weights=[1, 3], name="experts")
    again = TeacherEnsemble.from_config(ensemble.get_config())
    assert again.name == "experts"
    assert again.combine == "logits"
    assert again.member_weights == [0.25, 0.75]
    for copy, member in zip(again.members, models, strict=True):
        copy.set_weights(member.get_weights())
    assert_allclose(again(X), ensemble(X), atol=1e-6)


def test_saved_file_holds_members_and_their_weights(tmp_path):
    models = [*members(2, norm="batch"), mlp("compiled")]
    models[-1].compile("adam", "mse")
    before = [digest(m) for m in models]
    ensemble = TeacherEnsemble(models, weights=[1, 2, 3])
    ensemble.save(tmp_path / "teacher.keras")
    loaded = keras.models.load_model(tmp_path / "teacher.keras")
    assert_array_equal(np.array(loaded(X)), np.array(ensemble(X)))
    assert [digest(m) for m in models] == before
    assert models[-1].compiled
