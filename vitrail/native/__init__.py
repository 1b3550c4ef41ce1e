"""C++ of our own, where a processor spends time that torch and libjpeg-turbo cannot save.

Kernels for training on a processor, in bf16 and fp32 (kernels.py, training/):

    takes(tensor) -> bool                 can the kernels work on it, here and now?
    attention(qkv, bias, heads), gelu(values, bias, tanh), layer_norm(values, weight, bias, epsilon)
    without_bias(dense layer, values)     its product, and the bias that a kernel adds on the way
    adamw(weights, ..., rates), norm(tensors)     what follows the backward pass (updates.py)
    trouble() -> str                      why there are none on this machine, or ""

A step spends a fifth of its time and more beside its dense layers, mostly on moving numbers between memory and
processor: maps of attention, copies of queries, keys and values, biases that are copied and then added to, one pass
for each small operation. Here attention stays in the cache from the scores to the answer, and the rest is one pass.
`training/backend.py` measures what is faster and writes it down.

From JPEG files to the input of a model (looks.py, pictures/), the same numbers as without, to the bit:

    look(file, picture, part, whole, window, bicubic) -> pixels, or None where libjpeg must do it
    normalize(raw, scale, shift) -> floats, or None where torch must do it
    prepare()                             wait until both are compiled
    keep_pages()                          normalize may count on memory that stays

Both are compiled for the very processor on first use, which takes two or three seconds, and kept in the user's cache.
Where there is no compiler, or no Linux, torch and libjpeg-turbo do as before.
"""

from vitrail.native.kernels import attention, gelu, layer_norm, takes, trouble, without_bias
from vitrail.native.looks import keep_pages, look, normalize, prepare
from vitrail.native.updates import Rates, adamw, norm

__all__ = ["Rates", "adamw", "attention", "gelu", "keep_pages", "layer_norm", "look", "norm", "normalize", "prepare",
           "takes", "trouble", "without_bias"]
