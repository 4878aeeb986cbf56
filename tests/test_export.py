from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from predict_support import train_tiny
from tiny import refused

import pseudolabel_kit
from pseudolabel_kit import build
from pseudolabel_kit.cli.main import call
from pseudolabel_kit.data.fit import resize
from pseudolabel_kit.engine.predict import Predictor
from pseudolabel_kit.engine.readout import class_probabilities, lesion_probability
from pseudolabel_kit.errors import ConfigError, RunError
from pseudolabel_kit.export import formats
from pseudolabel_kit.export.comparison import BLANK_TOLERANCE, TOLERANCE, require_agreement
from pseudolabel_kit.export.facts import facts
from pseudolabel_kit.export.formats import Answers, Format, Onnx, Pixels, Torch
from pseudolabel_kit.export.graph import Probabilities, traced
from pseudolabel_kit.export.write import export
from pseudolabel_kit.interfaces import Task
from pseudolabel_kit.scans.inputs import settings_for
from pseudolabel_kit.scans.scan import Scan

TASK = Task(channels=1, size=(32, 32), classes=("a", "b"), lesion_classes=(1,))

needs_onnx = pytest.mark.skipif(
    not all(map(formats.find_spec, Onnx.needs)), reason="the extra onnx is not installed"
)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both files of the run; they must not be changed."""
    folder = tmp_path_factory.mktemp("exported")
    export(run, {folder / "x.pt2": Torch(), folder / "x.onnx": Onnx()})
    return folder


def network(reference: str) -> Probabilities:
    """A backbone's network with random weights."""
    torch.manual_seed(0)
    backbone = build("backbone", reference)
    backbone.begin(TASK)
    model = backbone.build(TASK)
    with torch.no_grad():
        model(torch.zeros(2, 1, 32, 32))
    return Probabilities(model, TASK)


@pytest.mark.parametrize(
    ("reference", "heads"),
    [
        ("unet:width=0.05", ["mask_probability"]),
        ("segnet:width=0.05", ["mask_probability"]),
        ("resnet18", ["class_probability"]),
        ("smp:arch=unet:encoder=resnet18", ["class_probability", "mask_probability"]),
    ],
)
def test_shipped_backbones_answer_alike_with_the_heads_they_have(
    reference: str, heads: list[str], tmp_path: Path
) -> None:
    made = network(reference)
    Torch().write(traced(made, reference), tmp_path / "x", "{}", reference)
    reader = Torch().read(tmp_path / "x")
    assert sorted(reader(np.zeros((5, 1, 32, 32), np.float32))) == heads
    assert require_agreement(made, reader, tmp_path) <= BLANK_TOLERANCE


@needs_onnx
@pytest.mark.parametrize("reference", ["segnet:width=0.05", "resnet18"])
def test_onnx_answers_alike_with_one_head(reference: str, tmp_path: Path) -> None:
    made = network(reference)
    Onnx().write(traced(made, reference), tmp_path / "x", "{}", reference)
    assert require_agreement(made, Onnx().read(tmp_path / "x"), tmp_path) <= BLANK_TOLERANCE


def test_a_gradient_in_a_forward_is_named() -> None:
    expected = r"multimix.* cannot be exported: its forward takes a gradient \(aten\..*backward"
    with pytest.raises(RunError, match=expected) as caught:
        traced(network("multimix"), "multimix")
    assert "\n" not in str(caught.value)


@needs_onnx
def test_an_operation_that_onnx_lacks_is_named(tmp_path: Path) -> None:
    class Sorted(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"mask_probability": image.flatten(1).kthvalue(3).values}

    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(Sorted(), (torch.rand(2, 1, 4, 4),), dynamic_shapes=shapes)
    with pytest.raises(RunError, match=r"^mine cannot .* ONNX: ONNX lacks aten\.kthvalue$"):
        Onnx().write(program, tmp_path / "x", "{}", "mine")


@needs_onnx
def test_files_give_the_numbers_of_the_run(run: Path, exported: Path) -> None:
    predictor = pseudolabel_kit.load(run)
    images = np.random.default_rng(1).random((5, 1, 32, 32), dtype=np.float32)
    prediction = predictor(torch.from_numpy(images))
    for name, format_ in (("x.pt2", Torch()), ("x.onnx", Onnx())):
        found = format_.read(exported / name)(images)
        np.testing.assert_allclose(
            found["class_probability"], class_probabilities(prediction), atol=TOLERANCE
        )
        np.testing.assert_allclose(
            found["mask_probability"],
            lesion_probability(prediction, predictor.task),
            atol=TOLERANCE,
        )


@needs_onnx
def test_both_files_say_the_same_of_themselves_and_nothing_of_places(
    run: Path, exported: Path
) -> None:
    import onnx

    extra = {formats.EXTRA_FILE: ""}
    with (exported / "x.pt2").open("rb") as file:
        torch.export.load(file, extra_files=extra)
    model = onnx.load(exported / "x.onnx")
    (entry,) = model.metadata_props
    assert (entry.key, entry.value) == (formats.KEY, extra[formats.EXTRA_FILE])
    said = json.loads(entry.value)
    assert said["classes"] == ["np", "cap", "covid19"]
    assert said["lesion_classes"] == ["covid19"]
    assert said["input"]["size"] == [32, 32]
    assert said["rules"]["mask_threshold"] == pytest.approx(1 / 3)
    assert said["run"] == {"backbone": "vgg-multiscale", "step": pseudolabel_kit.load(run).step}
    here = str(Path(pseudolabel_kit.__file__).parents[1]).encode()
    for name in ("x.pt2", "x.onnx"):
        content = (exported / name).read_bytes()
        assert here not in content
        assert str(run).encode() not in content


class Wrong(Format):
    """A format whose files answer otherwise."""

    def __init__(self, change: Callable[[Pixels], Pixels]) -> None:
        self.change = change

    def write(self, program: object, path: Path, facts: str, backbone: str) -> None:
        Torch().write(program, path, facts, backbone)  # type: ignore[arg-type]

    def read(self, path: Path) -> Callable[[Pixels], Answers]:
        reader = Torch().read(path)
        return lambda images: {name: self.change(each) for name, each in reader(images).items()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x + np.float32(2e-3), r"class_probability differs by 0\.002 .* at most 0\.001"),
        (
            lambda x: x + np.float32(2e-4),
            r"class_probability differs by 0\.0002 .* at most 0\.0001",
        ),
        (lambda x: x * np.float32("nan"), "differs by nan"),
        (lambda x: x[:1], r"has shape \(1, 3\); expected \(3, 3\)"),
    ],
)
def test_a_file_that_answers_otherwise_leaves_nothing(
    run: Path, tmp_path: Path, change: Callable[[Pixels], Pixels], said: str
) -> None:
    targets = {tmp_path / "good.pt2": Torch(), tmp_path / "bad.pt2": Wrong(change)}
    with pytest.raises(RunError, match=f"bad.pt2: not written: .*{said}"):
        export(run, targets)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"expected pip install 'pseudolabel-kit\[onnx\]'"):
        export(run, {tmp_path / "x.onnx": Onnx()})


def test_the_command_says_how_near_the_file_is(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "x.pt2"
    assert call(["export", str(run), "--torch", str(path), "--checkpoint", "3"]) == 0
    shown = capfd.readouterr()
    assert f"{path}: " in shown.out
    assert "differs from the network by at most" in shown.out
    assert shown.err == ""
    extra = {formats.EXTRA_FILE: ""}
    with path.open("rb") as file:
        torch.export.load(file, extra_files=extra)
    assert json.loads(extra[formats.EXTRA_FILE])["run"]["step"] == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "expected --onnx FILE, --torch FILE or both"),
        (["--onnx", "x", "--torch", "x"], "name one file, x; expected two"),
        (["--torch", "x", "--checkpoint", "first"], "expected best, last or a step, as 400"),
        (["--torch", "x", "--checkpoint", "7"], "holds no checkpoint of step 7"),
        (["--torch", "there"], "there: exists already; replace it with --overwrite"),
        (["--torch", "folder"], "folder: is a folder; expected a file"),
    ],
)
def test_mistakes_are_one_line(
    run: Path,
    tmp_path: Path,
    options: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").write_text("mine")
    Path("folder").mkdir()
    assert said in refused(["export", str(run), *options], capsys)
    assert Path("there").read_text() == "mine"
    assert not Path("x").exists()


def test_overwrite_replaces(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.pt2"
    path.write_text("old")
    assert call(["export", str(run), "--torch", str(path), "--overwrite"]) == 0
    assert Torch().read(path)(np.zeros((1, 1, 32, 32), np.float32)).keys()


SCANS = {
    "layout": "volumes",
    "window": {"level": -600, "width": 1500},
    "spacing": [1, 1, 2],
    "size": 48,
    "bits": 16,
    "lesion": [],
    "source": "/home/x",
}


def steps(predictor: Predictor, kind: str) -> dict[str, dict[str, object]]:
    """The last step of each name, in the order of all."""
    return {each["step"]: each for each in facts(predictor)["preprocessing"][kind]}


def of_import(run: Path, **changed: object) -> Predictor:
    return replace(pseudolabel_kit.load(run), imported=SCANS | changed)


def test_facts_name_no_file(run: Path) -> None:
    assert "/home/x" not in json.dumps(facts(of_import(run)))


def test_the_steps_of_a_scan_stand_in_their_order(run: Path) -> None:
    found = facts(of_import(run))["preprocessing"]["scan"]
    names = ["orient", "resample", "pad", "resize", "window", "scale", "channels", "resize"]
    assert [each["step"] for each in found] == names
    _, resample, _, first, window, _, channels, last = found
    assert resample["spacing"] == [1, 1, 2]
    assert (first["size"], last["size"]) == ([48, 48], [32, 32])
    assert (window["level"], window["width"], window["bits"]) == (-600, 1500, 16)
    assert "HU" in window["how"]
    assert "clipped" in window["how"]
    assert channels["channels"] == 1


def test_the_steps_of_a_scan_are_those_that_a_scan_takes(run: Path, tmp_path: Path) -> None:
    predictor = of_import(run, bits=8)
    values = np.random.default_rng(0).uniform(-1500, 300, (3, 30, 40)).astype(np.float32)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((1, 1, 2))
    sitk.WriteImage(image, tmp_path / "x.nii")
    scan = Scan(name="x", patient="", source=tmp_path, image=tmp_path / "x.nii")
    stored = scan.slices(settings_for(predictor.imported)).images
    told = steps(predictor, "scan")["window"]
    black = told["level"] - told["width"] / 2
    axial = sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(tmp_path / "x.nii"), "LPS"))
    padded = np.pad(axial, [(0, 0), (5, 5), (0, 0)], constant_values=black)
    grey = np.clip((resize(padded, (48, 48)) - black) / told["width"], 0, 1)
    np.testing.assert_allclose(grey, stored / 255, atol=0.51 / 255)


def test_a_window_of_percentiles_says_so(run: Path) -> None:
    window = steps(of_import(run, window={"low": 0.5, "high": 99.5}), "scan")["window"]
    assert (window["low"], window["high"]) == (0.5, 99.5)
    assert "percentile" in window["how"]
    assert "HU" not in window["how"]


@pytest.mark.parametrize("layout", ["pictures", "classes", "coco"])
def test_a_run_of_pictures_has_no_steps_of_scans(run: Path, layout: str) -> None:
    predictor = of_import(run, layout=layout)
    assert facts(predictor)["preprocessing"]["scan"] is None
    assert list(steps(predictor, "picture")) == ["scale", "pad", "channels", "resize"]


def test_a_run_whose_data_were_not_imported_stretches(run: Path) -> None:
    predictor = pseudolabel_kit.load(run)
    assert facts(predictor)["preprocessing"]["scan"] is None
    assert list(steps(predictor, "picture")) == ["scale", "channels", "resize"]


def test_a_run_that_blackens_says_so(run: Path) -> None:
    predictor = of_import(run)
    config = predictor.config
    black = config.model_copy(update={"data": config.data.model_copy(update={"region": "black"})})
    for kind in ("picture", "scan"):
        told = steps(replace(predictor, config=black), kind)["blacken"]["how"]
        assert told == "images must be black (0) outside the lungs"
        assert "blacken" not in steps(predictor, kind)


@needs_onnx
@pytest.mark.parametrize(("bits", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_who_follows_the_facts_gets_the_answer_of_the_run(
    run: Path, exported: Path, tmp_path: Path, bits: type, top: int
) -> None:
    pixels = np.random.default_rng(2).integers(0, top + 1, (50, 41)).astype(bits)
    expected = pseudolabel_kit.load(run).read(pixels)
    said = facts(pseudolabel_kit.load(run))
    divisor = dict(re.findall(r"(\d+)-bit values / (\d+)", said["input"]["values"]))
    told = steps(pseudolabel_kit.load(run), "picture")["scale"]["how"]
    assert dict(re.findall(r"(\d+)-bit values / (\d+)", told)) == divisor
    scaled = pixels.astype(np.float32) / int(divisor[str(np.dtype(bits).itemsize * 8)])
    image = np.clip(resize(scaled[None], tuple(said["input"]["size"])), 0, 1)
    found = Onnx().read(exported / "x.onnx")(image[None])
    scores = dict(zip(said["classes"], found["class_probability"][0], strict=True))
    assert scores == pytest.approx(expected.probabilities, abs=TOLERANCE)
    lesion = resize(found["mask_probability"][0], (50, 41))
    np.testing.assert_allclose(lesion, expected.lesion, atol=TOLERANCE)
    assert said["rules"]["mask_threshold"] == expected.threshold
