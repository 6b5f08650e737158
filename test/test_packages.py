"""What is told of the packages: their versions and their changelogs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from catkin_pkg.changelog import get_changelog_from_path
from catkin_pkg.package import parse_package

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = sorted(file.parent for file in (ROOT / "src").glob("*/package.xml"))


def test_all_packages_have_one_version() -> None:
    versions = {parse_package(str(folder)).version for folder in PACKAGES}
    versions |= {
        found[1]
        for folder in PACKAGES
        if (file := folder / "setup.py").is_file() and (found := re.search(r'version="(.+?)"', file.read_text()))
    }
    assert len(versions) == 1


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: folder.name)
def test_changelog_is_of_the_package_and_of_what_is_to_come_or_is_there(folder: Path) -> None:
    file = folder / "CHANGELOG.rst"
    text = file.read_text()
    assert text.splitlines()[1] == f"Changelog for package {folder.name}"
    newest = re.search(r"^(\S+).*\n-+$", text, re.MULTILINE)
    assert newest is not None
    assert newest[1] in ("Forthcoming", parse_package(str(folder)).version)
    assert get_changelog_from_path(str(file), folder.name) is not None  # as the tools of a release read it


def test_hosting_runs_what_a_clean_checkout_must_pass() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"}
    assert job["timeout-minutes"] == 90


def test_container_has_what_the_set_up_needs() -> None:
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert container["postCreateCommand"] == "make setup"
    needed = re.findall(r"\b\w[\w-]*:(chromium-driver|chromium|zsh|iproute2)\b", (ROOT / ".ci/run").read_text())
    assert set(needed) <= set(container["onCreateCommand"].split())
