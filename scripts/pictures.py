"""Make the pictures of the README and the tutorial: the page with tagged sentences, and a part of an error report.

The bundle is the one that `scripts/demo` trains on the embedded sample. The pictures are 1,200 pixels wide, in at most
256 colours.
"""

import argparse
import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

PROJECT = Path(__file__).resolve().parents[1]
PICTURES = PROJECT / "tagger" / "docs" / "pictures"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

WIDTH, SCALE = 1000, 1.2  # of the window, in CSS pixels; a picture has WIDTH * SCALE pixels
REPORT_START, REPORT_HEIGHT = "Errors", 806  # the heading it begins at; CSS pixels

TEXT = """黑泽明擅长调度天气，《七武士》的最后决战就泡在瓢泼大雨和烂泥当中。
每逢新年，维也纳金色大厅的音乐会总要以《拉德茨基进行曲》收尾，观众跟着节拍鼓掌。
系列小说《哈利·波特》的作者J.K.罗琳，早年曾在爱丁堡的咖啡馆里写稿。
从郑州一家刨冰摊起步，蜜雪冰城靠低价柠檬水铺遍了大小县城。
张曼玉最让我难忘的角色不在古装片里，而在陈可辛的《甜蜜蜜》。"""
ADDED = "蜜雪冰城"  # what a user corrects


def main() -> None:
    """Take the pictures."""
    options = parse_options()
    command = [sys.executable, "-m", "tagger"]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = os.environ.get("TAGGER_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        report = Path(folder) / "report.html"
        evaluate = ["evaluate", options.bundle, "data/dev.jsonl", "--train", "data/train.jsonl", "--html", report]
        subprocess.run([*command, *evaluate], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
        with opened(browser, report.as_uri()) as page:
            heading = page.locator("h2", has_text=REPORT_START).bounding_box()
            assert heading
            save_picture(page, "report.png", int(heading["y"]) - 24, REPORT_HEIGHT)
        serve = [*command, "serve", options.bundle, "--port", "0", "--save", Path(folder) / "corrected.jsonl"]
        with served(serve) as address, opened(browser, address) as page:
            with page.expect_response("**/tag"):
                page.fill("#text", TEXT)
            expect(page.locator("#view")).to_have_class("view")
            start = TEXT.index(ADDED)
            page.evaluate(f"document.querySelector('#text').setSelectionRange({start}, {start + len(ADDED)})")
            page.click("#labels button")
            page.evaluate("document.activeElement.blur()")
            page.hover("#view mark >> nth=1")
            save_picture(page, "page.png", 0, page.evaluate("document.body.scrollHeight"))


def parse_options() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser("pictures", description=__doc__)
    bundle = PROJECT / "demo-out" / "bundle"
    parser.add_argument("bundle", type=Path, nargs="?", default=bundle, metavar="BUNDLE", help="default: %(default)s")
    options = parser.parse_args()
    options.bundle = options.bundle.resolve()
    if not options.bundle.is_dir():
        parser.error(f"{options.bundle}: no such folder; scripts/demo trains a bundle")
    return options


@contextlib.contextmanager
def served(command: list[str | Path]) -> Iterator[str]:
    """Yield the address of a server, which is stopped at the end."""
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            address = re.search(r"http://\S+", line := process.stderr.readline())
            if not address:
                sys.exit(f"the server does not start: {line}{process.stderr.read()}")
            yield address[0]
        finally:
            process.terminate()


@contextlib.contextmanager
def opened(browser: Browser, address: str) -> Iterator[Page]:
    """Yield a page of the browser, light and in English."""
    window = ViewportSize(width=WIDTH, height=800)
    context = browser.new_context(locale="en-US", color_scheme="light", viewport=window, device_scale_factor=SCALE)
    page = context.new_page()
    page.goto(address)
    yield page
    context.close()


def save_picture(page: Page, name: str, top: int, height: int) -> None:
    """Save a part of a page, in CSS pixels, as a picture."""
    content = page.screenshot(full_page=True, clip={"x": 0, "y": top, "width": WIDTH, "height": height})
    picture = Image.open(io.BytesIO(content)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    picture.save(PICTURES / name, optimize=True)
    print(f"{PICTURES / name}: {picture.width} x {picture.height}, {(PICTURES / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
