"""The page on real digits: what it says of known students, and in a browser."""

import html
import json
import re
import shutil
import subprocess

import keras
import numpy as np
import pytest

import keras_kd

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)

# Looks at the page from outside, in a frame as wide as a screen.
HARNESS = """<!DOCTYPE html><link rel="icon" href="data:,">
<iframe id="page" src="PAGE" style="width: WIDTHpx; height: 900px; border: 0"></iframe>
<script>
onload = () => {
  const frame = document.getElementById("page"), page = frame.contentDocument;
  const box = e => e.getBoundingClientRect();
  const wide = e => box(e).right > WIDTH + 1 && !e.closest(".table");
  const asked = frame.contentWindow.performance.getEntriesByType("resource");
  const found = {
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    beyond: [...page.querySelectorAll("body *")].filter(wide).map(e => e.tagName),
    figures: [...page.querySelectorAll("[role=img]")].map(e => ({
      label: e.getAttribute("aria-label"),
      height: e.querySelector("svg") ? box(e.querySelector("svg")).height : 0,
      letters: Math.min(...[...e.querySelectorAll("svg text")].map(t => box(t).height)),
      marks: e.querySelectorAll("path, use, text").length,
      ink: getComputedStyle(e.querySelector("svg text")).fill,
    })),
    images: [...page.images].map(e => [e.naturalWidth, e.alt]),
    links: [...page.querySelectorAll("a")].map(e => e.getAttribute("href")),
    asked: asked.map(e => e.name).filter(name => !name.startsWith("data:")),
    paper: getComputedStyle(page.body).backgroundColor,
    columns: new Set([...page.querySelectorAll(".chart")].map(e => box(e).left)).size,
  };
  const shown = document.createElement("pre");
  shown.id = "found";
  shown.textContent = JSON.stringify(found);
  document.body.append(shown);
};
</script>
"""


def conv_net(width, name, seed):
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    maps = {"padding": "same", "activation": "relu"}
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(width, 3, name="conv1", **maps),
            layers.Conv2D(2 * width, 3, name="conv2", **maps),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(10, name="logits"),
        ],
        name=name,
    )


def trained_teacher(digits, name, seed):
    model = conv_net(12, name, seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss)
    model.fit(digits.x_train, digits.y_train, batch_size=64, epochs=10, verbose=0)
    return model


def distilled(digits, teacher, name):
    student = conv_net(5, name, seed=3)
    distiller = keras_kd.Distiller(
        teacher,
        student,
        keras_kd.losses.KnowledgeDistillation(2.0),
        student_loss_weight=0.0,
    )
    distiller.compile(keras.optimizers.Adam(1e-2))
    distiller.fit(digits.x_train, batch_size=64, epochs=25, verbose=0)
    return student


@pytest.fixture(scope="module")
def made(digits, tmp_path_factory):
    """A teacher, and the report of its student beside that of another teacher."""
    teacher = trained_teacher(digits, "teacher_net", seed=1)
    other = trained_teacher(digits, "another_net", seed=2)
    sets = {"test": (digits.x_test, digits.y_test), "unlabelled": digits.x_test[:200]}
    report = keras_kd.report.compare(
        teacher,
        distilled(digits, teacher, "distilled"),
        sets,
        control=distilled(digits, other, "control_net"),
        out=tmp_path_factory.mktemp("report"),
    )
    return teacher, report


@pytest.mark.slow
def test_a_distilled_student_is_closer_to_its_teacher_than_the_control(made):
    verdict = made[1].verdicts["test"]
    assert verdict.answer == "closer"
    text = made[1].page.read_text(encoding="utf-8")
    assert "closer to its teacher than the control" in text


@pytest.mark.slow
def test_a_copy_of_a_trained_teacher_is_identical(made, digits, tmp_path):
    teacher, _ = made
    copy = keras.models.clone_model(teacher)
    copy.set_weights(teacher.get_weights())
    sets = {"test": (digits.x_test, digits.y_test)}
    report = keras_kd.report.compare(teacher, copy, sets, out=tmp_path)
    assert report.verdicts["test"].answer == "identical"
    matrix = np.array(report.numbers["test"]["cka"]["student"]["cka"])
    np.testing.assert_allclose(np.diag(matrix), 1.0, atol=1e-6)
    assert report.numbers["test"]["attention_iou"]["student"] == pytest.approx(1.0)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_the_page_and_asks_for_nothing(scheme, width, made, tmp_path):
    page = made[1].page
    harness = page.parent.parent / f"{scheme}_{width}.html"
    text = HARNESS.replace("PAGE", f"{page.parent.name}/{page.name}")
    harness.write_text(text.replace("WIDTH", str(width)))
    shown = subprocess.run(
        [
            CHROMIUM,
            *"--headless --no-sandbox --disable-gpu --disable-quic".split(),
            *"--no-first-run --disable-background-networking --disable-sync".split(),
            *"--disable-component-update --allow-file-access-from-files".split(),
            f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1400,1000",
            "--virtual-time-budget=5000",
            "--dump-dom",
            harness.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert ":CONSOLE" not in shown.stderr, shown.stderr
    text = re.search(r'<pre id="found">(.*?)</pre>', shown.stdout, re.DOTALL).group(1)
    found = json.loads(html.unescape(text))
    assert found["overflow"] == 0
    assert found["beyond"] == []
    assert found["asked"] == []
    assert (found["columns"] == 1) == (width == 400)
    assert len(found["figures"]) == 2 + 7 + 2 + 2 + 4 + 2
    for figure in found["figures"]:
        assert figure["height"] > 40, figure
        assert figure["letters"] > 8, figure  # pixels; turned ones are higher
        assert figure["marks"] > 5, figure
        assert len(figure["label"]) > 30, figure
    assert len(found["images"]) > 20
    assert all(width > 0 and alt for width, alt in found["images"])
    local = [link for link in found["links"] if not link.startswith("#")]
    assert all((page.parent / link).exists() for link in local)
    assert len(local) == 2
    bright = sum(map(int, re.findall(r"\d+", found["paper"])[:3])) > 380
    assert bright == (scheme == "light")
    inks = {figure["ink"] for figure in found["figures"]}
    assert len(inks) == 1
    dark_ink = sum(map(int, re.findall(r"\d+", inks.pop())[:3])) < 380
    assert dark_ink == bright
