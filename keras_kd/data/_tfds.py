"""Reading TensorFlow Datasets: prepared ones at once, others only when they can be."""

import importlib
import math
import os
import threading
import urllib.error
import urllib.parse
import urllib.request

import tensorflow as tf

from keras_kd._common import checks
from keras_kd.data import _catalog
from keras_kd.data._storage import Records

SECONDS_TO_ANSWER = 5  # of the server; TFDS itself retries for minutes


def open_split(name, split, data_dir, download):
    """The records of a split, fields of its `Source`, and its bytes when decoded."""
    builder = _prepared(name, data_dir, download)
    checks.check_choice("split", split, list(builder.info.splits))
    features, known = builder.info.features, _catalog.TFDS_SETS[name]
    facts = {
        "num_classes": features["label"].num_classes,
        "class_names": tuple(features["label"].names),
    }
    if isinstance(known, _catalog.Images):
        decode = _image_decoder(features["image"], known.transposed)
        facts |= {"feature": "image", "shape": tuple(features["image"].shape)}
        facts |= {"mean": known.mean, "std": known.std}
    else:
        decode = _text_renamer(known.fields)
        facts |= {"feature": "text", "shape": None}
    part = builder.info.splits[split]
    store = Records(_records(builder, split), decode, part.num_examples)
    return store, facts, _decoded_bytes(part, facts["shape"])


def _decoded_bytes(part, shape):
    """Of all examples, None where images differ in size."""
    if shape is None:
        return part.num_bytes
    return None if None in shape else part.num_examples * math.prod(shape)


def default_folder(data_dir):
    """Where sets lie: the argument, or TFDS_DATA_DIR as it is now, or TFDS's own."""
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return os.path.expanduser(folder)


def _records(builder, split):
    """Undecoded records with their number, in the same order every time."""
    tfds = _import_tfds()
    is_image = "image" in builder.info.features
    records = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders={"image": tfds.decode.SkipDecoding()} if is_image else None,
        read_config=tfds.ReadConfig(
            try_autocache=False,
            # The order hangs on these two; stated, so that no default changes it.
            interleave_cycle_length=16,
            interleave_block_length=16,
        ),
    )
    return records.enumerate().map(lambda i, record: {"index": i, **record})


def _image_decoder(feature, transposed):
    def decode(record):
        image = feature.decode_example(record["image"])
        if transposed:
            image = tf.transpose(image, [1, 0, 2])
        return {**_numbers(record), "image": image, "label": record["label"]}

    return decode


def _text_renamer(fields):
    names = ("text", "text_pair")[: len(fields)]

    def rename(record):
        texts = {n: record[field] for n, field in zip(names, fields, strict=True)}
        return {**_numbers(record), **texts, "label": record["label"]}

    return rename


def _numbers(record):
    return {key: record[key] for key in ("index", "view") if key in record}


def _prepared(name, data_dir, download):
    """A builder whose data are on disk, or an error that says how to get them."""
    folder = default_folder(data_dir)
    builder = _import_tfds().builder(name, data_dir=folder)
    if builder.info.splits:
        return builder
    if not download:
        raise _not_at_hand(name, folder, "and `download=False`")
    _import("importlib_resources")  # TFDS needs it from here on, without requiring it
    if getattr(builder, "MANUAL_DOWNLOAD_INSTRUCTIONS", None):
        _check_fetched_by_hand(name, builder, folder)
    else:
        url = getattr(builder.builder_config, "data_url", None) or _any_url(builder)
        if url and not answers(url):
            host = urllib.parse.urlsplit(url).netloc
            raise _not_at_hand(name, folder, f"and {host} does not answer")
    builder.download_and_prepare()
    return builder


def _check_fetched_by_hand(name, builder, folder):
    place = os.path.join(folder, "downloads", "manual")
    if not os.path.isdir(place) or not os.listdir(place):
        steps = " ".join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
        why = f"and must be fetched by hand, into {place}: {steps}"
        raise _not_at_hand(name, folder, why)


def _not_at_hand(name, folder, why):
    return FileNotFoundError(
        f"The set {name!r} is not prepared in {folder}, {why.rstrip('.')}. Prepare it "
        'where there is a network, `python -c "import tensorflow_datasets as tfds; '
        f"tfds.load('{name}', data_dir='DIR')\"`, and set TFDS_DATA_DIR to that "
        "folder, or pass `data_dir=`."
    )


def _any_url(builder):
    return next(iter(builder.url_infos), None)


def answers(url, seconds=SECONDS_TO_ANSWER):
    """Whether a server answers a request, whatever it says, in that time."""
    outcome = []

    def ask():
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=seconds).close()
        except urllib.error.HTTPError as error:
            error.close()  # an answer all the same
        except (OSError, ValueError):
            return
        outcome.append(True)

    # In a thread, because the search for a name has no time limit.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(outcome)


def _import_tfds():
    return _import("tensorflow_datasets")


def _import(library):
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise ImportError(
            "This set comes from TensorFlow Datasets, of which something is missing: "
            f'{error}. Run `pip install "keras-kd[datasets]"`.'
        ) from error
