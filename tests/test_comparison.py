"""Runs side by side: constructed ones with known answers, one real one, and what is no run at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny import last, tiny_recipe, train

import vitrail
from vitrail.bundle import Bundle
from vitrail.comparison.side_by_side import short_names
from vitrail.comparison.table import markdown, outcomes
from vitrail.errors import BundleError, UsageError
from vitrail.evaluation.interval import bootstrap_interval

IMAGES = {"train": 640, "val": 100, "test": 1000}


def made(folder: Path, right: int | None, *, step: int = 10, prefix: str = "p", **changes: Any) -> Path:
    """A run of ten steps of 64 images, of which nothing but its papers is left; `right` of 1,000 test images."""
    folder.mkdir(parents=True)
    recipe = tiny_recipe(**changes)
    (folder / "recipe.json").write_text(recipe.model_dump_json())
    lines = [f"{prefix}/{split}/{number},x,{split}" for split, count in IMAGES.items() for number in range(count)]
    (folder / "manifest.csv").write_text("\n".join(["path,label,split", *lines]))
    rows: list[dict[str, Any]] = [{"step": 0, "samples": 0, "vitrail": "0.1.0", "torch": "2.13", "threads": 2,
                                   "machine": "EPYC", "backend": {"precision": "fp32", "attention": "fused"}}]
    for at in range(1, step + 1):
        rows.append({"step": at, "samples": 64 * at, "train/loss": 3.0 - at / 10, "train/seconds_per_step": 0.5})
        rows.append({"step": at, "samples": 64 * at, "val/loss": 1.0, "val/top1": 0.5 + 0.01 * (10 - abs(at - 6))})
    if right is not None:
        rows.append({"step": step, "samples": 64 * step, "test/loss": 0.7, "test/top1": right / 1000})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_what_came_out_of_a_constructed_run(tmp_path):
    worse, better = made(tmp_path / "a", 700), made(tmp_path / "b", 900)
    found = vitrail.compare(worse, better)
    assert found.names == ["b", "a"]
    first = found.runs[0]
    assert first.scores["test"].model_dump() == {
        "kind": "top1", "value": 0.9, "interval": bootstrap_interval(900, 1000), "images": 1000, "loss": 0.7,
        "step": 10}
    assert (first.step, first.samples, first.seconds, first.images_per_second) == (10, 640, 5.0, 128.0)
    assert (first.epochs, first.best_epoch, first.train_loss) == (1.0, 0.6, 2.0)
    assert found.differences == {}
    assert (found.notes, [run.finished for run in found.runs]) == ([], [False, False])  # neither has a Bundle


@pytest.mark.parametrize(("right", "words"), [
    (700, "b against a: b is better: the 95 % intervals do not overlap."),
    (895, "b against a: no evidence that b is better: intervals overlap."),
])
def test_the_intervals_decide_what_is_said(tmp_path, right, words):
    found = vitrail.compare(made(tmp_path / "a", right), made(tmp_path / "b", 900))
    assert found.verdict == [words]


def test_only_what_differs_is_listed_by_its_dotted_key(tmp_path):
    first = made(tmp_path / "a", 800, optimizer__learning_rate=0.01, seed=3)
    second = made(tmp_path / "b", 700, model__settings={"dropout": 0.5}, training__log_every=1)
    lines = (second / "metrics.jsonl").read_text().splitlines()
    lines[0] = lines[0].replace('"torch": "2.13"', '"torch": "2.14"').replace('"threads": 2, ', "")
    (second / "metrics.jsonl").write_text("\n".join(lines))
    assert vitrail.compare(first, second).differences == {
        "seed": [3, 0], "optimizer.learning_rate": [0.01, 0.003], "model.settings.dropout": [0.1, 0.5],
        "torch": ["2.13", "2.14"]}  # threads are not recorded in one of them: nothing says that they differed


def test_settings_of_other_objectives_are_not_listed(tmp_path):
    runs = [made(tmp_path / name, 800, objective__name=name) for name in ("mae", "masked-patch")]
    assert vitrail.compare(*runs).differences == {"objective.name": ["mae", "masked-patch"]}
    others = [run.settings.keys() for run in vitrail.compare(*runs).runs]
    assert "objective.mae.masked" in others[0]
    assert not any(key.startswith(("objective.dino", "objective.mae")) for key in others[1])


@pytest.mark.parametrize("key", ["model.weights", "objective.teacher"])
def test_weights_are_the_same_wherever_they_lie(tmp_path, key):
    weights = {"path": "here/B.npz", "sha256": "a" * 64, "format": "official", "image_size": [8, 8]}
    runs = [made(tmp_path / name, 800, **{key.replace(".", "__"): weights | more}) for name, more in (
        ("a", {}), ("b", {"path": "there/B.npz"}), ("c", {"path": "there/C.npz", "sha256": "b" * 64}))]
    assert key not in vitrail.compare(runs[0], shutil.copytree(runs[0], tmp_path / "copy")).differences
    assert vitrail.compare(*runs).differences == {key: [
        "B.npz (aaaaaaaaaaaa)", "B.npz (aaaaaaaaaaaa)", "C.npz (bbbbbbbbbbbb)"]}
    assert vitrail.compare(*runs[:2]).differences == {}
    scratch = vitrail.compare(runs[0], made(tmp_path / "d", 700)).differences
    assert scratch == {key: ["B.npz (aaaaaaaaaaaa)", "from scratch" if key == "model.weights" else None]}


def test_scores_on_other_images_are_said_to_be(tmp_path):
    found = vitrail.compare(made(tmp_path / "a", 900), made(tmp_path / "b", 800, prefix="q"))
    assert any("measured on other test images than a: b" in note for note in found.notes)
    assert found.verdict == ["a against b: measured on other test images, which cannot be compared."]
    (tmp_path / "b" / "manifest.csv").unlink()
    found = vitrail.compare(tmp_path / "a", tmp_path / "b")
    assert any("not recorded whether measured on the same test images: b" in note for note in found.notes)


def test_a_run_that_still_goes_on_is_ranked_by_validation(tmp_path):
    found = vitrail.compare(made(tmp_path / "a", 900), made(tmp_path / "b", None, step=6))
    assert (found.ranked_by, found.names) == ("val", ["b", "a"])
    assert found.runs[0].state == "at step 6 of 10, without a Bundle yet"
    assert "ranked by validation: not all runs have a test score." in found.notes
    with open(tmp_path / "b" / "metrics.jsonl", "a") as file:
        file.write('{"step": 7, "sam')  # a crash cut it short
    assert vitrail.compare(tmp_path / "a", tmp_path / "b").runs[0].step == 6


def test_the_best_by_validation_where_that_is_kept(tmp_path):
    runs = [made(tmp_path / name, None, evaluation__keep=name) for name in ("last", "best")]
    assert {run.scores["val"].value for run in vitrail.compare(*runs).runs} == {0.56, 0.6}
    assert vitrail.compare(*runs).names[0] == "best"


def test_a_run_that_has_not_begun_and_one_without_a_score(tmp_path):
    empty = made(tmp_path / "a", None)
    (empty / "metrics.jsonl").unlink()
    (empty / "manifest.csv").unlink()
    found = vitrail.compare(empty, made(tmp_path / "b", 500))
    assert [run.state for run in found.runs] == ["at step 10 of 10, without a Bundle yet", "not begun"]
    assert found.verdict == ["fewer than two runs were measured on one split, so none can be called better."]


def test_a_real_run_its_bundle_and_its_evaluation_agree(tmp_path):
    done = last(train(tiny_recipe(), tmp_path / "runs" / "one"))
    train(tiny_recipe(), tmp_path / "runs" / "two", stop_after=4)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    found = vitrail.compare(tmp_path / "runs")
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    whole, cut = sorted(found.runs, key=lambda run: run.path)
    assert done.evaluation is not None
    assert (whole.scores["test"].value, whole.scores["test"].interval) == (done.evaluation.top1,
                                                                           done.evaluation.interval)
    assert (whole.state, whole.finished) == ("finished", True)
    assert (cut.state, cut.finished) == ("at step 4 of 10", False)
    assert None not in whole.circumstances.values()
    bundle = vitrail.compare(tmp_path / "runs" / "one" / "bundle", tmp_path / "runs" / "two")
    assert bundle.names == ["one/bundle", "two"]
    alone = bundle.runs[0]
    assert alone.scores["test"].model_dump(exclude={"loss"}) == whole.scores["test"].model_dump(exclude={"loss"})
    assert alone.settings == whole.settings
    assert alone.circumstances == whole.circumstances


@pytest.mark.parametrize(("file", "content", "message"), [
    ("recipe.json", "{", "is not valid JSON"), ("recipe.json", '{"sede": 1}', "Unknown recipe key|Recipe"),
    ("metrics.jsonl/x", "", "metrics.jsonl cannot be read"),
    ("manifest.csv", "a,b\n1,2", "manifest.csv cannot be read"),
    ("bundle/config.json", "{}", "config.json"),
])
def test_a_damaged_run_is_named_and_among_others_left_out(tmp_path, file, content, message):
    runs = [made(tmp_path / name, 800) for name in ("a", "b", "c")]
    path = runs[0] / file
    if path.parent.is_file():
        path.parent.unlink()
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    with pytest.raises(BundleError, match=message):
        vitrail.compare(*runs)
    found = vitrail.compare(tmp_path)
    assert len(found.runs) == 2
    assert any(note.startswith("left out: ") and str(runs[0]) in note for note in found.notes)


def test_rows_of_another_program_in_a_journal_are_passed_over(tmp_path):
    first, second = made(tmp_path / "a", 800), made(tmp_path / "b", 700)
    with open(second / "metrics.jsonl", "a") as file:
        file.write('[1]\n{"epoch": 3}\n{"step": "x", "samples": 1}\n')
    assert vitrail.compare(first, second).runs[1].step == 10


def test_what_is_no_pair_of_runs(tmp_path):
    one = made(tmp_path / "runs" / "one", 800)
    for given in ((one,), (one, tmp_path / "runs"), ()):
        with pytest.raises(UsageError, match="needs two or more"):
            vitrail.compare(*given)
    (tmp_path / "empty").mkdir()
    for wrong, words in ((tmp_path / "nowhere", "does not exist"), (tmp_path / "empty", "neither a run nor a Bundle")):
        with pytest.raises(BundleError, match=words):
            vitrail.compare(one, wrong)


def test_names_are_as_long_as_it_takes_and_harm_nothing(tmp_path):
    assert short_names(["x/a/run", "x/b/run"]) == ["a/run", "b/run"]
    made(tmp_path / "a", 900)
    shutil.move(tmp_path / "a", tmp_path / "a|b\x1b[31m<i>")
    text = markdown(vitrail.compare(tmp_path / "a|b\x1b[31m<i>", made(tmp_path / "c", 800)))
    assert "\x1b" not in text
    assert "<i>" not in text
    assert text.splitlines()[0] == "|  | a\\|b\\x1b[31m&lt;i> (best) | c |"
    assert {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")} == {4}


def test_runs_without_labels_show_their_losses_and_what_their_features_are_worth(tmp_path: Path) -> None:
    """From the journal, and from the Bundles alone."""
    masked = {"objective__name": "masked-patch", "data__labeled": False, "schedule__steps": 2,
              "evaluation__probe_every": 1}
    train(tiny_recipe(**masked), tmp_path / "first")
    train(tiny_recipe(**masked, seed=1), tmp_path / "second")
    for paths in ((tmp_path / "first", tmp_path / "second"),
                  (tmp_path / "first" / "bundle", tmp_path / "second" / "bundle")):
        found = vitrail.compare(*paths)
        for run, path in zip(found.runs, paths, strict=True):
            told = Bundle.load(path).provenance
            assert run.losses["test"] == pytest.approx(told["loss"]["loss"])
            assert run.probes == pytest.approx(told["probe"]["scores"])
        cells = dict(outcomes(found))
        assert cells["test loss"] == [f"{run.losses['test']:.4g}" for run in found.runs]
        assert cells["frozen, 20 nearest neighbors"] == [f"{100 * run.probes['knn_20']:.1f} %" for run in found.runs]
        assert "learned without labels" in found.verdict[0]
        assert any("frozen features by 10-shot, the best first: " in line for line in found.verdict)
        assert found.ranked_by is None
