"""The commands as a person types them: what is printed where, exit codes, and never a traceback."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

import vitrail
from vitrail import cli


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def vitrail_cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Run `vitrail ARGUMENTS` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["vitrail", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Outcome(end.value.code or 0, captured.out, captured.err)  # type: ignore[arg-type]

    return call


def draw_photos(folder: Path, per_class: int = 12) -> Path:
    """Reds and blues with alpha, of mixed sizes, without splits."""
    random = np.random.default_rng(0)
    for name, color in (("red", (200, 40, 40)), ("blue", (40, 40, 200))):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            height, width = random.integers(50, 90, 2)
            pixels = np.clip(np.array(color) + random.normal(0, 30, (height, width, 3)), 0, 255)
            alpha = np.full((height, width, 1), 255)
            alpha[:8] = 0
            Image.fromarray(np.concatenate((pixels, alpha), -1).astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


TINY = ("--model", "mu/8", "--image-size", "32", "--quiet")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the photographs, and the photographs beside it."""
    folder = tmp_path_factory.mktemp("trained")
    photos = draw_photos(folder / "photos")
    result = subprocess.run(
        [sys.executable, "-m", "vitrail", "train", str(photos), "--out", str(folder / "run"), "--steps", "20", *TINY],
        capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder


def processor_seconds_of_children() -> float:
    """Beside other programs it takes longer on the clock."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_help_imports_no_torch_and_is_quick() -> None:
    code = ("import sys; sys.argv = ['vitrail', '--help']\nfrom vitrail.cli import main\n"
            "try: main()\nexcept SystemExit: pass\n"
            "print('heavy:', [m for m in ('torch', 'numpy', 'pydantic') if m in sys.modules])")
    taken = []
    for _ in range(5):
        start = processor_seconds_of_children()
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        taken.append(processor_seconds_of_children() - start)
    assert "heavy: []" in result.stdout
    assert all(verb in result.stdout for verb in ("demo", "train", "evaluate", "predict", "describe"))
    assert min(taken) < 0.3


@pytest.mark.parametrize("verb", ["demo", "train", "evaluate", "predict", "describe", "pack", "verify"])
def test_each_verb_explains_itself_with_two_examples(verb: str, vitrail_cli) -> None:  # type: ignore[no-untyped-def]
    outcome = vitrail_cli(verb, "--help")
    assert outcome.code == 0
    assert outcome.out.count(f"vitrail {verb}") >= 2


def test_version(vitrail_cli) -> None:  # type: ignore[no-untyped-def]
    assert vitrail_cli("--version").out.strip() == vitrail.__version__


def test_describe_knows_the_parameters_of_the_paper(vitrail_cli) -> None:  # type: ignore[no-untyped-def]
    facts = json.loads(vitrail_cli("describe", "B/16", "--image-size", "384", "--json").out)
    assert facts["parameters"] == 86_567_656 + (24 * 24 - 14 * 14) * 768
    assert facts["image_size"] == [384, 384]
    assert "86,567,656" in vitrail_cli("describe", "B/16").out
    rectangle = json.loads(vitrail_cli("describe", "Ti/16", "--image-size", "64x128", "--json").out)
    assert rectangle["grid"] == [4, 8]


def test_describe_knows_every_family(vitrail_cli) -> None:  # type: ignore[no-untyped-def]
    facts = json.loads(vitrail_cli("describe", "R50+B/16", "--json").out)
    assert (facts["parameters"], facts["stem_units"], facts["tokens"]) == (98_659_112, [3, 4, 9], 197)
    facts = json.loads(vitrail_cli("describe", "R50x1", "--image-size", "64x96", "--json").out)
    assert (facts["parameters"], facts["units"], facts["grid"]) == (25_549_352, [3, 4, 6, 3], [2, 3])
    assert "tokens" not in facts
    facts = json.loads(vitrail_cli("describe", "axial-B/32", "--json").out)
    assert (facts["parameters"], facts["tokens"], facts["pooling"]) == (173_277_160, 49, "mean")
    facts = json.loads(vitrail_cli("describe", "axial-R50", "--json").out)
    assert (facts["parameters"], facts["units"], facts["heads"]) == (19_358_408, [3, 4, 6, 3], 8)
    for name in ("R152x2", "R+Ti/16"):
        assert name in vitrail_cli("describe", name).out
    outcome = vitrail_cli("describe", "R51x1")
    assert outcome.code == 2
    assert "Did you mean 'R50x1'" in outcome.err


def test_train_says_what_it_did_and_what_is_next(trained: Path) -> None:
    run = trained / "run"
    assert {"bundle", "metrics.jsonl", "recipe.json", "report.html", "checkpoints", "tb"} <= {
        path.name for path in run.iterdir()}


def test_evaluate_uses_the_held_out_images_of_the_run(vitrail_cli, trained: Path) -> None:  # type: ignore[no-untyped-def]
    result = json.loads(vitrail_cli("evaluate", trained / "run", "--json").out)
    kept = vitrail.load(trained / "run").provenance["evaluation"]
    assert result["top1"] == kept["top1"]
    assert result["images"] == kept["images"] == 2  # a tenth of 24, at least one a class
    assert np.array(result["confusion"]).sum() == 2
    everything = json.loads(vitrail_cli("evaluate", trained / "run", "--split", "all", "--json").out)
    assert everything["images"] == 24


def test_evaluate_on_other_images_takes_them_all_and_matches_by_name(vitrail_cli, trained: Path,  # type: ignore[no-untyped-def]
                                                                     tmp_path: Path) -> None:
    other = draw_photos(tmp_path / "other", per_class=3)
    result = json.loads(vitrail_cli("evaluate", trained / "run", other, "--json").out)
    assert result["images"] == 6
    assert [one["class"] for one in result["per_class"]] == ["blue", "red"]
    (other / "red").rename(other / "green")
    refused = vitrail_cli("evaluate", trained / "run", other)
    assert refused.code == 3
    assert "green" in refused.err


def test_a_quality_gate_ends_with_its_own_code(vitrail_cli, trained: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name in ("red", "blue"):  # the same pictures under both names: half of them are right
        shutil.copytree(trained / "photos" / "red", tmp_path / "half" / name)
    assert vitrail_cli("evaluate", trained / "run", "half", "--min-top1", "0.5").code == 0
    outcome = vitrail_cli("evaluate", trained / "run", "half", "--min-top1", "0.6")
    assert outcome.code == 4
    assert "below the bar of 0.6" in outcome.err


def test_predict_answers_the_good_and_reports_the_bad(vitrail_cli, trained: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "bad.jpg").write_bytes(b"not a picture")
    good = trained / "photos" / "red" / "0.png"
    outcome = vitrail_cli("predict", trained / "run", good, tmp_path / "bad.jpg", good, "--json")
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert outcome.code == 3
    assert [("top" in line, "error" in line) for line in lines] == [(True, False), (False, True), (True, False)]
    assert {answer["class"] for answer in lines[0]["top"]} == {"red", "blue"}
    assert sum(answer["probability"] for answer in lines[0]["top"]) == pytest.approx(1)
    assert "1 of 3 could not be read" in outcome.err


def test_predict_takes_folders_patterns_and_a_list_on_standard_input(  # type: ignore[no-untyped-def]
        vitrail_cli, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = trained / "photos"
    assert len(vitrail_cli("predict", trained / "run", photos).out.splitlines()) == 24
    assert len(vitrail_cli("predict", trained / "run", f"{photos}/red/1*.png", "--top", "1").out.splitlines()) == 3
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{photos}/red/0.png\n{photos}/blue/0.png\n"))
    rows = vitrail_cli("predict", trained / "run", "-", "--csv").out.splitlines()
    assert rows[0] == "path,class_1,probability_1,class_2,probability_2,error"
    assert len(rows) == 3


def test_the_same_answer_in_python_and_on_the_command_line(vitrail_cli, trained: Path) -> None:  # type: ignore[no-untyped-def]
    image = trained / "photos" / "blue" / "3.png"
    line = json.loads(vitrail_cli("predict", trained / "run", image, "--json").out)
    answers = vitrail.load(trained / "run").predict(image)[0]
    assert [(one["class"], one["index"]) for one in line["top"]] == [(one.name, one.index) for one in answers]
    assert line["top"][0]["probability"] == pytest.approx(answers[0].probability, abs=1e-5)


BAD = [
    (("train",), 2, "Nothing to train on"),
    (("train", "nowhere"), 3, "no file or folder"),
    (("train", "fashoin"), 2, "Did you mean 'fashion'"),
    (("train", "https://example.org/x.zip"), 2, "nothing is fetched"),
    (("train", "digits", "--model", "B/16k"), 2, "Did you mean"),
    (("train", "digits", "--model", "b/16"), 2, "Did you mean 'B/16'"),
    (("train", "digits", "--model", "Ti/3", "--image-size", "8"), 2, "not divisible by the patch size 3"),
    (("train", "digits", "--image-size", "9"), 2, "not divisible by the patch size"),
    (("train", "digits", "--image-size", "big"), 2, "--image-size big is not a size"),
    (("train", "digits", "--recipe", "defualt"), 2, "Did you mean 'default'"),
    (("train", "digits", "--recipe", "gone.json"), 2, "cannot be read"),
    (("train", "digits", "--set", "optimizer.learning_rat=1"), 2, "Did you mean 'optimizer.learning_rate'"),
    (("train", "digits", "--set", "augmentation.randaugment.magnitud=9"), 2, "'augmentation.randaugment.magnitude'"),
    (("train", "digits", "--set", "augmentation.mixup=-1"), 2, "augmentation.mixup: "),
    (("train", "digits", "--set", "data.wrokers=1"), 2, "Did you mean 'data.workers'"),
    (("train", "digits", "--set", "optimizer.learning_rate"), 2, "not of the form key=value"),
    (("train", "digits", "--set", "optimizer.learning_rate=fast"), 2, "optimizer.learning_rate"),
    (("train", "digits", "--epochs", "1", "--steps", "2"), 2, "only one of --epochs, --steps and --time"),
    (("train", "digits", "--time", "soon"), 2, "not a length of time"),
    (("train", "--resume"), 2, "Which run is to go on"),
    (("train", "--resume", "--out", "nowhere"), 2, "no run"),
    (("train", "digits", "--bogus", "1"), 2, "bogus"),
    (("train", "digits", "--image-size", "0"), 2, "is not a size"),
    (("train", "digits", "--seed", "-1"), 2, "not a whole number"),
    (("train", "digits", "--steps", "1.5"), 2, "not a whole number"),
    (("train", "digits", "--steps", "0"), 2, "schedule.steps"),
    (("train", "digits", "--out", "/proc/nothing"), 1, "Choose another --out"),
    (("predict", "nowhere", "x.jpg", "--top", "0"), 2, "from 1 on"),
    (("evaluate", "nowhere", "--min-top1", "85"), 2, "is not a fraction"),
    (("predict", "nowhere", "x.jpg"), 1, "no Bundle at nowhere"),
    (("predict", "nowhere"), 2, "No images given"),
    (("evaluate", "nowhere"), 1, "no Bundle at nowhere"),
    (("describe", "Q/16"), 2, "Unknown model"),
    (("describe", "B/16", "--image-size", "100"), 2, "use 96 or 112"),
    (("describe", "B/16", "--set", "pooling=maximum"), 2, "pooling"),
    (("trian",), 2, "Did you mean"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), BAD, ids=[" ".join(case[0]) for case in BAD])
def test_mistakes_end_in_one_message(vitrail_cli, arguments: tuple[str, ...], code: int, words: str) -> None:  # type: ignore[no-untyped-def]
    outcome = vitrail_cli(*arguments)
    assert outcome.code == code, outcome.err
    assert words in " ".join((outcome.err + outcome.out).split())
    assert not list(Path().glob("runs/*"))


def test_a_resumed_run_takes_no_other_data(vitrail_cli, trained: Path) -> None:  # type: ignore[no-untyped-def]
    outcome = vitrail_cli("train", "digits", "--resume", "--out", trained / "run")
    assert outcome.code == 2
    assert "keeps its data" in outcome.err


def test_a_trained_model_is_described_as_it_is(vitrail_cli, trained: Path) -> None:  # type: ignore[no-untyped-def]
    assert "blue, red" in vitrail_cli("describe", trained / "run").out
    outcome = vitrail_cli("describe", trained / "run", "--classes", "7")
    assert outcome.code == 2
    assert "settings are fixed" in outcome.err


def test_folders_that_cannot_be_learned_from(vitrail_cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "empty").mkdir()
    assert vitrail_cli("train", "empty").code == 3
    one = draw_photos(tmp_path / "one", 2)
    (one / "blue").rename(tmp_path / "elsewhere")
    outcome = vitrail_cli("train", "one")
    assert outcome.code == 3
    assert "only class" in outcome.err
    bad = draw_photos(tmp_path / "bad", 4)
    for path in bad.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:20])
    outcome = vitrail_cli("train", "bad")
    assert outcome.code == 3
    assert "can be opened" in outcome.err


def test_a_class_in_val_that_train_lacks_is_an_error_and_a_missing_one_a_warning(vitrail_cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    draw_photos(tmp_path / "data" / "train", 6)
    draw_photos(tmp_path / "data" / "val", 3)
    (tmp_path / "data" / "val" / "blue").rename(tmp_path / "data" / "val" / "green")
    outcome = vitrail_cli("train", "data", "--steps", "2", *TINY)
    assert outcome.code == 3
    assert "green" in outcome.err
    for path in (tmp_path / "data" / "val" / "green").iterdir():
        path.unlink()
    (tmp_path / "data" / "val" / "green").rmdir()
    outcome = vitrail_cli("train", "data", "--steps", "2", "--model", "mu/8", "--image-size", "32", "--out", "run")
    assert outcome.code == 0, outcome.err
    assert "blue" in outcome.err
    result = json.loads(vitrail_cli("evaluate", "run", "data", "--split", "val", "--json").out)
    bundle = vitrail.load("run")
    right = [bundle.predict(path)[0][0].name == "red" for path in sorted((tmp_path / "data/val/red").iterdir())]
    assert result["top1"] == pytest.approx(np.mean(right))


def test_a_bundle_with_a_changed_byte_is_refused(vitrail_cli, trained: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    copy = shutil.copytree(trained / "run" / "bundle", tmp_path / "copy")
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-100] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    outcome = vitrail_cli("predict", copy, trained / "photos" / "red" / "0.png")
    assert outcome.code == 1
    assert "checksum differs" in outcome.err


def test_ctrl_c_leaves_a_bundle_and_says_so(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "vitrail", "train", "digits", "--steps", "100000", "--out", "run"], cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(300):
        time.sleep(0.1)
        if (tmp_path / "run" / "metrics.jsonl").exists():
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)  # two at once count as one
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "can be used" in out
    assert "vitrail train --resume --out run" in out
    assert "Traceback" not in err
    assert vitrail.load(tmp_path / "run").classes == tuple("0123456789")


@pytest.mark.fault("R14", "A reader of the output that goes away, as `head` does, is no error.")
def test_a_reader_that_goes_away_is_no_error(trained: Path) -> None:
    command = f"{sys.executable} -m vitrail predict {trained / 'run'} {trained / 'photos'} --json | head -1"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, env=os.environ)
    assert "Traceback" not in result.stderr
    assert len(result.stdout.splitlines()) == 1


def test_no_network_and_a_broken_torchvision_disturb_nothing(tmp_path: Path) -> None:
    """torchvision beside another build of torch fails with RuntimeError when it is imported."""
    broken = tmp_path / "site" / "torchvision"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    code = ("import socket\n"
            "def refuse(*arguments, **options): raise AssertionError('the network was used')\n"
            "socket.socket.connect = refuse; socket.create_connection = refuse; socket.getaddrinfo = refuse\n"
            "import sys; sys.argv = ['vitrail', 'train', 'digits', '--steps', '3', '--out', 'run', '--model', 'mu/4']\n"
            "from vitrail.cli import main; main()")
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
                            env=os.environ | {"PYTHONPATH": str(tmp_path / "site")})
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "run" / "report.html").exists()
    assert "://" not in (tmp_path / "run" / "report.html").read_text().replace("http://www.w3.org", "")
