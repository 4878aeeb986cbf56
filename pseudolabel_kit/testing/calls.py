"""What parts that answer a call owe, whatever the call: the same answer, from their own input."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from pseudolabel_kit.interfaces import Task
from pseudolabel_kit.plugin.build import build
from pseudolabel_kit.testing.cost import Cost, measure
from pseudolabel_kit.testing.fault import FaultError, may_refuse, require, sound
from pseudolabel_kit.testing.options import OptionConformance
from pseudolabel_kit.testing.samples import GREY, TASKS, make_batch
from pseudolabel_kit.testing.witness import seeded, settings_kept, tensors, unedited

ROWS = 5  # unlike any number of channels, classes or features
FAINT = 0.3
FEW, MANY = 3, 12
SLACK = 1.5  # of what is written, over strict proportion
RIVAL = "vgg-multiscale:width=0.25"
Arguments = Mapping[str, Any]


class CallConformance(OptionConformance):
    """Promises of a part with one call that turns batches into answers.

    Attributes:
        call: the method's name.
        tasks: what the part is tried on: grey with one mask channel, colour with two.
        tiny: sizes (H, W) that it must answer, or refuse in one line.
    """

    call: ClassVar[str]
    tasks: ClassVar[tuple[Task, ...]] = TASKS
    tiny: ClassVar[tuple[tuple[int, int], ...]] = ((1, 1), (5, 3))

    def begun(self, task: Task) -> Any:
        """The part, newly built and bound to a task, as a run binds it."""
        part = self.part()
        part.begin(task)
        return part

    @abstractmethod
    def arguments(self, task: Task, rows: int = ROWS, seed: int = 0) -> Arguments:
        """What the call is given."""

    @abstractmethod
    def sane(self, answer: Any, rows: int, task: Task) -> None:
        """Raise a `FaultError` where shapes, types or ranges are not the contract's."""

    def flat(self, task: Task) -> list[Arguments]:
        """Arguments without content: constant and all-zero images."""
        return []

    def answer(self, part: Any, arguments: Arguments) -> Any:
        """The call's answer, under the seed that every call here begins with."""
        work = self.work(part, arguments)
        seeded()
        with sound(self.call):
            return work()

    def work(self, part: Any, arguments: Arguments) -> Callable[[], Any]:
        """The call, ready to be made."""
        return partial(getattr(part, self.call), **arguments)

    def test_shapes_types_and_ranges(self) -> None:
        """The answer has the shapes, types and ranges of the contract, for one row and for many."""
        for task in self.tasks:
            for rows in (1, ROWS):
                part = self.begun(task)
                self.sane(self.answer(part, self.arguments(task, rows)), rows, task)

    def test_images_without_content(self) -> None:
        """Constant and all-zero images give a sane answer."""
        for task in self.tasks:
            for arguments in self.flat(task):
                self.sane(self.answer(self.begun(task), arguments), 2, task)

    def test_odd_and_tiny_images(self) -> None:
        """Any size is answered, or refused in one line."""
        for size in self.tiny:
            task = replace(self.tasks[0], size=size)
            with may_refuse():
                self.sane(self.answer(self.begun(task), self.arguments(task, 2)), 2, task)

    def test_the_same_answer_twice(self) -> None:
        """The same input under the same seed gives the same answer, bit for bit."""
        task = self.tasks[0]
        one, other = (self.answer(self.begun(task), self.arguments(task)) for _ in range(2))
        require(
            _same(one, other, 0),
            f"{self.call} answered the same input in two ways{_by(one, other)}",
            "draw from torch's global generator alone, and sum in a fixed order",
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
            self.answer(part, arguments)

    def test_it_works_without_gradients(self) -> None:
        """It answers alike where gradients are switched off, as in a rehearsal or an audit."""
        task = self.tasks[0]
        expected = self.answer(self.begun(task), self.arguments(task))
        with torch.no_grad():
            found = self.answer(self.begun(task), self.arguments(task))
        require(
            _same(expected, found, 1e-5),
            f"under torch.no_grad() the answer is another{_by(expected, found)}",
            "wrap what needs gradients in `with torch.enable_grad():`",
        )

    def test_mixed_precision(self) -> None:
        """Under float16 and bfloat16 autocast the answer is sane, and float32."""
        for dtype in (torch.bfloat16, torch.float16):
            for task in self.tasks:
                arguments = self.halved(self.arguments(task), dtype)
                with torch.autocast("cpu", dtype=dtype):
                    answer = self.answer(self.begun(task), arguments)
                try:
                    self.sane(answer, ROWS, task)
                except FaultError as fault:
                    raise FaultError(f"under {dtype}: {fault.found}", fault.fix) from fault

    def halved(self, arguments: Arguments, dtype: torch.dtype) -> Arguments:
        """The arguments as they come under autocast."""
        return arguments

    def test_its_state_survives_saving(self) -> None:
        """A part whose state is saved and loaded goes on as if it had never stopped."""
        task = self.tasks[0]
        first, second = self.arguments(task, seed=0), self.arguments(task, seed=1)
        part, resumed = self.begun(task), self.begun(task)
        self.answer(part, first)
        if isinstance(part.state, nn.Module):
            self.answer(resumed, first)  # a module may make its parameters when it first runs
            _load(resumed.state, part.state)
        expected, found = self.answer(part, second), self.answer(resumed, second)
        require(
            _same(expected, found, 1e-6),
            f"after saving and loading the answer is another{_by(expected, found)}",
            "keep what is remembered in buffers of the module that make_state returns",
        )

    def test_parts_share_nothing(self) -> None:
        """Using one part leaves another alone: nothing is kept in the class or the module."""
        task = self.tasks[0]
        first, second = self.arguments(task, seed=0), self.arguments(task, seed=1)
        expected = self.answer(self.begun(task), second)
        fresh = self.begun(task)
        self.answer(self.begun(task), first)
        require(
            _same(expected, self.answer(fresh, second), 0),
            "a part's answer depends on what another part was asked before",
            "keep what is remembered in buffers of the module that make_state returns",
        )

    def test_cost_grows_with_the_rows(self) -> None:
        """Four times the rows write no more than about four times the bytes."""
        task = self.tasks[0]
        few, many = (self._cost(self.begun(task), rows, task) for rows in (FEW, MANY))
        growth = many.written / max(1, few.written)
        require(
            growth <= SLACK * MANY / FEW,
            f"{MANY} rows write {growth:.1f} times the bytes of {FEW}",
            "compare no row with every other: work on each row by itself",
        )

    def test_memory_is_given_back(self) -> None:
        """What calls hold does not grow from one to the next."""
        task = self.tasks[0]
        part = self.begun(task)
        self._cost(part, FEW, task)
        once, often = (self._cost(part, FEW, task, times).kept for times in (1, 4))
        require(
            often <= once,
            f"every call keeps {(often - once) / 3:.0f} bytes",
            "keep no tensor that carries a graph, and no list that grows: detach, and overwrite",
        )

    def _cost(self, part: Any, rows: int, task: Task, times: int = 1) -> Cost:
        work = self.work(part, self.arguments(task, rows))

        def call() -> None:
            seeded()
            for _ in range(times):
                work()

        with sound(self.call):
            return measure(call)

    def price(self) -> tuple[Cost, Cost]:
        """The call's cost, and that of a forward pass of `vgg-multiscale` on 8 images of 64²."""
        task = replace(GREY, size=(64, 64))
        images = make_batch(8, task).image
        rival = build("backbone", RIVAL)
        rival.begin(task)
        network = rival.build(task).eval()
        work = self.work(self.begun(task), self.priced(task, network, images))
        with torch.no_grad():
            forward = measure(lambda: network(images))
        return measure(work), forward

    def priced(self, task: Task, network: nn.Module, images: Tensor) -> Arguments:
        """What the call is given when its price is asked."""
        return self.arguments(task, len(images))


class RowConformance(CallConformance):
    """Promises of a part whose rows are answered each by itself."""

    def test_no_row_depends_on_its_batchmates(self) -> None:
        """A row's answer stays when the other rows of its batch are exchanged."""
        for task in self.tasks:
            own, strangers = (self.arguments(task, seed=seed) for seed in (0, 1))
            one = self.answer(self.begun(task), self.among(own, own, 1.0))
            other = self.answer(self.begun(task), self.among(own, strangers, FAINT))
            require(
                _same(first_row(one), first_row(other), 1e-4),
                f"row 0 changed with its batchmates{_by(first_row(one), first_row(other))}",
                "take minima, means and norms over dim=(1, 2, 3), never over the rows (dim 0)",
            )

    def among(self, own: Arguments, mates: Arguments, loudness: float) -> Arguments:
        """The first row of `own`, faint, with the other rows of `mates`, as loud as is said.

        Beside a faint row, louder mates decide any maximum, mean or norm over the rows.
        """
        mixed: Arguments = _among(own, mates, loudness)
        return mixed


def first_row(answer: object) -> dict[str, Tensor]:
    """The first row of every tensor of an answer that has rows."""
    return {n: t[:1] for n, t in tensors(answer).items() if t.ndim and len(t) == ROWS}


def _same(one: object, other: object, tolerance: float) -> bool:
    a, b = tensors(one), tensors(other)
    return a.keys() == b.keys() and all(
        a[n].shape == b[n].shape
        and torch.allclose(a[n], b[n], rtol=0, atol=tolerance, equal_nan=True)
        for n in a
    )


def _by(one: object, other: object) -> str:
    """How far two answers are apart: "; mask by up to 0.3"."""
    a, b = tensors(one), tensors(other)
    both = [n for n in a if n in b and a[n].shape == b[n].shape]
    gaps = {n: (a[n].float() - b[n].float()).abs().max().item() for n in both if a[n].numel()}
    told = [f"{name or 'it'} by up to {gap:.2g}" for name, gap in gaps.items() if gap]
    return f" ({', '.join(told)})" if told else ""


def among(own: Tensor, mates: Tensor, loudness: float) -> Tensor:
    """The first of a tensor's rows, faint, with the others of another's."""
    if not own.is_floating_point():
        return torch.cat((own[:1], mates[1:]))
    return torch.cat((FAINT * own[:1], loudness * mates[1:]))


def _among(own: Any, mates: Any, loudness: float) -> Any:
    """`among` in every tensor that has rows."""
    if isinstance(own, Tensor):
        return among(own, mates, loudness) if own.ndim and len(own) == ROWS else own
    if isinstance(own, Mapping):
        return {key: _among(value, mates[key], loudness) for key, value in own.items()}
    if isinstance(own, tuple):
        return tuple(_among(o, m, loudness) for o, m in zip(own, mates, strict=True))
    if is_dataclass(own) and not isinstance(own, type):
        names = [f.name for f in fields(own)]
        parts = {n: _among(getattr(own, n), getattr(mates, n), loudness) for n in names}
        return replace(own, **parts)
    return own


def _load(state: nn.Module, saved: nn.Module) -> None:
    """What a checkpoint does: flat tensors, written and read back."""
    with sound("saving and loading the state"):
        flat = {name: t.detach().clone() for name, t in saved.state_dict().items()}
        state.load_state_dict(load(save(flat)))
