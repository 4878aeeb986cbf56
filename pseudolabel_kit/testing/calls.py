"""What parts that answer a call owe, whatever the call: the same answer, from their own input."""

from __future__ import annotations

import gc
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from pseudolabel_kit.interfaces import Task
from pseudolabel_kit.plugin.build import build
from pseudolabel_kit.testing.answers import ROWS, apart, same
from pseudolabel_kit.testing.cost import Cost, counted, measure
from pseudolabel_kit.testing.fault import ConformanceError, may_refuse, require, sound, where
from pseudolabel_kit.testing.options import OptionConformance
from pseudolabel_kit.testing.samples import GREY, TASKS, make_batch
from pseudolabel_kit.testing.settings import restored, seeded, settings_kept
from pseudolabel_kit.testing.witness import attributes, unedited

FEW, MANY = 3, 12
SLACK = 1.5  # of what is written, over strict proportion
RIVAL = "vgg-multiscale:width=0.25"
REMEMBER = "keep what is remembered in buffers of the module that make_state returns"
Arguments = Mapping[str, Any]
Call = Callable[..., Any]


class CallConformance(OptionConformance):
    """Promises of a part with one call that turns batches into answers.

    Attributes:
        call: the name of what is called.
        tasks: what the part is tried on: grey with one mask channel, colour with two. Override
            it for a part that is made for other images.
        tiny: sizes (H, W) that it must answer, or refuse in one line.
    """

    call: ClassVar[str]
    tasks: ClassVar[tuple[Task, ...]] = TASKS
    tiny: ClassVar[tuple[tuple[int, int], ...]] = ((1, 1), (5, 3))

    def begun(self, task: Task) -> Any:
        """The part, newly built and bound to a task, as a run binds it: under one seed."""
        part = self.part()
        seeded()
        with sound("make_state", part):
            part.begin(task)
        return part

    @abstractmethod
    def arguments(self, task: Task, rows: int = ROWS, seed: int = 0) -> Arguments:
        """What the call is given, new each time."""

    @abstractmethod
    def sane(self, answer: Any, rows: int, task: Task) -> None:
        """Raise a `ConformanceError` where shapes, types or ranges are not the contract's."""

    def flat(self, task: Task) -> list[Arguments]:
        """Arguments without content: constant and all-zero images."""
        return []

    def ready(self, part: Any) -> Call:
        """The call, ready to be made."""
        call: Call = getattr(part, self.call)
        return call

    def ask(self, call: Call, arguments: Arguments) -> Any:
        """The call's answer, under the seed that every call here begins with."""
        seeded()
        with sound(self.call, self.part()):
            return call(**arguments)

    def answer(self, part: Any, arguments: Arguments) -> Any:
        """The part's answer; whatever it does to torch's settings is undone."""
        with restored():
            return self.ask(self.ready(part), arguments)

    def halved(self, arguments: Arguments, dtype: torch.dtype) -> Arguments:
        """The arguments as they come under autocast."""
        return arguments

    def test_shapes_types_and_ranges(self) -> None:
        """The answer has the shapes, types and ranges of the contract, for one row and for many."""
        for task in self.tasks:
            for rows in (ROWS, 1):
                with where("with a batch of one row" if rows == 1 else ""):
                    answer = self.answer(self.begun(task), self.arguments(task, rows))
                    self.sane(answer, rows, task)

    def test_images_without_content(self) -> None:
        """Constant and all-zero images give a sane answer."""
        for task in self.tasks:
            for arguments in self.flat(task):
                with where("on images without content"):
                    self.sane(self.answer(self.begun(task), arguments), 2, task)

    def test_odd_and_tiny_images(self) -> None:
        """Any size is answered, or refused in one line."""
        for height, width in self.tiny:
            task = replace(self.tasks[0], size=(height, width))
            with where(f"on images of {height}x{width}"), may_refuse():
                self.sane(self.answer(self.begun(task), self.arguments(task, 2)), 2, task)

    def test_the_same_answer_twice(self) -> None:
        """The same input under the same seed gives the same answer, bit for bit."""
        task = self.tasks[0]
        one, other = self._twice(task)
        require(
            same(one, other),
            f"{self.call} answered the same input in two ways{apart(one, other)}",
            "draw from torch's global generator alone, with no seed, clock or generator of your "
            f"own; count nothing in the class or in a global: {REMEMBER}",
        )

    def test_inputs_are_left_alone(self) -> None:
        """Nothing that the part is handed is edited in place."""
        task = self.tasks[0]
        arguments = self.arguments(task)
        with unedited(self.call, **arguments):
            self.answer(self.begun(task), arguments)

    def test_global_settings_are_left_alone(self) -> None:
        """Torch's switches and the seed of its generator stay as they are."""
        task = self.tasks[0]
        part, arguments = self.begun(task), self.arguments(task)
        seeded()
        with settings_kept(self.call):
            self.ask(self.ready(part), arguments)

    def test_it_works_without_gradients(self) -> None:
        """It answers alike where gradients are switched off, as in a rehearsal or an audit."""
        task = self.tasks[0]
        expected = self.answer(self.begun(task), self.arguments(task))
        enable = "wrap what needs gradients in `with torch.enable_grad():`"
        with torch.no_grad(), where("under torch.no_grad()", enable):
            found = self.answer(self.begun(task), self.arguments(task))
        self._agree(expected, found, "under torch.no_grad() the answer is another", enable, 1e-5)

    def test_mixed_precision(self) -> None:
        """Under float16 and bfloat16 autocast the answer is sane, and float32."""
        task = self.tasks[0]
        for dtype in (torch.bfloat16, torch.float16):
            with where(f"under autocast to {dtype}"):
                arguments = self.halved(self.arguments(task, 2), dtype)
                with torch.autocast("cpu", dtype=dtype):
                    answer = self.answer(self.begun(task), arguments)
                self.sane(answer, 2, task)

    def test_its_state_survives_saving(self) -> None:
        """A part whose state is saved and loaded goes on as if it had never stopped."""
        task = self.tasks[0]
        part, resumed = self.begun(task), self.begun(task)
        self.answer(part, self.arguments(task))
        if isinstance(part.state, nn.Module):
            for flat in self.flat(task)[-1:] * 4:  # where averages that move are moved far
                self.answer(part, flat)
            for seed in (2, 3):  # a module may make its parameters when it first runs
                self.answer(resumed, self.arguments(task, seed=seed))
            with sound("saving and loading the state", part):
                _load(resumed.state, part.state)
        self._agree(
            self.answer(part, self.arguments(task, seed=1)),
            self.answer(resumed, self.arguments(task, seed=1)),
            "after saving and loading the answer is another",
            f"{REMEMBER}, none of them persistent=False",
            1e-6,
        )

    def test_it_counts_in_its_state_alone(self) -> None:
        """A call changes nothing of the part but the buffers of its state."""
        task = self.tasks[0]
        part = self.begun(task)
        self.answer(part, self.arguments(task))  # what it makes once, it makes here
        before = _remembered(part)
        self.answer(part, self.arguments(task))
        for name, now in _remembered(part).items():
            require(
                before.get(name) == now,
                f"{self.call} changed '{name}' of the part from {before.get(name)} to {now:.60}",
                REMEMBER,
            )

    def test_parts_share_nothing(self) -> None:
        """Using one part leaves another alone: nothing is kept in the class or the module."""
        task = self.tasks[0]
        expected = self.answer(self.begun(task), self.arguments(task, seed=1))
        fresh = self.begun(task)
        self.answer(self.begun(task), self.arguments(task))
        self._agree(
            expected,
            self.answer(fresh, self.arguments(task, seed=1)),
            "a part's answer depends on what another part was asked before",
            REMEMBER,
        )

    def test_cost_grows_with_the_rows(self) -> None:
        """Four times the rows write no more than about four times the bytes."""
        few, many = (self._cost(rows).written for rows in (FEW, MANY))
        growth = many / max(1, few)
        require(
            growth <= SLACK * MANY / FEW,
            f"{MANY} rows write {growth:.1f} times the bytes of {FEW}",
            "compare no row with every other: work on each row by itself",
        )

    def test_memory_is_given_back(self) -> None:
        """What calls hold does not grow from one to the next."""
        call = self.ready(self.begun(self.tasks[0]))
        for tidy in (False, True):  # cycles are collected where it matters: it takes long
            _, once, often = (self._cost(FEW, call, times, tidy).kept for times in (1, 1, 4))
            if often <= once:
                return
        raise ConformanceError(
            f"every call keeps {(often - once) / 3:.0f} bytes",
            "keep no tensor that carries a graph, and no list that grows: detach, and overwrite; "
            "a memory of so many rows is allocated whole in make_state",
        )

    def _agree(
        self, one: object, other: object, found: str, fix: str, tolerance: float = 0.0
    ) -> None:
        """Require one answer twice; of a part that never repeats one, another check tells."""
        if not same(one, other, tolerance) and same(*self._twice(self.tasks[0])):
            raise ConformanceError(f"{found}{apart(one, other)}", fix)

    def _is_sane(self, answer: Any, task: Task) -> bool:
        """Whether there is an answer to look at further; where there is none, others tell."""
        try:
            self.sane(answer, ROWS, task)
        except ConformanceError:
            return False
        return True

    def _twice(self, task: Task) -> tuple[Any, Any]:
        one, other = (self.answer(self.begun(task), self.arguments(task)) for _ in range(2))
        return one, other

    def _cost(
        self, rows: int, call: Call | None = None, times: int = 1, tidy: bool = False
    ) -> Cost:
        """Of some calls, each with new arguments that are counted too."""
        task = self.tasks[0]
        call = call or self.ready(self.begun(task))

        def calls() -> None:
            for seed in range(times):
                with restored():
                    self.ask(call, self.arguments(task, rows, seed))
            if tidy:
                gc.collect()

        return counted(calls)

    def price(self) -> tuple[Cost, Cost]:
        """The call's cost, and that of a forward pass of `vgg-multiscale` on 8 images of 64²."""
        task = replace(GREY, size=(64, 64))
        images = make_batch(8, task).image
        rival = build("backbone", RIVAL)
        rival.begin(task)
        network = rival.build(task).eval().requires_grad_(False)
        call = partial(self.ready(self.begun(task)), **self.priced(task, network, images))
        with torch.no_grad():
            forward = measure(lambda: network(images))
        return measure(call), forward

    def priced(self, task: Task, network: nn.Module, images: Tensor) -> Arguments:
        """What the call is given when its price is asked."""
        return self.arguments(task, len(images))


def _remembered(part: Any) -> dict[str, str]:
    """What a part keeps that no checkpoint would."""
    found = attributes(part)
    for name, module in part.state.named_modules() if part.state is not None else ():
        owner = f"state.{name}".rstrip(".")
        found |= {f"{owner}.{key}": value for key, value in attributes(module).items()}
    return found


def _load(state: nn.Module, saved: nn.Module) -> None:
    """What a checkpoint does: flat tensors, written and read back."""
    flat = {name: t.detach().clone() for name, t in saved.state_dict().items()}
    state.load_state_dict(load(save(flat)))
