"""Walks through the page at / in Chromium, as a user does. Started by tests/page/run."""

import argparse
import pathlib
import sys
import tempfile
import time

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from world import SCRIPT, Agent, Loki, Programs, until

WIDE, NARROW = (1400, 900), (420, 900)
PICTURES = pathlib.Path("docs/images")


class Page:
    def __init__(self, address, pictures):
        options = webdriver.ChromeOptions()
        for argument in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--lang=en-US"]:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.binary_location = "/usr/bin/chromium"
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
        self.address, self.pictures = address, pictures
        self.size(WIDE)
        self.colours("light")

    def size(self, size):
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def colours(self, scheme):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def view(self, name):
        self.driver.get(f"{self.address}#{name}")
        until(lambda: self.one(f"#view-{name}").is_displayed(), f"the view {name}")

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.script("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def script(self, code, *arguments):
        return self.driver.execute_script(code, *arguments)

    def sees(self, text, selector="body", seconds=15):
        until(lambda: text in self.text(selector), f"{text!r} in {selector}, which has {self.text(selector)[:600]!r}", seconds)

    def fits(self, where):
        width, window = self.script("return [document.documentElement.scrollWidth, innerWidth]")
        assert width <= window, f"{where}: {width} px wide in a window of {window} px"

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def picture(self, name):
        if self.pictures:
            PICTURES.mkdir(parents=True, exist_ok=True)
            file = PICTURES / f"page-{name}.png"
            self.driver.save_screenshot(str(file))
            assert file.stat().st_size < 200_000, f"{file} has {file.stat().st_size} bytes"


def numbers_grow(page, world):
    page.view("overview")
    read = lambda: int("".join(c for c in page.text("#tiles .tile:nth-child(1) .note").split(" in all")[0] if c.isdigit()) or 0)
    first = until(read, "lines are read")
    until(lambda: read() > first, "more lines are read")
    page.sees("delivering", "#health")
    until(lambda: "…" not in page.text("#tiles .tile:nth-child(2) .value"), "a rate")
    page.sees("health_check", "#losses")
    page.sees("kube-system", "#dropped")
    until(lambda: page.all("#clients tbody .pill.good"), "a client that is well")


def nothing_is_markup(page, world):
    page.view("targets")
    until(lambda: len(page.all("#rows button.path")) == 6, "five files and a target without")
    row = next(button for button in page.all("#rows button.path") if "web" in button.text)
    row.click()
    page.sees(SCRIPT, "#rows .labels")
    assert page.all("#rows script, #rows img") == [] and "owned" not in page.driver.title
    row.click()
    assert page.all("#rows .detail") == []


def filters(page, world):
    page.view("targets")
    form = lambda name: page.one(f"#filter [name={name}]")
    until(lambda: len(Select(form("namespace")).options) == 3, "the namespaces to choose from")
    Select(form("namespace")).select_by_value("shop")
    until(lambda: len(page.all("#rows button.path")) == 3, "three files of shop")
    form("q").send_keys("cart")
    until(lambda: len(page.all("#rows button.path")) == 1, "one file of cart")
    page.script("window.row = document.querySelector('#rows button.path')")
    seen = page.text("#rows tbody")
    until(lambda: page.text("#rows tbody") != seen, "the page refreshes itself")
    assert form("q").get_attribute("value") == "cart", "the filter stays"
    assert page.script("return document.activeElement.name") == "q", "the focus stays"
    assert page.script("return window.row.isConnected"), "the row is the same element"
    form("q").send_keys("-nowhere")
    page.sees("No target matches the filter", "#rows")
    page.driver.execute_script("document.querySelector('#filter').reset(); document.querySelector('#filter').dispatchEvent(new Event('input'))")
    Select(form("state")).select_by_value("no_file")
    page.sees("no file", "#rows tbody")
    assert "there is no directory" in page.text("#rows"), page.text("#rows")
    Select(form("state")).select_by_value("")


def a_target_shows_its_rules(page, world):
    page.view("targets")
    until(lambda: len(page.all("#rows button.path")) == 6, "all rows")
    next(button for button in page.all("#rows button.path") if "cart" in button.text).click()
    page.sees('"platform"', "#rows .way")
    for client in world.lokis:
        page.sees(client, "#rows .detail table")
    page.script("document.querySelector('#rows .way').scrollIntoView({block: 'end'})")
    page.picture("target")
    page.view("explain")
    page.one("#question [name=about]").send_keys("namespace=kube-system,__path__=/x")
    page.one("#question [name=about]").send_keys(Keys.ENTER)
    page.sees("drops the target", "#explanation")


def live_tail(page, world):
    page.view("tail")
    page.one("#watch [name=q]").send_keys("a-line-to-find")
    page.one("#toggle").click()
    page.sees("shown as they are read", "#tail-state")
    world.programs.say(f"level=info a-line-to-find {SCRIPT}")
    said = time.monotonic()
    page.sees("a-line-to-find", "#lines", seconds=5)
    print(f"        a line is shown after {time.monotonic() - said:.2f} s", flush=True)
    until(lambda: page.all("#lines .before") and page.all("#lines .after"), "the line before and after the stages")
    assert page.all("#lines script, #lines img") == []
    page.sees(SCRIPT, "#lines .before")
    page.sees('level="info"', "#lines .after")
    page.one("#watch [name=q]").clear()
    page.one("#watch [name=q]").send_keys("checkout")
    until(lambda: len(page.all("#lines li")) > 20, "many lines")
    page.picture("tail")
    page.one("#toggle").click()
    page.sees("Stopped", "#tail-state")


def loki_goes_away(page, world):
    page.view("overview")
    world.lokis["loki"].go()
    page.sees("Loki does not accept pushes of client loki", "#notices", seconds=20)
    page.sees("not delivering", "#health")
    page.sees("failing for", "#clients")
    page.picture("loki-away")
    world.lokis["loki"].come()
    until(lambda: "does not accept" not in page.text("#notices"), "the notice goes", 20)
    page.sees("delivering", "#health")


def keyboard(page, world):
    # A new document, in which nothing has the focus.
    page.driver.get("about:blank")
    page.view("overview")
    press = lambda key: webdriver.ActionChains(page.driver).send_keys(key).perform()
    focused = lambda: page.script("return document.activeElement.textContent")
    press(Keys.TAB)
    assert focused() == "Skip to the content", focused()
    for _ in range(3):
        press(Keys.TAB)
    assert focused() == "Targets", focused()
    assert page.script("return getComputedStyle(document.activeElement).outlineStyle") == "solid", "the focus is visible"
    press(Keys.ENTER)
    until(lambda: page.one("#view-targets").is_displayed() and len(page.all("#rows button.path")) == 6, "the targets")
    page.script("document.querySelector('#rows button.path').focus()")
    press(Keys.ENTER)
    until(lambda: page.all("#rows .detail"), "the detail of a row")
    assert page.script("return document.activeElement.getAttribute('aria-expanded')") == "true"
    press(Keys.SPACE)
    until(lambda: not page.all("#rows .detail"), "no detail")
    heads = page.script("return [...document.querySelectorAll('thead th')].every(th => th.scope === 'col' && th.closest('table').caption)")
    assert heads, "each table has a caption, and heads with a scope"
    names = page.script("return [...document.querySelectorAll('input, select')].every(field => field.labels.length === 1)")
    assert names, "each field has a label"


def every_size_and_colour(page, world):
    grounds = set()
    for scheme in ["light", "dark"]:
        page.colours(scheme)
        grounds.add(page.script("return getComputedStyle(document.body).backgroundColor"))
        for name, size in [("wide", WIDE), ("narrow", NARROW)]:
            page.size(size)
            for view in ["overview", "targets", "explain", "tail", "config"]:
                page.view(view)
                if view == "targets":
                    until(lambda: len(page.all("#rows button.path")) == 6, "all rows")
                elif view == "overview":
                    until(lambda: "…" not in page.text("#tiles .value"), "the numbers")
                elif view == "config":
                    page.sees("scrape_configs", "#yaml")
                page.fits(f"{view} {name} {scheme}")
                if view == "overview" or (view, name, scheme) in [("targets", "wide", "light"), ("targets", "narrow", "dark")]:
                    page.picture(f"{view}-{name}-{scheme}")
    assert len(grounds) == 2, "dark differs from light"
    page.size(WIDE)
    page.colours("light")


STEPS = [numbers_grow, nothing_is_markup, filters, a_target_shows_its_rules, live_tail, loki_goes_away, keyboard, every_size_and_colour]


class World:
    def __init__(self, program, folder):
        self.lokis = {"loki": Loki(), "archive": Loki()}
        self.programs = Programs(folder / "pods")
        self.agent = Agent(program, folder, self.lokis, self.programs)
        self.programs.thread.start()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("program")
    arguments.add_argument("--pictures", action="store_true", help="write docs/images/page-*.png")
    arguments.add_argument("steps", nargs="*")
    asked = arguments.parse_args()
    failed = []
    with tempfile.TemporaryDirectory(prefix="fantail-page-") as folder:
        world = World(asked.program, pathlib.Path(folder))
        page = None
        try:
            page = Page(world.agent.address, asked.pictures)
            for step in STEPS:
                if asked.steps and step.__name__ not in asked.steps:
                    continue
                begun = time.monotonic()
                try:
                    step(page, world)
                    complaints = page.complaints()
                    assert not complaints, f"the console says: {complaints}"
                    print(f"ok      {step.__name__} ({time.monotonic() - begun:.1f} s)", flush=True)
                except Exception as error:
                    failed.append(step.__name__)
                    page.driver.save_screenshot(f"/tmp/fantail-page-{step.__name__}.png")
                    print(f"FAILED  {step.__name__}: {error}", flush=True)
        finally:
            if page:
                page.driver.quit()
            world.programs.stopped.set()
            world.agent.stop()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
