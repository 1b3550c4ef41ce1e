"""Kernels of our own for training in bf16 on a processor: attention, GELU, layer norm.

    takes(tensor) -> bool                 can the kernels work on it, here and now?
    attention(qkv, bias, heads), gelu(values, bias, tanh), layer_norm(values, weight, bias, epsilon)
    without_bias(dense layer, values)     its product, and the bias that a kernel adds on the way
    trouble() -> str                      why there are none on this machine, or ""

A step spends a fifth of its time and more beside its dense layers, mostly on moving numbers between memory and
processor: maps of attention, copies of queries, keys and values, biases that are copied and then added to, one pass
for each small operation. Here attention stays in the cache from the scores to the answer, and the rest is one pass.

The C++ (attention.h, layers.h, product.h, lanes.h) is compiled for the very processor on first use, which
takes two seconds, and kept in the user's cache. Where there is no compiler, or no Linux, torch computes as before:
`training/backend.py` measures what is faster and writes it down.
"""

from vitrail.native.build import trouble
from vitrail.native.functions import attention, gelu, layer_norm, takes, without_bias

__all__ = ["attention", "gelu", "layer_norm", "takes", "trouble", "without_bias"]
