"""What a perturbation owes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch

from pseudolabel_kit.interfaces import Task, View
from pseudolabel_kit.plugin.component import Kind
from pseudolabel_kit.testing import rules
from pseudolabel_kit.testing.answers import ROWS
from pseudolabel_kit.testing.calls import Arguments, CallConformance
from pseudolabel_kit.testing.fault import may_refuse, require, sound, where
from pseudolabel_kit.testing.samples import make_batch, make_view
from pseudolabel_kit.testing.settings import restored
from pseudolabel_kit.testing.telling import likenesses, telling

ALIKE = 0.5  # the least correlation of what moved together
DRAWS = 8  # so that what is done to every second batch is seen
MOVED = {
    **{
        what: f"pixels moved and their {what} did not, or the other way round"
        for what in ("pseudo labels", "weights", "region")
    },
    "class labels": "rows changed places and their class labels did not",
}
FIX = (
    "apply the same geometry and order of rows to batch.image, batch.region and all of pseudo; "
    "where pixels are hidden, set mask_weight to 0"
)


class PerturbationConformance(CallConformance):
    """`perturb`: views of the same rows, in range, whose labels moved with their pixels.

    Rows may be mixed with each other.

    >>> class TestNoise(PerturbationConformance):
    ...     reference = "noise"
    >>> TestNoise().test_labels_move_with_their_pixels()
    """

    kind: ClassVar[Kind] = "perturbation"
    call: ClassVar[str] = "perturb"

    def arguments(self, task: Task, rows: int = ROWS, seed: int = 0) -> Arguments:
        """Unlabelled rows with pseudo labels, and as many labelled rows."""
        return {
            "view": make_view(rows, task, seed),
            "labelled": make_batch(rows, task, seed + 10),
        }

    def flat(self, task: Task) -> list[Arguments]:
        """Black and white images."""
        given = self.arguments(task, 2)
        view, labelled = given["view"], given["labelled"]
        return [
            {
                "view": view.with_image(torch.full_like(view.batch.image, value)),
                "labelled": replace(labelled, image=torch.full_like(labelled.image, value)),
            }
            for value in (0.0, 1.0)
        ]

    def sane(self, answer: Any, rows: int, task: Task) -> None:
        """One view or more, each by the contract."""
        listed = isinstance(answer, Sequence) and all(isinstance(each, View) for each in answer)
        require(
            listed and len(answer) > 0,
            f"perturb gave a {type(answer).__name__}",
            "return a list of one or more View",
        )
        for view in answer:
            require(
                all(len(t) == rows for t in (view.batch.image, view.batch.label, view.batch.mask)),
                f"a view has {len(view.batch.image)} rows, {rows} were given",
                "keep each row: return several views, not a view with more or fewer rows",
            )
            image = rules.tensor("a view's image", view.batch.image, _shape(task, rows))
            rules.within("a view's image", image, 0, 1)
            rules.pseudo_labels(view.pseudo, rows, task)

    def test_labels_move_with_their_pixels(self) -> None:
        """What is said of pixels and rows goes where they go, whatever is drawn."""
        task = self.tasks[0]
        for seed in range(DRAWS):
            given = telling(**self.arguments(task), task=task)
            part = self.begun(task)
            torch.manual_seed(seed)
            with restored(), sound(self.call, part):
                views = part.perturb(**given)
            for view in views if self._is_sane(views, task) else ():
                for what, found in likenesses(view).items():
                    require(found > ALIKE, f"{MOVED[what]} (correlation {found:.2f})", FIX)

    def test_labels_of_one_kind(self) -> None:
        """Pseudo labels of masks alone, or of classes alone, are passed on or refused by name."""
        task = self.tasks[0]
        for none in (("mask", "mask_weight"), ("label", "label_weight")):
            given = self.arguments(task)
            view = given["view"]
            pseudo = replace(view.pseudo, **dict.fromkeys(none))
            arguments = {**given, "view": replace(view, pseudo=pseudo)}
            with where(f"of pseudo labels whose {none[0]} is None"), may_refuse():
                self.sane(self.answer(self.begun(task), arguments), ROWS, task)

    def test_regions_are_passed_on(self) -> None:
        """Where the dataset has regions, a view's region is one of its own rows, or None."""
        task = self.tasks[0]
        given = self.arguments(task)
        region = torch.ones(ROWS, 1, *task.size)
        view, labelled = given["view"], given["labelled"]
        arguments = {
            "view": replace(view, batch=replace(view.batch, region=region)),
            "labelled": replace(labelled, region=region),
        }
        views = self.answer(self.begun(task), arguments)
        for each in views if self._is_sane(views, task) else ():
            if (found := each.batch.region) is not None:
                require(
                    found.shape == region.shape,
                    f"a view's region has shape {tuple(found.shape)}, expected "
                    f"{tuple(region.shape)}",
                    "move the region as the image",
                )


def _shape(task: Task, rows: int) -> tuple[int, ...]:
    return (rows, task.channels, *task.size)
