"""Slices of a volume stepped through in a real browser, by keys and by mouse; nothing runs over the page's edge."""

from __future__ import annotations

import pathlib
import shutil

import pytest

from heatbeam.report import report
from heatbeam.runs import source_images
from tests.report import signal_runs

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium with chromedriver on this machine (apt: chromium chromium-driver)"
)
RIGHT, HOME = "\ue014", "\ue011"


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.add_argument("--force-prefers-reduced-motion")  # no smooth scrolling
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_images, "source_records", signal_runs.Originals("volume"))
        folder = tmp_path_factory.mktemp("volume")
        started.get(pathlib.Path(report.write_report(signal_runs.write(folder, "volume"))).as_uri())
    yield started
    started.quit()


def find(driver, selector):
    return driver.find_element("css selector", selector)


def shown_slice(driver):
    """Which slice lies in the window, by where the strip stands, and what the label says."""
    strip, window = (find(driver, f"#lightbox .player {name}") for name in (".image.strip", ".layers"))
    offset = driver.execute_script(
        "return (arguments[1].getBoundingClientRect().top - arguments[0].getBoundingClientRect().top)"
        " / arguments[1].getBoundingClientRect().height",
        strip, window,
    )  # fmt: skip
    return round(offset, 2), find(driver, ".scrub output").text.replace("\u00a0", " ")


def test_slices_are_stepped_through_by_keys_and_by_mouse(driver):
    view = driver.find_elements("css selector", "#galleries .view")[0]
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", view)
    view.click()
    scrub = find(driver, ".scrub input")
    start = int(scrub.get_attribute("value"))
    assert start == int(find(driver, "#lightbox .player").get_attribute("data-start"))
    assert shown_slice(driver) == (start, f"z {2 * start} mm ({start} of 12)")
    scrub.send_keys(HOME)
    assert shown_slice(driver) == (0, "z 0 mm (0 of 12)")
    scrub.send_keys(RIGHT * 3)
    assert shown_slice(driver) == (3, "z 6 mm (3 of 12)")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", scrub)
    webdriver.ActionChains(driver).move_to_element(scrub).click().perform()  # its middle
    assert shown_slice(driver)[0] in (5, 6)
    # Boxes are there in their slices alone.
    true = find(driver, "#lightbox .player rect.true")
    first, last = int(true.get_attribute("data-from")), int(true.get_attribute("data-to"))
    scrub.send_keys(HOME)
    for at in range(12):
        assert (true.value_of_css_property("display") != "none") == (first <= at <= last)
        scrub.send_keys(RIGHT)
    fade = find(driver, '#lightbox [data-act="fade"]')
    fade.send_keys(HOME)
    heats = driver.find_elements("css selector", "#lightbox .stage .heat")
    assert len(heats) == 4 and {one.value_of_css_property("opacity") for one in heats} == {"0"}
    find(driver, '#lightbox [data-act="close"]').click()
    assert driver.get_log("browser") == []


@pytest.mark.parametrize("width", [320, 390, 1440])
def test_nothing_runs_over_the_edge(driver, width):
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
