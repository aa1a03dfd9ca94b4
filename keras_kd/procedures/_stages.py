"""Trainings one after the other, each from the model of the one before."""

import json
import os
import pathlib

import keras

from keras_kd._common.files import replacing
from keras_kd.distiller import Distiller
from keras_kd.losses import KnowledgeDistillation
from keras_kd.procedures._callbacks import callbacks_by_stage
from keras_kd.procedures._copies import copy_of


class Stages:
    """Base of procedures in which each model is distilled from the one before it.

    A subclass gives `_models()`, all models in order, the first of which is the
    teacher; stage i distils model i into model i + 1.
    """

    def __init__(self, distillation_losses, student_loss_weight, directory):
        if distillation_losses is None:
            distillation_losses = KnowledgeDistillation(temperature=4.0)
        self.distillation_losses = distillation_losses
        self.student_loss_weight = student_loss_weight
        self.directory = None if directory is None else pathlib.Path(directory)
        self._compile_arguments = None

    def compile(self, optimizer="adam", loss=None, metrics=None, **kwargs):
        """Configure every stage alike; each gets copies, so that none shares a state.

        Args:
            optimizer, loss, metrics, **kwargs: See `keras_kd.Distiller.compile`.
        """
        self._compile_arguments = {
            "optimizer": optimizer,
            "loss": loss,
            "metrics": metrics,
            **kwargs,
        }

    def fit(self, *args, callbacks=None, verbose="auto", **kwargs):
        """Run all stages, or those that are not yet in `directory`.

        `self.model` of a callback is the `keras_kd.Distiller` of the stage; one that
        trains on labels alone has no teacher and logs no fidelity.

        Args:
            *args, verbose, **kwargs: See `keras.Model.fit`; the same for each stage.
            callbacks: See `keras.Model.fit`. Each stage starts with them in the state
                in which they were given (a `ModelCheckpoint` without a best value, an
                empty list of a callback of your own); afterwards they have that of the
                last stage. Models, layers, metrics and datasets that they hold are not
                copied. A function of the stage's number (as printed; 0 is a training
                on labels alone) gives the callbacks of that stage instead, e.g.
                `lambda stage: [CSVLogger(f"stage_{stage}.csv")]`.

        Returns:
            A list of the `History.history` of each stage.

        Raises:
            RuntimeError: Before `compile`.
            TypeError: For callbacks that cannot be copied, such as one with an open
                file.
        """
        if self._compile_arguments is None:
            raise RuntimeError(
                f"Call `compile(...)` of {type(self).__name__} before `fit`, with what "
                "keras_kd.Distiller.compile takes."
            )
        stages = self._stages()
        callbacks_of = callbacks_by_stage(callbacks, len(stages))
        histories = []
        for i, (train, model, title) in stages.items():
            history = self._finished(i, model)
            if history is None:
                if verbose and i:
                    print(f"Stage {i} of {max(stages)}: {title}")
                history = train(
                    *args,
                    callbacks=[*callbacks_of(i), *self._backup(i)],
                    verbose=verbose,
                    **kwargs,
                ).history
                history = {name: [*values] for name, values in history.items()}
                self._keep(i, model, history)
            histories.append(history)
        return histories

    def _stages(self):
        """`{number: (function that trains, model, title)}`, in order."""
        models = self._models()
        pairs = zip(models, models[1:], strict=False)
        return {
            i: (self._distillation(*pair), pair[1], f"{pair[0].name} to {pair[1].name}")
            for i, pair in enumerate(pairs, start=1)
        }

    def _distillation(self, teacher, student):
        def train(*args, **kwargs):
            with student.distribute_strategy.scope():
                distiller = Distiller(
                    teacher,
                    student,
                    copy_of(self.distillation_losses),
                    student_loss_weight=self.student_loss_weight,
                )
                distiller.compile(**copy_of(self._compile_arguments))
            return distiller.fit(*args, **kwargs)

        return train

    def _finished(self, i, model):
        """History of a stage that an earlier run finished; its weights are loaded."""
        if self.directory is None or not self._path(i, "json").exists():
            return None
        model.load_weights(self._path(i, "weights.h5"))
        return json.loads(self._path(i, "json").read_text())

    def _keep(self, i, model, history):
        if self.directory is None:
            return
        with replacing(self._path(i, "weights.h5")) as temporary:
            model.save_weights(temporary)
        numbers = {k: [float(v) for v in values] for k, values in history.items()}
        with replacing(self._path(i, "json")) as temporary:  # last: now it is finished
            pathlib.Path(temporary).write_text(json.dumps(numbers))

    def _backup(self, i):
        """A callback that goes on with a stage that was interrupted."""
        if self.directory is None:
            return []
        self.directory.mkdir(parents=True, exist_ok=True)
        backup = os.fspath(self.directory / f"stage_{i}_backup")
        return [keras.callbacks.BackupAndRestore(backup)]

    def _path(self, i, suffix):
        return self.directory / f"stage_{i}.{suffix}"


def check_all_unlike(models):
    """Raise where one model stands in two places: it would chase itself."""
    if len({id(model) for model in models}) < len(models):
        names = [getattr(model, "name", model) for model in models]
        raise ValueError(
            "Each model of the procedure must be an object of its own. Received the "
            f"same one twice in {names}. Build a new one, e.g. with "
            "`keras.models.clone_model(model)`."
        )
