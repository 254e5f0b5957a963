"""Sessions: bench and profile run a suite, asv commits; lint, tests, long are the gate; gpu, selfbench report."""

import pathlib
import platform
import shutil

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
    "tensorrt-rtx-cu13-bindings==1.6.1.120",
    "tensorrt-rtx-cu13-bindings==1.7.1.116",
    "torch-tensorrt==2.11.0",
    "torch-tensorrt-rtx==2.14.0",
)
# Checks pages for readers who cannot see them.
AXE = "axe-core@4.14.1"


@nox.session
def bench(session: nox.Session) -> None:
    """Run a suite (suites/smoke.yaml unless one is named), store it in results/ and print the tables."""
    session.install(*CONSTRAINTS, *TORCH, "-e", ".[onnx]")
    session.run("trtbench", "run", *(session.posargs or ["suites/smoke.yaml"]))


# Two processes, which take whole files in their order: those that compile come first. With as many cores more threads
# would only get in each other's way.
PARALLEL = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
# Hundreds of processes are started, which should not compile their Python anew where a container says so.
TESTS = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite without what takes minutes; needs no GPU."""
    _pytest(session, *PARALLEL)


@nox.session(name="long")
def long_tests(session: nox.Session) -> None:
    """What takes minutes: compilers, hundreds of kills, whole models, the wheel; TensorRT-RTX's builder on x86-64."""
    session.install(*CONSTRAINTS, "torchao", "pyarrow")
    if platform.machine() == "x86_64":
        session.install(*CONSTRAINTS, "tensorrt-rtx-cu13")
    _pytest(session, *PARALLEL, "-m", "long and not gpu", "--hypothesis-profile", "long", env=_axe(session))


def _axe(session: nox.Session) -> dict[str, str]:
    """axe-core from the npm registry, with which pages are checked; where it cannot be had those tests are skipped."""
    folder = pathlib.Path(session.virtualenv.location, "axe")
    script = folder / "package" / "axe.min.js"
    if shutil.which("npm") and not script.is_file():
        folder.mkdir(exist_ok=True)
        # npm's own limits are a quarter of an hour for a registry that does not answer.
        limits = ("--fetch-retries=1", "--fetch-timeout=20000")
        fetch = ("npm", "pack", "--silent", *limits, "--pack-destination", str(folder), AXE)
        session.run(*fetch, external=True, success_codes=range(256))
        for archive in folder.glob("*.tgz"):
            shutil.unpack_archive(archive, folder, filter="data")
    return {"TRTBENCH_AXE": str(script)}


@nox.session
def profile(session: nox.Session) -> None:
    """Run a suite (suites/smoke.yaml unless one is named) under a profiler, and store the profiles in results/."""
    session.install(*CONSTRAINTS, *TORCH, "-e", ".[onnx]")
    session.run("trtbench", "profile", *(session.posargs or ["suites/smoke.yaml"]))


@nox.session
def dashboard(session: nox.Session) -> None:
    """Write report.html, the page of all runs in results/."""
    session.install(*CONSTRAINTS, "-e", ".")
    session.run("trtbench", "report", "--out", "report.html", *session.posargs)


def _pytest(session: nox.Session, *arguments: str, env: dict[str, str] | None = None) -> None:
    """Run the tests beside torch; TensorRT's names are held against those of its real bindings."""
    session.install(*CONSTRAINTS, *TORCH, "-e", ".[onnx,dev]")
    folder = f"{session.virtualenv.location}/bindings"
    fetch = ("python", "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", folder)
    for wheel in BINDINGS:
        session.run(*fetch, wheel, success_codes=[0, 1])
    session.run("pytest", *arguments, *session.posargs, env={"TRTBENCH_BINDINGS": folder, **TESTS, **(env or {})})


@nox.session
def quick(session: nox.Session) -> None:
    """The tests that need neither torch nor worker processes, in an environment without torch: within a minute."""
    session.install(*CONSTRAINTS, "-e", ".[dev]")
    chosen = ("-m", "not (workers or long or gpu or selfbench)", "--hypothesis-profile", "quick")
    session.run("pytest", *PARALLEL, *chosen, *session.posargs, env=TESTS)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff and mypy --strict, and clang-format where it is installed; the layer test is part of tests."""
    session.install(*CONSTRAINTS, "ruff", "mypy", "nox", "pandas-stubs", "pytest", "types-PyYAML", "-e", ".")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    if shutil.which("clang-format"):  # no package of Python's: what the system has
        files = pathlib.Path("bench/runtimes/cpp").rglob("*.*")
        sources = sorted(str(path) for path in files if path.suffix in (".cpp", ".h"))
        session.run("clang-format", "--dry-run", "--Werror", *sources, external=True)


@nox.session
def gpu(session: nox.Session) -> None:
    """The tests that need an NVIDIA GPU; prints what was skipped and why."""
    session.install(*CONSTRAINTS, *TORCH, "cuda-bindings", "-e", ".[onnx,dev]")
    session.run("pytest", "-m", "gpu", "-rs", *session.posargs)


@nox.session
def asv(session: nox.Session) -> None:
    """Benchmarks of commits, in environments that asv makes: nox -s asv -- continuous main HEAD."""
    session.install(*CONSTRAINTS, "-e", ".[asv]")
    constraints = {"PIP_CONSTRAINT": f"{session.invoked_from}/constraints.txt"}
    session.run("python", "-m", "bench.integrations.asv", *(session.posargs or ["--help"]), env=constraints)


@nox.session
def selfbench(session: nox.Session) -> None:
    """Measure trtbench itself: loop overhead, start-up, loading of large stores, the time to a result."""
    session.install(*CONSTRAINTS, *TORCH, "-e", ".[onnx,dev]")
    session.run("pytest", "tests/selfbench", "-m", "selfbench", "--benchmark-enable", "-s", *session.posargs)
