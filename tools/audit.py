#!/usr/bin/env python3
"""Writes sbom.cdx.json, the bill of materials of the environment, and looks for known weaknesses of what is in it.

Needs .venv-audit, which setup_more.py makes. Exit code 1 if a package has a known weakness, or is not as locked.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from host import ROOT, VENV

BIN, SBOM = ROOT / ".venv-audit" / "bin", ROOT / "sbom.cdx.json"
KNOWN = "jinja2==2.11.2"
"""It has published weaknesses: a database that knows none of it knows nothing."""
SERVICES = ("pypi", "osv")
OURS = re.compile(r"mbmrl|(ros-)?jazzy|ros-")
"""Packages of the workspace and of ROS 2, of which no database of Python's has anything."""


def bill() -> dict[str, str]:
    """Write the bill of materials; returns names and versions in it."""
    command = [str(BIN / "cyclonedx-py"), "environment", str(VENV / "bin" / "python"), "--output-file", str(SBOM)]
    subprocess.run([*command, "--output-reproducible"], check=True)
    parts = json.loads(SBOM.read_text())["components"]
    return {re.sub(r"[-_.]+", "-", part["name"].lower()): part["version"].partition("+")[0] for part in parts}


def locked() -> dict[str, set[str]]:
    """Names and versions in the locks."""
    found: dict[str, set[str]] = {}
    for name in ("base", "ros-jazzy", "pybullet", "torch", "cluster"):
        for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines():
            if pin := re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", line):
                found.setdefault(re.sub(r"[-_.]+", "-", pin[1].lower()), set()).add(pin[2])
    return found


def weaknesses(pins: list[str], service: str) -> list[str] | None:
    """Known weaknesses of packages; None if the database is not reached."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pins.txt"
        file.write_text("\n".join(pins))
        options = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "10"]
        command = [str(BIN / "pip-audit"), "--requirement", str(file), "--vulnerability-service", service, *options]
        answer = subprocess.run(command, capture_output=True, text=True)
    try:
        parts = json.loads(answer.stdout)["dependencies"]
    except ValueError:
        return None
    return [f"{part['name']} {part['version']}: {weak['id']}" for part in parts for weak in part.get("vulns", [])]


def main() -> int:
    """Audit; returns the exit code."""
    parts, pins = bill(), locked()
    print(f"{SBOM.name}: {len(parts)} packages")
    others = {name: version for name, version in parts.items() if name in pins and version not in pins[name]}
    for name, version in others.items():
        print(f"{name} is {version}, locked is {' or '.join(sorted(pins[name]))}")
    wanted = [f"{name}=={version}" for name, version in parts.items() if name in pins and not OURS.match(name)]
    service = next((service for service in SERVICES if weaknesses([KNOWN], service)), None)
    if service is None:
        print(f"no database of weaknesses is reached ({', '.join(SERVICES)}): none was looked for")
        return int(bool(others))
    found = weaknesses(wanted, service)
    for sentence in found or []:
        print(sentence)
    print(f"{len(wanted)} packages, {len(found or [])} known weaknesses ({service})")
    return int(bool(found or others or found is None))


if __name__ == "__main__":
    sys.exit(main())
