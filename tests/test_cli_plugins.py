from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from conftest import Site
from rich.console import Console

from pseudolabel_kit.cli import list_plugins
from pseudolabel_kit.cli.main import call
from pseudolabel_kit.plugin.catalogue import catalogue

PARTS = '''
from dataclasses import dataclass
from pseudolabel_kit.interfaces import Explainer, Fuser

@dataclass(frozen=True, kw_only=True)
class Mine(Fuser):
    """Fuses [bold]as I like it[/bold].

    It is the best.

    Attributes:
        threshold: above it, a pixel
            in [0, 1] is lesion.
    """

    threshold: float = 0.5

    def fuse(self, prediction, evidence):
        raise NotImplementedError

@dataclass(frozen=True, kw_only=True)
class Plain(Explainer):
    def explain(self, model, images, prediction):
        raise NotImplementedError
'''


@pytest.fixture(autouse=True)
def parts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    site.offer(
        "aa",
        '"fuser", "mine", "parts_aa:Mine", "Mine, [bold]."',
        '"explainer", "mine", "parts_aa:Plain", "Also mine."',
        '"recipe", "best", "parts_aa:best.toml", "The best."',
        '"fuser", "lost", "parts_aa:Lost", "Lost."',
        parts_aa=PARTS,
    )
    site.install("bad", {"light_bad": "import nothing_of_this_name"})


def test_the_list_shows_parts_by_kind_and_what_is_broken(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(["plugins", "list"]) == 0
    text = capsys.readouterr().out
    blocks = {block.split("\n")[0]: block.split("\n") for block in text.split("\n\n")}
    assert re.fullmatch(r"contract 1 · \d+ plugins · 1 broken · \d+ parts", text.split("\n")[0])
    assert ["mine", "aa", "Mine,", "[bold]."] in [line.split() for line in blocks["fuser"]]
    assert [line.split()[:2] for line in blocks["dataset"][1:]] == [
        ["phantom", "builtin"],
        ["manifest", "builtin"],
    ]
    assert text.endswith(
        "\n\nBroken: plugin 'bad' of dist-bad 1.0: "
        "ModuleNotFoundError: No module named 'nothing_of_this_name'\n"
    )


def test_summaries_are_wrapped_for_people_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(list_plugins, "out", Console(force_terminal=True, width=80, no_color=True))
    assert call(["plugins", "list", "--kind", "fuser"]) == 0
    lines = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines[:-1])) <= 80
    assert any(re.match(r" {20,}\S", line) for line in lines)


def test_a_name_of_several_plugins_is_shown_as_it_must_be_written(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.offer("bb", '"fuser", "mine", "parts_aa:Mine", "Another."')
    assert call(["plugins", "list"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^  aa/mine +aa +Mine", text, re.MULTILINE)
    assert re.search(r"^  bb/mine +bb +Another", text, re.MULTILINE)
    assert re.search(r"^  mine +aa +Also mine", text, re.MULTILINE)  # the explainer
    assert "A name with '/' is offered by several plugins: write it so." in text


def test_a_slow_plugin_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(list_plugins, "SLOW", 0.0)
    assert call(["plugins", "list"]) == 0
    assert re.search(r"Slow: plugin 'aa' takes 0\.\d\d s of every", capsys.readouterr().out)


def test_a_kind_that_nobody_offers_is_an_empty_list(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLK_DISABLE_PLUGINS", "aa,bad,tracking")
    assert call(["plugins", "list", "--kind", "tracker"]) == 0
    assert "0 parts of kind tracker\n" in capsys.readouterr().out
    site.offer("cc", '"tracker", "mine", "parts_cc:Mine", "Mine."')
    catalogue.cache_clear()
    assert call(["plugins", "list", "--kind", "tracker"]) == 0
    assert "tracker\n  mine  cc  Mine.\n" in capsys.readouterr().out


def test_the_list_can_be_of_one_kind_and_for_programs(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.install("loud", {"light_loud": "print('hello')"})
    assert call(["plugins", "list", "--kind", "explainer", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["contract"] == 1
    assert {each["kind"] for each in listed["components"]} == {"explainer"}
    assert {
        "kind": "explainer",
        "name": "mine",
        "target": "parts_aa:Plain",
        "summary": "Also mine.",
        "plugin": "aa",
        "reference": "mine",
    } in listed["components"]
    seconds = {each["name"]: each["seconds"] for each in listed["plugins"]}
    assert 0 < seconds["aa"] < 5
    assert {"bad", "loud"} <= {each["name"] for each in listed["broken"]}


def test_an_unknown_kind_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    told = (
        "there is no kind 'fusers' (did you mean 'fuser'?); expected one of backbone, explainer, "
    )
    for line in (["list", "--kind", "fusers"], ["new", "fusers", "mine"]):
        assert call(["plugins", *line]) == 2
        assert capsys.readouterr().err.startswith(f"plk: {told}")


def test_show_tells_options_with_their_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["plugins", "show", "fuser/mine"]) == 0
    text = capsys.readouterr().out
    assert "Fuses [bold]as I like it[/bold].\n\nIt is the best.\n" in text
    assert "From plugin 'aa' (dist-aa 1.0), parts_aa:Mine" in text
    assert "threshold  float  0.5      above it, a pixel in [0, 1] is lesion." in text
    assert "As in: mine:threshold=0.5" in text
    assert "Attributes:" not in text
    assert "explainer mine" not in text


@pytest.mark.parametrize("name", ["mine", "aa/mine"])
def test_show_tells_of_every_kind_that_has_the_name(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["plugins", "show", name]) == 0
    text = capsys.readouterr().out
    assert "fuser mine" in text
    assert "explainer mine" in text
    assert "Plain(" not in text


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("mnie", "there is no part 'mnie' (did you mean 'mine'?); it may be in a broken plugin: "),
        ("lost", "fuser 'lost' of plugin 'aa' cannot be imported: AttributeError"),
        ("best", "recipe 'aa/best' (parts_aa:best.toml)"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    name: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["plugins", "show", name]) == 2
    shown = capsys.readouterr()
    assert complaint in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


@pytest.mark.parametrize("tracker", ["tensorboard", "mlflow", "wandb"])
def test_a_part_behind_an_extra_says_which(
    tracker: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    library = {"tensorboard": "torch.utils.tensorboard"}.get(tracker, tracker)
    monkeypatch.delitem(sys.modules, f"plk_tracking.{tracker}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    extra = f"pseudolabel-kit[{tracker}]"
    assert call(["plugins", "show", tracker]) == 2
    assert capsys.readouterr().err == (
        f"plk: tracker '{tracker}' of plugin 'tracking' cannot be imported: "
        f"install it: pip install '{extra}'\n"
    )
    assert call(["plugins", "list", "--kind", "tracker"]) == 0
    assert re.search(rf"  {tracker} .* needs {re.escape(extra)}\.\n", capsys.readouterr().out)


def test_no_plugin_leaves_it_out_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLK_DISABLE_PLUGINS", "bad")
    assert call(["--no-plugin", "aa", "plugins", "list"]) == 0
    text = capsys.readouterr().out
    assert "Switched off: aa, bad" in text
    assert "fuser mine" not in text
    assert os.environ["PLK_DISABLE_PLUGINS"] == "bad,aa"


def test_a_plugin_that_is_not_there_cannot_be_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLK_DISABLE_PLUGINS", "")
    assert call(["--no-plugin", "bda", "plugins", "list"]) == 2
    assert "plk: --no-plugin bda: there is no plugin 'bda' (did you" in capsys.readouterr().err


def test_the_list_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from pseudolabel_kit.cli.main import call\n"
        "call(['plugins', 'list'])\n"
        "print(sorted({'torch', 'numpy', 'captum', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")
