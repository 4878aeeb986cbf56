"""The two kinds of file: each is written, and read again as its users will read it."""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from pseudolabel_kit.errors import ConfigError, RunError
from pseudolabel_kit.export.facts import EXTRA_FILE, KEY
from pseudolabel_kit.export.graph import INPUT, first_line

Pixels: TypeAlias = NDArray[np.float32]
Answers: TypeAlias = Mapping[str, Pixels]
Reader: TypeAlias = Callable[[Pixels], Answers]

UNKNOWN = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'")


class Format(ABC):
    """A kind of file.

    Attributes:
        needs: packages of the extra `onnx`.
    """

    needs: ClassVar[tuple[str, ...]] = ()

    def require(self) -> None:
        """Say before any work what is not installed.

        Raises:
            ConfigError: the extra is missing.
        """
        if missing := [name for name in self.needs if find_spec(name) is None]:
            raise ConfigError(
                f"--onnx: {missing[0]} is not installed: expected "
                "pip install 'pseudolabel-kit[onnx]'"
            )

    @abstractmethod
    def write(self, program: ExportedProgram, path: Path, facts: str, backbone: str) -> None:
        """Write the graph, with the facts in it.

        Raises:
            RunError: the format lacks an operation; names it and the backbone.
        """

    @abstractmethod
    def read(self, path: Path) -> Reader:
        """The file as a function of images (B,C,H,W), on the CPU."""


@dataclass(frozen=True)
class Onnx(Format):
    """ONNX, for onnxruntime and many more; the facts stand in its metadata."""

    needs: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime", "onnxscript")

    def write(self, program: ExportedProgram, path: Path, facts: str, backbone: str) -> None:
        """Translate the graph and write it, all weights in the one file."""
        outputs = list(program.call_spec.out_spec.context)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the answers are compared below
                made = torch.onnx.export(
                    program,
                    dynamo=True,
                    verbose=False,
                    external_data=False,
                    input_names=[INPUT],
                    output_names=outputs,
                )
        except torch.onnx.errors.OnnxExporterError as error:
            unknown = UNKNOWN.search(str(error))
            why = f"ONNX lacks {unknown[1]}" if unknown else first_line(error)
            raise RunError(f"{backbone} cannot be exported to ONNX: {why}") from error
        model: Any = made.model  # type: ignore[union-attr]
        for node in model.graph:
            node.metadata_props.clear()  # places in source files
        model.metadata_props.clear()
        model.metadata_props[KEY] = facts
        made.save(path, external_data=False)  # type: ignore[union-attr]

    def read(self, path: Path) -> Reader:
        """Run it by onnxruntime."""
        import onnxruntime  # type: ignore[import-untyped]

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return lambda images: dict(zip(names, session.run(None, {INPUT: images}), strict=True))


@dataclass(frozen=True)
class Torch(Format):
    """A .pt2 file, for torch alone; the facts are a JSON file in it."""

    def write(self, program: ExportedProgram, path: Path, facts: str, backbone: str) -> None:
        """Write it."""
        with path.open("wb") as file:
            torch.export.save(program, file, extra_files={EXTRA_FILE: facts})

    def read(self, path: Path) -> Reader:
        """Load it anew."""
        with path.open("rb") as file:
            module = torch.export.load(file).module()

        def answer(images: Pixels) -> Answers:
            with torch.no_grad():
                found = module(torch.from_numpy(images))
            return {name: value.numpy() for name, value in found.items()}

        return answer
