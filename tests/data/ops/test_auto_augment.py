"""AutoAugment and RandAugment."""

import numpy as np
import pytest
import tensorflow as tf
from image_views import draws, equal_chances_p, noise
from oracles import images as oracle
from scipy import stats

from keras_kd.data import ops
from keras_kd.data.ops import auto_augment
from keras_kd.data.ops.auto_augment import CIFAR10, NAMES

# Cubuk et al. 2019, table of the CIFAR-10 policy, typed from the published list of
# (op, tenths of probability, magnitude); where an op has no magnitude, none.
PUBLISHED = """
Invert 1 - Contrast 2 6 | Rotate 7 2 TranslateX 3 9 | Sharpness 8 1 Sharpness 9 3
ShearY 5 8 TranslateY 7 9 | AutoContrast 5 - Equalize 9 - | ShearY 2 7 Posterize 3 7
Color 4 3 Brightness 6 7 | Sharpness 3 9 Brightness 7 9 | Equalize 6 - Equalize 5 -
Contrast 6 7 Sharpness 6 5 | Color 7 7 TranslateX 5 8 | Equalize 3 - AutoContrast 4 -
TranslateY 4 3 Sharpness 2 6 | Brightness 9 6 Color 2 8 | Solarize 5 2 Invert 0 -
Equalize 2 - AutoContrast 6 - | Equalize 2 - Equalize 6 - | Color 9 9 Equalize 6 -
AutoContrast 8 - Solarize 2 8 | Brightness 1 3 Color 7 0 | Solarize 4 5 AutoContrast 9 -
TranslateY 9 9 TranslateY 7 9 | AutoContrast 9 - Solarize 8 3 | Equalize 8 - Invert 1 -
TranslateY 7 9 AutoContrast 9 -
"""


def published():
    for pair in PUBLISHED.strip().replace("\n", "|").split("|"):
        words = pair.split()
        yield [words[:3], words[3:]]


# torchvision's magnitudes 0 .. 9.
MAGNITUDES = {
    "shear_y": np.linspace(0, 0.3, 10),
    "translate_x": np.linspace(0, 150 / 331, 10),
    "translate_y": np.linspace(0, 150 / 331, 10),
    "rotate": np.linspace(0, 30, 10),
    "brightness": np.linspace(0, 0.9, 10),
    "color": np.linspace(0, 0.9, 10),
    "contrast": np.linspace(0, 0.9, 10),
    "sharpness": np.linspace(0, 0.9, 10),
    "posterize": np.round(np.arange(10) / (9 / 4)),
    "solarize": 1 - np.linspace(255, 0, 10) / 255,
}


def test_the_25_pairs_are_the_published_ones():
    for ours, theirs in zip(CIFAR10, published(), strict=True):
        for (name, p, level), (op, tenths, magnitude) in zip(ours, theirs, strict=True):
            assert name.replace("_", "") == op.lower()
            assert p == pytest.approx(int(tenths) / 10)
            assert magnitude == "-" or level == int(magnitude)


def test_draws_of_autoaugment_are_as_published():
    drawn = draws(ops.AutoAugment(), count=20000)
    chosen = drawn["sub_policy"]
    assert equal_chances_p(chosen, 25) > 1e-3
    for i, pair in enumerate(CIFAR10):
        of_pair = {k: v[chosen == i] for k, v in drawn.items()}
        for place, (name, p, level) in enumerate(pair):
            number, sizes = of_pair["ops"][:, place], of_pair["magnitudes"][:, place]
            applied = number == NAMES.index(name)
            assert set(number[~applied]) <= {NAMES.index("identity")}
            assert stats.binomtest(int(applied.sum()), len(applied), p).pvalue > 1e-5
            size = MAGNITUDES.get(name, np.zeros(10))[level]
            np.testing.assert_allclose(np.abs(sizes), size, rtol=1e-6)
            if size and name not in ("posterize", "solarize"):
                share = stats.binomtest(int((sizes < 0).sum()), len(sizes), 0.5)
                assert share.pvalue > 1e-5


def test_the_two_decisions_of_a_pair_are_unrelated():
    drawn = draws(ops.AutoAugment(), count=20000)
    pair = drawn["ops"][drawn["sub_policy"] == 8]  # equalize 0.6, equalize 0.5
    table = np.histogram2d(*(pair == NAMES.index("equalize")).T, bins=2)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_draws_of_randaugment_are_as_stated():
    drawn = draws(ops.RandAugment(num_ops=2, magnitude=15, bins=31))
    numbers, sizes = drawn["ops"], drawn["magnitudes"]
    for place in range(2):
        assert equal_chances_p(numbers[:, place], 14) > 1e-3
    assert equal_chances_p(numbers[:, 0] * 14 + numbers[:, 1], 196) > 1e-3
    degrees = sizes[numbers == NAMES.index("rotate")]
    assert set(degrees) == {-15.0, 15.0}  # half of 30
    assert stats.binomtest(int((degrees < 0).sum()), len(degrees)).pvalue > 1e-3
    assert set(sizes[numbers == NAMES.index("posterize")]) == {2.0}
    assert set(sizes[numbers == NAMES.index("solarize")]) == {0.5}


LEVELS = noise(20, 30, 3)
IMAGE = LEVELS / np.float32(255)


def named(name, magnitude, **kwargs):
    view = auto_augment.apply_named(
        tf.constant(IMAGE), NAMES.index(name), magnitude, **kwargs
    )
    return view.numpy()


@pytest.mark.parametrize("magnitude", [-0.6, 0.4])
def test_colour_magnitudes_are_factors_less_1(magnitude):
    for name, same in {"color": "saturation"}.items() | {
        n: n for n in ("brightness", "contrast", "sharpness")
    }.items():
        expected = getattr(oracle, same)(IMAGE, 1 + magnitude)
        np.testing.assert_allclose(named(name, magnitude), expected, atol=3e-6)


@pytest.mark.parametrize("share", [0.35, -0.35])
def test_translations_are_shares_of_the_side_cut_to_whole_pixels(share):
    # 0.35 of 30 columns is 10.5, of 20 rows 7.
    expected = np.full_like(IMAGE, 0.5)
    across = expected.copy()
    down = expected.copy()
    if share > 0:
        across[:, 10:], down[7:] = IMAGE[:, :-10], IMAGE[:-7]
    else:
        across[:, :-10], down[:-7] = IMAGE[:, 10:], IMAGE[7:]
    share *= 1.0001  # 7 must not be 6.9999
    np.testing.assert_array_equal(named("translate_x", share, fill=0.5), across)
    np.testing.assert_array_equal(named("translate_y", share, fill=0.5), down)


def test_shear_and_rotation_equal_pillow():
    for name, amount, six in (
        ("shear_x", 0.23, (1, 0.23, 0, 0, 1, 0)),
        ("shear_y", -0.23, (1, 0, 0, -0.23, 1, 0)),
    ):
        view = np.rint(named(name, amount, fill=0.0) * 255)
        assert np.mean(view == oracle.pillow_affine(LEVELS, six)) > 0.99
    matrix = oracle.rotation(IMAGE.shape, 23.0)
    known = oracle.decided(IMAGE.shape, matrix)
    expected = oracle.warp(IMAGE, matrix, order=0, fill=0.5)
    rotated = named("rotate", 23.0, fill=0.5)
    np.testing.assert_allclose(rotated[known], expected[known], atol=1e-6)


def test_tones_equal_pillow():
    for name, magnitude, pillow in (
        ("posterize", 3.0, ("posterize", 5)),
        ("solarize", 0.25, ("solarize", 192)),  # 0.75 * 255 = 191.25
        ("equalize", 0.0, ("equalize",)),
        ("invert", 0.0, ("invert",)),
    ):
        view = np.rint(named(name, magnitude) * 255)
        np.testing.assert_array_equal(view, oracle.pillow(LEVELS, *pillow))
    np.testing.assert_array_equal(named("identity", 0.0), IMAGE)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ops.RandAugment(magnitude=31), "must be below `bins`"),
        (lambda: ops.RandAugment(num_ops=0), "`num_ops` must be"),
        (lambda: ops.AutoAugment(fill=128), "`fill` must be"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()
