#!/usr/bin/env python3
"""Builds the pages of docs into site/, or serves them while they are written: ``docs.py [build|serve]``.

Runs in the workspace's environment, for the reference is made of the code; MkDocs is in .venv-docs.
"""

from __future__ import annotations

import site
import sys

from host import ROOT


def main() -> None:
    """Run MkDocs."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site.addsitedir(str(ROOT / ".venv-docs" / "lib" / version / "site-packages"))
    from mkdocs.__main__ import cli

    how, *others = sys.argv[1:] or ["build"]
    cli([how, "--strict", "--config-file", str(ROOT / "mkdocs.yml"), *others], prog_name="mkdocs")


if __name__ == "__main__":
    main()
