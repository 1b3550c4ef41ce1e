"""What a run understood, before it begins: the rows of the box, and how long everything will take."""

from __future__ import annotations

from vitrail.events import Understood
from vitrail.models import BiTConfig, HybridConfig, describe
from vitrail.training.optimizer import describe_decay
from vitrail.workshop import Workshop, start_words

FORWARD_SHARE = 1 / 3  # backward costs twice the forward pass


def understood(shop: Workshop) -> Understood:
    """The rows of the box, each with the reason for what was chosen by default."""
    seconds = whole_run_seconds(shop)
    timed = f"{shop.batch_size / shop.step_seconds:,.0f} training images a second, timed on a few steps" if (
        shop.step_seconds) else "not timed: asked to stop"
    whole = ("whole run", f"about {duration(seconds)} ({timed})")
    return Understood((*rows_of(shop), whole), (*shop.source.warnings, *shop.notes), shop.total_steps, seconds)


def rows_of(shop: Workshop) -> list[tuple[str, str]]:
    """(subject, words): everything but how long it will take."""
    rows = [("data", data_words(shop)), ("classes", class_words(shop.source.classes)), ("model", model_words(shop)),
            ("weights", start_words(shop)), ("images", image_words(shop)), ("optimizer", optimizer_words(shop)),
            ("length", length_words(shop)), ("computing", computing_words(shop)), ("run folder", str(shop.folder))]
    reasons = shop.recipe.reasons
    return [(subject, f"{words} - {reasons[subject]}" if subject in reasons else words) for subject, words in rows
            if words]


def whole_run_seconds(shop: Workshop) -> float:
    """Steps still to do, validation on the way, and the last evaluation and report."""
    recipe, splits = shop.recipe, shop.source.splits
    image = shop.step_seconds / shop.batch_size * FORWARD_SHARE
    if shop.total_steps is None:
        training = (recipe.schedule.seconds or 0.0) - shop.seconds
    else:
        left = shop.total_steps - shop.step
        epochs = left * shop.batch_size / len(splits["train"])
        looks = epochs / recipe.evaluation.every_epochs * len(splits["val"]) if "val" in splits else 0.0
        training = left * shop.step_seconds + looks * image
    final = max((len(split) for name, split in splits.items() if name != "train"), default=0)
    in_fp32 = 2.0 if shop.backend.precision == "bf16" else 1.0
    return training + final * image * in_fp32 + 4.0  # the report takes a few seconds


def bad_words(shop: Workshop) -> list[str]:
    """What to say of training images that could not be read; each was replaced by another one."""
    bad = shop.loader.bad
    if not bad:
        return []
    shown = "; ".join(f"{name} ({reason})" for name, reason in list(bad.items())[:5])
    return [f"{len(bad)} training images could not be read and were replaced by others: {shown}"
            f"{'; ...' if len(bad) > 5 else ''}"]


def data_words(shop: Workshop) -> str:
    counts = ", ".join(f"{len(split):,} {name}" for name, split in shop.source.splits.items())
    notes = "; ".join(shop.source.notes)
    if shop.source.splits.keys() == {"train"}:
        notes += ("; " if notes else "") + "nothing is held out, so the model will not be measured"
    return f"{shop.source.spec}: {shop.source.kind}; {counts} images" + (f"; {notes}" if notes else "")


def class_words(classes: tuple[str, ...], most: int = 6) -> str:
    shown = ", ".join(classes[:most])
    return f"{len(classes)}: {shown}" + (", ..." if len(classes) > most else "")


def model_words(shop: Workshop) -> str:
    config, account = shop.config, describe(shop.config)
    rows, columns = config.grid
    costs = f"{account.parameters / 1e6:.1f} M parameters, {account.macs / 1e6:,.0f} M multiply-adds an image"
    if isinstance(config, BiTConfig):
        units = "-".join(map(str, config.depths))
        return (f"{config.name}: ResNet with {units} units, {config.root} to {config.embedding} wide, {costs} "
                f"({rows}x{columns} places at the end)")
    stem = "".join(f"a ResNet with {'-'.join(map(str, part.stem_depths)) or 'no'} units, then "
                   for part in (config,) if isinstance(part, HybridConfig))
    return (f"{config.name}: {stem}{config.depth} layers, {config.width} wide, {costs} ({rows}x{columns} patches of "
            f"{config.patch[0]}x{config.patch[1]} pixels)")


def image_words(shop: Workshop) -> str:
    height, width = shop.recipe.preprocess.size
    augmentation = shop.recipe.augmentation
    ways = {"pad": "moved a little", "random-resized": "random parts, resized"}
    parts = [ways[augmentation.crop]] if augmentation.crop in ways else []
    parts += [word for word, on in (("flipped", augmentation.flip), ("partly erased", augmentation.erase),
                                    ("recolored", augmentation.brightness or augmentation.contrast
                                     or augmentation.saturation)) if on]
    return f"{height}x{width} pixels; in training {', '.join(parts) or 'as they are'}"


def optimizer_words(shop: Workshop) -> str:
    settings, schedule = shop.recipe.optimizer, shop.recipe.schedule
    return (f"{settings.name}, learning rate {settings.learning_rate:g} ({schedule.kind}, warmup {schedule.warmup:g}), "
            f"batch {shop.batch_size}; {describe_decay(settings, shop.optimizer)}")


def length_words(shop: Workshop) -> str:
    if shop.total_steps is None:
        return f"{duration(shop.recipe.schedule.seconds or 0.0)} of training"
    epochs = shop.total_steps * shop.batch_size / len(shop.source.splits["train"])
    flops = 1e18 * describe(shop.config).training_exaflops(shop.total_steps * shop.batch_size)
    return f"{shop.total_steps:,} steps, {epochs:.3g} epochs, {scaled(flops)}FLOPs"


def computing_words(shop: Workshop) -> str:
    precision, attention, reason = shop.backend
    return f"{shop.device.type}, {precision}{f', attention by {attention}' if attention else ''}: {reason}"


def scaled(amount: float) -> str:
    """A large number with the prefix that keeps it short: "13 tera"."""
    for prefix, size in (("exa", 1e18), ("peta", 1e15), ("tera", 1e12)):
        if amount >= size:
            return f"{amount / size:.3g} {prefix}"
    return f"{amount / 1e9:.3g} giga"


def duration(seconds: float) -> str:
    """Seconds as a person says them: "45 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds // 3600:.0f} h {seconds % 3600 / 60:.0f} min"
