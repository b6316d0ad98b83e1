"""The explorer in a real browser: by mouse and keyboard, wide and narrow, light and dark; it asks nobody but itself."""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
import threading

import pytest

from heatbeam.explore import server
from heatbeam.runs import reviews
from tests.report import test_report_browser as browsers
from tests.support import report_runs

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
ui = pytest.importorskip("selenium.webdriver.support.ui")
pytestmark = browsers.pytestmark

HOSTILE = "<img src=x onerror=alert(1)>"
PLAN = report_runs.Plan(classes=("ant", "bee", HOSTILE), images=6, id_format=HOSTILE + "{:02d}")


@pytest.fixture(scope="module")
def run_path(tmp_path_factory):
    return report_runs.write(tmp_path_factory.mktemp("explore"), PLAN)


@pytest.fixture(scope="module")
def other_path(tmp_path_factory):
    return report_runs.write(tmp_path_factory.mktemp("other"), dataclasses.replace(PLAN, mistaken=5))


@pytest.fixture(scope="module")
def address(run_path, other_path):
    """Of an explorer that serves while the tests run."""
    with server.listening(0, 0) as listening:
        made = server.made([run_path, other_path], None, listening)
        thread = threading.Thread(target=made.serve, kwargs={"browser": False})
        thread.start()
        yield made.address
        made.server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def opened(address, tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = browsers.CHROMIUM
    for argument in (*browsers.OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(browsers.DRIVER))
    driver.get(address)
    yield driver
    driver.quit()


@pytest.fixture
def browser(opened, address):
    """Without a message in the console, and without a request to anybody else."""
    browsers.resize(opened, 1440, 900)
    browsers.media(opened, "light")
    opened.get_log("performance")
    opened.get_log("browser")
    yield opened
    assert opened.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert {url for url in urls if not url.startswith(("data:", address.partition("?")[0]))} == set()


def open_page(driver, address, path):
    driver.get(address.partition("/?")[0] + path)


def loaded(driver):
    """Every picture is there."""
    script = (
        "return [...document.images].every((one) => one.complete && one.naturalWidth > 0) && document.images.length"
    )
    return ui.WebDriverWait(driver, 20).until(lambda one: one.execute_script(script))


PAGES = {
    "grid": "/a/grid?method=cam&target=label&min.probability=0&sort=entropy",
    "image": f"/a/image?id={HOSTILE}03&shard={report_runs.SHARD}&record=3",
    "near": "/a/near/0-0/map",
    "pairs": "/pairs?flip=flipped",
    "summary": "/a/summary",
    "review": "/a/review",
}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_a_page_fits_shows_its_pictures_and_keeps_nobody_out(page, width, scheme, browser, address):
    axe = pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")
    browsers.resize(browser, width, 900)
    browsers.media(browser, scheme)
    open_page(browser, address, PAGES[page])
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    for one in browser.find_elements("css selector", "img[loading=lazy]"):
        browser.execute_script("arguments[0].loading = 'eager'", one)
    assert page in {"summary", "review"} or loaded(browser) >= 8
    assert browser.find_elements("css selector", "img[src=x]") == []
    browser.execute_script((importlib.resources.files(axe) / "axe.min.js").read_text(encoding="utf-8"))
    found = browser.execute_async_script("""
      axe.run(document, {resultTypes: ['violations']}).then(arguments[arguments.length - 1])
    """)
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []


def test_the_form_gives_a_short_address_and_a_range_of_any_number(browser, address):
    open_page(browser, address, "/a/grid")
    ui.Select(browsers.find(browser, "#add-range")).select_by_value("entropy")
    browsers.press(browser, "0.5")  # it has the focus
    ui.Select(browsers.find(browser, "select[name=decision]")).select_by_value("right")
    browsers.find(browser, ".choose .strong").click()
    query = browser.current_url.partition("?")[2]
    assert query == "method=cam&target=label&decision=right&sort=image_id&min.entropy=0.5"
    assert browsers.find(browser, "[name='min.entropy']").get_attribute("value") == "0.5"


def test_heat_fades_and_p_makes_pictures_plain_also_on_the_next_page(browser, address):
    open_page(browser, address, PAGES["grid"])
    fade = browsers.find(browser, "[data-act=fade]")
    browser.execute_script(
        "arguments[0].value = 25; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))", fade
    )
    heat = "return getComputedStyle(document.querySelectorAll('.heat')[3]).opacity"
    reached = ui.WebDriverWait(browser, 10)
    reached.until(lambda one: one.execute_script(heat) == "0.25")
    browsers.press(browser, "p")
    reached.until(lambda one: one.execute_script(heat) == "0")
    open_page(browser, address, PAGES["image"])
    assert browser.execute_script(heat.replace("[3]", "[0]")) == "0"
    browsers.press(browser, "p")
    reached.until(lambda one: one.execute_script(heat.replace("[3]", "[0]")) == "0.25")


def test_keys_go_from_picture_to_picture_and_mark_them(browser, address, run_path):
    open_page(browser, address, "/a/grid?method=cam&target=label&sort=image_id")
    browsers.press(browser, browsers.RIGHT, browsers.RIGHT, browsers.RIGHT, browsers.LEFT)
    cells = browser.find_elements("css selector", ".cell")
    assert browser.switch_to.active_element == cells[1].find_element("css selector", ".view")
    browsers.press(browser, "m")
    button = cells[1].find_element("css selector", "[data-mark=sick_map]")
    reached = ui.WebDriverWait(browser, 10)
    reached.until(lambda _: button.get_attribute("aria-pressed") == "true")
    browsers.press(browser, "n")
    browsers.press(browser, "look: p & m")  # no keys while a note is written
    browsers.find(browser, "#note button[value=keep]").click()
    noted = cells[1].find_element("css selector", ".noted")
    reached.until(lambda _: noted.text == "look: p & m")
    marks = {(row["image_id"], row["mark"]): row["note"] for row in reviews.read(run_path).to_pylist()}
    assert marks == {(HOSTILE + "01", "sick_map"): "", (HOSTILE + "01", "note"): "look: p & m"}
    browsers.press(browser, "m")
    reached.until(lambda _: button.get_attribute("aria-pressed") == "false")
    open_page(browser, address, "/a/review")
    assert "1 note" in browsers.find(browser, ".lead").text
    link = browsers.find(browser, "#t-marks a")
    assert link.text == HOSTILE + "01"
    link.click()
    assert browsers.find(browser, "h1").text == HOSTILE + "01"
    browsers.press(browser, browsers.RIGHT, "l")  # of the first method's map, but about the image
    pressed = '.cell [data-mark=label_wrong][aria-pressed="true"]'
    reached.until(lambda _: len(browser.find_elements("css selector", pressed)) == 2)
