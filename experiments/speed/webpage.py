"""The page in a browser: how long a frame takes with 5,000 points in each map, and how large pages are."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measuring import table

import manifold_probe as mp

NAMES = {
    "hover": "pointing at rows: neighbours drawn in both maps",
    "lasso": "drawing around half of a map",
    "select": "selecting all rows",
    "colour": "colouring by overlap and back",
}
AIM_MS, MOVES = 50, 120
QUIET = ("background-networking", "component-update", "sync", "gpu", "quic")
RECORD = """() => {
    window.frames_ms = [];
    let last = performance.now();
    const next = now => {
        if (!window.frames_ms) return;
        window.frames_ms.push(now - last);
        last = now;
        requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
}"""
TAKE = "() => { const taken = window.frames_ms.slice(2); window.frames_ms = null; return taken; }"


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    """The frames of each action in headless Chromium, drawn without a graphics card."""
    points = 1_000 if asked.quick else 5_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        result = mp.load(_comparison(Path(folder), points))
        start = time.perf_counter()
        result.to_html(path)
        seconds = time.perf_counter() - start
        return {
            "points": points,
            "students": 2,
            "page_bytes": path.stat().st_size,
            "page_seconds": round(seconds, 2),
            "frames": _frames(path),
        }


def _comparison(folder: Path, points: int) -> Path:
    """A saved comparison of two students whose maps have so many points.

    Maps have 2,000 rows; more come from these, moved a little, with the neighbours of the rows that they come from.
    """
    rng = np.random.default_rng(0)
    codes = np.arange(6_000) % 12
    teacher = rng.normal(size=(12, 32))[codes] * 2 + rng.normal(size=(6_000, 32))
    students = {f"student {i}": teacher[:, :24] + (0.3 + 0.3 * i) * rng.normal(size=(6_000, 24)) for i in range(2)}
    document = mp.compare(teacher, students, labels=codes, maps=True).to_dict()
    moves = {side: rng.normal(scale=0.1, size=(points, 2)) for side in ("teacher", *document["students"])}
    for name, student in document["students"].items():
        maps = student["details"]["maps"]
        place = np.arange(points) % len(maps["rows"])
        for key in ("class", "overlap"):
            maps[key] = [maps[key][i] for i in place]
        maps["rows"] = list(range(points))
        for side, moved in (("teacher", moves["teacher"]), ("student", moves[name])):
            maps[side] = (np.asarray(maps[side])[place] + moved).round(3).tolist()
        maps["neighbours"] = {kind: [lists[i] for i in place] for kind, lists in maps["neighbours"].items()}
    path = folder / "comparison.json"
    path.write_text(json.dumps(document))
    return path


def _frames(path: Path) -> dict[str, dict[str, float]]:
    """Milliseconds from frame to frame while each action goes on."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--no-first-run", *(f"--disable-{what}" for what in QUIET)]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(path.as_uri())
        box = page.locator(".field[data-side=teacher]").bounding_box()
        left, top, size = box["x"], box["y"], box["width"]

        def hover() -> None:
            for angle in np.linspace(0, 12 * np.pi, MOVES):
                reach = 0.45 * size * angle / (12 * np.pi)
                page.mouse.move(left + size / 2 + reach * np.cos(angle), top + size / 2 + reach * np.sin(angle))

        def lasso() -> None:
            page.mouse.move(left + size / 2, top + 2)
            page.mouse.down()
            for angle in np.linspace(0, 2 * np.pi, MOVES):
                page.mouse.move(left + size * (0.5 + 0.35 * np.sin(angle)), top + size * (0.5 - 0.35 * np.cos(angle)))
            page.mouse.up()

        def select() -> None:
            for _ in range(5):
                page.evaluate("probePage.select(probePage.rows)")
                page.wait_for_timeout(150)

        def colour() -> None:
            for name in ("overlap", "label") * 3:
                page.select_option("#colour", name)
                page.wait_for_timeout(150)

        found = {}
        for action in (hover, lasso, select, colour):
            page.evaluate(RECORD)
            action()
            frames = np.array(page.evaluate(TAKE))
            found[action.__name__] = {
                "frames": len(frames),
                "median_ms": round(float(np.median(frames)), 1),
                "p95_ms": round(float(np.quantile(frames, 0.95)), 1),
                "longest_ms": round(float(frames.max()), 1),
            }
            if action is lasso:
                page.evaluate("probePage.select([])")
        browser.close()
    return found


def page(found: dict[str, Any]) -> list[str]:
    """Frames by action, and the size of the page."""
    rows = [
        [NAMES[name], f"{one['frames']}", f"{one['median_ms']:.0f}", f"{one['p95_ms']:.0f}", f"{one['longest_ms']:.0f}"]
        for name, one in found["frames"].items()
    ]
    return [
        *table([f"{found['points']:,} points in each map", "frames", "median ms", "95% ms", "longest ms"], rows),
        "",
        f"The page of {found['students']} students has {found['page_bytes'] / 1e6:.1f} MB and is written in "
        f"{found['page_seconds']:.1f} s. The aim is a frame under {AIM_MS} ms.",
    ]
