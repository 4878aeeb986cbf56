"""Other programs that are told of a run: each behind an extra of its own."""

from __future__ import annotations

from pseudolabel_kit.plugin.component import Component
from pseudolabel_kit.plugin.hooks import hookimpl

PLK_CONTRACT = 1

COMPONENTS = [
    Component(
        "tracker",
        "tensorboard",
        "plk_tracking.tensorboard:TensorBoard",
        "Curves and the configuration, in the run's folder; needs pseudolabel-kit[tensorboard].",
    ),
    Component(
        "tracker",
        "mlflow",
        "plk_tracking.mlflow:MLflow",
        "An MLflow run, in a local file store or on a server; needs pseudolabel-kit[mlflow].",
    ),
    Component(
        "tracker",
        "wandb",
        "plk_tracking.wandb:WandB",
        "A Weights & Biases run, offline unless asked otherwise; needs pseudolabel-kit[wandb].",
    ),
]


@hookimpl
def plk_components() -> list[Component]:
    """What this plugin offers."""
    return COMPONENTS
