"""Draws docs/images/report-*.png: report pages on the embedded example and on a pruned ResNet-20, in Chromium.

    python scripts/draw_report.py [--keep FOLDER]

Needs the extras report and browser, Chromium, and ../shared/models. The pages are written into FOLDER, by default one
that is removed again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

import tightc

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
RESNET20 = ROOT.parent / "shared" / "models" / "resnet20-cifar10.onnx"
HARDWARE = ROOT / "configs" / "hardware" / "tight-32x32.yaml"
LAYERS = [f"node_Conv_{number}" for number in (402, 405, 407, 409, 411)]  # the largest
AREA = ROOT / "configs" / "area" / "sg13g2.yaml"

# picture -> page, color scheme, width and height of the window, and the section that it begins with
SHOTS = {
    "report-light.png": ("digits.html", "light", 1240, 1420, "body"),
    "report-layer.png": ("digits.html", "light", 1240, 1420, "#layer"),
    "report-dark.png": ("resnet20.html", "dark", 1240, 1500, "#layer"),
    "report-narrow.png": ("digits.html", "light", 390, 1500, "body"),
}


def digits(folder: Path) -> None:
    """The page on the run of the embedded example, with baselines."""
    tightc.run_recipe(tightc.examples() / "digits.yaml", folder / "digits")
    trained = tightc.load(folder / "digits" / "02-finetune.onnx")
    compared = tightc.compare(trained, array="16x16", fan_in=8)
    (folder / "compare.json").write_text(json.dumps(compared.to_dict()), encoding="utf-8")
    tightc.write_report(folder / "digits", folder / "digits.html", compare=str(folder / "compare.json"))


def resnet20(folder: Path) -> None:
    """The page on a ResNet-20, pruned to a tenth without training."""
    pruned = tightc.prune(tightc.load(RESNET20), sparsity=0.9, scope="layer").model
    model = tightc.permute(pruned, hardware=HARDWARE).model
    tightc.save(model, folder / "resnet20.onnx")
    options = {"hardware": HARDWARE, "area": AREA, "layer": LAYERS}
    tightc.write_report(tightc.load(folder / "resnet20.onnx"), folder / "resnet20.html", **options)


def shoot(browser: Any, folder: Path, name: str) -> None:
    """One picture."""
    page_name, scheme, width, height, start = SHOTS[name]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto((folder / page_name).as_uri())
    page.wait_for_selector("html[data-ready]")
    page.evaluate(f"document.querySelector('{start}').scrollIntoView()")
    if start == "#layer":
        page.hover("#tiles", position={"x": 215, "y": 60})
    page.screenshot(path=IMAGES / name)
    page.close()


def main() -> None:
    """Writes the pages and the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", type=Path, help="folder for the pages")
    kept = parser.parse_args().keep
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("expected Chromium, got none; run scripts/install_system_packages.sh")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (kept or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        digits(folder)
        resnet20(folder)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium)
            for name in SHOTS:
                shoot(browser, folder, name)
            browser.close()


if __name__ == "__main__":
    main()
