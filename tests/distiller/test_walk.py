"""How far a reader walks who follows one step: files and functions, counted."""

import sys
from pathlib import Path

import keras
from small_models import mlp, sparse_cross_entropy, toy_data

import keras_kd

ROOT = str(Path(keras_kd.__file__).parent)


def walked(run):
    """Files of keras_kd and functions in them that a call passes through."""
    files, functions = set(), set()

    def profile(frame, event, argument):
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(ROOT):
            files.add(path)
            if not frame.f_code.co_name.startswith("<"):  # a comprehension
                functions.add((path, frame.f_code.co_qualname))

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return files, functions


def test_a_step_passes_through_few_files_and_functions():
    distiller = keras_kd.Distiller(
        mlp("teacher"), mlp("student"), keras_kd.losses.KnowledgeDistillation()
    )
    distiller.compile("adam", sparse_cross_entropy(), run_eagerly=True)
    data = tuple(map(keras.ops.convert_to_tensor, toy_data(8)))
    distiller.train_on_batch(*data)
    files, functions = walked(lambda: distiller.train_step(data))
    assert len(files) <= 18, sorted(files)
    assert len(functions) <= 60, sorted(functions)
    assert any(path.endswith("losses/logits.py") for path in files)  # it did count
