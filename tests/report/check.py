"""Looks at pages of the report in headless Chromium. Called by tests/report.rs.

    check.py CHROMIUM FIGURES PAGE.html...

Every page has to have so many FIGURES, comma-separated. With LATE_FAST_SCREENSHOTS, a directory, pictures of the pages
are kept there.
"""

import os
import pathlib
import sys

from playwright.sync_api import sync_playwright

WIDTHS = [400, 800, 1400]
THEMES = ["light", "dark"]

# What is wrong with the layout, as sentences.
LAYOUT = """() => {
  const wrong = [];
  const wide = document.documentElement.scrollWidth - innerWidth;
  if (wide > 0) wrong.push(`the page is ${wide} pixels wider than the window`);
  const channel = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((value) => channel(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const paper = getComputedStyle(document.body).backgroundColor;
  for (const figure of document.querySelectorAll("figure")) {
    const svg = figure.querySelector("svg");
    const box = svg.getBoundingClientRect();
    if (!svg.checkVisibility() || box.width < 330 || box.height < 120) {
      wrong.push(`${figure.id} is ${box.width} x ${box.height} pixels`);
    }
    const texts = [...svg.querySelectorAll("text")].map((text) => [text.textContent, text.getBoundingClientRect(), text]);
    for (const [content, place, text] of texts) {
      if (place.left < box.left - 0.5 || place.right > box.right + 0.5 || place.top < box.top - 0.5 || place.bottom > box.bottom + 0.5) {
        wrong.push(`${figure.id}: "${content}" leaves the figure`);
      }
      const style = getComputedStyle(text);
      const size = parseFloat(style.fontSize) * box.width / svg.viewBox.baseVal.width;
      if (size < 9.5) wrong.push(`${figure.id}: "${content}" is only ${size} pixels high`);
      if (contrast(style.fill, paper) < 5) wrong.push(`${figure.id}: "${content}" is ${style.fill} on ${paper}`);
    }
    for (let i = 0; i < texts.length; i++) {
      for (let j = 0; j < i; j++) {
        const [a, b] = [texts[i][1], texts[j][1]];
        // The boxes have room for accents and descenders.
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (across > 0.5 && down > 0.3 * Math.min(a.height, b.height, a.width, b.width)) {
          wrong.push(`${figure.id}: "${texts[i][0]}" and "${texts[j][0]}" overlap`);
        }
      }
    }
  }
  for (const block of document.querySelectorAll("h1, h2, h3, p, dd, dt, figcaption, .scroll")) {
    const box = block.getBoundingClientRect();
    if (box.right > innerWidth + 0.5 || box.left < -0.5) wrong.push(`"${block.textContent.slice(0, 40)}" leaves the window`);
  }
  if (document.querySelectorAll("img, iframe, object, [onerror]").length) wrong.push("a name became an element");
  return wrong;
}"""


def open_page(browser, path, width, theme):
    """The page, and what went wrong while it was opened, which grows."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    wrong = []
    address = path.as_uri()
    page.on("console", lambda message: wrong.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (wrong.append("a script of a name ran"), dialog.dismiss()))
    page.on("request", lambda request: wrong.append(f"request: {request.url}") if not request.url.startswith((address, "data:,", "blob:")) else None)
    page.goto(address)
    return page, wrong


def check_layout(browser, path, n_figures, width, theme):
    page, wrong = open_page(browser, path, width, theme)
    found = page.locator("figure svg").count()
    if found != n_figures:
        wrong.append(f"{found} figures instead of {n_figures}")
    wrong += page.evaluate(LAYOUT)
    keep = os.environ.get("LATE_FAST_SCREENSHOTS")
    if keep:
        page.screenshot(path=f"{keep}/{path.parent.name}-{width}-{theme}.png", full_page=True)
    page.close()
    assert not wrong, f"{path} at {width} pixels, {theme}:\n" + "\n".join(wrong)


def check_tables(page):
    """Every column of every table, by click and by keyboard."""
    # Of every row whether there is a number, what stands there, and how it compares with the text before.
    values = """(column) => {
        const cells = [...document.querySelectorAll("#TABLE tbody tr")].map((row) => row.cells[column]);
        return cells.map((cell, i) => ["value" in cell.dataset, cell.dataset.value ?? cell.textContent,
            i && Math.sign(cells[i - 1].textContent.localeCompare(cell.textContent, undefined, { numeric: true }))]);
    }"""
    tables = page.locator(".table").evaluate_all("tables => tables.map(table => table.id)")
    for table in tables:
        heads = page.locator(f"#{table} th")
        for column in range(heads.count()):
            button = heads.nth(column).locator("button")
            is_number = heads.nth(column).evaluate("head => head.classList.contains('numeric')")
            for sign, name, press in [(1, "ascending", button.click), (-1, "descending", lambda: button.press("Enter"))]:
                press()
                assert heads.nth(column).get_attribute("aria-sort") == name
                shown = page.evaluate(values.replace("TABLE", table), column)
                present = [row for row in shown if row[1]]
                assert shown[: len(present)] == present, f"{table}: missing values are not last"
                assert all(row[0] for row in shown) or not is_number, (table, column)
                numbers = [float(value.replace("Infinity", "inf")) for number, value, _ in present if number]
                assert numbers == sorted(numbers, reverse=sign < 0), (table, column, name, numbers)
                # Where there are both, numbers stand before texts, or after them in the other direction.
                kinds = [number for number, _, _ in present]
                assert kinds == sorted(kinds, reverse=sign > 0), (table, column, name, kinds)
                for before, after in zip(present, present[1:]):
                    if not before[0] and not after[0]:
                        assert after[2] * sign <= 0, (table, column, name, before, after)
    return len(tables)


def check_tips(page):
    """Something is said of a place in every figure that has one."""
    kinds = set()
    for figure in page.locator("figure").all():
        found = figure.evaluate("""(figure) => {
            const [[kind, marks]] = Object.entries(JSON.parse(figure.querySelector("script").textContent));
            const middle = (list) => list[Math.floor(list.length / 2)];
            if (kind === "points" && marks.points.length) {
                const [x, y, , xValue, , name] = middle(marks.points);
                return [kind, x, y, name || marks.x];
            }
            if (kind === "boxes" && marks.length) {
                const [left, top, right, bottom, lines] = middle(marks);
                return [kind, (left + right) / 2, (top + bottom) / 2, lines[0]];
            }
            if (kind === "grid" && marks.counts.length) {
                return [kind, (marks.columns[0][0] + marks.columns[1][0]) / 2, (marks.rows[0][0] + marks.rows[1][0]) / 2, "count"];
            }
            return null;
        }""")
        if found is None:
            continue
        kind, x, y, expected = found
        figure.scroll_into_view_if_needed()
        at = figure.locator("svg").evaluate("""(svg, [x, y]) => {
            const place = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
            if (place.y > innerHeight - 10 || place.y < 10) scrollBy(0, place.y - innerHeight / 2);
            const { x: left, y: top } = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
            return [left, top];
        }""", [x, y])
        page.wait_for_timeout(30)  # scrolling hides what is said
        page.mouse.move(*at)
        tip = page.locator("#tip")
        assert tip.is_visible(), f"nothing is said of {figure.get_attribute('id')}"
        said = tip.inner_text()
        plain = " ".join(expected.replace("\0", " ").split())
        if kind != "points":  # points may lie upon each other
            assert plain in " ".join(said.split()), (said, expected)
        box = tip.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= page.viewport_size["width"] + 0.5, box
        kinds.add(kind)
        page.mouse.move(1, 1)
        assert not tip.is_visible()
    return kinds


def check_themes(page):
    background = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(background)
    assert before == "rgb(255, 255, 255)", before
    button = page.locator("#theme")
    button.click()
    button.click()
    assert "dark" in button.inner_text() and page.evaluate(background) != before
    page.emulate_media(media="print")
    assert page.evaluate(background) == before, "paper is white"
    page.emulate_media(media="screen")
    page.reload()
    assert "dark" in button.inner_text(), "the choice is forgotten"
    button.click()
    assert page.evaluate(background) == before


def check_legend(page):
    figure = page.locator("figure").filter(has=page.locator(".key")).last
    entry = figure.locator(".key").first
    faint = """(figure) => [...figure.querySelectorAll(".series")].filter((one) => getComputedStyle(one).opacity < 1).length"""
    entry.click()
    assert figure.evaluate(faint) == figure.locator(".series").count() - 1
    entry.press("Enter")
    assert figure.evaluate(faint) == 0


def check_saved(page, path):
    """The drawing that a page without its files gives is the one that lies beside it."""
    with page.expect_download() as download:
        page.locator("figure a.svg").first.click()
    text = pathlib.Path(download.value.path()).read_text()
    assert text.startswith("<svg") and "var(" not in text and 'fill="#1b1f27"' in text, text[:300]
    assert (path.parent / "figures" / download.value.suggested_filename).exists()


def main():
    chromium, n_figures, *paths = sys.argv[1:]
    with sync_playwright() as playwright:
        # Pages of ours are all that is opened, and root has no other way.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for path, n in zip(map(pathlib.Path, paths), map(int, n_figures.split(",")), strict=True):
            for width in WIDTHS:
                for theme in THEMES:
                    check_layout(browser, path, n, width, theme)
            page, wrong = open_page(browser, path, 1400, "light")
            n_tables = check_tables(page)
            kinds = check_tips(page)
            check_themes(page)
            check_legend(page)
            check_saved(page, path)
            assert kinds == {"points", "boxes", "grid"}, kinds
            assert not wrong, f"{path}:\n" + "\n".join(wrong)
            page.close()
            print(f"{path}: {n} figures and {n_tables} tables, in Chromium {browser.version}")
        browser.close()


if __name__ == "__main__":
    main()
