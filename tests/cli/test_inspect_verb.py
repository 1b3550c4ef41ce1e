"""`vitrail inspect`, as a user meets it."""

from __future__ import annotations

import json
import os
import re
import signal
import weakref
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_cli import vitrail_cli  # noqa: F401
from tiny import tiny_recipe

import vitrail
from vitrail.bundle import Bundle
from vitrail.cli.inspect import LEFT_OUT
from vitrail.cli.subjects import load_model
from vitrail.data.preprocess import Preprocess
from vitrail.inspection.lens import Look, Subject
from vitrail.inspection.lenses import LENSES
from vitrail.run import run


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = vitrail.create("mu/4", classes=3, image_size=16)
    return Bundle(model, Preprocess(size=(16, 16)), ("cat", "dog", "2")).save(tmp_path / "model")


@pytest.fixture
def resnet(tmp_path: Path) -> Path:
    model = vitrail.create("R26x0.25", classes=3, image_size=32, depths=(1, 1))
    return Bundle(model, Preprocess(size=(32, 32))).save(tmp_path / "resnet")


def picture(path: str, size: tuple[int, int] = (20, 16)) -> str:
    path_ = Path(path)
    path_.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, 80).convert("RGB").save(path_)
    return path


class Addresses(HTMLParser):
    """Whatever a page points to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attributes if name in ("src", "href", "action", "data")]


@pytest.mark.usefixtures("bundle")
def test_a_page_with_figures_and_numbers(vitrail_cli):  # noqa: F811
    outcome = vitrail_cli("inspect", "model", picture("one.png"), picture("two.jpg"), "--out", "seen")
    assert outcome.code == 0, outcome.err
    assert "[what I understood]" in outcome.err
    assert outcome.out == ""
    numbers = json.loads(Path("seen/inspect.json").read_text())["models"][0]
    assert list(numbers["lenses"]) == list(LENSES)
    assert numbers["images"] == ["one.png", "two.jpg"]
    assert all("found" in told for told in numbers["lenses"].values())
    figures = {path.name for path in Path("seen/figures").iterdir()}
    assert {"rollout.svg", "rollout.png", "attention-distance.svg", "filters.png"} <= figures
    page = Path("seen/inspect.html").read_text()
    addresses = Addresses()
    addresses.feed(page)
    assert all(one.startswith(("#", "data:")) for one in addresses.found)
    assert not re.search(r"url\((?!#)", page)
    assert all(lens.title in page for lens in LENSES.values())
    assert "#0101" not in page  # stand-ins for the colors of the page


@pytest.mark.usefixtures("bundle")
def test_without_images_two_photographs_take_their_place(vitrail_cli):  # noqa: F811
    outcome = vitrail_cli("inspect", "model", "--lens", "filters", "rollout", "--json")
    assert outcome.code == 0, outcome.err
    assert "two photographs" in outcome.err
    told = json.loads(outcome.out)["models"][0]
    assert told["images"] == ["dahlia.jpg", "pagoda.jpg"]
    assert list(told["lenses"]) == ["filters", "rollout"]
    assert Path("inspection/inspect.html").exists()


def test_a_run_its_own_images_and_one_of_its_checkpoints_beside_it(vitrail_cli, tmp_path):  # noqa: F811
    recipe = tiny_recipe(schedule={"steps": 3}, training={"batch_size": 8, "average": 0.5})
    for _ in run(recipe, tmp_path / "first"):
        pass
    checkpoint = next((tmp_path / "first" / "checkpoints").glob("step-*"))
    outcome = vitrail_cli("inspect", "first", checkpoint, "--lens", "attention-distance", "--count", 4, "--json")
    assert outcome.code == 0, outcome.err
    one, other = json.loads(outcome.out)["models"]
    assert len(one["images"]) == 4
    assert one["lenses"]["attention-distance"]["numbers"] == other["lenses"]["attention-distance"]["numbers"]
    assert Path("inspection/figures/attention-distance-2.png").exists()
    assert "beside" in Path("inspection/inspect.html").read_text()


@pytest.mark.usefixtures("bundle", "resnet")
def test_a_resnet_beside_a_transformer(vitrail_cli):  # noqa: F811
    outcome = vitrail_cli("inspect", "model", "resnet", picture("folder/one.png"), "folder", "--lens", "rollout")
    assert outcome.code == 0, outcome.err
    assert "convolutions only" in outcome.err
    assert "convolutions only" in Path("inspection/inspect.html").read_text()


@pytest.mark.usefixtures("bundle")
def test_another_size_a_place_and_a_damaged_picture(vitrail_cli):  # noqa: F811
    Path("bad.png").write_bytes(b"no picture")
    outcome = vitrail_cli("inspect", "model", picture("one.png"), "bad.png", "--lens", "attention", "--image-size",
                          "24x32", "--place", 5, 7, "--json")
    assert outcome.code == 0, outcome.err
    assert "bad.png" in outcome.err
    assert "left out" in outcome.err
    told = json.loads(outcome.out)["models"][0]
    assert told["images"] == ["one.png"]
    assert told["lenses"]["attention"]["numbers"]["asked_by"] == "the patch in row 5, column 7"


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize(("arguments", "code", "message"), [
    (("model", "one.png", "--lens", "rolout"), 2, "Did you mean 'rollout'"),
    (("model", "nowhere.png"), 3, "there is no such file"),
    (("model", "nowhere"), 3, "there is no such file"),
    (("model", "bad.png"), 3, "None of the 1 images can be read"),
    (("nowhere",), 1, "no Bundle at nowhere"),
    (("model", "one.png", "--out", "one.png"), 2, "is a file"),
    (("model", "one.png", "--place", "4", "0", "--lens", "attention"), 2, "rows are 0 to 3"),
    (("model", "one.png", "--image-size", "17"), 2, "divisible"),
    (("model", "one.png", "--image-size", "big"), 2, "is not a size"),
    (("model", "one.png", "--target", "cow"), 2, "Unknown class 'cow'"),
    (("model", "one.png", "--count", "0"), 2, "0"),
])
def test_mistakes_when_inspecting(vitrail_cli, arguments, code, message):  # noqa: F811
    picture("one.png")
    Path("bad.png").write_bytes(b"no picture")
    outcome = vitrail_cli("inspect", *arguments)
    assert outcome.code == code, outcome.err
    assert message in outcome.err
    assert outcome.out == ""


@pytest.mark.fault("R4", "Ctrl-C leaves out what inspection has not seen yet; what it has seen is written.")
@pytest.mark.usefixtures("bundle")
def test_ctrl_c_in_a_slow_lens_leaves_what_was_seen(vitrail_cli, monkeypatch):  # noqa: F811
    """Also where it comes while Python calls back, and swallows what the handler of a signal raises."""
    lens = LENSES["attribution"]

    class Held:
        pass

    def interrupted(subject: Subject) -> Look:
        held = Held()
        kept = weakref.ref(held, lambda _: os.kill(os.getpid(), signal.SIGINT))
        del held
        assert kept() is None
        return lens.look(subject)

    monkeypatch.setitem(LENSES, "attribution", lens._replace(look=interrupted))
    outcome = vitrail_cli("inspect", "model", "model", "--lens", "rollout", "attribution", "occlusion")
    assert outcome.code == 130
    assert "Ctrl-C leaves it out" in outcome.err
    told = json.loads(Path("inspection/inspect.json").read_text())["models"]
    left = [[name for name, look in model["lenses"].items() if look.get("nothing") == LEFT_OUT] for model in told]
    assert left == [["attribution", "occlusion"], ["attribution", "occlusion"]]
    assert outcome.err.count(LEFT_OUT) == 4
    assert Path("inspection/inspect.html").read_text().count(LEFT_OUT) == 4


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize(("options", "words"), [
    (("--lens", "filters", "--place", "1", "1"), "--place is for the lens attention"),
    (("--lens", "rollout", "--target", "cat"), "--target is for the lens attribution and the lens occlusion"),
    (("--target", "7"), "numbers from 0 to 2 and the names cat, dog, 2. All names: vitrail describe"),
    (("--target", "cta"), "Did you mean 'cat'?"),
    (("--out", "/proc/x"), "--out /proc/x cannot be made or written to: nothing can be put into /proc"),
    (("model", "model"), "model is a model: give the model to look at first"),
])
def test_what_would_be_ignored_or_fail_late_is_refused_first(vitrail_cli, monkeypatch, options, words):  # noqa: F811
    monkeypatch.setattr("vitrail.cli.inspect.look_through", lambda *given: pytest.fail("it looked"))
    outcome = vitrail_cli("inspect", "model", picture("one.png"), *options)
    assert outcome.code == 2
    assert words in outcome.err


def test_a_model_is_made_for_the_size_at_which_it_looks(vitrail_cli, tmp_path):  # noqa: F811
    """As published ones with positions for larger images than their preprocessing makes."""
    model = vitrail.create("mu/4", classes=3, image_size=32, pooling="mean")
    Bundle(model, Preprocess(size=(16, 16))).save(tmp_path / "large")
    loaded = load_model(str(tmp_path / "large"), None)
    assert loaded.model.config.grid == (4, 4)
    raw = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    torch.testing.assert_close(loaded.logits(raw), Bundle(model, Preprocess(size=(16, 16))).logits(raw))
    outcome = vitrail_cli("inspect", "large", picture("one.png"), "--image-size", "16", "--lens", "place", "--out", "a")
    assert outcome.code == 0, outcome.err
    assert "16 \u00d7 16 pixels, cut into 16 patches" in Path("a/inspect.html").read_text()
    places = json.loads(Path("a/inspect.json").read_text())["models"][0]["lenses"]["place"]["numbers"]["places"]
    assert places == {"rows": [0, 1, 2, 3], "columns": [0, 1, 2, 3]}


def test_captions_that_differ_stand_beside_their_models(vitrail_cli, bundle, tmp_path):  # noqa: F811
    Bundle(vitrail.create("mu/8", classes=3, image_size=16), Preprocess(size=(16, 16))).save(tmp_path / "coarse")
    outcome = vitrail_cli("inspect", bundle, "coarse", picture("one.png"), "--lens", "occlusion", "filters")
    assert outcome.code == 0, outcome.err
    page = Path("inspection/inspect.html").read_text()
    assert page.count("(4 by 4 panes)") == page.count("(2 by 2 panes)") == 1
    assert page.count("Each square is a pattern") == 1


def test_results_are_not_mixed_with_other_things(vitrail_cli, bundle):  # noqa: F811
    picture("photos/cats/one.png")
    for arguments in (("inspect", bundle, "photos", "--lens", "filters"), ("probe", bundle, "photos"),
                      ("study", "data", "digits", "--models", "mu/4")):
        outcome = vitrail_cli(*arguments, "--out", "photos")
        assert outcome.code in (2, 3), outcome.err
        assert "--out photos holds something else" in outcome.err
    assert [path.name for path in Path("photos").iterdir()] == ["cats"]
    assert vitrail_cli("inspect", bundle, "photos", "--lens", "filters", "--out", "seen").code == 0
    assert vitrail_cli("inspect", bundle, "photos", "--lens", "filters", "--out", "seen").code == 0


def test_a_model_of_one_patch_is_seen_through_every_lens(vitrail_cli, tmp_path):  # noqa: F811
    one = Bundle(vitrail.create("mu/16", classes=3, image_size=16), Preprocess(size=(16, 16))).save(tmp_path / "one")
    outcome = vitrail_cli("inspect", one, picture("photos/one.png"), picture("photos/two.png"))
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("takes the whole image for one patch, which can attend to no other") == 3
    assert "trust none of them here" in outcome.err


@pytest.mark.fault("R1", "Inspection writes its page, figures and numbers after each lens: a kill costs one lens.")
@pytest.mark.usefixtures("bundle")
def test_what_was_seen_is_on_disk_before_the_next_lens(vitrail_cli, monkeypatch):  # noqa: F811
    lens, before = LENSES["rollout"], []

    def looked(subject: Subject) -> Look:
        told = json.loads(Path("inspection/inspect.json").read_text())["models"][0]["lenses"]
        before.append((list(told), sorted(path.name for path in Path("inspection").glob("figures/*")),
                       Path("inspection/inspect.html").read_text()))
        return lens.look(subject)

    monkeypatch.setitem(LENSES, "rollout", lens._replace(look=looked))
    outcome = vitrail_cli("inspect", "model", picture("one.png"), "--lens", "filters", "rollout", "features")
    assert outcome.code == 0, outcome.err
    [(lenses, figures, page)] = before
    assert lenses == ["filters"]
    assert figures == ["filters.png", "filters.svg"]
    assert "are rollout, features" in page
    assert "Not finished" not in Path("inspection/inspect.html").read_text()
    assert "and 3 figures, as SVG and PNG, in inspection/figures" in outcome.err


@pytest.mark.usefixtures("bundle")
def test_a_long_lens_says_how_long_it_still_takes(vitrail_cli, monkeypatch):  # noqa: F811
    monkeypatch.setattr("vitrail.cli.console.PLAIN_SECONDS", 0.0)
    outcome = vitrail_cli("inspect", "model", picture("one.png"), "--lens", "rollout", "occlusion", "--batch-size", "2")
    assert "occlusion: about 34 changed copies of the images go through the model. Ctrl-C leaves it out" in outcome.err
    assert re.search(r"occlusion: \d+ of 34 images, .+ left", outcome.err)
    assert "rollout: about" not in outcome.err


@pytest.mark.usefixtures("bundle", "resnet")
def test_two_models_are_compared_by_their_numbers(vitrail_cli):  # noqa: F811
    outcome = vitrail_cli("inspect", "model", "resnet", picture("one.png"), "--lens", "filters", "rollout")
    assert outcome.code == 0, outcome.err
    one, other = json.loads(Path("inspection/inspect.json").read_text())["models"]
    words = "first 5 components hold, %"
    page = Path("inspection/inspect.html").read_text()
    values = [f"{model['lenses']['filters']['measures'][words]:#.3g}" for model in (one, other)]
    assert re.search(rf"<td>{re.escape(words)}</td><td>{values[0]}</td><td>{values[1]}</td>", page)
    counted = one["lenses"]["rollout"]["measures"]["the tenth of the patches that counts most has, %"]
    assert f"<td>{counted:#.3g}</td><td>-</td>" in page
    assert vitrail_cli("inspect", "model", "one.png", "--lens", "filters", "--out", "alone").code == 0
    assert "<table" not in Path("alone/inspect.html").read_text()


@pytest.mark.usefixtures("bundle")
def test_wide_figures_of_two_models_follow_each_other(vitrail_cli):  # noqa: F811
    outcome = vitrail_cli("inspect", "model", "model", picture("one.png"), "--lens", "filters", "health")
    assert outcome.code == 0, outcome.err
    page = Path("inspection/inspect.html").read_text()
    order = re.findall(r'class="files-of">figures/([\w-]+)\.svg', page)
    assert order == ["filters", "filters-2", "health-entropy", "health-heads", "health-lengths",  # narrow: side by side
                     "health-entropy-2", "health-heads-2", "health-lengths-2"]


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize("held", ["", "[]", '{"models": [{"lenses": {"filters": {"figures": ["../one.png", 3]}}}]}'])
def test_an_earlier_inspection_that_is_damaged_takes_nothing_with_it(vitrail_cli, held):  # noqa: F811
    one = picture("one.png")
    Path("inspection").mkdir()
    Path("inspection/inspect.json").write_text(held)
    outcome = vitrail_cli("inspect", "model", one, "--lens", "filters", "--out", "inspection")
    assert outcome.code == 0, outcome.err
    assert Path("one.png").exists()
