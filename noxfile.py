"""Sessions: bench runs a suite, tests and lint are the gate, gpu and selfbench report."""

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.reuse_existing_virtualenvs = True

CONSTRAINTS = ("-c", "constraints.txt")
# The versions come from constraints.txt; torchvision and timm are left to the user (they need a CUDA build of torch).
TORCH = ("torch==2.13.0", "transformers")
# Wheels that are read and never installed, a few MB each: their names are held against those that the code uses.
# tensorrt-bindings 8.6.1 has none for a Python later than 3.11.
BINDINGS = (
    "tensorrt-bindings==8.6.1",
    "tensorrt-cu13-bindings==10.16.1.11",
    "tensorrt-cu13-bindings==11.4.0.106",
    "torch-tensorrt==2.11.0",
)


@nox.session
def bench(session: nox.Session) -> None:
    """Run a suite (suites/smoke.yaml unless one is named), store it in results/ and print the tables."""
    session.install(*CONSTRAINTS, *TORCH, "-e", ".[onnx]")
    session.run("trtbench", "run", *(session.posargs or ["suites/smoke.yaml"]))


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite; needs no GPU. TensorRT's names are held against those of its real bindings."""
    session.install(*CONSTRAINTS, *TORCH, "-e", ".[onnx,dev]")
    folder = f"{session.virtualenv.location}/bindings"
    fetch = ("python", "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", folder)
    for wheel in BINDINGS:
        session.run(*fetch, wheel, success_codes=[0, 1])
    session.run("pytest", *session.posargs, env={"TRTBENCH_BINDINGS": folder})


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff and mypy --strict; the layer test is part of tests."""
    session.install(*CONSTRAINTS, "ruff", "mypy", "nox", "pandas-stubs", "types-PyYAML", "-e", ".")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session
def gpu(session: nox.Session) -> None:
    """The tests that need an NVIDIA GPU; prints what was skipped and why."""
    session.install(*CONSTRAINTS, *TORCH, "cuda-bindings", "-e", ".[onnx,dev]")
    session.run("pytest", "-m", "gpu", "-rs", *session.posargs)


@nox.session
def selfbench(session: nox.Session) -> None:
    """Measure trtbench itself: loop overhead, start-up, loading of large stores."""
    session.install(*CONSTRAINTS, "-e", ".[dev]")
    session.run("pytest", "tests/selfbench", "-m", "selfbench", "--benchmark-enable", "-s", *session.posargs)
