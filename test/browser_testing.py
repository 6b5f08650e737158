"""A real browser for tests: headless Chromium, with the driver of the same package."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

TIME_LIMIT: Final = 60.0
"""Longest wait for an event, s; far longer than a loaded machine takes."""
_SWITCHES: Final = ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


class Browser:
    """A window of a browser."""

    def __init__(self, width: int = 1280, height: int = 800) -> None:
        """Open one of a size in pixels; the test is skipped if there is no Chromium with its driver."""
        driver = shutil.which("chromedriver")
        if driver is None or shutil.which("chromium") is None:
            pytest.skip("there is no Chromium with its driver: on Debian, apt install chromium chromium-driver")
        options = webdriver.ChromeOptions()
        for switch in (*_SWITCHES, f"--window-size={width},{height}"):
            options.add_argument(switch)
        self.driver = webdriver.Chrome(options=options, service=Service(driver))

    def wait(self, holds: Callable[[], Any]) -> Any:
        """Wait until something holds; returns it. Fails with what the page says if it does not in time."""
        ignored = (StaleElementReferenceException,)
        try:
            return WebDriverWait(self.driver, TIME_LIMIT, 0.05, ignored).until(lambda _: holds())
        except TimeoutException:
            text = self.driver.find_element(By.TAG_NAME, "body").text
        raise AssertionError(f"waited for {TIME_LIMIT:g} s in vain; the page says:\n{text}")

    def picture(self, file: Path) -> None:
        """Take a picture of the window; one that draws in software may take more than a try."""

        def taken() -> bool:
            with suppress(TimeoutException):
                return bool(self.driver.save_screenshot(str(file)))
            return False

        self.wait(taken)

    def shows(self, text: str) -> bool:
        """Whether a text stands on the page."""
        return text in self.driver.find_element(By.TAG_NAME, "body").text

    def button(self, text: str) -> WebElement:
        """The button with a text, which is waited for."""
        found: WebElement = self.wait(
            lambda: next(
                (each for each in self.driver.find_elements(By.TAG_NAME, "button") if each.text.strip() == text), None
            )
        )
        return found

    def field(self, value: str) -> WebElement | None:
        """The field that has a value; None if there is none."""
        fields = self.driver.find_elements(By.TAG_NAME, "input")
        return next((each for each in fields if each.get_attribute("value") == value and each.is_displayed()), None)

    def choose(self, value: str, other: str) -> None:
        """Choose another value of the field with choices that has a value."""
        self.wait(lambda: self.field(value)).click()
        self.wait(
            lambda: next(
                (each for each in self.driver.find_elements(By.CSS_SELECTOR, "[role=option]") if each.text == other),
                None,
            )
        ).click()

    def tab(self, name: str) -> None:
        """Turn to a tab."""
        self.wait(
            lambda: next(
                (each for each in self.driver.find_elements(By.CSS_SELECTOR, "[role=tab]") if each.text == name), None
            )
        ).click()

    @property
    def canvas(self) -> WebElement:
        """What is drawn on in 3-D."""
        found: WebElement = self.wait(lambda: next(iter(self.driver.find_elements(By.TAG_NAME, "canvas")), None))
        return found

    def click_on_canvas(self, right: float, down: float) -> None:
        """Click on the canvas, pixels from its centre."""
        ActionChains(self.driver).move_to_element_with_offset(self.canvas, round(right), round(down)).click().perform()


@contextmanager
def browser(width: int = 1280, height: int = 800) -> Iterator[Browser]:
    """A browser that is closed at the end."""
    opened = Browser(width, height)
    try:
        yield opened
    finally:
        opened.driver.quit()
