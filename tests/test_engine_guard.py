"""Every call of a part names it where it fails, and refuses what the contract forbids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from plk_support import begun, make_batch, make_evidence, make_prediction, make_task
from torch import Tensor, nn

from pseudolabel_kit.engine import guard
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.interfaces import (
    Backbone,
    Explainer,
    Fuser,
    LossTerm,
    Perturbation,
    Prediction,
    PseudoLabels,
    Ramp,
    View,
)
from pseudolabel_kit.plugin.blame import FaultError

TASK = make_task()
BATCH = make_batch(3)
IMAGES = BATCH.image
SHAPE = (3, 1, *TASK.size)
INF, NAN = float("inf"), float("nan")
Answer = Callable[[], Any]


def says(answer: Answer) -> Callable[..., Any]:
    def method(self: object, *given: object) -> Any:
        return answer()

    return method


def failing() -> None:
    raise ValueError("boom")


def part(base: type[Any], method: str, answer: Answer) -> Any:
    """A part of a kind, one method of which gives this answer."""
    names = {*base.__abstractmethods__, method}
    made = type("Mine", (base,), {name: says(answer) for name in names} | {"__module__": __name__})
    return begun(dataclass(frozen=True, kw_only=True)(made)())


class Net(nn.Module):
    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Any:
        return self.answer()


VIEW = View(batch=BATCH, pseudo=PseudoLabels(mask=torch.rand(SHAPE), mask_weight=torch.rand(SHAPE)))
CALLS: dict[str, Callable[[Answer], Any]] = {
    "build": lambda a: guard.build(part(Backbone, "build", a), TASK),
    "pretrain": lambda a: guard.pretrain(part(Backbone, "pretrain", a), nn.Module()),
    "forward": lambda a: guard.forward(part(Backbone, "build", a), Net(a), IMAGES),
    "backbone's loss": lambda a: guard.supervised(
        part(Backbone, "loss", a), make_prediction(), BATCH
    ),
    "explain": lambda a: guard.explain(
        part(Explainer, "explain", a), Net(a), IMAGES, make_prediction()
    ),
    "diagnose": lambda a: guard.diagnose(
        part(Explainer, "diagnose", a), Net(a), IMAGES, make_prediction()
    ),
    "loss_ramp": lambda a: guard.ramp(part(Explainer, "loss_ramp", a)),
    "explainer's loss": lambda a: guard.refined(
        "mine", part(Explainer, "loss", a), make_prediction(), BATCH
    ),
    "fuse": lambda a: guard.fuse(
        part(Fuser, "fuse", a), make_prediction(), make_evidence(), IMAGES
    ),
    "survey": lambda a: guard.survey(part(Fuser, "survey", a), Net(a), [], []),
    "fuser's loss": lambda a: guard.consistent(
        part(Fuser, "loss", a), make_prediction(), PseudoLabels(), make_prediction(), 3
    ),
    "perturb": lambda a: guard.perturb(part(Perturbation, "perturb", a), VIEW, BATCH),
    "on_features": lambda a: guard.perturb(
        part(Perturbation, "perturb", lambda: [replace(VIEW, on_features=lambda maps: a())]),
        VIEW,
        BATCH,
    )[0].on_features((torch.zeros(3, 4, 2, 2),)),  # type: ignore[misc]
    "make_state": lambda a: guard.begin(unbegun(a), TASK),
}


def unbegun(answer: Answer) -> Fuser:
    return type("Mine", (Fuser,), {"make_state": says(answer), "fuse": says(answer)})()  # type: ignore[no-any-return]


@pytest.mark.parametrize("call", CALLS)
def test_whoever_raises_is_named(call: str) -> None:
    with pytest.raises(FaultError) as error:
        CALLS[call](failing)
    method = call.rpartition(" ")[2]
    assert str(error.value).startswith(f"Mine: {method} raised ValueError: boom ({__file__}:")


def of(*given: object) -> str:
    return f"of shape {given}"


def labels(**changes: Any) -> Answer:
    sound = {
        "mask": torch.full(SHAPE, 0.5),
        "mask_weight": torch.ones(SHAPE),
        "label": torch.full((3, 3), 1 / 3),
        "label_weight": torch.ones(3),
    }
    return lambda: PseudoLabels(**(sound | changes))


def some(value: float, shape: tuple[int, ...] = SHAPE) -> Tensor:
    """Halves, with one other value."""
    tensor = torch.full(shape, 0.5)
    tensor.view(-1)[0] = value
    return tensor


def term(total: Any = None, count: Any = None, name: str = "classification") -> Answer:
    made = LossTerm(
        total=torch.ones(3) if total is None else total,
        count=torch.ones(3) if count is None else count,
    )
    return lambda: {name: made}


def view(image: Any = None, pseudo: PseudoLabels = VIEW.pseudo) -> Answer:
    return lambda: [
        VIEW.with_image(IMAGES if image is None else image),
        replace(VIEW, pseudo=pseudo),
    ]


def known(**changes: Any) -> Answer:
    return lambda: [VIEW, replace(VIEW, batch=replace(BATCH, **changes))]


def value(found: Any) -> Answer:
    return lambda: found


REFUSED: list[tuple[str, Answer, str]] = [
    ("build", value(3), "a int: expected a torch module"),
    ("make_state", value({}), "a dict: expected a torch module or None"),
    ("forward", value(torch.zeros(3)), "a Tensor: expected a Prediction"),
    (
        "forward",
        value(Prediction()),
        "a Prediction without class_logits and mask_logits: expected ",
    ),
    ("forward", value(Prediction(class_logits=torch.ones(3, 2))), "class_logits of shape (3, 2): "),
    ("forward", value(Prediction(mask_logits=some(INF))), "mask_logits with 1 infinite of 3552 v"),
    (
        "forward",
        value(Prediction(mask_logits=[])),
        "mask_logits as a list: expected a tensor (3, 1",
    ),
    ("explain", value(None), "evidence as None: expected a tensor (3, 1, 32, 37)"),
    ("explain", value(torch.ones(SHAPE).bool()), "evidence of torch.bool: expected floating point"),
    ("explain", value(torch.ones(3, 32, 37)), "evidence of shape (3, 32, 37): expected (3, 1, 32"),
    ("explain", value(some(NAN)), "evidence with 1 NaN of 3552 values: expected values in [0, 1]"),
    (
        "explain",
        value(some(-0.25)),
        "evidence with values from -0.25 to 0.5: expected values in [0",
    ),
    (
        "explain",
        value(some(1.5)),
        "evidence with values from 0.5 to 1.5: expected values in [0, 1]",
    ),
    (
        "explain",
        value(torch.zeros(SHAPE, device="meta")),
        "evidence on meta: expected it on cpu",
    ),
    ("loss_ramp", value(0.5), "a float: expected a Ramp"),
    ("loss_ramp", value(Ramp(start="soon")), "the moment 'soon': expected one like 20%"),
    ("fuse", value(None), "None: expected PseudoLabels"),
    ("fuse", labels(mask=None), "mask_weight without mask: expected both or neither"),
    ("fuse", labels(label_weight=None), "label without label_weight: expected both or neither"),
    ("fuse", labels(mask=torch.ones(SHAPE).long()), "mask of torch.int64: expected floating point"),
    ("fuse", labels(mask=some(NAN)), "mask with 1 NaN of 3552 values: expected values in [0, 1]"),
    ("fuse", labels(mask=some(2.0)), "mask with values from 0.5 to 2: expected values in [0, 1]"),
    (
        "fuse",
        labels(mask_weight=some(-1.0)),
        "mask_weight with values from -1 to 0.5: expected fin",
    ),
    (
        "fuse",
        labels(mask_weight=some(INF)),
        "mask_weight with 1 infinite of 3552 values: expected ",
    ),
    ("fuse", labels(mask_weight=torch.ones(3, 1, 1, 1)), "mask_weight of shape (3, 1, 1, 1): exp"),
    ("fuse", labels(label=torch.ones(3, 3) / 2), "the rows' sums of label with values from 1.5 to"),
    ("fuse", labels(label=some(1.2, (3, 3))), "label with values from 0.5 to 1.2: expected values"),
    (
        "fuse",
        labels(label_weight=some(NAN, (3,))),
        "label_weight with 1 NaN of 3 values: expected ",
    ),
    ("fuse", labels(mask=nn.Parameter(some(0.1))), "mask that carries gradients: expected it deta"),
    ("backbone's loss", value([]), "a list: expected a mapping from names to LossTerm"),
    ("backbone's loss", value({"classification": 3.0}), "'classification': a float: expected a Lo"),
    ("backbone's loss", term(name="edge"), "a term 'edge', which has no weight: expected a name "),
    ("backbone's loss", term(total=torch.ones(())), "'classification' with a total of shape ():"),
    ("backbone's loss", term(count=torch.ones(2)), "'classification' with a count of shape (2,): "),
    ("backbone's loss", term(count=torch.ones(3).bool()), "'classification' with a count of torch"),
    ("explainer's loss", value(1.0), "'mine': a float: expected a LossTerm by its name"),
    ("fuser's loss", term(total=some(INF, (3,))), "'classification' with a total with 1 infinite"),
    (
        "explainer's loss",
        value(LossTerm(total=some(NAN, (3,)), count=torch.ones(3))),
        "'mine' with a total with 1 NaN of 3 values: expected finite values",
    ),
    ("fuser's loss", term(count=-torch.ones(3)), "'classification' with a count with values from "),
    ("fuser's loss", term(count=some(-1e-6, (3,))), "'classification' with a count with values fr"),
    (
        "explainer's loss",
        value(LossTerm(total=torch.tensor([1.0, 0.0, 1.0]), count=torch.tensor([1.0, 0.0, 0.0]))),
        "'mine' with a total of rows that count 0, with values from 0 to 1: expected 0",
    ),
    ("fuser's loss", term(count=some(NAN, (3,))), "'classification' with a count with 1 NaN of 3"),
    ("perturb", value(VIEW), "a View: expected a sequence of View"),
    ("perturb", value([]), "no view: expected at least one"),
    ("perturb", view(IMAGES[:2]), "image of shape (2, 1, 32, 37): expected (3, 1, 32, 37)"),
    ("perturb", view(2 * IMAGES + 1), "image with values from 1"),
    ("perturb", view(IMAGES / 0), "image with "),
    ("perturb", view((255 * IMAGES).byte()), "image of torch.uint8: expected floating point"),
    (
        "perturb",
        view(pseudo=PseudoLabels(mask=torch.rand(3, 1, 8, 8), mask_weight=torch.rand(SHAPE))),
        "mask of shape (3, 1, 8, 8): expected (3, 1, 32, 37)",
    ),
    ("perturb", view(IMAGES.double()), "image of torch.float64: expected torch.float32"),
    ("perturb", value([replace(VIEW, batch=IMAGES)]), "batch as a Tensor: expected a Batch"),
    ("perturb", known(label=BATCH.label[:2]), "label of shape (2,): expected (3,)"),
    (
        "perturb",
        known(label=BATCH.label.int()),
        "label of torch.int32 on cpu: expected torch.int64 on",
    ),
    ("perturb", known(label=BATCH.label + 3), "label of known rows with values from "),
    ("perturb", known(label=[0, 1, 2]), "label as a list: expected a tensor (3,)"),
    ("perturb", known(mask=BATCH.mask[..., 1:]), "mask of shape (3, 1, 32, 36): expected (3, 1, "),
    ("perturb", known(mask=2 * torch.ones(SHAPE)), "mask of known rows with values from 2 to 2: "),
    (
        "perturb",
        known(mask=torch.ones(SHAPE).bool()),
        "mask of torch.bool on cpu: expected torch.fl",
    ),
    ("perturb", known(has_mask=torch.ones(3)), "has_mask of torch.float32 on cpu: expected torch"),
    ("perturb", known(has_label=None), "has_label as None: expected a tensor (3,)"),
    (
        "perturb",
        known(region=torch.ones(3, 1, 8, 8)),
        "region of shape (3, 1, 8, 8): expected (3, ",
    ),
    (
        "perturb",
        known(region=2 * torch.ones(SHAPE)),
        "region with values from 2 to 2: expected val",
    ),
    ("on_features", value((torch.zeros(3, 4, 1, 1),)), "feature maps of shape (3, 4, 1, 1): "),
]


@pytest.mark.parametrize(("call", "answer", "told"), REFUSED)
def test_what_the_contract_forbids_is_refused(call: str, answer: Answer, told: str) -> None:
    with pytest.raises(FaultError) as error:
        CALLS[call](answer)
    method = call.rpartition(" ")[2]
    assert str(error.value).startswith(f"Mine: {method} gave {told}")


ALLOWED: list[tuple[str, Answer]] = [
    ("forward", value(Prediction(class_logits=torch.full((3, 3), -80.0)))),
    ("explain", value(torch.ones(SHAPE) + 1e-6)),
    ("explain", value(torch.full(SHAPE, 1.0078, dtype=torch.bfloat16))),
    ("fuse", labels()),
    ("fuse", value(PseudoLabels())),
    ("fuse", labels(mask=None, mask_weight=None, label=torch.full((3, 3), 0.3334))),
    ("fuse", labels(mask_weight=torch.full(SHAPE, 1e6))),
    ("backbone's loss", value({})),
    ("explainer's loss", value(None)),
    ("perturb", view(IMAGES.clamp(0, 1) + 1e-6, PseudoLabels())),
    ("perturb", known(label=torch.zeros(3, dtype=torch.long), mask=BATCH.mask.flip(-1))),
    ("perturb", known(has_mask=torch.zeros(3).bool(), mask=NAN * torch.zeros(SHAPE))),
    ("perturb", known(image=IMAGES.bfloat16(), region=torch.ones(SHAPE))),
    ("fuser's loss", term(total=torch.zeros(3), count=torch.zeros(3))),
    ("diagnose", value({"error": torch.tensor(0.5)})),
    ("loss_ramp", value(Ramp(start="3epochs"))),
]


@pytest.mark.parametrize(("call", "answer"), ALLOWED)
def test_what_the_contract_allows_passes(call: str, answer: Answer) -> None:
    CALLS[call](answer)


def test_one_transfer_brings_the_ends_of_a_whole_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    transfers, original = [], Tensor.tolist
    monkeypatch.setattr(
        Tensor, "tolist", lambda tensor: (transfers.append(tensor), original(tensor))[1]
    )
    CALLS["fuse"](labels())
    CALLS["perturb"](view())
    CALLS["fuser's loss"](term())
    assert [len(tensor) for tensor in transfers] == [10, 12, 6]


def test_what_is_known_of_a_row_is_not_made_up() -> None:
    nothing = torch.zeros(3).bool()
    given = replace(VIEW, batch=replace(BATCH, has_label=nothing, has_mask=nothing))
    for name in ("has_label", "has_mask"):
        risen = replace(given.batch, **{name: torch.tensor([False, True, False])})
        answer = value([given, replace(given, batch=risen)])
        told = f"^Mine: perturb gave {name} of rows that had none, with values from 0 to 1: expecte"
        with pytest.raises(FaultError, match=told):
            guard.perturb(part(Perturbation, "perturb", answer), given, BATCH)


def test_a_fuser_whose_labels_nobody_can_learn_is_named() -> None:
    labels_alone = PseudoLabels(label=torch.full((3, 3), 1 / 3), label_weight=torch.ones(3))
    fuser = part(Fuser, "fuse", value(labels_alone))
    segments = replace(make_prediction(), class_logits=None)
    with pytest.raises(PluginError, match=r"^Mine: L_u: this backbone does not classify:"):
        guard.consistent(fuser, segments, labels_alone, segments, 3)


def test_evidence_is_detached_and_of_its_family() -> None:
    found = CALLS["explain"](value(torch.ones(SHAPE, requires_grad=True)))
    assert not found.map.requires_grad
    assert found.family == "attribution"


def test_evidence_of_no_known_family_is_refused() -> None:
    explainer = part(Explainer, "explain", value(torch.ones(SHAPE)))
    type(explainer).family = "guess"
    with pytest.raises(FaultError, match="explain gave the family 'guess': expected one of class"):
        guard.explain(explainer, Net(value(None)), IMAGES, make_prediction())
