"""The networks and loops that the paper compares with."""

from __future__ import annotations

from pseudolabel_kit.plugin.component import Component
from pseudolabel_kit.plugin.hooks import hookimpl

PLK_CONTRACT = 1
COMPONENTS = [
    Component(
        "backbone",
        "jcs",
        "plk_baselines.jcs:Jcs",
        "A Res2Net that classifies, helping a VGG-16 that segments.",
    ),
    Component(
        "backbone",
        "inf-net",
        "plk_baselines.inf_net:InfNet",
        "A coarse mask, refined by reverse attention and edges; masks only.",
    ),
    Component(
        "backbone",
        "hu2020",
        "plk_baselines.hu2020:Hu2020",
        "Classes on three scales; masks from saliency, untrained.",
    ),
    Component(
        "fuser",
        "label-propagation",
        "plk_baselines.propagation:LabelPropagation",
        "Class labels that flow along a graph of deep features.",
    ),
    Component(
        "recipe",
        "jcs",
        "plk_baselines:recipes/jcs.toml",
        "JCS, supervised: joint classification and segmentation.",
    ),
    Component(
        "recipe",
        "inf-net",
        "plk_baselines:recipes/inf-net.toml",
        "Inf-Net, supervised: masks only.",
    ),
    Component(
        "recipe",
        "semi-inf-net",
        "plk_baselines:recipes/semi-inf-net.toml",
        "Inf-Net that labels a growing share of the unlabelled rows.",
    ),
    Component(
        "recipe",
        "hu2020",
        "plk_baselines:recipes/hu2020.toml",
        "Class labels alone; masks from saliency.",
    ),
    Component(
        "recipe",
        "graphxcovid",
        "plk_baselines:recipes/graphxcovid.toml",
        "Class labels by diffusion over deep features, in rounds.",
    ),
    Component(
        "backbone",
        "segnet",
        "plk_baselines.segnet:SegNet",
        "Max-unpooling by the indices of the pools; masks only.",
    ),
    Component(
        "backbone",
        "unet",
        "plk_baselines.unet:UNet",
        "The plain U-Net; masks only.",
    ),
    Component(
        "backbone",
        "vgg16",
        "plk_baselines.classifiers:Vgg16",
        "VGG-16 of timm with one linear layer; classes only.",
    ),
    Component(
        "backbone",
        "resnet18",
        "plk_baselines.classifiers:ResNet18",
        "ResNet-18 of timm; classes only.",
    ),
    Component(
        "recipe",
        "segnet",
        "plk_baselines:recipes/segnet.toml",
        "SegNet, supervised.",
    ),
    Component(
        "recipe",
        "unet",
        "plk_baselines:recipes/unet.toml",
        "U-Net, supervised.",
    ),
    Component(
        "recipe",
        "vgg16",
        "plk_baselines:recipes/vgg16.toml",
        "VGG-16, supervised.",
    ),
    Component(
        "recipe",
        "resnet18",
        "plk_baselines:recipes/resnet18.toml",
        "ResNet-18, supervised.",
    ),
]


@hookimpl
def plk_components() -> list[Component]:
    """What this plugin offers."""
    return COMPONENTS
