"""The site that `make docs` builds, opened from disk in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from browser_testing import browser

SITE = Path(__file__).resolve().parents[1] / "site"
LOADED = "return [...document.querySelectorAll('[src], link[rel=stylesheet]')].map(each => each.src || each.href)"


@pytest.mark.skipif(not (SITE / "index.html").is_file(), reason="`make docs` builds the site")
def test_site_is_searched_from_disk_without_internet() -> None:
    with browser() as window:
        window.driver.get((SITE / "index.html").as_uri())
        find = window.driver.find_elements
        window.driver.execute_script("document.querySelector('[data-md-toggle=search]').click()")
        (field,) = find(By.CSS_SELECTOR, "input.md-search__input")
        window.wait(field.is_displayed)
        field.send_keys("real_time_factor")
        links = window.wait(lambda: find(By.CSS_SELECTOR, "a.md-search-result__link"))
        assert "reference/parameters.html" in links[0].get_attribute("href")
        loaded = window.driver.execute_script(LOADED)
        assert len(loaded) > 3
        assert [url for url in loaded if not url.startswith(("file:", "data:"))] == []
        links[0].click()
        window.wait(lambda: "parameters.html" in window.driver.current_url)
        assert "Simulated seconds per second" in find(By.TAG_NAME, "article")[0].text
