"""What the documentation promises: a name that goes or comes is a change for users."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import pseudolabel_kit
from pseudolabel_kit import errors, interfaces, plugin
from pseudolabel_kit.plugin.hooks import HOOKS

PUBLIC = {
    pseudolabel_kit: "__version__ build catalogue evaluate load train",
    plugin: "Component Run Tracker hookimpl",
    interfaces: "Backbone Batch Dataset Evidence Explainer Family Fuser LossTerm Model Part "
    "Perturbation Prediction PseudoLabels Ramp Row Sample Scale Split Task View",
    errors: "ConfigError DataError PluginError RunError UserError nearest",
}


def own_names(module: object) -> set[str]:
    """What a module defines and does not hide."""
    if hasattr(module, "__all__"):
        return set(module.__all__)
    assert inspect.ismodule(module)
    home = module.__name__
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (getattr(value, "__module__", None) == home or name in {"Family", "Split"})
    }


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_the_public_names_are_these(module: object) -> None:
    assert sorted(own_names(module)) == sorted(PUBLIC[module].split())  # type: ignore[index]


def test_the_hooks_are_these() -> None:
    assert HOOKS == (
        "plk_components",
        "plk_run_started",
        "plk_step_ended",
        "plk_pseudo_labelled",
        "plk_epoch_ended",
        "plk_event_raised",
        "plk_run_ended",
    )


@pytest.mark.parametrize("name", pseudolabel_kit.__all__)
def test_every_name_is_there_and_documented(name: str) -> None:
    value = getattr(pseudolabel_kit, name)
    assert name in dir(pseudolabel_kit)
    if name != "__version__":
        assert callable(value)
        assert inspect.getdoc(value)


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        pseudolabel_kit.trian  # noqa: B018


def test_importing_the_package_and_the_contract_imports_nothing_heavy() -> None:
    code = (
        "import sys, pseudolabel_kit, pseudolabel_kit.interfaces, pseudolabel_kit.errors\n"
        "pseudolabel_kit.__version__\n"
        "print(sorted({'torch', 'numpy', 'pydantic', 'pluggy', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
