"""Report and comparison in a real browser: they load nothing, and tables and pictures work by mouse and keyboard.

Needs Chromium and its driver (Debian: ``chromium``, ``chromium-driver``) and selenium.
"""

from __future__ import annotations

import importlib.resources
import json
import pathlib
import shutil

import pytest

from heatbeam.compare import compare, compare_files
from heatbeam.report import report
from tests.support import report_runs

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
ui = pytest.importorskip("selenium.webdriver.support.ui")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium with chromedriver on this machine (apt: chromium chromium-driver)"
)

OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
    "--disable-component-update", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
    "--window-size=1280,900",
)  # fmt: skip


@pytest.fixture(scope="module")
def page_url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    classes = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu", "<b>h&m</b>")
    return pathlib.Path(report.write_report(report_runs.write(folder, report_runs.Plan(classes, images=12)))).as_uri()


@pytest.fixture(scope="module")
def compared_url(tmp_path_factory):
    """Another model mistakes other images, of classes and ids that would be markup."""
    classes = ("ant", "bee", "<img src=x onerror=alert(1)>")
    runs = [
        report_runs.write(
            tmp_path_factory.mktemp("compared"),
            report_runs.Plan(classes, images=8, planted=planted, mistaken=mistaken, id_format="<b>i{:02d}</b>"),
        )
        for planted, mistaken in ((None, 7), (0, 5))
    ]
    page = tmp_path_factory.mktemp("page") / "comparison.html"
    compare_files.write_html(compare.compare(*runs), page)
    return page.as_uri()


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(started, page_url):
    """The report, freshly loaded; no message in the console and no request beside the file itself."""
    yield from loaded(started, page_url)


@pytest.fixture
def comparison(started, compared_url):
    """The page of two runs, in the same way."""
    yield from loaded(started, compared_url)


def loaded(driver, url):
    resize(driver, 1280, 900)
    media(driver, "light")
    driver.get_log("performance")
    driver.get(url)
    yield driver
    assert driver.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    assert {one for one in urls if not one.startswith("data:")} <= {url}


def resize(driver, width, height):
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def media(driver, scheme):
    features = [("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")]
    named = [{"name": name, "value": value} for name, value in features]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": named})


def find(driver, selector):
    return driver.find_element("css selector", selector)


def column(driver, table, title):
    """The shown texts of a column, by the title of its head."""
    script = """
      const table = document.getElementById(arguments[0]);
      const index = Array.from(table.tHead.rows[0].cells).findIndex((cell) => cell.textContent.includes(arguments[1]));
      return Array.from(table.tBodies[0].rows).filter((row) => !row.hidden)
        .map((row) => row.cells[index].firstChild.textContent.trim());
    """
    return driver.execute_script(script, table, title)


def head(driver, table, title):
    heads = driver.find_elements("css selector", f"#{table} thead th[aria-sort]")
    return next(one for one in heads if title in one.text)


def press(driver, *keys):
    actions = webdriver.ActionChains(driver)
    for key in keys:
        actions.send_keys(key)
    actions.perform()


ENTER, ESCAPE, LEFT, RIGHT, TAB = "\ue007", "\ue00c", "\ue012", "\ue014", "\ue004"


def test_a_column_sorts_both_ways_and_says_so(browser):
    title = "Energy on object"
    numbers = [float(text) for text in column(browser, "t-classes", title)]
    one = head(browser, "t-classes", title)
    assert one.get_attribute("aria-sort") == "none" and len(numbers) == 8
    one.find_element("css selector", "button").click()
    assert one.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in column(browser, "t-classes", title)] == sorted(numbers, reverse=True)
    # The planted class has the least energy on its object.
    assert column(browser, "t-classes", "Class")[-1] == "cat"
    one.find_element("css selector", "button").click()
    assert one.get_attribute("aria-sort") == "ascending"
    assert [float(text) for text in column(browser, "t-classes", title)] == sorted(numbers)


def test_sorting_by_name_and_by_keyboard(browser):
    one = head(browser, "t-classes", "Class")
    browser.execute_script("arguments[0].focus()", one.find_element("css selector", "button"))
    press(browser, ENTER, ENTER)
    assert one.get_attribute("aria-sort") == "descending"
    names = ["ant", "bee", "cat", "dog", "elk", "fox", "gnu"]
    assert [n for n in column(browser, "t-classes", "Class") if n in names] == names[::-1]
    others = browser.find_elements("css selector", "#t-classes thead th[aria-sort]:not([aria-sort=none])")
    assert len(others) == 1


def test_numbers_that_do_not_exist_stay_last(browser):
    browser.execute_script("""
      const cell = document.querySelector('#t-classes tbody tr:nth-child(3)').lastElementChild;
      cell.dataset.value = ''; cell.textContent = '–';
    """)
    one = head(browser, "t-classes", "Shortcut score").find_element("css selector", "button")
    for _ in range(2):
        one.click()
        assert column(browser, "t-classes", "Shortcut score")[-1] == "–"


def test_search_and_method_filter(browser):
    search = find(browser, "input[data-table=t-classes]")
    search.send_keys("CA")
    assert column(browser, "t-classes", "Class") == ["cat"]
    assert find(browser, "output[data-count=t-classes]").text == "1 of 16 rows"
    ui.Select(find(browser, "select[data-table=t-classes]")).select_by_value("")
    assert column(browser, "t-classes", "Method") == ["cam", "layer_cam"]
    search.clear()
    search.send_keys("h&m")
    assert column(browser, "t-classes", "Class") == ["<b>h&m</b>"] * 2
    search.clear()
    search.send_keys("no such class")
    assert column(browser, "t-classes", "Class") == []


def open_box(browser, number=0):
    view = browser.find_elements("css selector", "#galleries .view")[number]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", view)
    view.click()
    return view


def is_open(browser):
    return browser.execute_script("return document.getElementById('lightbox').open")


def gets_focus(browser, view):
    """The focus comes back with the dialog's close event, a moment after it is closed."""
    return ui.WebDriverWait(browser, 10).until(lambda driver: driver.switch_to.active_element == view)


def test_lightbox_closes_with_escape_and_gives_the_focus_back(browser):
    view = open_box(browser)
    assert is_open(browser)
    assert find(browser, "#lightbox-title").text == view.get_attribute("data-title")
    assert "cam" in find(browser, "#lightbox-details").text
    for _ in range(12):
        press(browser, TAB)
        outside = "return document.activeElement !== document.body && !document.activeElement.closest('dialog')"
        assert not browser.execute_script(outside)
    press(browser, ESCAPE)
    assert not is_open(browser) and gets_focus(browser, view)


def test_lightbox_opens_by_keyboard_and_steps_through_its_gallery(browser):
    views = browser.find_elements("css selector", "#galleries .view")
    titles = [view.get_attribute("data-title") for view in views[:8]]
    browser.execute_script("arguments[0].focus()", views[0])
    press(browser, ENTER)
    assert is_open(browser) and find(browser, "#lightbox-title").text == titles[0]
    press(browser, RIGHT)
    assert find(browser, "#lightbox-title").text == titles[1]
    press(browser, LEFT, LEFT)
    assert find(browser, "#lightbox-title").text == titles[7]
    press(browser, ESCAPE)
    assert gets_focus(browser, views[7])


def test_lightbox_fades_the_heatmap_and_hides_the_boxes(browser):
    open_box(browser)
    fade = find(browser, "#lightbox input[type=range]")
    browser.execute_script(
        "arguments[0].value = 25; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))", fade
    )
    assert find(browser, "#lightbox .heat").value_of_css_property("opacity") == "0.25"
    boxes = find(browser, "#lightbox .boxes")
    assert boxes.value_of_css_property("display") != "none"
    find(browser, "#lightbox input[type=checkbox]").click()
    assert boxes.value_of_css_property("display") == "none"
    find(browser, "#lightbox input[type=checkbox]").click()
    find(browser, "#lightbox [data-act=close]").click()
    assert not is_open(browser)


@pytest.mark.parametrize("width", [390, 320, 820, 1280])
def test_no_horizontal_scroll(browser, width):
    resize(browser, width, 844)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_explanations_of_columns_show_on_focus(browser):
    hint = find(browser, "#methods .hint")
    browser.execute_script("arguments[0].focus()", hint)
    tip = find(browser, "#tip")
    assert tip.is_displayed() and "energy" in tip.text.lower()
    press(browser, ESCAPE)
    assert not tip.is_displayed()


def test_a_name_in_a_legend_hides_and_shows_its_lines(browser):
    shown = """
      return Array.from(document.querySelectorAll('#curves .line')).filter((one) => one.getClientRects().length).length;
    """
    every = browser.execute_script(shown)
    toggle = find(browser, "#curves .toggle")
    key = toggle.get_attribute("data-key")
    mine = len(browser.find_elements("css selector", f"#curves .line[data-key={key}]"))
    assert mine == 6  # three limits in each of two figures
    browser.execute_script("arguments[0].focus()", toggle)
    press(browser, ENTER)
    toggles = browser.find_elements("css selector", f".toggle[data-key={key}]")
    states = {one.get_attribute("aria-pressed") for one in toggles}
    assert browser.execute_script(shown) == every - mine and states == {"false"}
    press(browser, ENTER)
    assert browser.execute_script(shown) == every and toggle.get_attribute("aria-pressed") == "true"


CONTRAST = """
const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const luminance = (c) => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
const behind = (element) => {
  for (let one = element; one; one = one.parentElement) {
    const colour = parse(getComputedStyle(one).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const low = [];
for (const element of document.querySelectorAll('body *')) {
  const text = Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!text || element.closest('script, svg, dialog, #tip, .sr')) continue;
  const style = getComputedStyle(element);
  const [a, b] = [luminance(parse(style.color)), luminance(behind(element))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  const words = element.textContent.trim().slice(0, 30);
  if (ratio < 4.5) low.push(`${element.className || element.tagName} ${ratio.toFixed(2)} ${words}`);
}
return low;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(browser, scheme):
    media(browser, scheme)
    dark = browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(19, 20, 22)"
    assert dark == (scheme == "dark")
    assert browser.execute_script(CONTRAST) == []


def test_data_is_text_not_markup(browser):
    assert browser.find_elements("css selector", "main b") == []
    assert "<b>h&m</b>" in column(browser, "t-classes", "Class")


def opacities(driver, selector):
    return {one.value_of_css_property("opacity") for one in driver.find_elements("css selector", selector)}


def test_one_slider_and_one_key_for_all_pictures(browser):
    everywhere = "#galleries .frame .heat"
    fade = find(browser, ".looks [data-act=fade]")
    browser.execute_script(
        "arguments[0].value = 40; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))", fade
    )
    assert opacities(browser, everywhere) == opacities(browser, "#galleries .edge") == {"0.4"}
    press(browser, "p")
    assert opacities(browser, everywhere) == {"0"} and find(browser, ".looks [data-act=plain]").is_selected()
    press(browser, "p")
    assert opacities(browser, everywhere) == {"0.4"}
    find(browser, "input[data-table=t-classes]").send_keys("p")  # a letter of a search is no key
    assert opacities(browser, everywhere) == {"0.4"}
    view = find(browser, "#galleries .view")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", view)
    webdriver.ActionChains(browser).move_to_element(view).perform()
    assert view.find_element("css selector", ".heat").value_of_css_property("opacity") == "0"
    assert len(opacities(browser, everywhere)) == 2


def test_a_picture_shows_its_image_as_sharp_as_it_is(browser):
    script = """
      const use = document.querySelector('#galleries .image use'), at = use.getBoundingClientRect();
      const image = document.querySelector(use.getAttribute('href')), loaded = new Image();
      loaded.src = image.getAttribute('href');
      return loaded.decode().then(() => [loaded.naturalWidth, loaded.naturalHeight, at.width > 50]);
    """
    assert browser.execute_script(script) == [report_runs.WIDTH, report_runs.HEIGHT, True]


def test_a_class_leads_to_its_images(browser):
    link = next(one for one in browser.find_elements("css selector", "#t-classes th a") if one.text == "dog")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
    link.click()
    card = find(browser, ".led .card:target")
    assert card.find_element("css selector", "h4").text == "dog"
    place = browser.execute_script("return arguments[0].getBoundingClientRect().top", card)
    assert find(browser, "nav").size["height"] <= place < 300
    card.find_element("css selector", ".view").click()
    assert is_open(browser) and "dog" in find(browser, "#lightbox-details").text


def test_the_comparison_is_sorted_filtered_and_enlarged(comparison):
    head(comparison, "t-metrics", "Difference").find_element("css selector", "button").click()
    numbers = [float(text.split(" ")[0]) for text in column(comparison, "t-metrics", "Difference")]
    assert len(numbers) > 4 and numbers == sorted(numbers, reverse=True)
    shown = [one for one in comparison.find_elements("css selector", "#t-flips figure") if one.is_displayed()]
    search = find(comparison, "input[data-table=t-flips]")
    search.send_keys("onerror")
    left = [one for one in comparison.find_elements("css selector", "#t-flips figure") if one.is_displayed()]
    assert 0 < len(left) < len(shown)
    assert find(comparison, "output[data-count=t-flips]").text == f"{len(left)} of {len(shown)} shown"
    view = left[0].find_element("css selector", ".view")
    comparison.execute_script("arguments[0].scrollIntoView({block: 'center'})", view)
    view.click()
    frames = comparison.find_elements("css selector", "#lightbox .frame")
    assert len(frames) == 2 and abs(frames[0].rect["y"] - frames[1].rect["y"]) < 1  # side by side
    assert find(comparison, "#lightbox-title").text.startswith("<b>i")
    assert comparison.find_elements("css selector", "main b, main img[onerror]") == []


@pytest.mark.parametrize("page", ["browser", "comparison"])
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_nothing_keeps_people_from_using_the_page(page, width, scheme, request):
    axe = pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")
    driver = request.getfixturevalue(page)
    resize(driver, width, 900)
    media(driver, scheme)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    driver.execute_script((importlib.resources.files(axe) / "axe.min.js").read_text(encoding="utf-8"))
    found = driver.execute_async_script("""
      axe.run(document, {resultTypes: ['violations']}).then(arguments[arguments.length - 1])
    """)
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
