"""How modules are run as programs of their own."""

from __future__ import annotations

import sys
from typing import Final

_WITHOUT_SAFE_PATH: Final = (
    "import sys; del sys.path[0]; import runpy; runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def command_of(module: str) -> list[str]:
    """Make the command that runs a module, and imports nothing from the folder where it is started."""
    if sys.version_info >= (3, 11):
        return [sys.executable, "-P", "-m", module]
    return [sys.executable, "-c", _WITHOUT_SAFE_PATH, module]
