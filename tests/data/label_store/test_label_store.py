"""A store of answers: the right answer for each view, and nothing else taken."""

import json
import pickle
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from oracles.calibration import expected_calibration_error
from scipy.special import rel_entr, softmax
from small_models import sparse_cross_entropy

import keras_kd
from keras_kd import data
from keras_kd.data.label_store import _writing, label_store
from keras_kd.data.label_store._files import sealed

LabelStore = data.LabelStore
SIZE, VIEWS = 100, 2
rng = np.random.default_rng(0)
SOURCE = data.from_arrays(
    rng.integers(0, 256, (SIZE, 6, 6, 1)).astype("uint8"), rng.integers(0, 3, SIZE)
)
BASELINE = data.policy("baseline", padding=1)
PIPELINE = data.augment(BASELINE, seed=3)


def network(seed=0, name="network"):
    init = keras.initializers.GlorotUniform(seed=seed)
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(8, "relu", kernel_initializer=init),
            keras.layers.Dense(3, kernel_initializer=init),
        ],
        name=name,
    )


TEACHER = network()


def write(path, **options):
    options = {"pipeline": PIPELINE, "views": VIEWS, "format": "float32", **options}
    given = {"teacher": TEACHER, "source": SOURCE, "verbose": 0}
    sizes = {"batch_size": 32, "shard_size": 32}
    return LabelStore.write(path=path, **{**given, **sizes, **options})


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A store that no test changes."""
    return write(tmp_path_factory.mktemp("store"))


@pytest.fixture
def folder(shared, tmp_path):
    """A copy of it to be damaged."""
    for file in shared_files(shared):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def shared_files(store):
    return sorted(Path(store._folder.path).iterdir())


def view_of(index, view, policy=BASELINE, seed=3):
    """The images by the policy itself, without any pipeline."""
    images = SOURCE._store.columns["image"].numpy()[index]
    return policy(images, seed=seed, index=index, view=np.full(len(index), view))


def test_each_view_has_the_answer_of_the_teacher(shared):
    index = np.array([7, 99, 0, 7])
    for view in range(VIEWS):
        want = TEACHER(view_of(index, view))
        found = shared.logits(index, np.full(4, view))
        assert found.dtype == "float32"
        assert_allclose(found, want, rtol=1e-5, atol=1e-6)
    mixed = shared.logits([5, 5], [0, 1])
    assert np.abs(mixed[0] - mixed[1]).max() > 1e-3


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_bring_their_own_answers_and_views_go_round(shared, shuffle):
    dataset = shared.dataset(SOURCE, PIPELINE, batch_size=30, shuffle=shuffle)
    assert dataset.cardinality() == 4
    passes = []
    for _ in range(3):
        batches = list(dataset.as_numpy_iterator())
        assert [len(x) for x, _ in batches] == [30, 30, 30, 10]
        x = np.concatenate([x for x, _ in batches])
        answers = np.concatenate([y["teacher_logits"] for _, y in batches])
        labels = np.concatenate([y["labels"] for _, y in batches])
        assert_allclose(answers, TEACHER(x), rtol=1e-5, atol=1e-6)
        assert_array_equal(np.sort(labels), np.sort(SOURCE.labels))
        passes.append(np.sort(x.reshape(SIZE, -1).sum(1)))
    assert_allclose(passes[0], passes[2], rtol=1e-6)
    assert np.abs(passes[0] - passes[1]).max() > 1e-3


def test_numpy_alone_reads_a_record(shared):
    """The arithmetic that the documentation states."""
    path = Path(shared._folder.path)
    manifest = json.loads((path / "manifest.json").read_text())
    index = np.load(path / "index.npy", allow_pickle=False)
    row = int(np.flatnonzero(index == 70)[0])
    part, place = divmod(row, manifest["shard_size"])
    name = f"view_00001_part_{part:05d}.float32.npy"
    record = np.load(path / name, mmap_mode="r", allow_pickle=False)[place]
    assert_array_equal(record, shared.logits([70], [1])[0])


def fixed_set(dataset):
    samples = np.random.default_rng(5).uniform(-1, 1, (20, 6, 6, 1)).astype("float32")
    dataset = dataset.apply(PIPELINE).apply(data.normalize("unit_cube"))
    return dataset.apply(data.fixed_gan_samples(samples, size=20))


def one_after_another(dataset):
    return dataset.apply(data.augment(BASELINE, seed=3, num_parallel_calls=1))


def four_at_once(dataset):
    return dataset.apply(data.augment(BASELINE, seed=3, num_parallel_calls=4))


@pytest.mark.parametrize(
    ("pipeline", "shuffle"),
    [(fixed_set, True), (one_after_another, False), (four_at_once, True)],
    ids=["fixed_set", "one_call", "four_calls"],
)
def test_a_student_learns_what_it_would_learn_live(pipeline, shuffle, tmp_path):
    store = write(tmp_path, pipeline=pipeline)
    loss = keras_kd.losses.KnowledgeDistillation()
    students = []
    for teacher in (TEACHER, None):
        student = network(seed=9, name="student")
        distiller = keras_kd.Distiller(teacher, student, loss)
        distiller.compile(keras.optimizers.SGD(0.1), sparse_cross_entropy())
        if teacher is None:
            batches = store.dataset(
                SOURCE, pipeline, batch_size=16, shuffle=shuffle, seed=4
            )
        else:
            batches = pipeline(SOURCE.examples(shuffle=shuffle, seed=4)).batch(16)
            batches = batches.map(data.inputs_and_labels)
        distiller.fit(batches, epochs=VIEWS, verbose=0, shuffle=False)
        students.append(student)
    start = network(seed=9)
    weights = (model.get_weights() for model in (*students, start))
    for live, stored, before in zip(*weights, strict=True):
        assert_allclose(stored, live, rtol=1e-5, atol=1e-5)
        assert np.abs(live - before).max() > 1e-3


@pytest.mark.parametrize("form", ["float16", "5bit", "top_k"])
def test_the_stated_costs_are_those_of_what_is_read(form, tmp_path):
    store = write(tmp_path, format=form, k=2, temperature=2.0)
    index = np.arange(SIZE)
    exact, stored, labels = [], [], []
    for view in range(VIEWS):
        exact.append(TEACHER(view_of(index, view)).numpy())
        stored.append(store.logits(index, np.full(SIZE, view)))
        labels.append(SOURCE.labels)
    exact, stored, labels = (np.concatenate(side) for side in (exact, stored, labels))
    p, q = (softmax(side.astype("float64") / 2, axis=-1) for side in (exact, stored))
    kl = rel_entr(p, q).sum(-1)
    assert_allclose(store.manifest["mean_kl"], kl.mean(), rtol=1e-3, atol=1e-9)
    assert_allclose(store.manifest["max_kl_of_a_row"], kl.max(), rtol=1e-3, atol=1e-8)
    for side, logits in (("exact", exact), ("stored", stored)):
        want = expected_calibration_error(labels, logits.astype("float64"), 15)
        found = store.manifest["calibration_error"][side]
        assert_allclose(found, want, atol=1e-4)


def test_auto_keeps_the_bound_where_the_first_rows_misled_it(tmp_path, monkeypatch):
    monkeypatch.setattr(_writing, "SAMPLE", 20)
    monkeypatch.setattr(label_store, "SAMPLE", 20)
    logits = np.zeros((SIZE, 30), "float32")
    logits[:, 0] = 30.0
    logits[20:] = np.random.default_rng(1).normal(size=(SIZE - 20, 30))
    store = LabelStore.from_arrays(logits, SOURCE, tmp_path, name="t", max_kl=1e-4)
    first = json.loads((tmp_path / "plan.json").read_text())["format"]["name"]
    assert store.manifest["mean_kl"] <= 1e-4
    assert store.manifest["format"]["name"] == first  # the plan follows
    names = {name.split(".")[1] for name in store._folder.names() if "view" in name}
    assert names == {first}  # nothing of the one that was too coarse
    found = store.logits(np.arange(SIZE), np.zeros(SIZE, int))
    p, q = (softmax(side.astype("float64"), axis=-1) for side in (logits, found))
    assert rel_entr(p, q).sum(-1).mean() <= 1e-4


def test_any_function_answers(tmp_path):
    def remote(images):
        assert isinstance(images, np.ndarray)
        return np.float32(images.reshape(len(images), -1)[:, :4])

    store = write(tmp_path, teacher=remote, name="remote")
    images = view_of(np.arange(9), 1)
    want = images.numpy().reshape(9, -1)[:, :4]
    assert_allclose(store.logits(np.arange(9), np.ones(9, int)), want, rtol=1e-6)
    assert store.check(remote, SOURCE, PIPELINE, name="remote", share=0.5) < 1e-12


def test_answers_of_several_views_that_are_there(tmp_path):
    logits = np.random.default_rng(2).normal(size=(2, SIZE, 4)).astype("float32")
    store = LabelStore.from_arrays(
        logits, SOURCE, tmp_path, name="given", format="float32"
    )
    assert store.views == 2
    assert_array_equal(store.logits([3, 80], [1, 0]), logits[[1, 0], [3, 80]])


def test_a_part_of_a_set_keeps_its_numbers(tmp_path):
    part = data.subsample(SOURCE, 30, seed=1)
    store = write(tmp_path, source=part)
    index = part.indices[[4, 2]]
    want = TEACHER(view_of(index, 0))
    assert_allclose(store.logits(index, [0, 0]), want, rtol=1e-5, atol=1e-6)
    missing = np.setdiff1d(np.arange(SIZE), part.indices)[:1]
    with pytest.raises(KeyError, match=f"no answers for example {missing[0]}"):
        store.logits(missing, [0])


def test_an_ensemble_is_stored_as_it_answers(tmp_path):
    members = [network(1, "a"), network(2, "b")]
    store = write(tmp_path, teacher=members)
    want = keras_kd.TeacherEnsemble(members)(view_of(np.arange(5), 0))
    assert_allclose(store.logits(np.arange(5), np.zeros(5, int)), want, rtol=1e-4)


def test_a_store_is_gone_on_with_and_not_written_twice(shared, folder):
    def fail(images):
        raise AssertionError("asked again")

    (folder / "manifest.json").unlink()
    shard = folder / "view_00001_part_00002.float32"
    kept = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.npy")}
    shard.with_name(f"{shard.name}.json").unlink()
    with pytest.raises(FileNotFoundError, match="One was begun"):
        LabelStore(folder)
    again = write(folder)
    assert_array_equal(again.logits([9], [1]), shared.logits([9], [1]))
    written = {
        file.name
        for file in folder.glob("*.npy")
        if file.stat().st_mtime_ns != kept[file.name]
    }
    assert written == {f"{shard.name}.npy"}
    assert {f.name: f.read_bytes() for f in shared_files(shared)} == {
        f.name: f.read_bytes() for f in sorted(folder.iterdir())
    }


OTHER_IMAGES = data.from_arrays(np.zeros((SIZE, 6, 6, 1), "uint8"), SOURCE.labels)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"teacher": network(seed=1)}, "the teacher"),
        ({"teacher": keras_kd.TeacherEnsemble(TEACHER, multi_label=True)}, "teacher"),
        ({"pipeline": data.augment(BASELINE, seed=4)}, "not belong to this pipeline"),
        ({"pipeline": data.augment("none")}, "not belong to this pipeline"),
        ({"source": OTHER_IMAGES}, "not belong to this pipeline"),
        ({"source": data.subsample(SOURCE, 50)}, "source"),
        ({"views": VIEWS + 1}, "number of views"),
        ({"format": "8bit"}, "the format"),
        ({"shard_size": 64}, "shard_size"),
    ],
    ids="weights kind seed policy images part views format shards".split(),
)
def test_something_else_is_not_written_into_a_store(folder, given, message):
    with pytest.raises(ValueError, match=message):
        write(folder, **given)


@pytest.mark.parametrize(
    ("source", "pipeline"),
    [
        (SOURCE, None),
        (SOURCE, data.augment(BASELINE, seed=4)),
        (SOURCE, lambda d: d.apply(PIPELINE).apply(data.normalize("unit_cube"))),
        (OTHER_IMAGES, PIPELINE),
    ],
    ids="none seed normalized images".split(),
)
def test_a_store_is_read_by_its_own_pipeline_alone(shared, source, pipeline):
    with pytest.raises(ValueError, match="view 0 of row 0 has other inputs"):
        shared.dataset(source, pipeline)
    with pytest.raises(ValueError, match="view 0 of row 0 has other inputs"):
        shared.check(TEACHER, source, pipeline)


def test_mixing_that_the_store_has_not_seen_is_refused(shared):
    def mixing(dataset):
        return dataset.apply(PIPELINE).batch(10).apply(data.mixup())

    with pytest.raises(ValueError, match="mixup, cutmix"):
        shared.dataset(SOURCE, mixing)
    with pytest.raises(ValueError, match="works on dicts of examples"):
        shared.dataset(SOURCE, PIPELINE).apply(data.mixup())


def test_more_views_than_stored_are_refused(shared):
    with pytest.raises(ValueError, match=r"2 views, 0 to 1.*view 2"):
        shared.logits([0], [2])


SHARD = "view_00001_part_00001.float32.npy"


def flip(path):
    content = bytearray(path.read_bytes())
    content[-7] ^= 4
    path.write_bytes(bytes(content))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def with_pickle(path):
    class Harmful:
        def __reduce__(self):
            return print, ("unpickled",)

    path.write_bytes(pickle.dumps(Harmful()))


def pickled_array(path):
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    "damage", [flip, truncate, with_pickle, pickled_array], ids=lambda f: f.__name__
)
def test_a_damaged_shard_is_refused_by_name(folder, damage, capsys):
    damage(folder / SHARD)
    store = LabelStore(folder)
    store.logits([0], [0])
    with pytest.raises(ValueError, match=SHARD):
        store.logits([40], [1])
    with pytest.raises(ValueError, match=SHARD):
        store.verify()
    assert "unpickled" not in capsys.readouterr().out


def test_a_missing_shard_is_refused_at_once(folder):
    (folder / SHARD).unlink()
    with pytest.raises(FileNotFoundError, match=f"lacks {SHARD}"):
        LabelStore(folder)


def test_a_shard_is_written_again_as_the_message_says(folder, shared):
    (folder / SHARD).unlink()
    found = write(folder)
    found.verify()
    assert_array_equal(found.logits([40], [1]), shared.logits([40], [1]))


def test_a_manifest_leads_nowhere_else(folder, tmp_path):
    manifest = json.loads((folder / "manifest.json").read_text())
    outside = "../outside"
    shards = manifest["shards"]
    shards[outside] = shards.pop("view_00001_part_00001")
    (folder / "manifest.json").write_text(json.dumps(sealed(manifest)))
    with pytest.raises(ValueError, match="does not know of view_00001_part_00001"):
        LabelStore(folder)


@pytest.mark.parametrize("name", ["manifest.json", "index.npy"])
def test_a_flipped_digit_anywhere_is_refused_by_name(folder, shared, name):
    content = bytearray((folder / name).read_bytes())
    place = content.index(b'"mean_kl": ') + 11 if name.endswith("json") else -8
    content[place] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(ValueError, match=name):
        LabelStore(folder)
    (folder / name).unlink()  # as the message says
    assert_array_equal(write(folder).logits([40], [1]), shared.logits([40], [1]))


def test_a_manifest_that_is_no_json_is_named(folder):
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        LabelStore(folder)


def test_a_sample_that_is_computed_again_shows_drift(tmp_path):
    exact = np.concatenate([TEACHER(view_of(np.arange(SIZE), 0)).numpy()])
    exact[50:] += np.random.default_rng(1).normal(size=(50, 3))

    def same_name(images):
        return TEACHER(images).numpy()

    store = LabelStore.from_arrays(
        exact, SOURCE, tmp_path, pipeline=PIPELINE, name="teacher", format="float32"
    )
    with pytest.raises(ValueError, match="has drifted"):
        store.check(same_name, SOURCE, PIPELINE, name="teacher", share=1.0)


@pytest.mark.parametrize("form", ["float32", "5bit"])
def test_a_check_passes_where_nothing_changed(form, tmp_path):
    store = write(tmp_path, format=form)
    assert store.check(TEACHER, SOURCE, PIPELINE, share=0.2) < 1e-6
    store.verify()


def test_another_teacher_does_not_pass_the_check(shared):
    with pytest.raises(ValueError, match="the teacher"):
        shared.check(network(seed=1), SOURCE, PIPELINE)
    with pytest.raises(ValueError, match="share"):
        shared.check(TEACHER, SOURCE, PIPELINE, share=0)


def test_another_function_of_the_same_name_is_refused(tmp_path):
    """By its answers, from the first row on."""

    def first(images):
        return np.float32(images.reshape(len(images), -1)[:, :4])

    store = write(tmp_path, teacher=first, name="t")
    with pytest.raises(ValueError, match="another teacher"):
        write(tmp_path, teacher=lambda images: first(images) + 1.0, name="t")
    with pytest.raises(ValueError, match="another teacher"):
        store.check(lambda images: -first(images), SOURCE, PIPELINE, name="t")


def test_another_k_is_refused(tmp_path):
    write(tmp_path, format="top_k", k=1)
    write(tmp_path, format="top_k", k=1)
    with pytest.raises(ValueError, match="`k`"):
        write(tmp_path, format="top_k", k=2)


def test_a_disk_without_links_has_stores_too(tmp_path, monkeypatch):
    def refuse(*names):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refuse)
    assert write(tmp_path).views == VIEWS
    assert not [name for name in store_names(tmp_path) if name.startswith(".")]


def store_names(folder):
    return [file.name for file in folder.iterdir()]


TWO_OUTPUTS = keras.Model(
    TEACHER.inputs, [TEACHER.outputs[0], TEACHER.layers[1].output], name="two"
)


STATEFUL = keras.Sequential(
    [
        keras.Input((6, 6, 1), batch_size=32),
        keras.layers.Reshape((6, 6)),
        keras.layers.LSTM(3, stateful=True, name="memory"),
    ]
)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"teacher": 3}, "must be a keras.Model"),
        ({"teacher": STATEFUL}, r"\['memory'\] are stateful"),
        ({"teacher": lambda x: x}, "Give it a `name`"),
        ({"teacher": lambda x: x, "name": "t"}, "logits of shape"),
        ({"teacher": lambda x: np.full((len(x), 3), np.nan), "name": "t"}, "finite"),
        ({"teacher": TWO_OUTPUTS}, "the teacher has 2"),
        ({"source": "digits"}, "must be a `keras_kd.data.Source`"),
        ({"views": 0}, "views"),
        ({"format": "4bit"}, "format"),
        ({"format": "auto", "max_kl": 0}, "max_kl"),
        ({"pipeline": lambda d: d.filter(lambda e: e["index"] > 3)}, "filter"),
    ],
    ids="int stateful name shape nan outputs source views format bound filter".split(),
)
def test_what_cannot_be_stored_is_refused_with_the_reason(tmp_path, given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        write(tmp_path, **given)


def test_the_size_is_told_beforehand(tmp_path, capsys):
    write(tmp_path, verbose=1)
    told = capsys.readouterr().out.splitlines()[0]
    assert told.endswith("100 examples, 2 views, 12 bytes each (float32): 0.0 MiB")
