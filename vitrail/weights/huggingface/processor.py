"""preprocessor_config.json <-> Preprocess."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError
from vitrail.models import ViTConfig
from vitrail.vocabulary import Size
from vitrail.weights.known import pair, prepared
from vitrail.weights.opened import PREPROCESSOR, Opened

RESAMPLE = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def preprocess_of(given: Opened, usual: Mapping[str, Any], model: ViTConfig, notes: list[str]) -> Preprocess:
    """As the folder says, and `usual` where it does not."""
    fields: dict[str, Any] = {"size": model.image_size, **usual}
    said = given.preprocessor
    if not said:
        notes.append("There is no preprocessor_config.json: the usual preprocessing of "
                     f"{given.settings['model_type']} is assumed.")
        if "size" in usual and model.image_size[0] < 224:
            fields["size"] = model.image_size
        return prepared(given, **fields)
    if "max_num_patches" in said:
        notes.append(f"Pictures are squashed to {fields['size'][0]} x {fields['size'][1]} pixels; this model was made "
                     "for pictures in their own shape. Another shape for all: image_size=(height, width).")
    for ours, theirs in ("mean", "image_mean"), ("std", "image_std"):
        if said.get("do_normalize") is False:
            fields |= {"mean": (0.0,) * 3, "std": (1.0,) * 3}
        elif theirs in said:
            value = said[theirs]
            fields[ours] = [value] * 3 if isinstance(value, (int, float)) else value
    if "resample" in said:
        fields["interpolation"] = RESAMPLE.get(said["resample"], "bicubic")
    if said.get("rescale_factor", 1 / 255) != 1 / 255 or said.get("do_rescale") is False:
        raise BundleError(f"{given.path.parent / PREPROCESSOR} does not map 0 to 255 onto 0 to 1, which vitrail does.")
    return prepared(given, **fields | geometry(said, fields["size"]))


def geometry(said: Mapping[str, Any], size: object) -> dict[str, Any]:
    """Squashed to `size`; or resized to a shorter side, and the middle kept."""
    whole, crop = sides(said.get("size")), sides(said.get("crop_size"))
    shortest = said.get("size", {}).get("shortest_edge") if isinstance(said.get("size"), dict) else None
    if said.get("do_center_crop") and crop and (shortest or whole):
        edge = shortest or min(whole or crop)
        return {"size": crop, "resize": "crop", "crop_fraction": min(1.0, min(crop) / edge)}
    if isinstance(shortest, int):
        return {"size": (shortest, shortest), "resize": "crop", "crop_fraction": 1.0}
    return {"size": whole or size, "resize": "squash", "crop_fraction": 1.0}


def sides(value: object) -> Size | None:
    if isinstance(value, dict):
        return pair([value.get("height"), value.get("width")])
    return pair(value)


def processor_of(preprocess: Preprocess) -> dict[str, Any]:
    height, width = preprocess.size
    resample = {name: number for number, name in RESAMPLE.items()}[preprocess.interpolation]
    common = {"do_resize": True, "resample": resample, "do_rescale": True, "rescale_factor": 1 / 255,
              "do_normalize": True, "image_mean": list(preprocess.mean), "image_std": list(preprocess.std)}
    if preprocess.resize == "squash":
        return {"image_processor_type": "ViTImageProcessor", "size": {"height": height, "width": width}, **common}
    return {"image_processor_type": "BitImageProcessor", "do_convert_rgb": True, **common,
            "size": {"shortest_edge": round(min(height, width) / preprocess.crop_fraction)},
            "do_center_crop": True, "crop_size": {"height": height, "width": width}}
