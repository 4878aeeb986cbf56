"""Every part that comes with the kit keeps its promises; big ones in a small form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import write_dataset

from pseudolabel_kit.plugin.catalogue import Offer, catalogue
from pseudolabel_kit.plugin.component import KINDS
from pseudolabel_kit.testing.suites import SUITES, check

SMALL = {
    "backbone baselines/hu2020": ":width=0.0625",
    "backbone baselines/inf-net": ":encoder=test_resnet:width=4",
    "backbone baselines/jcs": ":width=0.0625",
    "backbone baselines/resnet18": ":width=0.0625",
    "backbone baselines/segnet": ":width=0.03125",
    "backbone baselines/unet": ":width=0.03125",
    "backbone baselines/vgg16": ":width=0.03125",
    "backbone calibrated/vgg-multiscale": ":width=0.0625",
    "backbone multimix/multimix": ":width=0.125",
    "backbone smp/smp": ":encoder=tu-test_resnet",
    "dataset builtin/manifest": ":path={folder}",
    "dataset builtin/phantom": ":size=32:patients=51:slices=1",
}


def shipped() -> Iterator[Offer]:
    """What the kit's own plugins offer, in the catalogue's order."""
    installed = catalogue()
    ours = {p.name for p in installed.plugins if p.distribution.startswith("pseudolabel-kit ")}
    yield from (offer for offer in installed.offers() if offer.plugin in ours)


OFFERS = {f"{offer.component.kind} {offer}": offer for offer in shipped()}


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    write_dataset(folder)
    return folder


@pytest.mark.parametrize("name", OFFERS)
def test_a_shipped_part_keeps_every_promise(name: str, scans: Path) -> None:
    reference = str(OFFERS[name]) + SMALL.get(name, "").format(folder=scans)
    verdicts = list(check(OFFERS[name].component.kind, reference))
    assert len(verdicts) > 4
    assert [verdict for verdict in verdicts if verdict.fault is not None] == []


@pytest.mark.parametrize("part", ["sharpen:norm=batch-rms", "pseudoseg:norm=batch-rms"])
def test_what_normalises_over_the_batch_is_caught(part: str) -> None:
    faults = [verdict.check for verdict in check("fuser", part) if verdict.fault is not None]
    assert faults == ["test_no_row_depends_on_its_batchmates"]


def test_every_kind_is_shipped_and_has_a_suite() -> None:
    assert {offer.component.kind for offer in OFFERS.values()} == set(KINDS) == SUITES.keys()
    assert SMALL.keys() <= OFFERS.keys()
