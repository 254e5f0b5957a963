"""What a kernel, a layer or an operator computes, told by its name: a convolution, a matrix product, a reformat."""

from __future__ import annotations

import re
from typing import Literal

Family = Literal[
    "conv", "gemm", "attention", "softmax", "norm", "pool", "reduce", "pointwise", "index", "reformat", "copy", "other"
]
# The operators that other ones are fused into.
ANCHORS: tuple[Family, ...] = ("conv", "gemm", "attention")
# What a runtime may do within the kernel of a neighbour.
FUSIBLE: tuple[Family, ...] = ("norm", "pointwise", "pool", "reduce", "softmax", "index", "other")
# What moves values and computes none.
MOVES: tuple[Family, ...] = ("reformat", "copy")

# The first that matches names the family. Words of several libraries: cuDNN, cuBLAS, CUTLASS, ATen, TensorRT, ONNX
# Runtime, oneDNN. Kernels that Triton has generated are read by their own grammar, below.
_FAMILIES: tuple[tuple[Family, re.Pattern[str]], ...] = tuple(
    (family, re.compile(pattern, re.IGNORECASE))  # type: ignore[misc]
    for family, pattern in (
        ("copy", r"^\[?(cuda )?mem(cpy|set)|^\[(host|device)to|CatArrayBatchedCopy|concat|aten::(cat|copy_|clone)$"),
        (
            "reformat",
            r"nchw_?to_?nhwc|nhwc_?to_?nchw|nc_?hw\w*_?to_?nhwc|^Reformat|genericReformat|copyPackedKernel|CopyNode"
            r"|copyVectorizedKernel|permutationKernel|(?<!conv)(?<!conv_)transpose(?!d)(?!_conv)|direct_copy_kernel|__myl_(Cast)+(_|0x|$)"
            r"|OP_Cast|CudaCast|aten::(to|_to_copy|contiguous)$|(^|[:/_ ])Cast(_\d+)?$|reorder",
        ),
        ("attention", r"flash|fmha|[_:]mha|attention|sdpa"),
        (
            "conv",
            r"conv(?!ert)|fprop|dgrad|wgrad|implicit_gemm|winograd|cudnn_cnn|scudnn|first_layer|cutlass__5x_cudnn",
        ),
        (
            "gemm",
            r"gemm|gemv|gemmsn|mat_?mul|cublas|splitkreduce|nvjet|cutlass|fully_?connected|(^|:)(add|b|badd)?b?mm$"
            r"|addmm|linear$|[:_]linear|wmma",
        ),
        ("softmax", r"soft_?max"),
        ("norm", r"batch_?norm|bn_fw|layer_?norm|rms_?norm|group_?norm|instance_?norm|rowwisemoments|normalization"),
        ("pool", r"pool"),
        ("reduce", r"reduc|mean|argm(ax|in)|cumsum|::sum|(^|:|/)all$|(^|:|/)any$"),
        ("index", r"gather|embedding|index|scatter|nonzero|topk|sort|slice|select"),
        (
            "pointwise",
            r"element_?wise|point_?wise|PWN\(|relu|gelu|activation|bias|sigmoid|tanh|silu|kgen|__myl_|fused"
            r"|(^|[:/_ ])(add|sub|mul|div|exp|erf|pow|sqrt|clip|where|neg|rsqrt|scale)_?(_\d+)?($|[^a-z])|functor",
        ),
        ("copy", r"copy|memcpy|memset|fill"),
    )
)
# triton_poi_fused_..._3: a pointwise kernel; _per_ and _red_ have a reduction; _tem_ is a template of a product.
_TRITON = re.compile(r"triton_(poi|per|red|tem|for|spl|unk|mm|convolution)\w*?(?:_fused_(\w+?))?(?:_\d+)?$")
_CPP = re.compile(r"(?:graph_\d+_)?(?:kernel_)?cpp_fused_(\w+?)(?:_\d+)?$")
# Names of operators, the longer of two that begin alike first.
_ATEN = re.compile(
    r"_scaled_dot_product_\w+?attention|_native_batch_norm_legit_no_training|_native_batch_norm_legit(?:_functional)?"
    r"|native_layer_norm|native_group_norm|_to_copy|_unsafe_index|_unsafe_view|_adaptive_avg_pool2d|convolution"
    r"|max_pool2d_with_indices|_low_memory_max_pool\w*?offsets|max_pool2d|avg_pool2d|hardtanh|leaky_relu|relu|gelu|silu"
    r"|sigmoid|tanh|addmm|baddbmm|bmm|mm|_softmax|softmax|embedding|rsqrt|sqrt|squeeze|unsqueeze|permute|transpose"
    r"|clone|view|expand|slice|cat|constant_pad_nd|mean|var_mean|pow|add|sub|mul|div|exp|erf|where|amax|sum|arange|copy"
)
_MOVING = {
    "_to_copy",
    "clone",
    "permute",
    "transpose",
    "view",
    "_unsafe_view",
    "expand",
    "copy",
    "squeeze",
    "unsqueeze",
}
# Operators that give a tensor another shape or make an empty one, and those that only ask: of torch, and of ONNX.
_NO_WORK = re.compile(
    r"aten::_?(empty\w*|new_empty\w*|resize_?|set_|view(_as)?|reshape(_as|_alias)?|unsafe_view|expand(_as)?|permute"
    r"|transpose_?|numpy_T|t|(un)?squeeze_?|flatten|slice|select|narrow|split\w*|chunk|unbind|as_strided_?|alias|detach_?"
    r"|lift_fresh|resolve_(conj|neg)|result_type|item|local_scalar_dense|is_nonzero|dropout_?|identity)$"
    r"|^(Reshape|Shape|Size|Squeeze|Unsqueeze|Flatten|Identity|Constant|ConstantOfShape|Expand|Range)$"
)
# Precisions in the names of kernels; what is read from and written to comes after what is computed in.
_PRECISIONS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("fp8", r"e4m3|e5m2|_f8|fp8"),
        ("bf16", r"bf16|bfloat16|nv_bfloat"),
        ("tf32", r"tf32"),
        ("int8", r"i8i8|int8|imma|s8_s8|_i8"),
        ("fp16", r"f16|half|h16816|h1688|h884|hgemm|hmma"),
        ("tf32", r"s1688|s16816"),
        ("fp32", r"f32|float|sgemm|scudnn"),
    )
)
# Of convolutions and products: instructions of tensor cores by their shapes (s1688, h16816), libraries whose kernels
# use nothing else, and those of CUDA's ordinary cores. xmma kernels are of both, told apart by what they multiply.
_TENSOR_CORES = re.compile(
    r"tensorop|[a-z](?:884|1688|8816|16816|16832|16864)(?![0-9])|[hi]mma|gmma|wmma|nvjet|flash|fmha|tf32f32"
    r"|xmma\w*(?:f16f16|bf16bf16|i8i8|e4m3)",
    re.IGNORECASE,
)
_ORDINARY_CORES = re.compile(
    r"sgemm|(?:im|pre)\w+_convolve|dgrad_engine|wgrad_engine|scudnn|simt|fft2d|xmma\w*f32f32_f32f32|conv_depthwise",
    re.IGNORECASE,
)


def family(name: str) -> Family:
    """The family of a kernel by its name, of a layer or node by its type, of an operator: ``other`` where none fits."""
    if match := _TRITON.search(name):
        return _generated(match[1], operators(name), name)
    if _CPP.search(name):
        return _generated("per" if _reduces(operators(name)) else "poi", operators(name), name)
    return next((each for each, pattern in _FAMILIES if pattern.search(name)), "other")


def computes(name: str, of: Family) -> bool:
    """Whether an operator on a CPU, of this name and family, computes values: not if it moves them, is a view of them
    or makes room for some.
    """
    return of not in MOVES and not _NO_WORK.search(name)


def operators(name: str) -> tuple[str, ...]:
    """The operators that the name of a generated kernel lists: ``triton_poi_fused_add_relu_3`` -> add, relu."""
    match = _TRITON.search(name)
    text = match[2] if match else (cpp[1] if (cpp := _CPP.search(name)) else "")
    return tuple(dict.fromkeys(each.removeprefix("_") for each in _ATEN.findall(text or "")))


def precision(name: str) -> str:
    """The precision that the name of a convolution's or a product's kernel tells, else empty."""
    return next((each for each, pattern in _PRECISIONS if pattern.search(name)), "")


def tensor_cores(name: str) -> bool | None:
    """Whether a convolution's or a product's kernel computes on tensor cores; None where its name does not tell."""
    if _TENSOR_CORES.search(name):
        return True
    return False if _ORDINARY_CORES.search(name) else None


def _generated(kind: str, listed: tuple[str, ...], name: str) -> Family:
    words = set(listed)
    if kind in ("tem", "mm", "convolution"):
        return "conv" if "conv" in name else "attention" if "attention" in name else "gemm"
    if kind == "poi":
        moves = words and words <= {each.removeprefix("_") for each in _MOVING}
        return "reformat" if moves else "copy" if words == {"cat"} else "pointwise"
    if any("norm" in word for word in words) or "var_mean" in words:
        return "norm"
    return "softmax" if any("softmax" in word for word in words) else "reduce"


def _reduces(listed: tuple[str, ...]) -> bool:
    return any(word in ("native_layer_norm", "softmax", "var_mean", "mean", "amax", "sum") for word in listed)
