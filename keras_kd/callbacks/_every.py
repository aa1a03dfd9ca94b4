"""What "every so many epochs" means: also at the last epoch, whatever ends it."""

import keras


class EveryEpochs(keras.callbacks.Callback):
    """Base of callbacks that act at the end of every so many epochs and of the last.

    A subclass defines `_at_epoch(epoch, logs, is_due)`, which acts on the epoch and
    puts what it finds into `logs`; `is_due(every)` says whether what has that interval
    is due (`every=None`: at the last epoch alone).

    The last epoch is known as it ends where it is the last that `fit` was asked for, or
    where a callback that comes before has set `stop_training`. Where one that comes
    after stops the training, what is missing is made up for in `on_train_end`: entries
    go to the epoch's `logs` and to Keras's History, in the place of that epoch. A
    training that an error or an interrupt ends has no last epoch.
    """

    _open = None  # (epoch, logs) of the last epoch that ended, not known to be the last

    def on_train_begin(self, logs=None):
        self._open = None

    def on_epoch_end(self, epoch, logs=None):
        logs = {} if logs is None else logs
        is_last = epoch + 1 == (self.params or {}).get("epochs")
        is_last = is_last or getattr(self.model, "stop_training", False)
        self._open = None if is_last else (epoch, logs)
        self._at_epoch(epoch, logs, lambda every: is_last or _divides(every, epoch + 1))

    def on_train_end(self, logs=None):
        if self._open is None:
            return
        epoch, of_epoch = self._open
        self._open = None
        before = dict(of_epoch)
        self._at_epoch(epoch, of_epoch, lambda every: not _divides(every, epoch + 1))
        late = {k: v for k, v in of_epoch.items() if k not in before or v != before[k]}
        if logs is not None:
            logs.update(late)  # for callbacks that come after
        _amend(getattr(self.model, "history", None), epoch, before, late)


def _divides(every, count):
    return every is not None and count % every == 0


def _amend(history, epoch, before, late):
    """Enter what an epoch has in addition into Keras's History, if it has the epoch."""
    if history is None or not history.epoch or history.epoch[-1] != epoch:
        return
    for key, value in late.items():
        entries = history.history.setdefault(key, [])
        if key in before and entries:
            entries[-1] = value
        else:
            entries.append(value)
