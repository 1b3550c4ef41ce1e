"""What a run understood, before it begins: the rows of the box, and how long everything will take."""

from __future__ import annotations

import torch

from vitrail.data.augment import Augmentation, MultiCrop
from vitrail.events import Understood
from vitrail.models import AxialResNetConfig, BiTConfig, HybridConfig, describe
from vitrail.training.forecast import free_bytes
from vitrail.training.optimizer import describe_decay
from vitrail.workshop import Workshop, known_mistakes, probe_words, start_words, teacher_words

FORWARD_SHARE = 1 / 3  # backward costs twice the forward pass
PLAINLY = "as they are"


def understood(shop: Workshop) -> Understood:
    """The rows of the box, each with the reason for what was chosen by default."""
    seconds = whole_run_seconds(shop)
    rate = shop.batch_size / shop.step_seconds if shop.step_seconds else 0.0
    shown = f"{rate:,.0f}" if rate > 10 else f"{rate:.2g}"
    timed = f"{shown} training images a second, timed on a few steps" if rate else "not timed: asked to stop"
    whole = ("whole run", f"about {duration(seconds)} ({timed})")
    memory = [("memory", memory_words(shop))] if shop.peak_bytes is not None else []
    warnings = (*shop.source.warnings, *shop.notes, *known_mistakes(
        shop.recipe, shop.config, len(shop.source.splits["train"]), shop.total_steps, shop.activation))
    return Understood((*rows_of(shop), *memory, whole), warnings, shop.total_steps, seconds, rate,
                      shop.peak_bytes)


def rows_of(shop: Workshop) -> list[tuple[str, str]]:
    """(subject, words): everything but how long it will take."""
    folder = f"{shop.folder}; a checkpoint every {duration(shop.recipe.training.checkpoint_seconds)}"
    rows = [("data", data_words(shop)), ("classes", class_words(shop.classes or ())), ("model", model_words(shop)),
            ("learning", shop.objective.words()),
            ("weights", start_words(shop)), ("teacher", teacher_words(shop.recipe, shop.objective)),
            ("images", image_words(shop)), ("optimizer", optimizer_words(shop)),
            ("length", length_words(shop)), ("computing", computing_words(shop)),
            ("probing", probe_words(shop.recipe, shop.probe)), ("run folder", folder)]
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
        probes = epochs / recipe.evaluation.probe_every * shop.probe.images if (
            shop.probe and recipe.evaluation.probe_every) else 0.0
        training = left * shop.step_seconds + (looks + probes) * image
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
    if not classes:
        return ""
    return f"{len(classes)}: {shown}" + (", ..." if len(classes) > most else "")


def model_words(shop: Workshop) -> str:
    config, account = shop.config, describe(shop.config)
    rows, columns = config.grid
    costs = f"{account.parameters / 1e6:.1f} M parameters, {account.macs / 1e6:,.0f} M multiply-adds an image"
    if isinstance(config, BiTConfig):
        units = "-".join(map(str, config.depths))
        kind = "AxialResNet" if isinstance(config, AxialResNetConfig) else "ResNet"
        return (f"{config.name}: {kind} with {units} units, {config.root} to {config.embedding} wide, {costs} "
                f"({rows}x{columns} places at the end)")
    stem = "".join(f"a ResNet with {'-'.join(map(str, part.stem_depths)) or 'no'} units, then "
                   for part in (config,) if isinstance(part, HybridConfig))
    layers = f"{config.depth} layer{'s' * (config.depth > 1)}"
    layers += ", each along rows and then columns" if len(config.spans) > 1 else ""
    return (f"{config.name}: {stem}{layers}, {config.width} wide, {costs} ({rows}x{columns} patches of "
            f"{config.patch[0]}x{config.patch[1]} pixels)")


def image_words(shop: Workshop) -> str:
    height, width = shop.recipe.preprocess.size
    words = augmentation_words(shop.recipe.augmentation)
    if "image" not in shop.objective.views:
        words = [crop_words(shop.recipe.augmentation.multi_crop), *(word for word in words if word != PLAINLY)]
    return f"{height}x{width} pixels; in training {', '.join(words)}"


def crop_words(chosen: MultiCrop) -> str:
    """Several views of one picture, and what happens to them."""
    height, width = chosen.local_size
    local = f" and {chosen.local} small ones of {height}x{width}" if chosen.local else ""
    varied = [word for word, share in (("recolored", chosen.recolored), ("greyed", chosen.grey),
                                       ("blurred", max(chosen.blur)), ("solarized", chosen.solarize)) if share]
    return f"two large crops of each{local}" + (f", some of them {listed(varied)}" if varied else "")


def listed(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def augmentation_words(chosen: Augmentation) -> list[str]:
    """What happens to a training picture, in this order."""
    ways = {"none": "", "pad": "moved a little", "random-resized": "random parts, resized",
            "inception": "random parts, resized (inception crop)", "simple": "almost whole"}
    policy = chosen.randaugment
    mixing = [f"{name} {parameter:g}" for name, parameter in (("mixup", chosen.mixup), ("cutmix", chosen.cutmix))
              if parameter]
    words = [ways[chosen.crop], "flipped" if chosen.flip else "",
             f"RandAugment ({policy.layers} of magnitude {policy.magnitude:g})" if policy.layers else "",
             "TrivialAugment" if chosen.trivial_augment else "", "3-Augment" if chosen.three_augment else "",
             "recolored" if chosen.brightness or chosen.contrast or chosen.saturation else "",
             "partly erased" if chosen.erase else "", f"mixed ({' or '.join(mixing)})" if mixing else ""]
    return [word for word in words if word] or [PLAINLY]


def optimizer_words(shop: Workshop) -> str:
    settings, schedule = shop.recipe.optimizer, shop.recipe.schedule
    return (f"{settings.name}, learning rate {settings.learning_rate:g} ({schedule.kind}, warmup {schedule.warmup:g}), "
            f"batch {shop.batch_size}; {'; '.join([describe_decay(settings, shop.optimizer), *learning_words(shop)])}")


def learning_words(shop: Workshop) -> list[str]:
    """What is out of the ordinary in how the model learns."""
    training, words = shop.recipe.training, []
    if shop.recipe.optimizer.layer_decay is not None:
        words.append(f"each layer learns at {shop.recipe.optimizer.layer_decay:g} of the rate of the one above")
    if training.freeze or training.adapters.rank:
        learning, all_ = (sum(value.numel() for value in values) for values in (
            shop.weights.masters, shop.model.parameters()))
        beside = f", corrections of rank {training.adapters.rank} among them" if training.adapters.rank else ""
        words.append(f"{learning:,} of {all_:,} parameters learn{beside}")
    if training.average is not None:
        words.append(f"moving average of the weights ({training.average:g})")
    if training.recompute:
        words.append("blocks computed twice to save memory")
    return words


def length_words(shop: Workshop) -> str:
    if shop.total_steps is None:
        return f"{duration(shop.recipe.schedule.seconds or 0.0)} of training"
    epochs = shop.total_steps * shop.batch_size / len(shop.source.splits["train"])
    flops = 6 * shop.objective.macs() * shop.total_steps * shop.batch_size
    return f"{shop.total_steps:,} steps, {epochs:.3g} epochs, {scaled(flops)}FLOPs"


def memory_words(shop: Workshop) -> str:
    free = free_bytes(shop.device)
    beside = "" if free is None else f"; {free / 2**30:.1f} GiB more can be had now"
    parts = f"; batches in {shop.micro_batches} parts" if shop.micro_batches > 1 else ""
    where = "of the GPU" if shop.device.type == "cuda" else "for this process"
    return f"at most {(shop.peak_bytes or 0) / 2**30:.2f} GiB {where} in training{beside}{parts}"


def computing_words(shop: Workshop) -> str:
    precision, attention, reason = shop.backend
    kernels = {None: "", "native": ", attention by vitrail's own kernels, GELU and norms too"}.get(
        attention, f", attention by {attention}")
    compiled = ", blocks compiled" if shop.recipe.training.compile else ""
    several = ""
    if shop.world.size > 1:
        how = "each with a part of every parameter" if shop.weights.sharded else "whose gradients are averaged"
        several = f"{shop.world.size} processes with {shop.share} images of a batch each, {how}; "
    return (f"{several}{shop.device.type}, {precision}{kernels}{compiled}: {reason}"
            f"{idle_words(shop)}")


def idle_words(shop: Workshop) -> str:
    """Other GPUs that could be used."""
    count = torch.cuda.device_count()
    return f"; this machine has {count} GPUs: --devices {count}" if count > shop.world.local_size == 1 else ""


def scaled(amount: float) -> str:
    """A large number with the prefix that keeps it short: "13 tera"."""
    for prefix, size in (("exa", 1e18), ("peta", 1e15), ("tera", 1e12)):
        if amount >= size:
            return f"{amount / size:.3g} {prefix}"
    return f"{amount / 1e9:.3g} giga"


def duration(seconds: float) -> str:
    """Seconds as a person says them: "45 s", "12 min", "3 h 20 min", "5 days", "6 years"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    minutes, days = round(seconds / 60), seconds / 86_400
    if days < 3:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{days:,.0f} days" if days < 1_000 else f"{days / 365:,.0f} years"
