"""Where the examples of a source lie, and how they are read: in order or shuffled.

Both kinds have `indices` (the number of each example, ascending), `rows(...)` (a
dataset of dicts, as stored), `decode` (from a row to an example, or None), `only(...)`
(fewer of the same examples) and `column(...)` (one key of all of them).
"""

import copy

import numpy as np
import tensorflow as tf

CHUNK = 512  # rows fetched at once: one at a time is 10 times slower
DEFAULT_BUFFER = 10_000  # records among which a pass on disk is shuffled


class Table:
    """Columns in memory, so that a pass has its rows in any order.

    Args:
        columns: Dict of arrays or tensors of the same length.
        decode: What a row goes through when it is read, None for nothing.
        indices: The rows that count, ascending. Defaults to all of them.
    """

    def __init__(self, columns, decode=None, indices=None):
        with tf.device("CPU:0"):
            # A tensor made of an array may share its memory: copy.
            self.columns = {k: tf.identity(v) for k, v in columns.items()}
        size = len(next(iter(self.columns.values())))
        self.decode = decode
        self.origin = self.columns
        self._keep(np.arange(size) if indices is None else indices)

    def _keep(self, indices):
        self.indices = np.asarray(indices, np.int64)
        with tf.device("CPU:0"):
            self._order = tf.constant(self.indices)

    def only(self, indices):
        kept = copy.copy(self)
        kept._keep(indices)
        return kept

    def rows(self, view=None, seed=None, buffer=None, skip=0):
        """A pass over the rows, shuffled as a whole whatever the `buffer`."""
        order = self._order
        if seed is not None:
            any_number = {"minval": None, "maxval": None, "dtype": tf.int64}
            drawn = tf.random.stateless_uniform(tf.shape(order), seed, **any_number)
            order = tf.gather(order, tf.argsort(drawn, stable=True))

        def fetch(indices):
            numbers = {"index": indices}
            if view is not None:
                numbers["view"] = tf.fill(tf.shape(indices), view)
            columns = {k: tf.gather(v, indices) for k, v in self.columns.items()}
            return {**numbers, **columns}

        chunks = tf.data.Dataset.from_tensor_slices(order[skip:]).batch(CHUNK)
        return chunks.map(fetch).unbatch()

    def column(self, key):
        return self.columns[key].numpy()[self.indices]


class Records:
    """Records read from disk in one order, of which a part may count.

    Args:
        records: Dataset of dicts with their number as "index".
        decode: From a record to an example.
        size: How many records there are.
    """

    def __init__(self, records, decode, size):
        self._records, self._all = records, size
        self.decode = decode
        self.origin = records
        self.indices = np.arange(size, dtype=np.int64)

    def only(self, indices):
        kept = copy.copy(self)
        kept.indices = np.asarray(indices, np.int64)
        return kept

    def rows(self, view=None, seed=None, buffer=None, skip=0):
        """A pass over the records, shuffled among `buffer` of them."""
        records = self._kept()
        if seed is not None:
            buffer = min(buffer or DEFAULT_BUFFER, len(self.indices))
            records = _shuffled(records, seed, buffer)
        records = records.skip(tf.cast(skip, tf.int64))
        if view is None:
            return records
        return records.map(lambda r: {"index": r["index"], "view": view, **r})

    def _kept(self):
        if len(self.indices) == self._all:
            return self._records
        counts = np.zeros(self._all, bool)
        counts[self.indices] = True
        with tf.device("CPU:0"):
            counts = tf.constant(counts)
        return self._records.filter(lambda record: counts[record["index"]])

    def column(self, key):
        batches = self._kept().map(lambda record: record[key]).batch(1024)
        return np.concatenate(list(batches.as_numpy_iterator()))


def _shuffled(records, seed, buffer):
    # tf.data adds the seed of the graph, which follows `tf.random.set_seed`.
    tf.compat.v1.get_default_graph().seed = 1
    number = tf.random.stateless_uniform([], seed, 1, 2**31 - 1, tf.int64)
    return records.shuffle(buffer, seed=number, reshuffle_each_iteration=False)


def read(store):
    """The examples of a store in their order, without view numbers."""
    return decoded(store.rows(), store.decode)


def decoded(rows, decode):
    return rows.map(decode, num_parallel_calls=tf.data.AUTOTUNE) if decode else rows


def in_memory(store):
    """A `Table` of all decoded examples of a store."""
    size = len(store.indices)
    columns = read(store).batch(size).prefetch(1).get_single_element()
    if not np.array_equal(columns.pop("index"), np.arange(size)):
        raise RuntimeError("Rows must be numbered 0, 1, 2, ... to be held in memory.")
    return Table(columns)
