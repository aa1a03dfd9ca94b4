"""Facts about the sets that `load` knows: names, pixel statistics, text fields."""

from typing import NamedTuple


class Images(NamedTuple):
    mean: tuple  # of each channel, of pixels in [0, 1]
    std: tuple
    transposed: bool = False


class Texts(NamedTuple):
    fields: tuple  # TFDS's names of the text, or of the two texts of a pair


DIGITS = "digits"
TINY_IMAGENET = "tiny_imagenet"
TINY_IMAGENET_STATISTICS = (0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)

# CIFAR and Tiny-ImageNet: released code of Stanton et al. 2021. The others are those in
# common use. Tests compare MNIST's and CIFAR-100's with the pixels.
TFDS_SETS = {
    "mnist": Images((0.1307,), (0.3081,)),
    # TFDS leaves EMNIST's images as published, transposed relative to MNIST's.
    "emnist/byclass": Images((0.1736,), (0.3317,), transposed=True),
    "fashion_mnist": Images((0.2860,), (0.3530,)),
    "cifar10": Images((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": Images((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "svhn_cropped": Images((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "imagenet2012": Images((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "imdb_reviews": Texts(("text",)),
    "glue/cola": Texts(("sentence",)),
    "glue/sst2": Texts(("sentence",)),
    "glue/mrpc": Texts(("sentence1", "sentence2")),
    "glue/qqp": Texts(("question1", "question2")),
    "glue/mnli": Texts(("premise", "hypothesis")),
    "glue/mnli_matched": Texts(("premise", "hypothesis")),
    "glue/mnli_mismatched": Texts(("premise", "hypothesis")),
    "glue/qnli": Texts(("question", "sentence")),
    "glue/rte": Texts(("sentence1", "sentence2")),
    "glue/wnli": Texts(("sentence1", "sentence2")),
    "glue/ax": Texts(("premise", "hypothesis")),
}

NAMES = (DIGITS, TINY_IMAGENET, *TFDS_SETS)

REFUSED = {
    "glue/stsb": "Its labels are scores from 0 to 5, not classes, and logits of a "
    "classifier are what is distilled here.",
}
