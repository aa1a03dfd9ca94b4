"""Look up records by example and view."""

import functools

import numpy as np

from keras_kd.data.label_store import _files
from keras_kd.data.label_store.formats import format_from_config

OPEN_SHARDS = 1024  # mapped at once; an unmapped one is checked anew
OPEN_ORDERS = 4


class Reader:
    """Reads the answers of a complete store.

    Args:
        folder: `Folder`.
        manifest: Its content.
    """

    def __init__(self, folder, manifest):
        self._folder = folder
        self._manifest = manifest
        self._shard_size = int(manifest["shard_size"])
        self._parts = -(-int(manifest["size"]) // self._shard_size)
        self.format = format_from_config(manifest["format"], manifest["num_classes"])
        self.index = self._checked(_files.INDEX, manifest["index_sha256"])
        self.shard = functools.lru_cache(OPEN_SHARDS)(self._checked_shard)
        self._order = functools.lru_cache(OPEN_ORDERS)(self._order_of)
        self._check_complete()

    def logits(self, index, view):
        """`(n, classes)` float32 of examples and views, `(n,)` integers each."""
        index, view = np.asarray(index), np.asarray(view)
        views = self._manifest["views"]
        if len(view) and not 0 <= view.min() <= view.max() < views:
            raise ValueError(
                f"The store {self._folder.path} has {views} views, 0 to {views - 1}. "
                f"Received: view {int(view.max())}. Write a store of more views, or "
                "let them go round: `store.dataset(...)` does."
            )
        records = np.empty((len(index), *self.format.record.shape),
                           self.format.record.base)  # fmt: skip
        for one in np.unique(view):
            of_view = np.flatnonzero(view == one)
            rows = self._rows(int(one), index[of_view])
            parts = rows // self._shard_size
            for part in np.unique(parts):
                chosen = parts == part
                shard = self.shard(int(one), int(part))
                records[of_view[chosen]] = shard[rows[chosen] % self._shard_size]
        return self.format.decode(records)

    def verify(self):
        """Read all files, whether or not they have been read before."""
        self.shard.cache_clear()
        self._order.cache_clear()
        for view, part in self.shards():
            self.shard(view, part)
        for view in range(self._manifest["views"]):
            self._order(view)

    def shards(self):
        """`(view, part)` of each shard."""
        views = range(self._manifest["views"])
        return [(view, part) for view in views for part in range(self._parts)]

    def _known(self, view, part):
        return self._manifest["shards"][_files.shard_name(view, part)]

    def _name(self, view, part):
        return f"{_files.shard_name(view, part)}.{self.format.name}"

    def _checked_shard(self, view, part):
        known = self._known(view, part)
        return self._checked(f"{self._name(view, part)}.npy", known["sha256"])

    def _checked(self, name, checksum):
        array = self._folder.open_array(name)
        if self._folder.checksum(name) != checksum:
            raise ValueError(
                f"{name} of the store {self._folder.path} is damaged: its SHA-256 is "
                "not that of the manifest. Delete the file and write the store once "
                "more into the same folder: what is there stays."
            )
        return array

    def _rows(self, view, index):
        """In which records of a view some examples stand."""
        ascending, rows = self._order(view)
        places = np.minimum(np.searchsorted(ascending, index), len(rows) - 1)
        missing = ascending[places] != index
        if missing.any():
            raise KeyError(
                f"The store {self._folder.path} has no answers for example "
                f"{int(index[missing][0])}. It was written from another set or another "
                "pipeline."
            )
        return rows[places]

    def _order_of(self, view):
        """`(numbers of the examples of a view, ascending; their records)`."""
        own = []
        for part in range(self._parts):
            known = self._known(view, part)
            first = part * self._shard_size
            order = self.index[first : first + self._shard_size]
            if "index_sha256" in known:
                name = f"{self._name(view, part)}.index.npy"
                order = self._checked(name, known["index_sha256"])
            own.append(order)
        index = np.concatenate(own)
        rows = np.argsort(index, kind="stable")
        return index[rows], rows

    def _check_complete(self):
        names = self._folder.names()
        for at in self.shards():
            if _files.shard_name(*at) not in self._manifest["shards"]:
                raise ValueError(
                    f"The manifest of {self._folder.path} does not know of "
                    f"{_files.shard_name(*at)}. It is damaged: write the store once "
                    "more into the same folder, and what is there stays."
                )
            if f"{self._name(*at)}.npy" not in names:
                self._folder.open_array(f"{self._name(*at)}.npy")  # says what to do
