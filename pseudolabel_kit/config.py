"""The typed configuration tree: every option of a run with its default, and its TOML form."""

from __future__ import annotations

from typing import Annotated, Literal

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pseudolabel_kit.errors import nearest
from pseudolabel_kit.plugin import moment
from pseudolabel_kit.plugin.moment import Moment

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
MEASURES = (
    *("dice", "dice_image", "dice_patient", "miou", "miou_image", "miou_patient"),
    *("accuracy", "sensitivity", "specificity", "auc"),
)


def _of_a_known_measure(start: str) -> str:
    measure = start.removeprefix("val.").partition(">=")[0]
    if start.startswith("val.") and measure not in MEASURES:
        hint = nearest(measure, MEASURES) or f"; expected one of {', '.join(MEASURES)}"
        raise ValueError(f"there is no measure '{measure}'{hint}")
    return start


StartMoment = Annotated[
    str,
    Field(
        pattern=rf"^({moment.PATTERN}|val\.[A-Za-z_]+>=\d*\.?\d+)$",
        title=f"{moment.WRITTEN}, or val.dice>=0.5",
    ),
    AfterValidator(_of_a_known_measure),
]


class Section(BaseModel):
    """A table of the configuration: frozen, and deaf to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(Section):
    """Which images, which of them have labels, and how they are read."""

    source: str = Field("phantom", description="manifest.csv, its folder, or a dataset's name")
    size: int = Field(0, ge=0, description="side in pixels; 0 = as stored, if all are alike")
    labelled: Fraction | None = Field(
        None,
        description="share of the training rows that keep their labels, whole patients; counted "
        "over rows with a mask, and over all of a class without any",
    )
    val: Fraction = Field(0.15, description="share for val, where the data names no splits")
    test: Fraction = Field(0.2, description="share for test, where the data names no splits")
    seed: int = Field(0, ge=0, description="draws the splits, apart from train.seed")
    weak_labels: Fraction = Field(
        0.0, description="share of the unlabelled rows whose class labels train, whole patients"
    )
    mask: Literal["mask", "region"] = Field(
        "mask", description="what is learnt to be drawn; region: the lungs, and no lesion or class"
    )
    region: Literal["keep", "black"] = Field("keep", description="what to do outside the region")
    lesion_classes: tuple[str, ...] = Field(
        (), description="classes that can hold lesions; empty = the dataset's own"
    )
    cache: str = Field("", description="folder of decoded images; empty = the user's cache")


class MethodConfig(Section):
    """The parts, by reference: name:option=value:option=value."""

    backbone: str = Field("vgg-multiscale:width=0.25", description="builds the network")
    explainer: str = Field("ig,caam", description="a list, or none")
    fuser: str = Field("sharpen", description="makes the pseudo labels")
    perturbation: str = Field("contrast-sharpness", description="a list, applied in turn, or none")
    teacher: Literal["self", "ema", "frozen", "twin"] = Field(
        "self",
        description="whose answer becomes the label: the student's own, its averaged weights', "
        "a copy's that is renewed each round, or a second student's, which learns from the first",
    )


class LossConfig(Section):
    """beta * classification + gamma * segmentation + eta * consistency."""

    classification: NotNegative = Field(1.0, description="beta")
    segmentation: NotNegative = Field(5.0, description="gamma")
    consistency: NotNegative = Field(1.0, description="eta")
    consistency_start: StartMoment = Field("30%", description="when L_u joins")
    consistency_ramp: Moment = Field("20%", description="how long it grows to eta")
    background_weight: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="w of eq. 11 and 12"
    )
    debias: bool = Field(True, description="undo w in the teacher's logits before fusing")


class OptimiserConfig(Section):
    """The optimiser and its learning rate over the run."""

    kind: Literal["adam", "sgd"] = Field("adam", description="sgd is with Nesterov's momentum")
    lr: Positive = Field(3e-3, description="initial learning rate")
    betas: tuple[Fraction, Fraction] = Field(
        (0.5, 0.9), description="Adam's betas; the first is SGD's momentum"
    )
    weight_decay: NotNegative = Field(0.0, description="decoupled with Adam (AdamW)")
    schedule: Literal["cosine", "step", "poly", "constant"] = Field(
        "cosine", description="of the rate; poly falls as (1 - t)^0.9"
    )
    step_every: Moment = Field("20epochs", description="schedule=step: how often it falls")
    step_factor: Positive = Field(0.1, description="schedule=step: by how much")
    floor: Fraction = Field(0.01, description="schedule=cosine: the last rate over the first")
    clip: NotNegative = Field(5.0, description="largest gradient norm; 0 = never clipped")


class TrainConfig(Section):
    """How long, how many at a time, on what."""

    steps: int | None = Field(None, ge=1, description="length in steps; overrides epochs")
    epochs: int = Field(12, ge=1, description="an epoch passes once over the longer stream")
    batch_size: int = Field(8, ge=1, description="labelled rows a step, over all processes")
    unlabelled_ratio: Positive = Field(1.0, description="unlabelled rows for each labelled one")
    rounds: int = Field(
        1, ge=1, description="how often under L_u a frozen teacher is renewed, all rows surveyed"
    )
    progressive: bool = Field(False, description="each round adds its share of the unlabelled rows")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.99, description="decay of the averaged weights that are evaluated; 0 = off"
    )
    seed: int = Field(0, ge=0)
    devices: int = Field(1, ge=1)
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    strategy: Literal["auto", "ddp"] = "auto"
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    checkpoint_every: int = Field(100, ge=1, description="steps between checkpoints")
    checkpoints: int = Field(
        2, ge=0, description="how many of the last ones stay beside the best; 0 = all"
    )
    isolate_errors: Literal["stop", "warn"] = Field(
        "stop",
        description="what an explainer that fails does to a step: stop the run, or warn, count it, "
        "and leave its evidence out",
    )
    tracker: str = Field("none", description="a list of trackers, or none")


class AugmentConfig(Section):
    """The weak view: geometry that both views share."""

    flip: Fraction = Field(0.5, description="probability of a horizontal flip")
    shift: Annotated[float, Field(ge=0, le=0.5)] = Field(0.06, description="largest, over the side")
    scale: Annotated[float, Field(ge=0, lt=1)] = Field(0.1, description="largest change of size")


class EvaluateConfig(Section):
    """Measures on val during training."""

    every: Moment = Field("1epoch", description="how often val is measured")
    select: Literal["auto", "dice", "accuracy", "auc", "miou"] = Field(
        "auto",
        description="the measure on val whose best checkpoint is kept; auto = dice, or auc "
        "where the backbone does not segment",
    )
    bootstrap: int = Field(1000, ge=0, description="resamples for the intervals; 0 = none")
    strips: str = Field("cam,caam,ig", description="maps shown beside the method's own")
    figures: int = Field(6, ge=0, description="validation images shown in the report")


class AuditConfig(Section):
    """Watching the pseudo labels."""

    holdout: Fraction = Field(0.2, description="labelled patients kept for the pre-flight audit")
    rows: int = Field(64, ge=1, description="unlabelled rows audited after every epoch")
    strict: bool = Field(False, description="refuse to start L_u where fusing makes labels worse")
    drift: Annotated[float, Field(gt=1)] = Field(
        3.0, description="alarm when the mean label leaves the decoder's own by this factor"
    )


class Config(Section):
    """Everything that decides a run."""

    recipe: str = Field("calibrated", description="the named recipe that this came from")
    data: DataConfig = DataConfig()
    method: MethodConfig = MethodConfig()
    loss: LossConfig = LossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    train: TrainConfig = TrainConfig()
    augment: AugmentConfig = AugmentConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    audit: AuditConfig = AuditConfig()

    def to_toml(self) -> str:
        """TOML that `read_toml` and `resolve` turn into an equal configuration."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))
