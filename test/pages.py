"""Examples of the pages in docs/extending."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "extending"
LONGEST = 60
"""Lines of an example."""


def example(page: str, file: Path) -> Path:
    """Write the Python code of a page to a file, which is returned."""
    code = (FOLDER / f"{page}.md").read_text().partition("```python\n")[2].partition("```")[0]
    assert 0 < len(code.splitlines()) <= LONGEST, page
    file.write_text(code)
    return file
