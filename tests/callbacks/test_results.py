"""What a result holds that logs can show, and its picture."""

import numpy as np

from keras_kd.callbacks._results import fields, picture
from keras_kd.metrics import DisagreementKinds, reliability_bins
from keras_kd.probes import AttentionMaps


def test_fields_are_the_numbers_and_arrays_by_their_path():
    bins = reliability_bins([0, 1], np.eye(2), num_bins=3)
    assert {name for name, _ in fields("r", bins)} == {f"r/{n}" for n in bins._fields}
    maps = AttentionMaps(np.ones((1, 2, 2)), "cam", "conv")
    assert [name for name, _ in fields("m", maps)] == ["m/maps"]
    kinds = DisagreementKinds().result()
    assert {name for name, _ in fields("k", kinds)} == {f"k/{kind}" for kind in kinds}


def test_a_picture_is_drawn_on_axes_whatever_else_plot_takes_first():
    maps = AttentionMaps(np.ones((1, 2, 2)), "cam", "conv")
    for result in (maps, reliability_bins([0, 1], np.eye(2))):
        pixels = picture(result.plot)
        assert pixels.shape == (1, 450, 600, 4)
        assert pixels.std() > 0
