"""Fill a store shard by shard, each once, whoever writes it and in how many runs."""

import itertools
import time

import keras
import numpy as np

from keras_kd.data.label_store import _files
from keras_kd.data.label_store._statistics import Statistics, total
from keras_kd.data.label_store.formats import format_from_config, smallest_format

SAMPLE = 1024  # rows on which a format is chosen
WAIT = 0.2  # seconds between looks at what other processes write


class Writing:
    """One run of `LabelStore.write`.

    Args:
        folder: `Folder`.
        views: `Views`.
        answers: Function of inputs and their rows in a view to logits.
        plan: What was asked for; JSON.
    """

    def __init__(self, folder, views, answers, plan):
        self._folder = folder
        self._views = views
        self._answers = answers
        self._progress = None
        self._take(plan)

    def run(self, verbose):
        """Write what is missing, wait for what others write, and finish."""
        total = self._views.size * self.plan["views"]
        self._progress = keras.utils.Progbar(
            total, verbose=verbose, unit_name="example", interval=1.0
        )
        while (pending := self.pending()) or not self._finish():
            for view, of_view in itertools.groupby(pending, lambda at: at[0]):
                self._write_view(view, [part for _, part in of_view])
            if pending and self.pending() == pending:
                time.sleep(WAIT)  # others are at all of them
            # Another process may have found the format too coarse meanwhile.
            self._take(self._folder.read_json(_files.PLAN))
        self._progress.update(total, finalize=True)

    def pending(self):
        """`(view, part)` of the shards that are not there."""
        names = self._folder.names()
        return [at for at in self._shards() if not self._is_whole(*at, names)]

    def _shards(self):
        parts = -(-self._views.size // self.plan["shard_size"])
        return [(v, p) for v in range(self.plan["views"]) for p in range(parts)]

    def _name(self, view, part):
        return f"{_files.shard_name(view, part)}.{self._format.name}"

    def _is_whole(self, view, part, names):
        name = self._name(view, part)
        return f"{name}.json" in names and f"{name}.npy" in names

    def _write_view(self, view, parts):
        """Write those that nobody else writes."""
        size, following = self.plan["shard_size"], None
        for part in parts:
            with self._folder.claimed(_files.shard_name(view, part)) as alive:
                if not alive or self._is_whole(view, part, self._folder.names()):
                    continue
                if part != following:  # opening a pass takes as long as some batches
                    batches = self._views.batches(
                        view, self.plan["batch_size"], part * size
                    )
                self._write_shard(view, part, batches, alive)
                following = part + 1

    def _write_shard(self, view, part, batches, alive):
        size = self.plan["shard_size"]
        before = (len(self._shards()) - len(self.pending())) * size
        first = done = part * size
        rows, indices = [], []
        statistics = Statistics(self.plan["temperature"])
        # Shards hold whole batches, so that one alone is the same as one of many.
        for index, inputs, labels in itertools.islice(
            batches, size // self.plan["batch_size"]
        ):
            logits = self._answers(inputs, view, done)
            rows.append(self._format.encode(logits))
            indices.append(index)
            statistics.add(logits, self._format.decode(rows[-1]), labels)
            done += len(index)
            alive()
            self._progress.update(min(before + done - first, self._progress.target))
        name = self._name(view, part)
        index, records = np.concatenate(indices), np.concatenate(rows)
        checksum = self._folder.write_array(f"{name}.npy", records)
        found = {"rows": len(records), "sha256": checksum, **statistics.sums}
        known = self._folder.open_array(_files.INDEX)[first : first + size]
        if not np.array_equal(index, known):  # an order of this pass alone
            own = self._folder.write_array(f"{name}.index.npy", index)
            found["index_sha256"] = own
        # What is known of a shard is written last: then it is whole.
        self._folder.write_json(f"{name}.json", found)

    def _finish(self):
        """Write the manifest; False where the format turned out too coarse."""
        records = {
            _files.shard_name(*at): self._folder.read_json(f"{self._name(*at)}.json")
            for at in self._shards()
        }
        found = total(records.values())
        bound = self.plan["max_kl"]
        if bound is not None and found["mean_kl"] > bound:
            self._take_larger_format()
            return False
        manifest = {**self.plan, **found, "shards": records}
        self._folder.write_sealed(_files.MANIFEST, manifest)
        self._folder.remove_shards_but(self._format.name)
        return True

    def _take_larger_format(self):
        _, inputs, _ = next(self._views.batches(0, SAMPLE, count=SAMPLE))
        logits = self._answers(inputs, 0, 0)
        bound = self.plan["max_kl"] / 2  # the first choice broke it on the whole
        larger = smallest_format(
            logits, bound, self.plan["temperature"], self._format.record.itemsize
        )
        self._take({**self.plan, "format": larger.get_config()})
        self._folder.write_json(_files.PLAN, self.plan)

    def _take(self, plan):
        self.plan = plan
        self._format = format_from_config(plan["format"], plan["num_classes"])
