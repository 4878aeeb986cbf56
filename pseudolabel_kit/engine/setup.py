"""From a configuration to everything that a run needs: data, task, learner, optimiser."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from pseudolabel_kit.config import Config
from pseudolabel_kit.data.splits import Splits, hold_out, weakly_labelled
from pseudolabel_kit.data.store import Store, Subset
from pseudolabel_kit.engine import guard, watch
from pseudolabel_kit.engine.average import Average
from pseudolabel_kit.engine.label import pseudo_label
from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.engine.schedule import Clock, epoch_length, is_criterion
from pseudolabel_kit.engine.seeding import seed_everything
from pseudolabel_kit.engine.step import CONSISTENCY, Learner, Step
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import Backbone, Batch, Task
from pseudolabel_kit.isolate import isolated
from pseudolabel_kit.plugin.blame import FaultError


@dataclass(frozen=True, kw_only=True)
class Streams:
    """The rows of a run, each subset able to read only what its use allows.

    Attributes:
        labelled: all rows that train with labels.
        early: the labelled rows that train before L_u joins; the rest audit it.
        held: labelled rows kept from training until L_u joins, or for good where a fuser
            learns from them; None where nothing is held.
        halves: where a fuser learns from what is held, two parts of it, whole patients, with a
            lesion in each: what it learned from one is judged by the other before L_u joins.
        unlabelled: without masks, and without labels but for `data.weak_labels`.
        audited: unlabelled rows WITH what is known of them: read by the audit alone.
        val: measured during training.
    """

    labelled: Subset
    early: Subset
    held: Subset | None
    halves: tuple[Subset, Subset] | None
    unlabelled: Subset
    audited: Subset
    val: Subset


def make_fabric(config: Config, devices: int | None = None) -> Fabric:
    """Device, precision and strategy; `devices` overrides how many.

    Parameters may wait for their loss term to begin, and that in all processes alike.

    Raises:
        ConfigError: this machine does not have what is asked for.
    """
    train = config.train
    alone = devices == 1 or (train.devices == 1 and train.strategy == "auto")
    warnings.filterwarnings("ignore", "find_unused_parameters=True was specified")
    try:
        return Fabric(
            accelerator=train.accelerator,
            devices=devices or train.devices,
            strategy="auto" if alone else DDPStrategy(find_unused_parameters=True),
            precision=train.precision,
        )
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(f"train.accelerator = {train.accelerator}: {error}") from error


def make_streams(
    config: Config, store: Store, splits: Splits, *, audits: bool, calibrates: bool = False
) -> Streams:
    """Divide the rows among their uses; nothing is held out where nothing will be audited.

    What calibrates a fuser is never trained on, or the fuser would take for truth how well the
    network knows those rows by heart.
    """
    seed = config.data.seed
    fraction = config.audit.holdout if audits else 0.0
    early, held = hold_out(store.rows, splits.labelled, fraction, seed, store.lesion_classes)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(splits.unlabelled), generator=generator).tolist()
    weak = weakly_labelled(store.rows, splits.unlabelled, config.data.weak_labels, seed)
    audited = sorted(splits.unlabelled[i] for i in order[: config.audit.rows])
    return Streams(
        labelled=store.subset(early if calibrates else splits.labelled),
        early=store.subset(early),
        held=store.subset(held) if held else None,
        halves=_halves(store, held, seed) if calibrates else None,
        unlabelled=store.subset(splits.unlabelled, labels=weak, masks=False),
        audited=store.subset(audited),
        val=store.subset(splits.val, implied=False),
    )


def _halves(store: Store, held: Sequence[int], seed: int) -> tuple[Subset, Subset] | None:
    """Two parts of whole patients, with a lesion in each."""
    parts = hold_out(store.rows, held, 0.5, seed, store.lesion_classes)
    one, other = (store.subset(part) for part in parts)
    shown = (watch.labelled_share(part) if len(part) else None for part in (one, other))
    return (one, other) if all(shown) else None


def make_task(config: Config, store: Store, backbone: Backbone) -> Task:
    """What the run is about."""
    weighs = backbone.weighs_background
    return Task(
        channels=store.channels,
        size=store.size,
        classes=store.classes,
        lesion_classes=store.lesion_classes,
        mask_channels=store.mask_channels,
        background_weight=config.loss.background_weight if weighs else 1.0,
        debias=config.loss.debias,
    )


def make_model(config: Config, method: Method, task: Task) -> tuple[nn.Module, nn.ModuleDict]:
    """The network and the states of all parts, initialised from the seed alone."""
    seed_everything(config.train.seed, "weights")
    states = method.begin(task)
    model = guard.build(method.backbone, task).eval()
    with torch.no_grad():
        guard.forward(method.backbone, model, torch.zeros(1, task.channels, *task.size))
    return model, states


def make_learner(
    config: Config, method: Method, task: Task, fabric: Fabric, *, pretrain: bool = True
) -> Learner:
    """The module that trains; `pretrain` unless a checkpoint will bring its weights."""
    model, states = make_model(config, method, task)
    twin = guard.build(method.backbone, task) if config.method.teacher == "twin" else None
    if twin and method.surveys:
        raise ConfigError(
            f"method.teacher = 'twin': {method.fuser.origin} surveys rows with one network; "
            "expected frozen, ema or self"
        )
    for network in filter(None, (model, twin)) if pretrain else ():
        guard.pretrain(method.backbone, network)
    learner = Learner(
        model,
        method,
        states,
        twin=twin,
        augment=config.augment,
        debias=config.loss.debias,
        isolates=config.train.isolate_errors == "warn",
        mean_over_processes=lambda counts: fabric.all_reduce(counts, reduce_op="mean"),  # type: ignore[arg-type,return-value]
    )
    return learner.train()


def rehearse(learner: Learner) -> None:
    """Label black images and take a step on them, so that parts that do not fit are told at once.

    The step is a copy's, in training mode as it will be: nothing of it stays. An explainer
    whose failures are isolated is only warned of, unless it says itself that it does not fit.

    Raises:
        ConfigError, PluginError: as the parts say it.
    """
    task, method = learner.method.backbone.task, learner.method
    black = torch.zeros(2, task.channels, *task.size)
    failed: guard.Failed | None = {} if learner.isolates else None
    with isolated(learner.states):
        pseudo_label(
            learner.model, method, black, debias=learner.debias, explained=True, failed=failed
        )
    for error in (failed or {}).values():
        if error is not None and not isinstance(error, FaultError):
            raise error
    guard.warn_of(failed or {})
    weights = dict.fromkeys(("classification", "segmentation", *method.explainers), 1.0)
    labels = method.fuser.reads != "nothing"
    step = Step(
        _without_content(black, task, known=True),
        _without_content(black, task, known=False) if labels else None,
        weights | {CONSISTENCY: float(labels)},
    )
    with torch.no_grad():
        copy.deepcopy(learner).train()(step)


def _without_content(images: Tensor, task: Task, *, known: bool) -> Batch:
    rows, (height, width) = len(images), task.size
    return Batch(
        image=images,
        label=torch.zeros(rows, dtype=torch.int64),
        mask=images.new_zeros(rows, task.mask_channels, height, width),
        has_label=torch.full((rows,), known),
        has_mask=torch.full((rows,), known),
    )


def make_average(config: Config, learner: Learner) -> Average | None:
    """The averaged weights, and the teacher where they teach.

    Raises:
        ConfigError: the average is to teach, but is switched off.
    """
    average = Average(learner.model, config.train.ema) if config.train.ema else None
    if config.method.teacher == "ema":
        if average is None:
            raise ConfigError("method.teacher = 'ema': expected train.ema above 0, as 0.99")
        learner.teacher = lambda: average.model
    return average


def make_frozen(config: Config, learner: Learner) -> Average | None:
    """The copy that teaches until the next round renews it, where there is one."""
    if config.method.teacher != "frozen":
        return None
    frozen = Average(learner.model, decay=0.0)
    learner.teacher = lambda: frozen.model
    return frozen


def make_optimiser(config: Config, learner: Learner) -> torch.optim.Optimizer:
    """Adam with the configured betas, AdamW where weights decay; or SGD."""
    o = config.optimiser
    if o.kind == "sgd":
        momentum = o.betas[0]
        return torch.optim.SGD(
            learner.parameters(),
            lr=o.lr,
            momentum=momentum,
            nesterov=momentum > 0,
            weight_decay=o.weight_decay,
        )
    kind = torch.optim.AdamW if o.weight_decay else torch.optim.Adam
    return kind(learner.parameters(), lr=o.lr, betas=o.betas, weight_decay=o.weight_decay)


def can_join(config: Config, clock: Clock, splits: Splits) -> bool:
    """Whether L_u can join at all; where it cannot, no row is held out to judge it."""
    start = config.loss.consistency_start
    in_time = is_criterion(start) or clock.steps(start) < clock.total
    return config.loss.consistency > 0 and len(splits.unlabelled) > 0 and in_time


def make_clock(config: Config, splits: Splits) -> Clock:
    """How long the run and its epochs are."""
    epoch = epoch_length(
        len(splits.labelled),
        len(splits.unlabelled),
        config.train.batch_size,
        unlabelled_batch(config),
    )
    return Clock(total=config.train.steps or config.train.epochs * epoch, epoch=epoch)


def unlabelled_batch(config: Config) -> int:
    """Unlabelled rows a step, over all processes."""
    return max(1, round(config.train.batch_size * config.train.unlabelled_ratio))


def require_even_batches(config: Config, processes: int) -> None:
    """Refuse batches that do not divide among the processes.

    Raises:
        ConfigError: it names the batch.
    """
    batches = {"labelled": config.train.batch_size, "unlabelled": unlabelled_batch(config)}
    for name, rows in batches.items():
        if rows % processes:
            raise ConfigError(
                f"train.batch_size: {rows} {name} rows a step do not divide among {processes} "
                "processes"
            )
