"""The dashboard in a real browser: light, dark, phone, keyboard, without JavaScript, hostile."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from afterword.dashboard.routes import ROUTES
from afterword.model.audit import Actor
from afterword.model.outcome import Completed, Failed
from afterword.store.protocol import Settlement, Store
from tests.dashboard.browsing import CHROMIUM, Served, Tab, serving, tab_in
from tests.dashboard.population import Population, hostile, ordinary
from tests.helpers import wait_until
from tests.stores import new_file, opened

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Debian's chromium-headless-shell: scripts/test installs it"
)

WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": WIDE, "color_scheme": "light"},
    "dark": {"viewport": WIDE, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light", "has_touch": True, "is_mobile": True},
    "phone dark": {"viewport": PHONE, "color_scheme": "dark", "has_touch": True},
    "zoomed": {"viewport": {"width": 640, "height": 400}, "device_scale_factor": 2},
}
SCREENS = (
    "/",
    "/jobs",
    "/jobs?q=state:nonsense",
    "/jobs/change/delete?q=",
    "/jobs/{failed}",
    "/jobs/{failed}/copy",
    "/jobs/{running}",
    "/jobs/{waiting}",
    "/audit",
    "/audit?name=nobody",
    "/system",
    "/failures",
    "/tasks",
    "/tasks/run?task=shop.mail:send_receipt",
    "/nowhere",
)
# Axe takes a second or two for each page, so it sees the most different ones.
EXAMINED = {
    "light": SCREENS,
    "dark": [screen for screen in SCREENS if "?" not in screen and "ing}" not in screen],
    "phone": SCREENS[:2],
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An open, empty store."""
    with opened(new_file(tmp_path / "jobs.db")) as store:
        yield store


@pytest.fixture
def served(store: Store) -> Iterator[Served]:
    """A dashboard on the store."""
    with serving(store) as served:
        yield served


@pytest.fixture
def tab(browser: Browser, served: Served) -> Iterator[Tab]:
    """A tab in which no error may occur. It is closed before the server ends."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    tab = tab_in(context)
    yield tab
    context.close()
    assert [] == tab.trouble


# ---------------------------------------------------------------------- looks


@pytest.mark.parametrize("look", LOOKS)
def test_every_screen_fits_and_is_accessible(browser: Browser, served: Served, look: str) -> None:
    named = ordinary(served.store)
    context = browser.new_context(**LOOKS[look])
    tab = tab_in(context)  # one for all: each new one is a new process
    for screen in SCREENS:
        tab.page.goto(served.url + screen.format(**named))

        assert 0 >= tab.overflow(), screen
        if screen in EXAMINED.get(look, ()):
            assert [] == tab.violations(), screen
        assert [] == [each for each in tab.trouble if "404" not in each], screen
    context.close()


def test_an_empty_store_has_accessible_screens(tab: Tab, served: Served) -> None:
    for screen in ("/", "/jobs", "/failures", "/tasks", "/audit", "/system"):
        tab.page.goto(served.url + screen)
        assert [] == tab.violations()


def test_targets_on_a_phone_can_be_hit(browser: Browser, served: Served) -> None:
    ordinary(served.store)
    context = browser.new_context(**LOOKS["phone"])
    tab = tab_in(context)
    for screen in ("/", "/jobs", "/failures", "/tasks", "/audit", "/system"):
        tab.page.goto(served.url + screen)
        targets = tab.page.locator(
            "nav a:visible, .button:visible, td[data-label=Task] a:visible, .all a:visible,"
            " td[data-label=Who] a:visible, .tick label:visible"
        )
        heights = targets.evaluate_all(
            "all => all.map((each) => each.getBoundingClientRect().height)"
        )

        assert heights
        assert [] == [each for each in heights if each < 40]
    context.close()


def test_nothing_moves_for_those_who_do_not_want_it(browser: Browser, served: Served) -> None:
    ordinary(served.store)
    context = browser.new_context(reduced_motion="reduce")
    tab = tab_in(context)
    tab.page.goto(f"{served.url}/jobs")

    assert 0 == tab.page.evaluate("document.getAnimations().length")
    context.close()


# ---------------------------------------------------------------------- keyboard


def test_the_first_tab_stop_skips_the_menu(tab: Tab, served: Served) -> None:
    tab.page.goto(f"{served.url}/jobs")
    tab.page.keyboard.press("Tab")
    expect(tab.page.locator(".skip")).to_be_focused()
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#main")).to_be_focused()


def test_keys_lead_to_the_search_the_screens_and_the_help(tab: Tab, served: Served) -> None:
    ordinary(served.store)
    tab.page.goto(f"{served.url}/")
    tab.page.keyboard.press("g")
    tab.page.keyboard.press("2")
    tab.page.wait_for_url("**/jobs")
    tab.page.keyboard.press("/")
    expect(tab.page.locator("#q")).to_be_focused()
    tab.page.keyboard.type("state:failed ?")
    expect(tab.page.locator("dialog")).to_be_hidden()
    tab.page.keyboard.press("Escape")
    tab.page.locator("#q").blur()
    tab.page.keyboard.press("?")
    expect(tab.page.locator("dialog")).to_be_visible()
    assert [] == tab.violations()
    tab.page.keyboard.press("Escape")
    expect(tab.page.locator("dialog")).to_be_hidden()


def test_jobs_are_retried_by_keyboard(tab: Tab, served: Served) -> None:
    job_id = Population(served.store).end(Failed("ValueError: no"))
    tab.page.goto(f"{served.url}/jobs/{job_id}")
    tab.page.get_by_role("link", name="Retry").focus()
    tab.page.keyboard.press("Enter")
    tab.page.get_by_role("button", name="Retry 1 job").focus()
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator(".done")).to_have_text("1 retried.")
    expect(tab.page.locator(".title .state")).to_have_text("queued")


def test_a_group_of_failures_is_retried_by_keyboard(tab: Tab, served: Served) -> None:
    people = Population(served.store)
    for number in range(3):
        people.end(Failed(f"ValueError: no order {number}"))
    tab.page.goto(f"{served.url}/failures")
    tab.page.get_by_role("link", name="Retry all jobs of the group ValueError").focus()
    tab.page.keyboard.press("Enter")
    tab.page.get_by_role("button", name="Retry 3 jobs").focus()
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator(".done")).to_have_text("3 retried.")
    expect(tab.page.locator("main h2")).to_have_text("No job has failed")


def test_a_range_of_jobs_is_selected_with_shift(tab: Tab, served: Served) -> None:
    people = Population(served.store)
    for _ in range(5):
        people.end(Failed("ValueError: no"))
    tab.page.goto(f"{served.url}/jobs?q=state:failed")
    boxes = tab.page.locator('input[name="id"]')
    boxes.nth(1).click()
    boxes.nth(3).click(modifiers=["Shift"])
    expect(tab.page.locator("#chosen")).to_have_text("3 selected:")
    tab.page.get_by_role("button", name="Retry").click()
    expect(tab.page.locator("h1")).to_have_text("Retry 3 selected jobs?")


# ---------------------------------------------------------------------- without JavaScript


def test_everything_works_without_javascript(browser: Browser, served: Served) -> None:
    named = ordinary(served.store)
    context = browser.new_context(java_script_enabled=False)
    page = tab_in(context).page
    page.goto(f"{served.url}/")
    page.get_by_role("link", name="Jobs", exact=True).click()
    page.locator("#q").fill("state:failed task:shop.mail:send_receipt")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("tbody tr")).to_have_count(3, timeout=60_000)
    page.locator('input[name="id"]').first.check()
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("button", name="Retry 1 job").click()
    assert "1 retried." == page.locator(".done").inner_text()
    page.goto(f"{served.url}/jobs/{named['queued']}")
    page.get_by_role("button", name="Run a copy").click()
    assert "Added as a copy" in page.locator(".done").inner_text()
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("button", name="Cancel 1 job").click()
    assert "cancelled" == page.locator(".title .state").inner_text()
    page.get_by_role("link", name="Audit", exact=True).click()
    page.get_by_label("Action").select_option("cancel")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(2, timeout=60_000)
    page.get_by_role("link", name="System", exact=True).click()
    page.locator("summary").click()
    assert "schema: version" in page.locator("#report pre").inner_text()
    page.goto(f"{served.url}/jobs/{named['queued']}")
    page.get_by_role("link", name="Edit and run").click()
    page.get_by_label("Arguments").fill('{"number": 78')
    page.get_by_role("button", name="Run", exact=True).click()
    assert "must be valid JSON" in page.locator(".mistake").inner_text()
    page.get_by_label("Arguments").fill('{"number": 78}')
    page.get_by_role("button", name="Run", exact=True).click()
    assert "78" == page.locator(".tree .v-number").inner_text()
    page.goto(f"{served.url}/")
    page.get_by_role("link", name="7 d").click()
    assert "Last 7 days" in page.locator("main").inner_text()
    for script in ("#live", "#help", ".copy >> nth=0"):
        assert not page.locator(script).is_visible()
    context.close()


# ---------------------------------------------------------------------- live


def test_a_row_changes_in_place(tab: Tab, served: Served) -> None:
    people = Population(served.store)
    claim = people.start()
    people.add()
    tab.page.goto(f"{served.url}/jobs")
    row = tab.page.locator(f"#j-{claim.id}")
    link = row.locator("td[data-label=Task] a")
    row.locator("input").check()
    tab.page.locator("summary").first.click()
    link.focus()
    expect(row.locator(".state")).to_have_text("running")
    served.store.settle([Settlement(claim, Completed())])

    expect(row.locator(".state")).to_have_text("completed", timeout=60_000)
    expect(link).to_be_focused()
    expect(row.locator("input")).to_be_checked()
    expect(tab.page.locator("#q-more")).to_have_attribute("open", "")


def test_new_jobs_wait_until_they_are_asked_for(tab: Tab, served: Served) -> None:
    people = Population(served.store)
    people.add()
    tab.page.goto(f"{served.url}/jobs")
    people.add()
    people.add()

    expect(tab.page.locator("#news")).to_have_text("2 new jobs", timeout=60_000)
    assert 1 == tab.page.locator("tbody tr").count()
    tab.page.locator("#news a").click()
    expect(tab.page.locator("tbody tr")).to_have_count(3)


def test_what_is_typed_stays(tab: Tab, served: Served) -> None:
    people = Population(served.store)
    people.add()
    tab.page.goto(f"{served.url}/jobs")
    tab.page.locator("#q").press_sequentially("state:fai")
    people.add()

    expect(tab.page.locator("#news")).to_have_text("1 new job", timeout=60_000)
    expect(tab.page.locator("#q")).to_have_value("state:fai")
    expect(tab.page.locator("#q")).to_be_focused()


def test_polls_are_empty_while_nothing_changes(tab: Tab, served: Served) -> None:
    statuses: list[int] = []
    tab.page.on(
        "response",
        lambda each: statuses.append(each.status) if "hx-request" in each.request.headers else None,
    )
    tab.page.goto(f"{served.url}/")
    # Playwright delivers events while it waits for something in the page.
    tab.page.wait_for_timeout(7_000)

    assert len(statuses) >= 2
    assert statuses.count(304) >= len(statuses) - 1  # one may be due to the time


def test_a_paused_page_does_not_change(tab: Tab, served: Served) -> None:
    asked: list[str] = []
    tab.page.goto(f"{served.url}/")
    tab.page.keyboard.press("p")
    expect(tab.page.locator("#live")).to_have_attribute("aria-pressed", "false")
    expect(tab.page.locator("#live")).to_have_text("Paused")
    tab.page.on("request", lambda each: asked.append(each.url))
    tab.page.wait_for_timeout(5_000)
    assert [] == asked
    with tab.page.expect_request("**/admin/jobs/**"):
        tab.page.locator("#live").click()
    expect(tab.page.locator("#live")).to_have_text("Live")


def test_times_go_on_without_the_server(tab: Tab, served: Served) -> None:
    Population(served.store).add()
    tab.page.goto(f"{served.url}/jobs")
    shown = tab.page.locator("tbody time").first
    before = shown.inner_text()

    expect(shown).not_to_have_text(before, timeout=60_000)
    assert "\n" in str(shown.get_attribute("title"))


def test_an_open_page_does_not_hold_a_server(browser: Browser, store: Store) -> None:
    context = browser.new_context()
    with serving(store) as served:
        tab = tab_in(context)
        tab.page.goto(f"{served.url}/")
        tab.page.wait_for_timeout(2_500)

        assert served.stop(timeout=5.0)
    expect(tab.page.locator("#status")).to_contain_text("No answer", timeout=60_000)
    context.close()


def test_many_tabs_do_not_stall(browser: Browser, served: Served) -> None:
    """There are more than the six connections that a browser opens to one host."""
    Population(served.store).add()
    context = browser.new_context()
    tabs = [tab_in(context) for _ in range(8)]
    for tab in tabs:
        tab.page.goto(f"{served.url}/jobs")
    Population(served.store).add()
    for tab in tabs:
        tab.page.bring_to_front()
        expect(tab.page.locator("#news")).to_have_text("1 new job", timeout=60_000)
    context.close()


# ---------------------------------------------------------------------- hostile


def test_hostile_text_stays_text(browser: Browser, served: Served) -> None:
    ids = hostile(served.store)
    people = Population(served.store)
    words = ("w" * 150, "long " * 30)
    for word in words:
        served.store.note(word, [word], 1, Actor(name=word, place=word))
        people.end(Failed(word), f"{word}:{word}", queue=word[:64], tags=(word,), request_id=word)
    context = browser.new_context(viewport={"width": 320, "height": 568})
    tab = tab_in(context)
    own = (f"/jobs/{each}" for each in ids)
    forms = (
        *(f"/tasks/run?task={word}:{word}" for word in words),
        *(f"/audit?action={word}&name={word}" for word in words),
        f"/jobs?q=error:{words[0]}",
        f"/jobs/{ids[0]}/copy",
        "/jobs/change/retry?q=state:failed",
        f"/queues/queue?name={words[0][:64]}",
    )
    for path in ("/", *(each.path for each in ROUTES if each.menu), *forms, *own):
        tab.page.goto(served.url + path)
        tab.page.mouse.move(200, 300)

        assert [] == tab.trouble, path
        assert 0 >= tab.overflow(), path
        assert 0 == tab.page.evaluate(
            "document.querySelectorAll('main script, main img, main iframe, [onload], [onerror],"
            " [onmouseover]').length"
        )
    context.close()


def test_hostile_text_survives_a_morph(tab: Tab, served: Served) -> None:
    hostile(served.store)
    tab.page.goto(f"{served.url}/")
    before = tab.page.locator("main").get_attribute("data-tag")
    people = Population(served.store)
    people.end(Failed("<img src=x onerror=alert(1)>"), "<b>:<script>alert(2)</script>")
    wait_until(
        lambda: tab.page.locator("main").get_attribute("data-tag") != before,
        description="the page has been renewed",
        every=0.2,
    )

    assert 0 == tab.page.locator("main b, main img, main script").count()


def test_the_page_loads_nothing_from_elsewhere(tab: Tab, served: Served) -> None:
    urls: list[str] = []
    tab.page.on("request", lambda each: urls.append(each.url))
    named = ordinary(served.store)
    for path in ("/", "/jobs", f"/jobs/{named['failed']}"):
        tab.page.goto(served.url + path)

    assert [] == [each for each in urls if not each.startswith(served.url)]
