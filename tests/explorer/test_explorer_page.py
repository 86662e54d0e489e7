"""The page in a real browser, against the command that opens it."""

import contextlib
import importlib.util
import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile

import numpy as np
import pytest
from PIL import Image

from sklunlearn.explorer._page import Page
from sklunlearn.explorer._requests import CLASS, QUERY, ROWS
from sklunlearn.explorer._sessions import Lab, Session

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = [name for name in ("gradio", "playwright") if importlib.util.find_spec(name) is None]
if MISSING or CHROMIUM is None:
    missing = ", ".join([*MISSING, *(["chromium"] if CHROMIUM is None else [])])
    pytest.skip(f"the page needs {missing}, which is not installed", allow_module_level=True)

WAIT = 30_000  # milliseconds


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sklunlearn.explorer", "--port", str(port)]
    # Where files that are uploaded and handed out lie.
    cache = str(tmp_path_factory.mktemp("gradio"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GRADIO_TEMP_DIR": cache}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
                break
            assert process.poll() is None
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, address):
    """A page of its own session, and the addresses that it asks for."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(WAIT)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    said(page, "Ready.")
    yield page, asked
    context.close()


@pytest.fixture
def page(opened):
    return opened[0]


def said(page, text):
    page.locator("#status", has_text=text).wait_for()


def choose(page, label, option):
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=option).first.click()


def unlearn(page, number=1):
    page.locator("#unlearn").click()
    ended = page.locator("#status .error").or_(
        page.locator("#figures caption", has_text=f"Run {number}:")
    )
    ended.first.wait_for()
    assert page.locator("#status .error").all_inner_texts() == []
    said(page, "Done:")


def choose_method(page, name, sentence):
    choose(page, "Method", name)
    page.locator("#knob0", has_text=sentence).wait_for()


def put(page, number):
    """Fill in the first parameter; what still comes from the server may put its own there."""
    box = page.locator("#knob0 input, #knob0 textarea")
    for _ in range(20):
        box.fill(number)
        box.blur()
        page.wait_for_timeout(500)
        if box.input_value() == number:
            return
    raise AssertionError(f"the box keeps {box.input_value()}")


def upload(page, path):
    page.get_by_role("button", name="Data of your own").click()
    page.locator("input[type=file]").first.set_input_files(path)


def table(page):
    return page.locator("#figures td").all_inner_texts()[1:]


def shown_code(page):
    page.get_by_role("tab", name="Code").click()
    return page.locator("#code .cm-line").all_inner_texts()


def test_digits(opened, address):
    page, asked = opened
    choose(page, "Class", "3")
    said(page, "To forget: class 3")
    unlearn(page)
    # Nothing comes from anywhere else: no fonts, no statistics.
    assert all(url.startswith((address, "data:", "blob:")) for url in asked)
    assert page.locator("#picture img").count() == 2


def test_code_and_files(page, tmp_path):
    choose(page, "Data", "Two moons")
    said(page, "420 rows")
    put(page, "4")
    unlearn(page)
    # The code gives the figures that are shown.
    code = "\n".join(line for line in shown_code(page) if line != "\n")
    assert "max_epochs=4" in code
    names = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code, names)
    frame = names["report"].to_frame().set_index(["metric", "model"])
    cells = [cell.split()[0] for cell in table(page)]
    for i, metric in enumerate(["forget_accuracy", "forget_accuracy_test", "retain_accuracy"]):
        for j, model in enumerate(["original", "unlearned", "retrained"]):
            assert cells[3 * i + j] == f"{frame['value'][metric, model]:.3f}"
    # What is saved can be read.
    page.get_by_role("tab", name="Save").click()
    page.get_by_role("button", name="Make files").click()
    said(page, "ready to download")
    for name, begin in (("Report", b"<!"), ("Released", None)):
        with page.expect_download() as download:
            page.get_by_role("link", name=name).or_(page.get_by_role("button", name=name)).click()
        content = download.value.path().read_bytes()
        if begin is not None:
            assert content.lstrip().startswith(begin)
    from sklunlearn.persistence import load_model

    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    X = names["X_test"]
    assert np.array_equal(load_model(path).predict(X), names["unlearner"].predict(X))


def test_points_compose_and_a_second_session(page, browser, address):
    choose(page, "Data", "Two moons")
    said(page, "420 rows")
    unlearn(page)
    page.locator("#epoch").wait_for()
    before = page.locator("#picture img").get_attribute("src")
    page.locator("#epoch input[type=range]").focus()
    page.keyboard.press("Home")
    page.wait_for_function(
        "before => document.querySelector('#picture img').src !== before", arg=before
    )
    choose_method(page, "NegGrad", "with the forget rows cycled")
    unlearn(page, 2)
    page.get_by_role("tab", name="Compose").click()
    page.get_by_role("button", name="Compose").click()
    page.locator("#figures caption", has_text="1 + 2, composed").wait_for()
    said(page, "Done:")
    page.get_by_role("tab", name="Trade-off").click()
    page.wait_for_function("document.querySelector('#front img').naturalWidth > 0")
    # Of runs at one point, a click goes to the one after the chosen, which is red.
    page.locator("#front img").scroll_into_view_if_needed()
    box = page.locator("#front img").bounding_box()
    found = page.evaluate(
        """() => {
        const image = document.querySelector('#front img');
        const canvas = document.createElement('canvas');
        canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
        const context = canvas.getContext('2d');
        context.drawImage(image, 0, 0);
        const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
        for (let i = 0; i < data.length; i += 4)
            if ((data[i] == 31 && data[i + 1] == 95 && data[i + 2] == 168)
                || (data[i] == 179 && data[i + 1] == 38 && data[i + 2] == 30))
                return [(i / 4) % canvas.width / canvas.width,
                        Math.floor(i / 4 / canvas.width) / canvas.height];
        }"""
    )
    x, y = found
    page.locator("#front img").click(position={"x": x * box["width"], "y": y * box["height"]})
    page.locator("#figures caption", has_not_text="composed").wait_for()
    choose(page, "Go back to a run (the last 12 are kept)", "1: Boundary")
    page.locator("#figures caption", has_text="Run 1: Boundary").wait_for()
    # Another person sees none of it.
    other = browser.new_page()
    other.goto(address)
    said(other, "Ready.")
    assert other.locator("#figures table").count() == 0
    other.get_by_label("Go back to a run (the last 12 are kept)", exact=True).click()
    assert other.get_by_role("option", name="Boundary").count() == 0
    other.close()


def test_metadata_query_on_device_shift(page):
    choose(page, "Data", "Shapes seen")
    said(page, "630 rows")
    page.get_by_label("metadata query").check()
    page.get_by_label("Query", exact=True).fill("device == 'scanner_9'")
    page.keyboard.press("Enter")
    said(page, "No row is selected")
    page.get_by_label("Query", exact=True).fill("device == 'scanner_0'")
    page.keyboard.press("Enter")
    said(page, "To forget: rows where device == 'scanner_0'")
    choose_method(page, "NegGrad", "with the forget rows cycled")
    put(page, "1")
    unlearn(page)
    assert "rows where device" in page.locator("#figures caption").inner_text()


@pytest.mark.parametrize(("how", "written"), [(CLASS, None), (QUERY, CLASS), (ROWS, CLASS)])
def test_new_data_do_not_undo_what_a_quick_user_chooses(how, written):
    import gradio as gr

    from sklunlearn.explorer._events import Events

    shown = object.__new__(Events)._take_data(Page(Session(Lab())), "moons_blobs", how)
    assert shown[-1] == (gr.skip() if written is None else written)


def test_picked_rows_of_a_table(page):
    choose(page, "Data", "Breast cancer")
    said(page, "398 rows")
    page.get_by_label("picked rows").check()
    page.locator("#sheet img").click(position={"x": 150, "y": 150})
    said(page, "To forget: 1 picked row")
    assert page.get_by_role("textbox", name="Rows Numbers").input_value().isdigit()
    choose_method(page, "FineTune", "Passes over the retain rows.")
    unlearn(page)


def test_stop(page):
    choose_method(page, "FineTune", "Passes over the retain rows.")
    put(page, "200")
    page.locator("#unlearn").click()
    said(page, "unlearning: epoch")
    page.locator("#stop").click()
    said(page, "The run was stopped; the model is as it was.")
    assert page.locator("#figures table").count() == 0


def test_page_that_is_left_makes_room(page, browser, address):
    other = browser.new_page()
    other.goto(address)
    said(other, "Ready.")
    choose_method(other, "FineTune", "Passes over the retain rows.")
    put(other, "200")
    other.locator("#unlearn").click()
    said(other, "unlearning: epoch")
    page.locator("#unlearn").click()
    said(page, "1 run before yours")
    other.close()
    page.locator("#status", has_not_text="before yours").wait_for(timeout=5000)


def test_keyboard_alone(page):
    choose(page, "Data", "Two moons")
    said(page, "420 rows")
    page.get_by_label("Data", exact=True).focus()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "unlearn":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    said(page, "Done:")


def uploads(folder):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 2)), np.arange(60) % 3
    X += 3 * y[:, None]
    lines = [f"{a:.3f},{b:.3f},{'abc'[k]}" for (a, b), k in zip(X, y, strict=True)]
    (folder / "good.csv").write_text("u,v,label\n" + "\n".join(lines))
    np.savez(folder / "good.npz", X=np.tile(X, 3), y=y)
    with zipfile.ZipFile(folder / "good.zip", "w") as archive:
        for i in range(40):
            image = np.full((8, 8), 100 * (i % 2) + i, dtype=np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "PNG")
            archive.writestr(f"{'ab'[i % 2]}/{i}.png", buffer.getvalue())


@pytest.mark.parametrize("name", ["good.csv", "good.npz", "good.zip"])
def test_upload(page, tmp_path, monkeypatch, name):
    uploads(tmp_path)
    upload(page, tmp_path / name)
    said(page, f"{name}: {28 if name.endswith('zip') else 42} rows")
    unlearn(page)
    cells = [cell.split()[0] for cell in table(page)]
    # The code reads the file where it lies.
    monkeypatch.chdir(tmp_path)
    names = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec("\n".join(line for line in shown_code(page) if line != "\n"), names)
    frame = names["report"].to_frame().set_index(["metric", "model"])["value"]
    assert cells[1] == f"{frame['forget_accuracy', 'unlearned']:.3f}"
    assert cells[11] == f"{frame['test_accuracy', 'retrained']:.3f}"


def test_bad_uploads(page, tmp_path):
    (tmp_path / "text.csv").write_text("u,label\nred,a\nblue,b\n")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/0.png", bytes(30 * 10**6))
    with zipfile.ZipFile(tmp_path / "climb.zip", "w") as archive:
        archive.writestr("../../evil.png", b"")
    with open(tmp_path / "large.npz", "wb") as file:
        file.truncate(200 * 10**6)
    (tmp_path / "run.exe").write_bytes(b"MZ")
    upload(page, tmp_path / "text.csv")
    said(page, "'red' is no number")
    for name, text in (("bomb.zip", "times as many"), ("climb.zip", "leads out of the archive")):
        page.locator("button[aria-label*=lear], button[aria-label*=emove]").first.click()
        page.locator("input[type=file]").first.set_input_files(tmp_path / name)
        said(page, text)
    for name in ("run.exe", "large.npz"):
        with contextlib.suppress(Exception):
            page.locator("button[aria-label*=lear], button[aria-label*=emove]").first.click(
                timeout=1000
            )
        page.locator("input[type=file]").first.set_input_files(tmp_path / name)
        page.locator(".toast-body, [data-testid=toast-body]").first.wait_for()
        page.locator("[data-testid=toast-close], .toast-close").first.click()
    choose(page, "Class", "3")
    said(page, "To forget: class 3")  # the message of the upload is gone
    unlearn(page)  # the data of before is still there


def luminance(color):
    numbers = np.array([float(part) for part in color[color.index("(") + 1 : -1].split(",")[:3]])
    parts = numbers / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_contrast_and_a_narrow_page(page):
    choose(page, "Data", "Two moons")
    said(page, "420 rows")
    page.get_by_role("button", name="More parameters").click()
    unlearn(page)
    found = page.evaluate(
        """() => {
        const seen = {};
        for (const element of document.querySelectorAll('.gradio-container *')) {
            const own = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
            if (element.type === 'radio' || element.type === 'range') continue;
            if (!(own || element.value) || !element.offsetParent) continue;
            let ground = element;
            const of = e => getComputedStyle(e).backgroundColor;
            while (ground && /, 0\\)$|transparent/.test(of(ground))) ground = ground.parentElement;
            const back = ground ? of(ground) : 'rgb(255, 255, 255)';
            const key = getComputedStyle(element).color + '|' + back;
            seen[key] ??= (element.innerText || element.value || '').slice(0, 40);
        }
        return seen; }"""
    )
    assert len(found) >= 3
    for pair, text in found.items():
        light, dark = sorted(map(luminance, pair.split("|")), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (pair, text)
    page.set_viewport_size({"width": 390, "height": 800})
    for tab in ("Trade-off", "Compose", "Code"):
        page.get_by_role("tab", name=tab).click()
        page.get_by_role("tabpanel").locator("visible=true").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
