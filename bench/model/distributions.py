"""The Python packages that runtimes come in: names of distributions, and the command that installs each."""

# TensorRT, by the distribution that has it. What is built is kept by the versions of exactly these.
TENSORRT = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13", "tensorrt-bindings")
# What the newer of those are made of.
TENSORRT_BINDINGS = ("tensorrt-cu12-bindings", "tensorrt-cu13-bindings")
# TensorRT-RTX, and what it is made of.
TENSORRT_RTX = (
    "tensorrt-rtx", "tensorrt-rtx-cu12", "tensorrt-rtx-cu12-bindings", "tensorrt-rtx-cu12-libs",
    "tensorrt-rtx-cu13", "tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs",
)  # fmt: skip
# torch_tensorrt, by the distribution that has it; the second runs on TensorRT-RTX.
TORCH_TENSORRT = ("torch-tensorrt", "torch-tensorrt-rtx")
# ONNX Runtime's provider of TensorRT-RTX, which brings the libraries with it.
ONNXRUNTIME_RTX = (
    "onnxruntime-ep-nv-tensorrt-rtx", "onnxruntime-ep-nv-tensorrt-rtx-cu12", "onnxruntime-ep-nv-tensorrt-rtx-cu13",
)  # fmt: skip
# Modules that come in one of several distributions, the one that has its own name first.
PACKAGES = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "onnxruntime_ep_nv_tensorrt_rtx": ONNXRUNTIME_RTX[::-1],
    "tensorrt": TENSORRT,
    "tensorrt_rtx": TENSORRT_RTX,
    "torch_tensorrt": TORCH_TENSORRT,
}

# The commands for modules that are not installed by their own name. A remark stands before its command, as a comment
# behind it is an argument in an interactive zsh.
_COMMANDS = {
    "cuda": "pip install cuda-bindings",
    "cuda.bindings": "pip install cuda-bindings",
    "modelopt": "pip install nvidia-modelopt",
    "onnxruntime": "onnxruntime or onnxruntime-gpu: pip install onnxruntime",
    "pynvml": "pip install nvidia-ml-py",
    "tensorrt": "tensorrt-cu12 or tensorrt-cu13, or a toolchain that has TensorRT: pip install tensorrt-cu12",
    "tensorrt_rtx": "for Linux on x86-64: pip install tensorrt-rtx-cu13",
    "torchvision": "install the torchvision that belongs to your torch build: pytorch.org/get-started",
    "torch_tensorrt": "torch-tensorrt or torch-tensorrt-rtx: pip install torch-tensorrt",
    "onnxruntime_ep_nv_tensorrt_rtx": "pip install onnxruntime-ep-nv-tensorrt-rtx-cu13",
}
# Modules whose package is known by name: another's may be that of a stranger.
KNOWN_MODULES = frozenset(
    ("torch", "triton", "onnx", "onnxscript", "numpy", "msgspec", "pandas", "safetensors", "transformers", "timm")
) | set(_COMMANDS)
# The packages that the worker needs in a foreign interpreter.
WORKER = "pip install msgspec numpy"


def is_known(module: str) -> bool:
    """Whether ``install`` is sure to name the package of this module; others may have an unrelated package's name."""
    return module.partition(".")[0] in KNOWN_MODULES


def install(module: str) -> str:
    """The command that installs the package of a module that is imported by this name, after ``REMARK: `` if there is
    something to know before.
    """
    return _COMMANDS.get(module, f"pip install {module.partition('.')[0]}")
