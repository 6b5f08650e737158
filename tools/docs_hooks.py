"""What MkDocs does with the pages beside their text: README.md is the first one, the reference is made of the code.

Whatever is wrong is a warning, by which ``make docs`` fails.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.structure.files import File

import reference

ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = ROOT / "docs"
MARKER: Final = re.compile(r"<!-- reference: (?P<kind>parameters|command) (?P<of>.+?) -->")
_LINK: Final = re.compile(r"(?<=\]\()(?!\w+:|#)(?P<path>[^)\s#]+)")
"""Path of a link, or of a picture, to a file of the repository."""
_LOADED: Final = re.compile(
    r"""<(?:script|link(?![^>]*canonical)|img|iframe|source|video)\b[^>]*\b(?:src|href)=["']?(?:\w+:)?//[^>]*>"""
)
"""What a browser loads from elsewhere when it shows a page."""
_log = logging.getLogger("mkdocs.hooks.docs")


def on_files(files: Any, config: Any) -> Any:
    """Have README.md as the first page, with its links as they are from docs."""
    text = (ROOT / "README.md").read_text()
    text = _LINK.sub(lambda link: os.path.relpath(ROOT / link["path"], DOCS), text)
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill in the reference; have files of the repository that are no pages, and that a page links to, in the site."""
    folder = (DOCS / page.file.src_uri).parent

    def local(link: re.Match[str]) -> str:
        file = Path(os.path.normpath(folder / link["path"]))
        if file.is_relative_to(DOCS) or not file.is_file():
            return link["path"]
        copy = f"source/{file.relative_to(ROOT)}.txt"  # which browsers show
        if files.get_file_from_path(copy) is None:
            files.append(File.generated(config, copy, content=file.read_text()))
        return os.path.relpath(DOCS / copy, folder)

    markdown = MARKER.sub(lambda found: getattr(reference, found["kind"])(*found["of"].split()), markdown)
    return _LINK.sub(local, markdown)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """See that the page needs no internet."""
    for tag in _LOADED.findall(output):
        _log.warning("%s loads what is not in the site: %s", page.file.src_uri, tag)
    return output
