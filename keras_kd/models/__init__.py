"""The networks of the papers: functional models that give logits.

The image models name the same places alike, so that losses and probes find them:

| layer | what it gives |
|---|---|
| `"images"` | the input, channels last |
| `"stem"` | what enters the first stage (`VGG`: the first block, before its pooling) |
| `"stage1"`, `"stage2"`, ... | a stage, `"stage1_block2"` a block of it |
| `"features"` | the vector that the logits are computed from |
| `"logits"` | the output |

Layers within a block bear its name: `"stage1_block2_conv1"`. The CIFAR-100 benchmarks
number the stem 0 and the stages from 1, so that their hint layer 2 is `"stage2"` here.
Their weights start as in the papers' PyTorch code, and their layers are Keras's own, so
that a saved one loads without keras_kd.
"""

from keras_kd.models.bert import BertClassifier
from keras_kd.models.lenet import LeNet5
from keras_kd.models.lstm import BiLSTM
from keras_kd.models.mobilenet import MobileNetV2
from keras_kd.models.preact_resnet import PreActResNet
from keras_kd.models.resnet import CIFARResNet, ResNet18, ResNet50
from keras_kd.models.sngan import SNGAN, SNGANTraining
from keras_kd.models.sngan_networks import sngan_discriminator, sngan_generator
from keras_kd.models.spectral import SpectralConv2D, SpectralDense
from keras_kd.models.vgg import VGG, PlainVGG16
from keras_kd.models.vit import ViT
from keras_kd.models.weight_decay import coupled_weight_decay
from keras_kd.models.wide_resnet import WideResNet

__all__ = [
    "SNGAN",
    "VGG",
    "BertClassifier",
    "BiLSTM",
    "CIFARResNet",
    "LeNet5",
    "MobileNetV2",
    "PlainVGG16",
    "PreActResNet",
    "ResNet18",
    "ResNet50",
    "SNGANTraining",
    "SpectralConv2D",
    "SpectralDense",
    "ViT",
    "WideResNet",
    "coupled_weight_decay",
    "sngan_discriminator",
    "sngan_generator",
]
