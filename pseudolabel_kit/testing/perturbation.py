"""What a perturbation owes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from pseudolabel_kit.interfaces import PseudoLabels, Task, View
from pseudolabel_kit.plugin.component import Kind
from pseudolabel_kit.testing import rules
from pseudolabel_kit.testing.calls import ROWS, Arguments, CallConformance
from pseudolabel_kit.testing.fault import may_refuse, require
from pseudolabel_kit.testing.samples import make_batch, make_view

ALIKE = 0.5  # the least correlation of pixels and labels that moved together


class PerturbationConformance(CallConformance):
    """`perturb`: views of the same rows, in range, whose labels moved with their pixels.

    Rows may be mixed with each other.
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
            f"perturb gave {answer!r:.60}",
            "return a list of one or more View",
        )
        for view in answer:
            image = rules.tensor("a view's image", view.batch.image, _shape(task, rows))
            rules.within("a view's image", image, 0, 1)
            rules.pseudo_labels(view.pseudo, rows, task)
            require(
                all(len(t) == rows for t in (view.batch.label, view.batch.mask)),
                "a view has other rows than it was given",
                "keep each row: repeat the view, not the rows",
            )

    def test_labels_move_with_their_pixels(self) -> None:
        """Where an image shows its own label, every view of it still does."""
        task = replace(self.tasks[0], size=(32, 37))
        for view in self.answer(self.begun(task), self._telling(task)):
            counts = view.pseudo.mask_weight.expand_as(view.pseudo.mask) > 0
            pixels, label = view.batch.image[counts], view.pseudo.mask[counts]
            require(
                _correlation(pixels, label) > ALIKE,
                "pixels moved and their pseudo labels did not, or the other way round",
                "apply the same geometry to batch.image and pseudo.mask; where pixels are hidden, "
                "set mask_weight to 0",
            )

    def _telling(self, task: Task) -> Arguments:
        """Images that are their own masks: a bright box in each, elsewhere in every row."""
        masks = []
        for seed in range(2):
            mask = torch.zeros(ROWS, 1, *task.size)
            for row in range(ROWS):
                top, left = 2 + 3 * row + seed, 20 - 4 * row + seed
                mask[row, :, top : top + 14, left : left + 14] = 1
            masks.append(mask)
        given = self.arguments(task)
        pseudo = PseudoLabels(mask=masks[0], mask_weight=torch.ones_like(masks[0]))
        batch = replace(given["view"].batch, image=0.2 + 0.6 * masks[0], mask=masks[0])
        labelled = replace(given["labelled"], image=0.2 + 0.6 * masks[1], mask=masks[1])
        return {"view": View(batch=batch, pseudo=pseudo), "labelled": labelled}

    def test_labels_of_one_kind(self) -> None:
        """Pseudo labels of masks alone, or of classes alone, are passed on or refused by name."""
        task = self.tasks[0]
        for none in (("mask", "mask_weight"), ("label", "label_weight")):
            given = self.arguments(task)
            view = given["view"]
            pseudo = replace(view.pseudo, **dict.fromkeys(none))
            with may_refuse():
                arguments = {**given, "view": replace(view, pseudo=pseudo)}
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
        for each in self.answer(self.begun(task), arguments):
            if (found := each.batch.region) is not None:
                require(
                    found.shape == region.shape,
                    f"a view's region has shape {tuple(found.shape)}",
                    "move the region as the image",
                )


def _shape(task: Task, rows: int) -> tuple[int, ...]:
    return (rows, task.channels, *task.size)


def _correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack((one.flatten(), other.flatten())))[0, 1])
