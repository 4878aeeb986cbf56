"""`python -m pseudolabel_kit` is `plk`."""

from pseudolabel_kit.cli.main import run

run()
